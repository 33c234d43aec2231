//! What the chart renders: exactly the permissions that the reference lists, a definition that is kept, and pods
//! that Pod Security `restricted` lets in.
//!
//! Rendering needs Helm: `$HELM`, one on `PATH`, or the one that the test cluster's programs include. Without one
//! these tests say so and pass, unless `$CATNAP_REQUIRE_HELM` is set, as it is in CI.

#[cfg(test)]
mod access;
#[cfg(test)]
mod helm;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod network;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod placement;
#[cfg(test)]
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

#[test]
fn permissions_are_those_of_the_reference() {
    let Some(objects) = helm::render(&[]) else { return };
    let reference = fs::read_to_string(helm::repository().join("docs/reference/rbac.md")).unwrap();
    let documented = permissions::documented(&reference);
    let granted = permissions::granted(&objects);
    assert!(documented.len() > 50, "the tables are read");
    let unwritten: Vec<_> = granted.difference(&documented).collect();
    let missing: Vec<_> = documented.difference(&granted).collect();
    assert!(unwritten.is_empty(), "granted, but not in docs/reference/rbac.md: {unwritten:#?}");
    assert!(missing.is_empty(), "in docs/reference/rbac.md, but not granted: {missing:#?}");
}

#[test]
fn every_role_is_bound_to_the_process_of_its_name_only() {
    let Some(objects) = helm::render(&[]) else { return };
    let mut bound = BTreeSet::new();
    for binding in of_kind(&objects, "ClusterRoleBinding").chain(of_kind(&objects, "RoleBinding")) {
        let name = binding["metadata"]["name"].as_str().unwrap();
        let subjects = binding["subjects"].as_array().unwrap();
        assert_eq!(binding["roleRef"]["name"], name);
        assert_eq!(subjects.len(), 1, "{name}");
        assert_eq!(subjects[0]["kind"], "ServiceAccount");
        assert_eq!(subjects[0]["name"], name);
        assert_eq!(subjects[0]["namespace"], "catnap-system");
        bound.insert((binding["kind"].as_str().unwrap(), name));
    }
    let cluster_roles = of_kind(&objects, "ClusterRole").filter(|role| aggregated_to(role).is_empty());
    let roles = cluster_roles.count() + of_kind(&objects, "Role").count();
    assert_eq!(bound.len(), roles, "{bound:?}");
}

/// The roles of Kubernetes' own that this one adds to.
fn aggregated_to(role: &Value) -> Vec<&str> {
    let labels = role["metadata"]["labels"].as_object();
    let prefix = "rbac.authorization.k8s.io/aggregate-to-";
    let added = labels.into_iter().flatten().filter(|(_, value)| *value == "true");
    added.filter_map(|(name, _)| name.strip_prefix(prefix)).collect()
}

#[test]
fn who_may_edit_or_view_a_namespace_may_do_so_with_its_functions_but_for_the_status() {
    let Some(objects) = helm::render(&[]) else { return };
    let roles: BTreeMap<_, _> = of_kind(&objects, "ClusterRole")
        .filter(|role| !aggregated_to(role).is_empty())
        .map(|role| (role["metadata"]["name"].as_str().unwrap(), role))
        .collect();
    let (view, edit) = (roles["catnap-functions-view"], roles["catnap-functions-edit"]);
    assert_eq!(roles.len(), 2);
    assert_eq!(aggregated_to(view), ["view"]);
    assert_eq!(aggregated_to(edit), ["admin", "edit"]);
    let reads = serde_json::json!(["get", "list", "watch"]);
    for (role, verbs) in [(view, reads.as_array().unwrap().len()), (edit, 8)] {
        let may = role["rules"].as_array().unwrap();
        assert_eq!(may.len(), 1);
        // Not functions/status: routes and hosts are in it.
        assert_eq!(may[0]["resources"], serde_json::json!(["functions"]));
        assert_eq!(may[0]["apiGroups"], serde_json::json!(["catnap.dev"]));
        assert_eq!(may[0]["verbs"].as_array().unwrap().len(), verbs);
    }
    assert_eq!(view["rules"][0]["verbs"], reads);

    let without = helm::render(&["--set", "users.aggregate=false"]).unwrap();
    assert!(of_kind(&without, "ClusterRole").all(|role| aggregated_to(role).is_empty()));
    assert!(helm::refusal(&["--set", "users.aggregate=maybe"]).unwrap().contains("aggregate"));
}

