//! One row for each field of a Pod, a container, a probe and a template's metadata: the lists are held against the
//! API's own schema, so that no field of this build's Kubernetes version is forgotten.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde_json::json;

use super::*;

/// What becomes of a field that both parts have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    /// A single value: the later one.
    Later,
    /// An object: field by field.
    Fields,
    /// An object that is one thing or another: the later one.
    Whole,
    /// A list without keys: the later one.
    List,
    /// A list by key, items with the same key field by field.
    ByKey(&'static [&'static str]),
    /// A list by key, of items with the same key the later one.
    WholeByKey(&'static [&'static str]),
}

use Rule::{ByKey, Fields, Later, List, WholeByKey};

pub(crate) const POD: [(&str, Rule); 40] = [
    ("activeDeadlineSeconds", Later),
    ("affinity", Fields),
    ("automountServiceAccountToken", Later),
    ("containers", ByKey(&["name"])),
    ("dnsConfig", Fields),
    ("dnsPolicy", Later),
    ("enableServiceLinks", Later),
    ("ephemeralContainers", List),
    ("hostAliases", WholeByKey(&["ip"])),
    ("hostIPC", Later),
    ("hostNetwork", Later),
    ("hostPID", Later),
    ("hostUsers", Later),
    ("hostname", Later),
    ("imagePullSecrets", WholeByKey(&["name"])),
    ("initContainers", ByKey(&["name"])),
    ("nodeName", Later),
    ("nodeSelector", Fields),
    ("os", Fields),
    ("overhead", Fields),
    ("preemptionPolicy", Later),
    ("priority", Later),
    ("priorityClassName", Later),
    ("readinessGates", List),
    ("resourceClaims", WholeByKey(&["name"])),
    ("resources", Fields),
    ("restartPolicy", Later),
    ("runtimeClassName", Later),
    ("schedulerName", Later),
    ("schedulingGates", WholeByKey(&["name"])),
    ("securityContext", Fields),
    ("serviceAccount", Later),
    ("serviceAccountName", Later),
    ("setHostnameAsFQDN", Later),
    ("shareProcessNamespace", Later),
    ("subdomain", Later),
    ("terminationGracePeriodSeconds", Later),
    ("tolerations", List),
    ("topologySpreadConstraints", ByKey(&["topologyKey", "whenUnsatisfiable"])),
    ("volumes", WholeByKey(&["name"])),
];

pub(crate) const CONTAINER: [(&str, Rule); 24] = [
    ("args", List),
    ("command", List),
    ("env", WholeByKey(&["name"])),
    ("envFrom", List),
    ("image", Later),
    ("imagePullPolicy", Later),
    ("lifecycle", Fields),
    ("livenessProbe", Rule::Whole),
    ("name", Later),
    ("ports", ByKey(&["containerPort", "protocol"])),
    ("readinessProbe", Rule::Whole),
    ("resizePolicy", List),
    ("resources", Fields),
    ("restartPolicy", Later),
    ("securityContext", Fields),
    ("startupProbe", Rule::Whole),
    ("stdin", Later),
    ("stdinOnce", Later),
    ("terminationMessagePath", Later),
    ("terminationMessagePolicy", Later),
    ("tty", Later),
    ("volumeDevices", ByKey(&["devicePath"])),
    ("volumeMounts", ByKey(&["mountPath"])),
    ("workingDir", Later),
];

const METADATA: [(&str, Rule); 15] = [
    ("annotations", Fields),
    ("creationTimestamp", Later),
    ("deletionGracePeriodSeconds", Later),
    ("deletionTimestamp", Later),
    ("finalizers", List),
    ("generateName", Later),
    ("generation", Later),
    ("labels", Fields),
    ("managedFields", List),
    ("name", Later),
    ("namespace", Later),
    ("ownerReferences", List),
    ("resourceVersion", Later),
    ("selfLink", Later),
    ("uid", Later),
];

const TEMPLATE: [(&str, Rule); 2] = [("metadata", Fields), ("spec", Fields)];

