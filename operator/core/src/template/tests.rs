use catnap_crds::Function;
use proptest::prelude::*;

use super::*;
use crate::{
    fixtures::function,
    merge::tests::{CONTAINER, POD, Rule},
};

fn rendered_for(function: &Function, restricted: bool) -> Result<Rendered, Problem> {
    render_template(&Owner::of(function).unwrap(), &function.spec, "hello-1", restricted)
}

fn rendered(spec: Value) -> Rendered {
    rendered_for(&function(spec), false).unwrap()
}

fn refused(spec: Value) -> String {
    let problem = rendered_for(&function(spec), false).unwrap_err();
    assert_eq!((problem.reason, problem.scope), (Reason::InvalidPodTemplate, Scope::Revision));
    problem.message
}

#[expect(clippy::needless_pass_by_value, reason = "so that tests may write `pod(json!(…))`")]
fn pod(spec: Value) -> Value {
    rendered(json!({"podTemplate": {"spec": spec}})).template["spec"].clone()
}

/// The container named `function` where podTemplate says this of it.
fn container(mut fields: Value) -> Value {
    fields["name"] = json!("function");
    pod(json!({"containers": [fields]}))["containers"][0].clone()
}

#[test]
fn every_field_of_a_pod_arrives_as_it_was_written() {
    for (name, rule) in POD.iter().chain(&[("somethingNew", Rule::Fields)]) {
        let value = match rule {
            Rule::Later => json!("text"),
            Rule::Fields | Rule::Whole => json!({"a": {"b": {}}}),
            Rule::List => json!([{"a": []}]),
            Rule::ByKey(keys) | Rule::WholeByKey(keys) => {
                json!([keys.iter().map(|key| (*key, "x")).collect::<std::collections::BTreeMap<_, _>>()])
            }
        };
        let mut expected = pod(json!({}));
        match (*name, &value) {
            ("containers", Value::Array(more)) => {
                expected["containers"].as_array_mut().unwrap().extend(more.clone());
            }
            (_, Value::Object(more)) => {
                for (key, field) in more {
                    expected[*name][key] = field.clone();
                }
            }
            _ => expected[*name] = value.clone(),
        }
        if ["serviceAccount", "serviceAccountName"].contains(name) {
            expected.as_object_mut().unwrap().remove("automountServiceAccountToken");
        }
        assert_eq!(pod(json!({*name: value})), expected, "{name}");
    }
}

#[test]
fn every_field_of_the_container_arrives_unless_the_spec_or_identity_says_it() {
    let before = container(json!({}));
    for (name, rule) in CONTAINER.iter().chain(&[("somethingNew", Rule::Fields)]) {
        let field = |value: Value| container(json!({*name: value}))[*name].clone();
        match (*name, rule) {
            ("name" | "image", _) => assert_eq!(field(json!("x")), before[*name], "{name}"),
            ("env", _) => {
                let env = field(json!([{"name": "A", "value": "1"}]));
                assert_eq!(env.as_array().unwrap().last().unwrap(), &json!({"name": "A", "value": "1"}));
            }
            ("ports", _) => {
                let ports = field(json!([{"name": "metrics", "containerPort": 9090}]));
                assert_eq!(ports[0], before["ports"][0]);
                assert_eq!(ports[1], json!({"name": "metrics", "containerPort": 9090}));
            }
            (_, Rule::Later) => assert_eq!(field(json!("x")), "x", "{name}"),
            (_, Rule::Whole) => assert_eq!(field(json!({"a": 1})), json!({"a": 1}), "{name}"),
            (_, Rule::Fields) => assert_eq!(field(json!({"a": {"b": 1}}))["a"], json!({"b": 1}), "{name}"),
            (_, Rule::List) => assert_eq!(field(json!(["x"])), json!(["x"]), "{name}"),
            (_, Rule::ByKey(keys) | Rule::WholeByKey(keys)) => {
                assert_eq!(field(json!([{keys[0]: "x"}])), json!([{keys[0]: "x"}]), "{name}");
            }
        }
    }
}