#[test]
fn uninstalling_keeps_the_definition_and_a_reinstall_takes_it_over() {
    let Some(objects) = helm::render(&[]) else { return };
    let definition = of_kind(&objects, "CustomResourceDefinition").next().unwrap();
    assert_eq!(definition["metadata"]["name"], "functions.catnap.dev");
    assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    // With Helm's own two annotations, this is what an existing object must carry to be taken over.
    assert_eq!(definition["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
    let objects = helm::render(&["--set", "crds.install=false"]).unwrap();
    assert_eq!(of_kind(&objects, "CustomResourceDefinition").count(), 0);
}

#[test]
fn the_rendered_definition_is_the_generated_one() {
    let Some(objects) = helm::render(&[]) else { return };
    let definition = of_kind(&objects, "CustomResourceDefinition").next().unwrap();
    let generated = fs::read_to_string(helm::repository().join("crds/generated/functions.yaml")).unwrap();
    let generated: Value = serde_saphyr::from_str(&generated).unwrap();
    assert_eq!(with_floats(&definition["spec"]), with_floats(&generated["spec"]));
}

/// Helm writes a limit of 1.0 as 1.
fn with_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(items) => items.iter().map(with_floats).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), with_floats(field))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn pods_keep_to_pod_security_restricted() {
    let Some(objects) = helm::render(&[]) else { return };
    let deployments =
        of_kind(&objects, "Deployment").map(|deployment| &deployment["spec"]["template"]["spec"]);
    // That of `helm test`.
    let alone = of_kind(&objects, "Pod").map(|pod| &pod["spec"]);
    let pods: Vec<_> = deployments.chain(alone).collect();
    assert_eq!(pods.len(), 4);
    for pod in pods {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for host in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(pod[host], Value::Null);
        }
        // Anything else, such as a path of the node, is not let in.
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            assert!(volume["projected"].is_object() || volume["secret"].is_object(), "{volume}");
        }
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]));
            // A probe of another host is not let in from Kubernetes 1.34 on.
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                assert_eq!(container[probe]["httpGet"]["host"], Value::Null);
            }
        }
    }
}

