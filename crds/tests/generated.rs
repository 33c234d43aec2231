//! The manifest that users install is checked in; this fails when it no longer is what the types say.
//! `cargo xtask generate` writes it anew.

use std::fs;

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/generated/functions.yaml");

#[test]
fn manifest_is_what_the_types_say() {
    let rendered = catnap_crds::crd_yaml().unwrap();
    let checked_in = fs::read_to_string(MANIFEST).unwrap_or_default();
    assert!(checked_in == rendered, "stale: run `cargo xtask generate`");
}

/// `kubectl apply` keeps a copy of the manifest in an annotation, and annotations end at 256 KiB together.
#[test]
fn manifest_is_small_enough_for_kubectl_apply() {
    let json = serde_json::to_vec(&catnap_crds::crd()).unwrap();
    assert!(json.len() < 120_000, "{} bytes", json.len());
}

#[test]
fn manifest_reads_back_as_the_definition() {
    let rendered = catnap_crds::crd_yaml().unwrap();
    let read: serde_json::Value = serde_saphyr::from_str(&rendered).unwrap();
    assert_eq!(read, serde_json::to_value(catnap_crds::crd()).unwrap());
}

/// What a revision is named after must stay as the user wrote it, so the API server may not add to it.
#[test]
fn fields_that_form_a_revision_have_no_default_in_the_schema() {
    let schema = schema();
    let fields = schema["properties"]["spec"]["properties"].as_object().unwrap();
    let forming = fields
        .iter()
        .filter(|(_, schema)| schema["description"].as_str().unwrap().contains("Forms a revision"));
    let names: Vec<_> = forming
        .map(|(name, schema)| {
            assert!(!schema.to_string().contains("\"default\""), "{name} has a default");
            name.as_str()
        })
        .collect();
    assert_eq!(
        names,
        [
            "args",
            "command",
            "concurrency",
            "env",
            "envFrom",
            "image",
            "imagePullPolicy",
            "podTemplate",
            "port",
            "protocol",
            "readiness",
            "resources",
            "terminationGracePeriodSeconds",
        ]
    );
}

#[test]
fn the_smallest_manifest_has_every_default() {
    let function: catnap_crds::Function = serde_saphyr::from_str(
        "{apiVersion: catnap.dev/v1alpha1, kind: Function, metadata: {name: hello}, spec: {image: example/hello}}",
    )
    .unwrap();
    let spec = function.spec;
    assert_eq!(
        (spec.port(), spec.termination_grace_period_seconds(), spec.concurrency_limit()),
        (8080, 60, 0)
    );
    assert_eq!((spec.scale.max, spec.scale.initial_replicas(), spec.scale.wake_replicas()), (100, 1, 1));
    let seconds = catnap_crds::Duration::from_secs;
    let timeouts = &spec.timeouts;
    assert_eq!((timeouts.activation, timeouts.first_byte), (seconds(60), seconds(0)));
    assert_eq!((timeouts.request, timeouts.inactivity), (seconds(300), seconds(0)));
    let rollout = &spec.rollout;
    assert_eq!((rollout.step_percent, rollout.interval, rollout.max_error_percent), (100, seconds(60), 5));
    assert_eq!(spec.http.visibility, catnap_crds::Visibility::Cluster);
    assert!(spec.http.hosts.is_empty() && spec.traffic.is_empty() && spec.pod_template().is_none());
}

/// kstatus takes a generation that was not observed for work in progress, and an object without a status for one that is done.
#[test]
fn a_function_that_nobody_has_looked_at_says_so() {
    let schema = &schema()["properties"]["status"];
    // The API server fills a default in, and then the defaults inside it.
    assert_eq!(schema["default"], serde_json::json!({}));
    assert_eq!(schema["properties"]["observedGeneration"]["default"], -1);
    let fields = schema["properties"].as_object().unwrap();
    let defaults = fields.iter().filter(|(_, field)| !field["default"].is_null());
    let filled: serde_json::Map<_, _> =
        defaults.map(|(name, field)| (name.clone(), field["default"].clone())).collect();
    let status: catnap_crds::FunctionStatus = serde_json::from_value(filled.into()).unwrap();
    assert_eq!(status.observed_generation, Some(-1));
    let rest = catnap_crds::FunctionStatus { observed_generation: None, ..status };
    assert_eq!(rest, catnap_crds::FunctionStatus::default());
}