#[test]
fn the_specs_own_fields_win() {
    let template = rendered(json!({
        "command": ["/spec"], "args": ["spec"], "imagePullPolicy": "Never",
        "env": [{"name": "B", "value": "spec"}, {"name": "C", "value": "$(A)"}],
        "envFrom": [{"configMapRef": {"name": "spec"}}], "terminationGracePeriodSeconds": 5,
        "resources": {"limits": {"memory": "64Mi"}},
        "podTemplate": {"spec": {"terminationGracePeriodSeconds": 100, "containers": [{
            "name": "function", "image": "other", "imagePullPolicy": "Always", "command": ["/template"], "args": ["a", "b"],
            "env": [{"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "A", "value": "template"}],
            "envFrom": [{"secretRef": {"name": "template"}}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1m"}},
        }]}},
    }))
    .template;
    let container = &template["spec"]["containers"][0];
    assert_eq!(container["image"], "example/hello:1");
    assert_eq!(container["imagePullPolicy"], "Never");
    assert_eq!(container["command"], json!(["/spec"]));
    assert_eq!(container["args"], json!(["spec"]));
    assert_eq!(container["envFrom"], json!([{"configMapRef": {"name": "spec"}}]));
    let users = &container["env"].as_array().unwrap()[7..];
    let expected = json!([
        {"name": "A", "value": "template"}, {"name": "B", "value": "spec"}, {"name": "C", "value": "$(A)"},
    ]);
    assert_eq!(json!(users), expected, "in an order in which one may refer to another");
    let expected = json!({"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "1m"}});
    assert_eq!(container["resources"], expected);
    assert_eq!(template["spec"]["terminationGracePeriodSeconds"], 8, "5 and the lame-duck time");
}

#[test]
fn every_default_can_be_overridden() {
    for (field, value) in [
        ("readinessProbe", json!({"grpc": {"port": 9}, "periodSeconds": 7})),
        ("lifecycle", json!({"preStop": {"exec": {"command": ["/bye"]}}})),
        ("securityContext", json!({"allowPrivilegeEscalation": true})),
    ] {
        assert_eq!(container(json!({field: value}))[field], value);
        assert_eq!(
            container(json!({field: null})).get(field),
            None,
            "{field}: a null takes the default away"
        );
    }
    for (field, value) in [
        ("enableServiceLinks", json!(true)),
        ("automountServiceAccountToken", json!(true)),
        ("terminationGracePeriodSeconds", json!(10)),
        ("securityContext", json!({"seccompProfile": {"type": "Unconfined"}})),
    ] {
        assert_eq!(pod(json!({field: value}))[field], value);
        assert_eq!(pod(json!({field: null})).get(field), None, "{field}");
    }
    let both = container(json!({"lifecycle": {"postStart": {"exec": {"command": ["/hi"]}}}}));
    assert_eq!(both["lifecycle"]["preStop"]["sleep"]["seconds"], 3, "what is not said stays");
}

#[test]
fn defaults_that_kubernetes_refuses_beside_what_is_said_are_left_out() {
    for (said, expected) in [
        (json!({"privileged": true}), json!({"privileged": true})),
        (
            json!({"capabilities": {"add": ["CAP_SYS_ADMIN"]}}),
            json!({"capabilities": {"add": ["CAP_SYS_ADMIN"]}}),
        ),
        (json!({"privileged": false}), json!({"privileged": false, "allowPrivilegeEscalation": false})),
        (
            json!({"capabilities": {"add": ["NET_ADMIN"]}}),
            json!({"capabilities": {"add": ["NET_ADMIN"]}, "allowPrivilegeEscalation": false}),
        ),
    ] {
        assert_eq!(container(json!({"securityContext": said}))["securityContext"], expected);
        let sidecar = pod(json!({"containers": [{"name": "log", "securityContext": said}]}));
        let ours = &sidecar["containers"][0]["securityContext"];
        assert_eq!(*ours, json!({"allowPrivilegeEscalation": false}), "a sidecar's is its own");
    }

    let windows = pod(json!({"os": {"name": "windows"}}));
    assert_eq!(windows.get("securityContext"), None);
    assert_eq!(windows["containers"][0].get("securityContext"), None);
    let users = json!({"podTemplate": {"spec": {"os": {"name": "windows"}}}});
    let restricted = rendered_for(&function(users), true).unwrap().template;
    assert_eq!(restricted["spec"]["securityContext"], json!({"runAsNonRoot": true}));
    assert_eq!(restricted["spec"]["containers"][0].get("securityContext"), None);
    assert_eq!(pod(json!({"os": {"name": "linux"}}))["securityContext"], pod(json!({}))["securityContext"]);

    for (seconds, sleeps) in [(0, false), (2, false), (3, true), (10, true)] {
        let template = pod(json!({"terminationGracePeriodSeconds": seconds}));
        let stop = template["containers"][0].pointer("/lifecycle/preStop/sleep/seconds");
        assert_eq!(stop, sleeps.then(|| json!(3)).as_ref(), "{seconds}");
    }
    let spec = json!({"terminationGracePeriodSeconds": 1, "podTemplate": {"spec": {"terminationGracePeriodSeconds": 1}}});
    let template = rendered(spec).template;
    assert_eq!(template["spec"]["terminationGracePeriodSeconds"], 4);
    assert!(template["spec"]["containers"][0].pointer("/lifecycle/preStop/sleep").is_some());
}

#[test]
fn a_named_account_has_its_token() {
    for field in ["serviceAccountName", "serviceAccount"] {
        assert_eq!(pod(json!({field: "robot"})).get("automountServiceAccountToken"), None);
        let said = pod(json!({field: "robot", "automountServiceAccountToken": false}));
        assert_eq!(said["automountServiceAccountToken"], false);
    }
}

#[test]
fn a_restricted_namespace_does_not_undo_what_is_said() {
    let users = json!({"podTemplate": {"spec": {
        "securityContext": {"runAsUser": 7},
        "containers": [{"name": "function", "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}}],
    }}});
    let template = rendered_for(&function(users), true).unwrap().template;
    let expected =
        json!({"runAsUser": 7, "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(template["spec"]["securityContext"], expected);
    let expected = json!({"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]});
    assert_eq!(template["spec"]["containers"][0]["securityContext"]["capabilities"], expected);
}

#[test]
fn the_function_is_the_first_container() {
    let names = |containers: Value| {
        let pod = pod(json!({"containers": containers}));
        let names = pod["containers"].as_array().unwrap().iter().map(|it| it["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(json!([{"name": "log"}])), ["function", "log"]);
    assert_eq!(names(json!([{"name": "log"}, {"name": "function"}])), ["function", "log"]);
    assert_eq!(
        names(json!([{"name": "function"}, {"name": "function"}])),
        ["function", "function"],
        "not ours to refuse"
    );
}

#[test]
fn a_port_at_the_functions_number_keeps_its_name() {
    let ports =
        container(json!({"ports": [{"name": "web", "containerPort": 8080, "hostPort": 80}]}))["ports"]
            .clone();
    assert_eq!(ports, json!([{"name": "web", "containerPort": 8080, "hostPort": 80, "protocol": "TCP"}]));
    let ports =
        container(json!({"ports": [{"containerPort": 8080, "protocol": "UDP", "name": "q"}]}))["ports"]
            .clone();
    assert_eq!(ports[0]["name"], "http1");
    assert_eq!(ports[1]["protocol"], "UDP");
}

/// Objects and lists inside each other.
fn nested(levels: usize) -> Value {
    (0..levels)
        .fold(json!("a"), |inner, level| if level % 2 == 0 { json!({"x": inner}) } else { json!([inner]) })
}

#[test]
fn what_contradicts_catnap_is_refused_in_words() {
    let with_ports = |ports: Value| json!({"podTemplate": {"spec": {"containers": [{"name": "function", "ports": ports}]}}});
    for (spec, words) in [
        (
            json!({"podTemplate": {"metadata": {"labels": {"catnap.dev/function": "other"}}}}),
            "podTemplate.metadata.labels: catnap.dev/function is Catnap's own, and hello here; leave it out",
        ),
        (
            with_ports(json!([{"containerPort": 9000}])),
            "podTemplate.spec.containers[function].ports: 9000 is not spec.port, 8080, where requests go; set spec.port to 9000, or give that port a name if it is for something else",
        ),
        (
            with_ports(json!([{"containerPort": 9000, "name": "http1"}])),
            "podTemplate.spec.containers[function].ports: 9000 has the name http1, which is that of spec.port, 8080; give it another name",
        ),
        (
            json!({"podTemplate": {"metadata": {"labels": ["a"]}}}),
            "podTemplate.metadata.labels must be an object",
        ),
        (json!({"podTemplate": {"spec": {"containers": {}}}}), "podTemplate.spec.containers must be a list"),
        (
            json!({"podTemplate": nested(33)}),
            "podTemplate must have at most 32 objects and lists inside each other",
        ),
        (
            json!({"env": [{"name": "A"}], "podTemplate": {"spec": {"containers": [{"name": "function", "env": {"A": "1"}}]}}}),
            "podTemplate.spec.containers[function].env must be a list",
        ),
    ] {
        assert_eq!(refused(spec), words);
    }
    for fine in [
        json!({"podTemplate": {"metadata": {"labels": {"catnap.dev/function": "hello", "team": "a"}}}}),
        json!({"podTemplate": {"x": nested(31)}}),
        with_ports(json!([{"containerPort": 8080}, {"containerPort": 9000}])),
        with_ports(
            json!([{"containerPort": 9000, "name": "metrics"}, {"containerPort": 53, "protocol": "UDP"}]),
        ),
        with_ports(json!([{"containerPort": 8080, "name": "web"}, {"containerPort": 9000, "name": "http1"}])),
    ] {
        assert!(rendered_for(&function(fine.clone()), false).is_ok(), "{fine}");
    }
}

#[test]
fn who_probes_has_kubelet_judge() {
    let probe = json!({"exec": {"command": ["true"]}});
    for (judges, spec) in [
        (false, json!({})),
        (false, json!({"containers": [{"name": "function", "livenessProbe": probe}]})),
        (false, json!({"containers": [{"name": "function", "readinessProbe": null}], "readinessGates": []})),
        (true, json!({"containers": [{"name": "function", "readinessProbe": probe}]})),
        (true, json!({"containers": [{"name": "function", "startupProbe": probe}]})),
        (true, json!({"containers": [{"name": "proxy", "readinessProbe": probe}]})),
        (
            true,
            json!({"initContainers": [{"name": "proxy", "restartPolicy": "Always", "startupProbe": probe}]}),
        ),
        (true, json!({"readinessGates": [{"conditionType": "example.com/warm"}]})),
    ] {
        assert_eq!(rendered(json!({"podTemplate": {"spec": spec}})).requires_ready, judges, "{spec}");
    }
}

#[test]
fn a_larger_template_is_merged_like_this() {
    let spec = json!({
        "env": [{"name": "LEVEL", "value": "info"}], "terminationGracePeriodSeconds": 20,
        "podTemplate": {
            "metadata": {"labels": {"team": "shop"}, "annotations": {"example.com/scrape": "yes"}},
            "spec": {
                "serviceAccountName": "robot",
                "nodeSelector": {"disk": "ssd"},
                "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}],
                "initContainers": [{"name": "fill", "image": "example/fill:1"}],
                "containers": [
                    {"name": "function", "volumeMounts": [{"name": "cache", "mountPath": "/cache"}], "startupProbe": {"tcpSocket": {"port": 8080}}},
                    {"name": "log", "image": "example/log:1"},
                ],
                "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}],
            },
        },
    });
    insta::assert_yaml_snapshot!("larger", rendered(spec).template);
}

proptest! {
    /// Whatever the user says, a template that is not refused has Catnap's labels, variables and port.
    #[test]
    fn identity_always_wins(
        names in prop::collection::vec("(function|log)", 0..3),
        variables in prop::collection::vec("(PORT|K_SERVICE|CATNAP_REVISION|A)", 0..4),
        ports in prop::collection::vec((prop_oneof![Just(8080), Just(9000)], prop::option::of("(http1|web|m)")), 0..3),
        label in "(team|catnap.dev/revision|app.kubernetes.io/managed-by)",
        value in "(hello-1|catnap|x)",
    ) {
        let env: Vec<_> = variables.iter().map(|name| json!({"name": name, "value": "mine"})).collect();
        let ports: Vec<_> =
            ports.iter().map(|(number, name)| json!({"containerPort": number, "name": name})).collect();
        let containers: Vec<_> =
            names.iter().map(|name| json!({"name": name, "env": env, "ports": ports, "image": "mine"})).collect();
        let users = json!({"metadata": {"labels": {label: value}}, "spec": {"containers": containers}});
        let Ok(Rendered { template, .. }) = rendered_for(&function(json!({"podTemplate": users})), false) else {
            return Ok(());
        };
        let labels = &template["metadata"]["labels"];
        prop_assert_eq!(&labels["catnap.dev/revision"], "hello-1");
        prop_assert_eq!(&labels["catnap.dev/function"], "hello");
        prop_assert_eq!(&labels["catnap.dev/function-uid"], "uid-1");
        prop_assert_eq!(&labels["app.kubernetes.io/managed-by"], "catnap");
        let containers = template["spec"]["containers"].as_array().unwrap();
        let function = containers.iter().find(|it| it["name"] == "function").unwrap();
        prop_assert_eq!(&function["image"], "example/hello:1");
        let env = function["env"].as_array().unwrap();
        for (name, value) in [("PORT", "8080"), ("K_SERVICE", "hello"), ("CATNAP_REVISION", "hello-1")] {
            let values: Vec<_> = env.iter().filter(|it| it["name"] == name).map(|it| &it["value"]).collect();
            prop_assert_eq!(values, vec![value]);
        }
        let ports = function["ports"].as_array().unwrap();
        prop_assert!(ports.iter().any(|port| is_main_port(port, 8080)));
    }
}
