//! An object held against the schema of the CustomResourceDefinition: field names, types and bounds.
//!
//! Stricter than the API server in one point: it drops a field that it does not know, here that is a problem.

use std::collections::BTreeMap;

use catnap_crds::Duration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

/// Part of the pattern of every duration in the schema, and of nothing else.
const DURATION_PATTERN: &str = "(h|m|s|ms)";

/// Everything wrong with `object`, one line each.
pub(super) fn problems(object: &Value) -> Vec<String> {
    let version = catnap_crds::crd().spec.versions.into_iter().next();
    let schema = version.and_then(|version| version.schema).and_then(|schema| schema.open_api_v3_schema);
    let mut problems = Vec::new();
    if let Some(mut schema) = schema {
        // What every object has is not in a definition's schema.
        let common = schema.properties.get_or_insert_default();
        for (field, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
            let anything = JSONSchemaProps { type_: Some(kind.to_owned()), ..JSONSchemaProps::default() };
            common.insert(field.to_owned(), anything);
        }
        check(&schema, object, "", &mut problems);
    }
    problems
}

fn check(schema: &JSONSchemaProps, value: &Value, path: &str, problems: &mut Vec<String>) {
    if value.is_null() && schema.nullable == Some(true) {
        return;
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        if !value.is_string() && !value.is_i64() {
            problems.push(format!("{path} must be a number or a string, is {value}"));
        }
        return;
    }
    let expected = schema.type_.as_deref().unwrap_or("object");
    match (expected, value) {
        ("object", Value::Object(fields)) => check_object(schema, fields, path, problems),
        ("array", Value::Array(items)) => {
            let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
            if let Some(most) = schema.max_items.filter(|most| count > *most) {
                problems.push(format!("{path} may have {most} entries, has {count}"));
            }
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    check(schema, item, &format!("{path}[{index}]"), problems);
                }
            }
            check_unique(schema, items, path, problems);
        }
        ("string", Value::String(text)) => check_string(schema, text, path, problems),
        ("integer", Value::Number(number)) if number.is_i64() => check_number(schema, value, path, problems),
        ("number", Value::Number(_)) => check_number(schema, value, path, problems),
        ("boolean", Value::Bool(_)) => {}
        _ => problems.push(format!("{path} must be {}, is {value}", with_article(expected))),
    }
}

/// Lists that are sets, or maps by some of their items' fields.
fn check_unique(schema: &JSONSchemaProps, items: &[Value], path: &str, problems: &mut Vec<String>) {
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    let identity = |item: &Value| match schema.x_kubernetes_list_type.as_deref() {
        Some("set") => Some(vec![item.clone()]),
        Some("map") => keys.iter().map(|key| item.get(key).cloned()).collect(),
        _ => None,
    };
    let mut seen = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(identity) = identity(item) else { continue };
        if seen.contains(&identity) {
            problems.push(format!("{path}[{index}] is there twice"));
        }
        seen.push(identity);
    }
}

fn check_object(
    schema: &JSONSchemaProps,
    fields: &serde_json::Map<String, Value>,
    path: &str,
    problems: &mut Vec<String>,
) {
    let none = BTreeMap::new();
    let known = schema.properties.as_ref().unwrap_or(&none);
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (known.get(name), &schema.additional_properties) {
            (Some(schema), _) => check(schema, value, &path, problems),
            (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => check(schema, value, &path, problems),
            (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
            // Not ours to judge.
            (None, _) if schema.x_kubernetes_preserve_unknown_fields == Some(true) => {}
            // Labels and the like have no schema at all.
            (None, None | Some(JSONSchemaPropsOrBool::Bool(false))) if known.is_empty() => {}
            (None, None | Some(JSONSchemaPropsOrBool::Bool(false))) => {
                let names: Vec<_> = known.keys().map(String::as_str).collect();
                problems.push(format!("{path} does not exist; what may stand here is: {}", names.join(", ")));
            }
        }
    }
    for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        problems.push(format!("{path} is missing"));
    }
}

fn check_string(schema: &JSONSchemaProps, text: &str, path: &str, problems: &mut Vec<String>) {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(allowed) = &schema.enum_ {
        let allowed: Vec<_> = allowed.iter().filter_map(|allowed| allowed.0.as_str()).collect();
        if !allowed.contains(&text) {
            let named: Vec<_> = allowed.into_iter().filter(|allowed| !allowed.is_empty()).collect();
            problems.push(format!("{path} must be one of {}, is `{text}`", named.join(", ")));
        }
    }
    if schema.pattern.as_ref().is_some_and(|pattern| pattern.contains(DURATION_PATTERN)) {
        if let Err(error) = text.parse::<Duration>() {
            problems.push(format!("{path}: {error}"));
        }
    } else if schema.min_length.is_some_and(|least| length < least) {
        problems.push(format!("{path} must not be empty"));
    } else if let Some(most) = schema.max_length.filter(|most| length > *most) {
        problems.push(format!("{path} may have {most} characters, has {length}"));
    }
}

fn check_number(schema: &JSONSchemaProps, value: &Value, path: &str, problems: &mut Vec<String>) {
    let Some(number) = value.as_f64() else { return };
    if let Some(least) = schema.minimum.filter(|least| number < *least) {
        problems.push(format!("{path} must be at least {least}, is {value}"));
    }
    if let Some(most) = schema.maximum.filter(|most| number > *most) {
        problems.push(format!("{path} must be at most {most}, is {value}"));
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    let kind = if kind == "array" { "list" } else { kind };
    if kind == "list" { "a list".to_owned() } else { format!("{article} {kind}") }
}
