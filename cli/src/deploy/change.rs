//! What flags change in a spec, as a merge patch: what no flag names is not in it.

use serde_json::{Map, Value, json};

use super::ChangeArguments;

/// The change to a Function's spec; of one that is to be made, `spec` is null.
pub(super) fn of(arguments: &ChangeArguments, spec: &Value) -> Value {
    let ChangeArguments {
        image,
        env,
        unset,
        command,
        port,
        protocol,
        limit,
        min,
        max,
        idle,
        hosts,
        revision_name,
    } = arguments;
    let mut change = Map::new();
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            change.insert(field.to_owned(), value);
        }
    };
    set("image", image.as_ref().map(|image| json!(image)));
    set("env", (!env.is_empty() || !unset.is_empty()).then(|| variables(&spec["env"], env, unset)));
    set("command", (!command.is_empty()).then(|| json!(command)));
    set("port", port.map(|port| json!(port)));
    set("protocol", protocol.as_ref().map(|protocol| json!(protocol)));
    set("concurrency", limit.map(|limit| json!({"limit": limit})));
    set("http", (!hosts.is_empty()).then(|| json!({"hosts": hosts})));
    set("revisionName", revision_name.as_ref().map(|name| json!(name)));
    let mut scale = Map::new();
    scale.extend(min.map(|min| ("min".to_owned(), json!(min))));
    scale.extend(max.map(|max| ("max".to_owned(), json!(max))));
    scale.extend(idle.map(|idle| ("idle".to_owned(), json!({"after": idle}))));
    set("scale", (!scale.is_empty()).then_some(Value::Object(scale)));
    Value::Object(change)
}

/// The whole list, for a merge patch replaces lists: in the order that it has, new ones last.
fn variables(existing: &Value, env: &[(String, String)], unset: &[String]) -> Value {
    let mut variables = existing.as_array().cloned().unwrap_or_default();
    variables.retain(|variable| !unset.iter().any(|name| variable["name"] == *name));
    for (name, value) in env {
        let variable = json!({"name": name, "value": value});
        match variables.iter_mut().find(|known| known["name"] == *name) {
            Some(known) => *known = variable,
            None => variables.push(variable),
        }
    }
    Value::Array(variables)
}

/// `NAME=VALUE`.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_not_in_the_change() {
        assert_eq!(of(&ChangeArguments::default(), &Value::Null), json!({}));
        let change =
            ChangeArguments { max: Some(5), image: Some("a:2".to_owned()), ..ChangeArguments::default() };
        assert_eq!(of(&change, &json!({"image": "a:1"})), json!({"image": "a:2", "scale": {"max": 5}}));
    }

    #[test]
    fn variables_keep_their_places_and_those_of_others_their_references() {
        let spec = json!({"env": [
            {"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "C", "value": "3"},
        ]});
        let change = ChangeArguments {
            env: vec![variable("A=2=2").unwrap(), variable("D=").unwrap()],
            unset: vec!["C".to_owned()],
            ..ChangeArguments::default()
        };
        let expected = json!([
            {"name": "A", "value": "2=2"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "D", "value": ""},
        ]);
        assert_eq!(of(&change, &spec)["env"], expected);
        assert!(variable("=x").is_err() && variable("x").is_err());
    }
}