/// Names that later versions give a meaning to: whoever uses one now must hear that it does nothing.
#[test]
fn reserved_names_are_free() {
    let schema = schema();
    for path in [
        "suspend",
        "targetRef",
        "triggers",
        "async",
        "source",
        "runtime",
        "http.auth",
        "http.rateLimit",
        "scale.idle.freezeAfter",
    ] {
        let mut field = &schema["properties"]["spec"];
        for name in path.split('.') {
            field = &field["properties"][name];
        }
        assert!(field.is_null(), "{path} is used: {field}");
    }
    let visibility = &schema["properties"]["spec"]["properties"]["http"]["properties"]["visibility"]["enum"];
    assert_eq!(*visibility, serde_json::json!(["Cluster", "External"]));
}

/// Whoever reads a refusal sees the rule's message and not always its place.
#[test]
fn every_rule_names_the_field_that_breaks_it() {
    fn check(schema: &serde_json::Value, path: &str, checked: &mut usize) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().unwrap_or_default();
            let field = message.split(' ').next().unwrap_or_default();
            assert!(field.starts_with(path) && !field.is_empty(), "{path}: {message}");
            assert!(message.contains(" must "), "says nothing of what is allowed: {message}");
            *checked += 1;
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let inner_path = match (path, name.as_str()) {
                ("", "spec") => String::new(),
                ("", name) => name.to_owned(),
                (path, name) => format!("{path}.{name}"),
            };
            check(inner, &inner_path, checked);
        }
        if schema["items"].is_object() {
            check(&schema["items"], &format!("{path}[]"), checked);
        }
    }
    let mut checked = 0;
    check(&schema(), "", &mut checked);
    assert!(checked >= 20, "only {checked} rules were found");
}

/// What the API server takes must be readable, and nothing of it may be lost: the operator writes it nowhere, but it hashes it.
#[test]
fn the_accepted_manifests_of_the_table_read_and_write_the_same() {
    let table: serde_json::Value = serde_saphyr::from_str(include_str!("manifests.yaml")).unwrap();
    let table = table.as_array().unwrap();
    let (refused, accepted): (Vec<_>, Vec<_>) = table.iter().partition(|case| case["refused"].is_array());
    assert!(refused.len() >= 60 && accepted.len() >= 50, "{} and {}", refused.len(), accepted.len());
    let names: std::collections::BTreeSet<_> =
        table.iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), table.len(), "a name is there twice");
    for case in accepted {
        let spec: catnap_crds::FunctionSpec = serde_json::from_value(case["spec"].clone()).expect("a spec");
        let written = serde_json::to_value(&spec).unwrap();
        let again: catnap_crds::FunctionSpec = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(again, spec, "{}", case["name"]);
        if let Some(template) = case["spec"].get("podTemplate") {
            assert_eq!(written["podTemplate"], *template, "{}", case["name"]);
        }
    }
}

fn schema() -> serde_json::Value {
    let crd = serde_json::to_value(catnap_crds::crd()).unwrap_or_default();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn the_floor_lifts_proof_and_wake() {
    let scale = catnap_crds::Scale { min: 3, initial: 0, ..Default::default() };
    assert_eq!((scale.initial_replicas(), scale.proof_replicas(), scale.wake_replicas()), (3, 0, 3));
    let scale = catnap_crds::Scale { min: 3, ..Default::default() };
    assert_eq!(scale.proof_replicas(), 3);
}