/// Two values of a field, the second of which is laid over the first, and what that must give.
fn row(rule: Rule) -> [Value; 3] {
    // Items that have all keys, of which all but the first are `same` in both.
    let item = |keys: &[&str], first: &str, field: &str| {
        let mut item = json!({field: true});
        for key in keys {
            item[*key] = json!("same");
        }
        item[keys[0]] = json!(first);
        item
    };
    match rule {
        Later => [json!("earlier"), json!("later"), json!("later")],
        Fields => [
            json!({"a": {"x": 1, "y": 1}, "b": 1}),
            json!({"a": {"y": 2}, "b": null, "c": 2}),
            json!({"a": {"x": 1, "y": 2}, "c": 2}),
        ],
        Rule::Whole => [json!({"a": 1, "b": 1}), json!({"b": 2, "c": 2, "d": null}), json!({"b": 2, "c": 2})],
        List => [json!([1, 2]), json!([2, 3]), json!([2, 3])],
        ByKey(keys) | WholeByKey(keys) => {
            let mut both = item(keys, "both", "over");
            if rule == ByKey(keys) {
                both["base"] = json!(true);
            }
            [
                json!([item(keys, "both", "base"), item(keys, "alone", "base")]),
                json!([item(keys, "new", "over"), item(keys, "both", "over")]),
                if rule == ByKey(keys) {
                    json!([both, item(keys, "alone", "base"), item(keys, "new", "over")])
                } else {
                    json!([item(keys, "alone", "base"), item(keys, "new", "over"), both])
                },
            ]
        }
    }
}

/// The fields of a type, and whether each is a list.
fn schema<T: JsonSchema>() -> Vec<(String, bool)> {
    let schema = schemars::schema_for!(T).to_value();
    let fields = schema["properties"].as_object().unwrap();
    let is_list = |field: &Value| {
        let types = &field["type"];
        types == "array" || types.as_array().is_some_and(|types| types.contains(&json!("array")))
    };
    fields.iter().map(|(name, field)| (name.clone(), is_list(field))).collect()
}

fn covers_the_schema<T: JsonSchema>(rows: &[(&str, Rule)]) {
    let fields = schema::<T>();
    let known: BTreeSet<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(known, rows.iter().map(|(name, _)| *name).collect(), "every field has one row");
    for (name, is_list) in &fields {
        let rule = rows.iter().find(|(other, _)| other == name).unwrap().1;
        assert_eq!(*is_list, matches!(rule, List | ByKey(_) | WholeByKey(_)), "{name}");
    }
}

#[test]
fn every_field_of_the_api_has_a_row() {
    covers_the_schema::<PodTemplateSpec>(&TEMPLATE);
    covers_the_schema::<ObjectMeta>(&METADATA);
    covers_the_schema::<PodSpec>(&POD);
    covers_the_schema::<Container>(&CONTAINER);
}

#[test]
fn every_row_holds() {
    let rows = [TEMPLATE.as_slice(), &METADATA, &POD, &CONTAINER].concat();
    for (name, rule) in rows {
        let [base, over, expected] = row(rule);
        let merged = merge(json!({name: base, "other": 1}), json!({name: over})).unwrap();
        assert_eq!(merged, json!({name: expected, "other": 1}), "{name}: {rule:?}");
        assert_eq!(merge(json!({name: base}), json!({})).unwrap(), json!({name: base}), "{name}");
        assert_eq!(merge(json!({}), json!({name: base})).unwrap(), json!({name: base}), "{name}");
        let removed = merge(json!({name: base}), json!({name: null})).unwrap();
        assert_eq!(removed, json!({}), "{name}: a null removes");
    }
}

#[test]
fn handlers_and_probes_are_not_mixed() {
    for field in ["preStop", "postStart", "livenessProbe", "readinessProbe", "startupProbe"] {
        let merged = merge(
            json!({field: {"tcpSocket": {"port": 1}, "periodSeconds": 1}}),
            json!({field: {"httpGet": {"port": 2}}}),
        );
        assert_eq!(merged.unwrap(), json!({field: {"httpGet": {"port": 2}}}));
    }
    let merged = merge(
        json!({"lifecycle": {"preStop": {"sleep": {}}}}),
        json!({"lifecycle": {"postStart": {"exec": {}}}}),
    );
    assert_eq!(merged.unwrap(), json!({"lifecycle": {"preStop": {"sleep": {}}, "postStart": {"exec": {}}}}));
}

