//! What here reads a file that a person wrote, for the property tests and for fuzzing.
//!
//! A new parser is added to [`PARSERS`], and both try it.

use std::path::Path;

use serde_json::Value;

use crate::manifest;
use crate::migrate::{Format, functions, knative as from_knative, objects::objects, parse, report};
use crate::replay::parsers::series;

/// What reads bytes of any kind.
pub type Parser = fn(&[u8]);

/// The parsers by name.
pub const PARSERS: &[(&str, Parser)] = &[("manifest", manifest), ("knative", knative), ("series", series)];

/// Those of the crate that decides, which fuzzing reaches through this one.
pub use catnap_autoscaler_core::parsers::PARSERS as AUTOSCALER;

/// What is accepted as a Function is written as one that is accepted, too.
fn manifest(bytes: &[u8]) {
    let path = Path::new("function.yaml");
    let text = String::from_utf8_lossy(bytes);
    if let Ok(function) = manifest::parse(path, &text) {
        let again = serde_json::to_string(&function).map(|text| manifest::parse(path, &text).is_ok());
        assert!(again.is_ok_and(|accepted| accepted), "{function:?}");
    }
}

/// Whatever is converted is a Function that is accepted, also as it is printed; every object becomes something or is told of.
fn knative(bytes: &[u8]) {
    let path = Path::new("service.yaml");
    let text = String::from_utf8_lossy(bytes);
    let Ok(documents) = parse(path, &text) else { return };
    let migrated = from_knative::convert(objects(documents, 1));
    let made: Vec<_> = migrated.iter().filter_map(|one| one.function.clone()).collect();
    for function in &made {
        let accepted = manifest::function(path, function.clone());
        assert!(accepted.is_ok(), "{function}: {accepted:?}");
    }
    let printed = functions(&migrated, Format::Yaml).map(|text| parse(path, &text));
    let again: Option<Vec<Value>> = printed.ok().and_then(Result::ok);
    assert_eq!(again.as_ref(), Some(&made));
    for one in &migrated {
        assert!(one.refused.is_some() || one.is_told(), "{one:?}");
    }
    assert!(migrated.is_empty() || !report(&migrated).is_empty());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    proptest! {
        #[test]
        fn manifests_of_any_kind_keep_the_promise(
            field in "(scale|timeouts|image|port|env|[a-z]{1,4})",
            value in "(\\{(max|min|request|activation|name): [0-9a-z.-]{1,6}\\}|[-0-9a-z\\[\\]{}:, ]{0,9})",
        ) {
            let text = format!(
                "apiVersion: catnap.dev/v1alpha1\nkind: Function\nmetadata: {{name: a}}\nspec: {{image: b, {field}: {value}}}\n"
            );
            for (_, parser) in PARSERS {
                parser(text.as_bytes());
            }
        }
    }

    /// Values of all kinds, many of which are allowed somewhere.
    fn values() -> impl Strategy<Value = String> {
        let some = [
            "0",
            "1",
            "2",
            "150",
            "10001",
            "-1",
            "2.5",
            "true",
            "false",
            "''",
            "x",
            "x-1",
            "null",
            "0644",
            "yes",
            "60s",
            "2m",
            "1h",
            "'3'",
            "'70.5'",
            "'1m5s'",
            "rps",
            "cpu",
            "h2c",
            "http1",
            "TCP",
            "a.example.com",
            "cluster-local",
            "{}",
            "[]",
            "[x]",
            "{a: b}",
            "{name: x}",
            "[{name: x}]",
            "[{name: x, value: '1'}]",
            "{httpGet: {path: /up}}",
            "{tcpSocket: {port: 0}}",
            "{httpGet: {path: up, port: 1}, periodSeconds: 3}",
            "{cpu: 0.5}",
            "{limits: {cpu: 0.5}}",
            "[{containerPort: 1}]",
            "[{containerPort: 0, name: h2c}]",
            "[{image: y}]",
            "[{percent: 100}]",
            "[{revisionName: a-1, percent: 100}]",
            "[{latestRevision: true, percent: 40}, {revisionName: b, percent: 60, tag: t}]",
        ];
        prop_oneof![
            select(some.to_vec()).prop_map(str::to_owned),
            "[-0-9a-z.]{0,9}".prop_map(|text| format!("'{text}'"))
        ]
    }

    fn fields(names: &'static [&'static str]) -> impl Strategy<Value = String> {
        let field = (select(names), values()).prop_map(|(name, value)| format!("{name}: {value}"));
        proptest::collection::vec(field, 0..5).prop_map(|fields| fields.join(", "))
    }

    fn annotations() -> impl Strategy<Value = String> {
        fields(&[
            "autoscaling.knative.dev/class",
            "autoscaling.knative.dev/metric",
            "autoscaling.knative.dev/min-scale",
            "autoscaling.knative.dev/minScale",
            "autoscaling.knative.dev/max-scale",
            "autoscaling.knative.dev/initial-scale",
            "autoscaling.knative.dev/activation-scale",
            "autoscaling.knative.dev/scale-down-delay",
            "autoscaling.knative.dev/target",
            "autoscaling.knative.dev/target-utilization-percentage",
            "autoscaling.knative.dev/window",
            "autoscaling.knative.dev/panic-window-percentage",
            "autoscaling.knative.dev/panic-threshold-percentage",
            "autoscaling.knative.dev/scale-to-zero-pod-retention-period",
            "serving.knative.dev/rollout-duration",
            "networking.knative.dev/visibility",
            "example.com/a",
        ])
    }

    fn services() -> impl Strategy<Value = String> {
        let pod = fields(&[
            "containerConcurrency",
            "timeoutSeconds",
            "idleTimeoutSeconds",
            "responseStartTimeoutSeconds",
            "initContainers",
            "volumes",
            "securityContext",
            "affinity",
            "nodeSelector",
            "unknown",
        ]);
        let container = fields(&[
            "name",
            "command",
            "args",
            "env",
            "envFrom",
            "ports",
            "resources",
            "readinessProbe",
            "livenessProbe",
            "volumeMounts",
            "imagePullPolicy",
            "workingDir",
            "unknown",
        ]);
        let metadata = fields(&["namespace", "uid", "labels", "unknown"]);
        let spec = fields(&["traffic", "unknown"]);
        (annotations(), annotations(), pod, container, metadata, spec, "(a|[a-z]{49,52}|'')").prop_map(
            |(of_service, of_template, pod, container, metadata, spec, name)| {
                format!(
                    "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: {name}, annotations: {{{of_service}}}, {metadata}}}\nspec: {{template: {{metadata: {{name: a-1, annotations: {{{of_template}}}}}, spec: {{containers: [{{image: b, {container}}}], {pod}}}}}, {spec}}}\n"
                )
            },
        )
    }

    proptest! {
        #[test]
        fn services_of_any_kind_keep_the_promise(services in proptest::collection::vec(services(), 1..4), host in "(a.b|[a-z.]{0,6})") {
            let mapping = format!("apiVersion: serving.knative.dev/v1beta1\nkind: DomainMapping\nmetadata: {{name: '{host}'}}\nspec: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: a}}}}\n");
            let text = services.join("---\n") + "---\n" + &mapping;
            knative(text.as_bytes());
        }
    }
}
