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
    let crd = serde_json::to_value(catnap_crds::crd()).unwrap();
    let fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        .as_object()
        .unwrap();
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
}

#[test]
fn the_floor_lifts_proof_and_wake() {
    let scale = catnap_crds::Scale { min: 3, initial: 0, ..Default::default() };
    assert_eq!((scale.initial_replicas(), scale.proof_replicas(), scale.wake_replicas()), (3, 0, 3));
    let scale = catnap_crds::Scale { min: 3, ..Default::default() };
    assert_eq!(scale.proof_replicas(), 3);
}
