//! The schema of the values: it describes each of them, has a default for each in `values.yaml`, and lets no other in.

use std::fs;

use serde_json::Value;

use crate::helm;

fn read(file: &str) -> String {
    fs::read_to_string(helm::repository().join("charts/catnap").join(file)).unwrap()
}

#[test]
fn every_value_has_a_description_and_a_default_and_no_other_is_let_in() {
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let defaults: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let (mut faults, mut seen) = (Vec::new(), 0);
    look(&schema, &schema, &defaults, "", &mut faults, &mut seen);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 100, "only {seen} values are in the schema");
}

fn look(
    root: &Value,
    schema: &Value,
    defaults: &Value,
    path: &str,
    faults: &mut Vec<String>,
    seen: &mut usize,
) {
    let Some(properties) = schema["properties"].as_object() else { return };
    if schema["additionalProperties"] != false {
        faults.push(format!("{path}: a misspelled value below it is let in"));
    }
    // What is empty by default, such as timeouts, has no defaults below it.
    let empty = defaults.as_object().is_none_or(serde_json::Map::is_empty);
    for (name, property) in properties {
        let path = format!("{path}/{name}");
        *seen += 1;
        if !is_described(root, property) {
            faults.push(format!("{path} has no description"));
        }
        // Helm's own name for what a chart above this one says to all of its parts.
        if !empty && defaults.get(name).is_none() && path != "/global" {
            faults.push(format!("{path} has no default in values.yaml"));
        }
        look(root, property, &defaults[name], &path, faults, seen);
    }
}

/// By itself, or by what it refers to.
fn is_described(root: &Value, property: &Value) -> bool {
    let reference = property["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    let described = reference.and_then(|pointer| root.pointer(pointer)).unwrap_or(property);
    described["description"].as_str().is_some_and(|text| text.len() > 5)
}

#[test]
fn every_default_is_told_of() {
    let text = read("values.yaml");
    let lines: Vec<_> = text.lines().collect();
    let top = |line: &&str| !line.starts_with([' ', '#']) && line.contains(':');
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| top(line)) {
        // Either above a group, or above its first value.
        let near = &lines[number.saturating_sub(1)..lines.len().min(number + 2)];
        assert!(near.iter().any(|line| line.trim_start().starts_with('#')), "{line} says nothing of itself");
    }
}