#[test]
fn a_port_is_tcp_where_nothing_is_said() {
    let base =
        json!({"ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 80, "protocol": "UDP"}]});
    let over = json!({"ports": [{"containerPort": 80, "protocol": "TCP", "hostPort": 8080}]});
    let expected = json!({"ports": [
        {"containerPort": 80, "name": "a", "protocol": "TCP", "hostPort": 8080},
        {"containerPort": 80, "protocol": "UDP"},
    ]});
    assert_eq!(merge(base, over).unwrap(), expected);
}

#[test]
fn what_is_there_twice_stays_so_for_the_api_server_to_refuse() {
    let twice = json!({"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "y"}]});
    assert_eq!(merge(json!({}), twice.clone()).unwrap(), twice);
    let merged = merge(json!({"containers": [{"name": "a", "tty": true}]}), twice).unwrap();
    let expected = json!([{"name": "a", "image": "x", "tty": true}, {"name": "a", "image": "y"}]);
    assert_eq!(merged["containers"], expected);
}

#[test]
fn items_without_a_key_and_fields_of_other_versions_are_kept() {
    let base = json!({"containers": [{"image": "x"}, "text", null], "somethingNew": [1]});
    let over = json!({"containers": [{"image": "y"}], "somethingNew": [2]});
    let expected = json!({"containers": [{"image": "x"}, "text", null, {"image": "y"}], "somethingNew": [2]});
    assert_eq!(merge(base, over).unwrap(), expected);
}

#[test]
fn a_field_of_another_kind_is_named() {
    for (base, over, path, kinds) in [
        (json!({"a": {"b": {}}}), json!({"a": {"b": 1}}), "a.b", ("an object", "a single value")),
        (json!({"a": {"b": []}}), json!({"a": {"b": {}}}), "a.b", ("a list", "an object")),
        (json!({"a": 1}), json!({"a": [1]}), "a", ("a single value", "a list")),
        (
            json!({"containers": [{"name": "f", "env": []}]}),
            json!({"containers": [{"name": "f", "env": "A=1"}]}),
            "containers[f].env",
            ("a list", "a single value"),
        ),
        (json!({"hostAliases": {}}), json!({"hostAliases": []}), "hostAliases", ("an object", "a list")),
    ] {
        let mismatch = merge(base, over).unwrap_err();
        assert_eq!((mismatch.path.as_str(), (mismatch.base, mismatch.over)), (path, kinds));
    }
}

/// JSON with keyed lists and others, nested a little. Keys are there once: what the API server refuses is not promised.
fn part() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[ab]".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let fields = prop::collection::btree_map("(a|b|readinessProbe)", inner.clone(), 0..3);
        let items = prop::collection::btree_map("[xyz]", fields.clone(), 0..4);
        let object = (fields, items, "(containers|volumes)").prop_map(|(fields, items, list)| {
            let mut object: Map<_, _> = fields.into_iter().collect();
            let items = items.into_iter().map(|(name, fields)| {
                let mut item: Map<_, _> = fields.into_iter().collect();
                item.insert("name".to_owned(), json!(name));
                Value::Object(item)
            });
            object.insert(list, items.rev().collect());
            Value::Object(object)
        });
        prop_oneof![prop::collection::vec(inner, 0..4).prop_map(Value::from), object]
    })
}

proptest! {
    #[test]
    fn laying_the_same_over_it_again_changes_nothing(base in part(), over in part()) {
        if let Ok(once) = merge(base, over.clone()) {
            prop_assert_eq!(merge(once.clone(), over).unwrap(), once);
        }
    }

    #[test]
    fn what_is_laid_over_nothing_is_itself_without_nulls(over in part()) {
        if over.is_object() {
            let alone = merge(json!({}), over.clone()).unwrap();
            prop_assert_eq!(merge(Value::Null, over).unwrap(), alone);
        }
    }
}
