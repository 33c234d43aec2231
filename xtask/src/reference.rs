//! The reference page of Function, made from its schema: a row for each field, with type, default, limits and
//! what the types' documentation says.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// Fields whose content is Kubernetes' own and documented there.
const AS_IN_A_POD: &[&str] = &["env", "envFrom", "resources", "conditions"];

/// The page, as Markdown.
pub(crate) fn of(definition: &impl Serialize) -> Result<String> {
    let definition = serde_json::to_value(definition)?;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut page = String::from(
        "# Function reference\n\n\
         Made from the definition by `cargo xtask generate`; `catnap.dev/v1alpha1`, kind `Function`, short name `catfn`.\n\
         Durations are written as in Gateway API: `1h`, `30s`, `500ms`.\n",
    );
    rules(&mut page, schema)?;
    for (part, about) in [("spec", "what you want"), ("status", "what became of it")] {
        writeln!(page, "\n## {part}: {about}")?;
        let schema = &schema["properties"][part];
        rules(&mut page, schema)?;
        page.push_str("\n| field | type | default | allowed | meaning |\n|---|---|---|---|---|\n");
        let fields = schema["properties"].as_object().with_context(|| format!("no {part} in the schema"))?;
        rows(&mut page, "", fields)?;
    }
    Ok(page)
}

/// What must hold among several fields, as a list.
fn rules(page: &mut String, schema: &Value) -> Result<()> {
    let messages = messages(schema);
    if !messages.is_empty() {
        writeln!(page, "\nThe API server asks for this:\n")?;
    }
    for message in messages {
        writeln!(page, "- {message}")?;
    }
    Ok(())
}

fn rows(page: &mut String, prefix: &str, fields: &Map<String, Value>) -> Result<()> {
    for (name, schema) in fields {
        let path = format!("{prefix}{name}");
        let kind = kind(schema);
        let default = match &schema["default"] {
            Value::Null | Value::Object(_) => String::new(),
            value => literal(value),
        };
        let meaning = escape(schema["description"].as_str().unwrap_or_default());
        writeln!(page, "| `{path}` | {kind} | {default} | {} | {meaning} |", allowed(schema))?;
        if AS_IN_A_POD.contains(&name.as_str()) {
            continue;
        }
        if let Some(fields) = schema["properties"].as_object() {
            rows(page, &format!("{path}."), fields)?;
        }
        if let Some(fields) = schema["items"]["properties"].as_object() {
            rows(page, &format!("{path}[]."), fields)?;
        }
    }
    Ok(())
}

fn kind(schema: &Value) -> String {
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind(&schema["items"])),
        Some(name) => name.to_owned(),
        None => "any".to_owned(),
    }
}

/// The values that the API server lets through, as far as the schema says it in a few words.
fn allowed(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().filter(|value| !value.is_null()).map(literal).collect();
        return values.join(", ");
    }
    let messages = messages(schema);
    if !messages.is_empty() {
        return messages.join("; ");
    }
    match (&schema["minimum"], &schema["maximum"]) {
        (Value::Null, Value::Null) => String::new(),
        (least, Value::Null) => format!("from {}", whole(least)),
        (Value::Null, most) => format!("up to {}", whole(most)),
        (least, most) => format!("{} to {}", whole(least), whole(most)),
    }
}

/// What the rules of a schema say to whoever breaks them, or the rules themselves where they say nothing.
fn messages(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let said = rules.map(|rule| match (rule["message"].as_str(), rule["rule"].as_str()) {
        (Some(message), _) => escape(message),
        (None, rule) => escape(&format!("`{}`", rule.unwrap_or_default())),
    });
    said.collect()
}

/// A value as one writes it in a manifest.
fn literal(value: &Value) -> String {
    match value.as_str() {
        Some(text) if !text.is_empty() => format!("`{text}`"),
        _ => format!("`{value}`"),
    }
}

/// Limits are floats in a schema, whatever they limit.
fn whole(number: &Value) -> String {
    number.as_f64().map_or_else(|| number.to_string(), |number| format!("{number:.0}"))
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_a_row_with_its_limits() {
        let spec = json!({"scale": {"type": "object", "default": {"max": 100}, "properties": {
            "max": {"type": "integer", "minimum": 1.0, "maximum": 10000.0, "default": 100, "description": "Most | replicas."},
        }}});
        let mut page = String::new();
        rows(&mut page, "", spec.as_object().unwrap()).unwrap();
        assert_eq!(
            page,
            "| `scale` | object |  |  |  |\n| `scale.max` | integer | `100` | 1 to 10000 | Most \\| replicas. |\n"
        );
    }

    #[test]
    fn rules_among_fields_are_told_where_they_apply() {
        let rule = |message: &str| json!([{"rule": "true", "message": message}]);
        let part = |name: &str| json!({"properties": {}, "x-kubernetes-validations": rule(name)});
        let schema = json!({"x-kubernetes-validations": rule("of all"), "properties": {"spec": part("of spec"), "status": part("of status")}});
        let page = of(&json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}})).unwrap();
        let lines: Vec<_> =
            page.lines().filter(|line| line.starts_with("## ") || line.starts_with("- ")).collect();
        assert_eq!(
            lines,
            [
                "- of all",
                "## spec: what you want",
                "- of spec",
                "## status: what became of it",
                "- of status"
            ]
        );
    }

    #[test]
    fn a_rule_without_a_message_is_told_as_it_is() {
        let schema = json!({"x-kubernetes-validations": [{"rule": "self.a || self.b"}]});
        assert_eq!(allowed(&schema), "`self.a \\|\\| self.b`");
    }

    #[test]
    fn lists_and_choices_are_told() {
        assert_eq!(kind(&json!({"type": "array", "items": {"type": "string"}})), "list of string");
        assert_eq!(allowed(&json!({"enum": ["HTTP1", "H2C", null]})), "`HTTP1`, `H2C`");
    }

    #[test]
    fn what_kubernetes_documents_is_not_opened() {
        let spec = json!({"env": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}});
        let mut page = String::new();
        rows(&mut page, "", spec.as_object().unwrap()).unwrap();
        assert_eq!(page.lines().count(), 1);
    }
}