#[test]
fn an_activators_grace_outlasts_its_drain() {
    let Some(objects) = helm::render(&["--set", "activator.drainTimeoutSeconds=20"]) else { return };
    let activator = of_kind(&objects, "Deployment")
        .find(|deployment| deployment["metadata"]["name"] == "catnap-activator")
        .unwrap();
    assert_eq!(activator["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 30);
}

#[test]
fn tls_takes_its_certificates_from_secrets() {
    let Some(objects) = helm::render(&["--set", "activator.edge.tls.secrets={first,second.example}"]) else {
        return;
    };
    let named = |kind, name: &'static str| {
        of_kind(&objects, kind).find(move |object| object["metadata"]["name"] == name).unwrap()
    };
    let pod = &named("Deployment", "catnap-activator")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let environment = container["env"].as_array().unwrap();
    let variable = environment.iter().find(|one| one["name"] == "CATNAP_TLS_CERTIFICATES").unwrap();
    assert_eq!(variable["value"], "/etc/catnap/tls/first,/etc/catnap/tls/second.example");
    let mounts = container["volumeMounts"].as_array().unwrap();
    for (name, secret) in [("tls-0", "first"), ("tls-1", "second.example")] {
        let mount = mounts.iter().find(|mount| mount["name"] == name).unwrap();
        assert_eq!(mount["mountPath"], format!("/etc/catnap/tls/{secret}"));
        // With a subPath kubelet would never bring a renewed certificate.
        assert_eq!(mount["subPath"], Value::Null);
        let volumes = pod["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == name).unwrap();
        assert_eq!(volume["secret"], serde_json::json!({"secretName": secret, "optional": true}));
    }
    let ports = |objects: &[Value]| {
        let edge = of_kind(objects, "Service")
            .find(|service| service["metadata"]["name"] == "catnap-activator-edge")
            .unwrap();
        edge["spec"]["ports"].as_array().unwrap().len()
    };
    assert_eq!(ports(&objects), 2);
    assert_eq!(ports(&helm::render(&[]).unwrap()), 1, "off by default");
}

#[test]
fn what_an_operator_wants_to_see_reaches_the_activators() {
    let environment = |arguments: &[&str]| {
        let objects = helm::render(arguments)?;
        let activator = of_kind(&objects, "Deployment")
            .find(|deployment| deployment["metadata"]["name"] == "catnap-activator")
            .unwrap();
        Some(activator["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone())
    };
    let value = |environment: &[Value], name: &str| {
        let found = environment.iter().find(|variable| variable["name"] == name);
        found.and_then(|variable| variable["value"].as_str()).map(str::to_owned)
    };
    let arguments = "activator.accessLog.sample=0.25,activator.accessLog.errorsPerSecond=10,tracing.otlp.endpoint=http://collector:4317,tracing.sample=1";
    let Some(set) = environment(&["--set", arguments]) else { return };
    for (name, wanted) in [
        ("CATNAP_ACCESS_LOG_SAMPLE", "0.25"),
        ("CATNAP_ACCESS_LOG_ERRORS", "10"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
        ("OTEL_TRACES_SAMPLER_ARG", "1"),
    ] {
        assert_eq!(value(&set, name).as_deref(), Some(wanted), "{name}");
    }
    let off = environment(&[]).unwrap();
    assert_eq!(value(&off, "CATNAP_ACCESS_LOG_SAMPLE").as_deref(), Some("0"));
    assert_eq!(value(&off, "OTEL_EXPORTER_OTLP_ENDPOINT"), None);
    assert!(helm::refusal(&["--set", "tracing.sample=2"]).unwrap().contains("sample"));
    assert!(helm::refusal(&["--set", "tracing.otlp.endpoint=collector"]).unwrap().contains("endpoint"));
}

#[test]
fn what_a_platform_team_says_about_hosts_reaches_the_operator() {
    let environment = |arguments: &[&str]| {
        let objects = helm::render(arguments)?;
        let operator = of_kind(&objects, "Deployment")
            .find(|deployment| deployment["metadata"]["name"] == "catnap-operator")
            .unwrap();
        let environment = operator["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        let pair = |one: &Value| Some((one["name"].as_str()?.to_owned(), one["value"].as_str()?.to_owned()));
        Some(environment.iter().filter_map(pair).collect::<BTreeMap<_, _>>())
    };
    let Some(default) = environment(&[]) else { return };
    assert_eq!(default["CATNAP_DOMAIN"], "");
    assert_eq!(default["CATNAP_DOMAIN_TEMPLATE"], "{{name}}-{{namespace}}.{{domain}}");
    assert_eq!((&*default["CATNAP_HOST_CLAIMS"], &*default["CATNAP_URL_SCHEME"]), ("Restricted", "https"));
    let template = "7{{namespace}}--{{name}}x.{{domain}}";
    let template_value = format!("domainTemplate={template}");
    let others =
        "domain=apps.example.com,hosts.claims=Open,hosts.urlScheme=http,clusterDomain=cluster.example";
    let set = environment(&["--set", &template_value, "--set", others]).unwrap();
    for (name, wanted) in [
        ("CATNAP_CLUSTER_DOMAIN", "cluster.example"),
        ("CATNAP_DOMAIN", "apps.example.com"),
        ("CATNAP_DOMAIN_TEMPLATE", template),
        ("CATNAP_HOST_CLAIMS", "Open"),
        ("CATNAP_URL_SCHEME", "http"),
    ] {
        assert_eq!(set[name], wanted, "{name}");
    }
    for (value, words) in [
        ("domain=*.example.com", "domain"),
        ("domain=https://example.com", "domain"),
        ("domainTemplate=fn-{{name}}.{{domain}}", "domainTemplate"),
        ("domainTemplate=fn-{{name}}.{{namespace}}.{{domain}}", "domainTemplate"),
        ("domainTemplate=fn-{{name}}-{{namespace}}.example.com", "domainTemplate"),
        ("domainTemplate=-{{name}}-{{namespace}}.{{domain}}", "domainTemplate"),
        ("domainTemplate=fn-{{name}}-{{namespace}}-.{{domain}}", "domainTemplate"),
        ("domainTemplate=xn--{{name}}-{{namespace}}.{{domain}}", "domainTemplate"),
        (
            &*format!("domainTemplate={}{{{{name}}}}-{{{{namespace}}}}.{{{{domain}}}}", "a".repeat(61)),
            "domainTemplate",
        ),
        ("domain=apps.example.1", "domain"),
        ("domain=apps.example.0x1f", "domain"),
        ("clusterDomain=", "clusterDomain"),
        ("clusterDomain=Cluster.Local", "clusterDomain"),
        ("clusterDomain=cluster.local.", "clusterDomain"),
        ("clusterDomain=*.cluster.local", "clusterDomain"),
        ("clusterDomain=-cluster.local", "clusterDomain"),
        ("clusterDomain=cluster_local", "clusterDomain"),
        ("clusterDomain=cluster.10", "clusterDomain"),
        ("hosts.claims=open", "claims"),
        ("hosts.urlScheme=ftp", "urlScheme"),
        ("hosts.allow=all", "hosts"),
    ] {
        let error = helm::refusal(&["--set", value]).unwrap();
        assert!(error.contains(words), "{value}: {error}");
    }
}

#[test]
fn only_writes_of_scales_and_leases_have_a_priority_of_their_own() {
    let Some(objects) = helm::render(&[]) else { return };
    let one = |kind| of_kind(&objects, kind).next().unwrap();
    let (level, schema) = (one("PriorityLevelConfiguration"), one("FlowSchema"));
    assert_eq!(level["apiVersion"], "flowcontrol.apiserver.k8s.io/v1");
    assert_eq!(schema["spec"]["priorityLevelConfiguration"]["name"], level["metadata"]["name"]);
    let limited = &level["spec"]["limited"];
    // What is lent comes back too late for a burst.
    assert_eq!((&limited["nominalConcurrencyShares"], &limited["lendablePercent"]), (&10.into(), &0.into()));
    let accounts: Vec<_> =
        of_kind(&objects, "ServiceAccount").map(|account| account["metadata"]["name"].clone()).collect();
    let rule = &schema["spec"]["rules"][0];
    for subject in rule["subjects"].as_array().unwrap() {
        assert_eq!(subject["kind"], "ServiceAccount");
        assert_eq!(subject["serviceAccount"]["namespace"], "catnap-system");
        assert!(accounts.contains(&subject["serviceAccount"]["name"]), "{subject}");
    }
    let resources: Vec<_> =
        rule["resourceRules"].as_array().unwrap().iter().map(|rule| &rule["resources"][0]).collect();
    assert_eq!(resources, ["deployments/scale", "leases"]);
    let precedence = schema["spec"]["matchingPrecedence"].as_i64().unwrap();
    assert!((1_000..9_000).contains(&precedence), "before other service accounts, behind the cluster's own");

    let objects = helm::render(&["--set", "apiPriority.enabled=false"]).unwrap();
    assert_eq!(
        of_kind(&objects, "FlowSchema").count() + of_kind(&objects, "PriorityLevelConfiguration").count(),
        0
    );
    assert!(helm::refusal(&["--set", "apiPriority.shares=0"]).unwrap().contains("shares"));
}

#[test]
fn a_misspelled_value_is_refused() {
    let Some(error) = helm::refusal(&["--set", "activator.replica=2"]) else { return };
    assert!(error.contains("replica"), "{error}");
}

fn of_kind<'objects>(
    objects: &'objects [Value],
    kind: &'objects str,
) -> impl Iterator<Item = &'objects Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}
