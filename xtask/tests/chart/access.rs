//! The ways in from outside: a route of a Gateway, an Ingress, a load balancer, and certificates for the edge.

use serde_json::{Value, json};

use crate::helm::{self, named};
use crate::of_kind;

/// The Service that all of them lead to; never that of the functions' addresses in the cluster.
const EDGE: &str = "catnap-activator-edge";
const ROUTE: &str =
    "activator.edge.httpRoute.enabled=true,activator.edge.httpRoute.parentRefs[0].name=public";
const INGRESS: &str = "activator.edge.ingress.enabled=true";
const CERTIFICATE: &str =
    "activator.edge.tls.certificate.enabled=true,activator.edge.tls.certificate.issuerRef.name=letters";
const DOMAIN: &str = "domain=apps.example.com";

#[test]
fn there_is_none_unless_it_is_asked_for() {
    let Some(objects) = helm::render(&["--set", DOMAIN]) else { return };
    for kind in ["HTTPRoute", "Ingress", "Certificate"] {
        assert_eq!(of_kind(&objects, kind).count(), 0, "{kind}");
    }
    assert_eq!(named(&objects, "Service", EDGE)["spec"]["type"], "ClusterIP");
}

#[test]
fn a_gateway_sends_the_hosts_of_functions_to_the_edge() {
    let Some(objects) = helm::render(&["--set", DOMAIN, "--set", ROUTE]) else { return };
    let route = named(&objects, "HTTPRoute", EDGE);
    assert_eq!(route["apiVersion"], "gateway.networking.k8s.io/v1");
    let spec = json!({
        "parentRefs": [{"name": "public"}],
        "hostnames": ["*.apps.example.com"],
        "rules": [{"backendRefs": [{"name": EDGE, "port": 80}]}],
    });
    assert_eq!(route["spec"], spec);
    let said = json!({
        "enabled": true,
        "annotations": {"example.com/team": "edge"},
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
        "hostnames": ["shop.example.com", "*.other.example.com"],
        "timeouts": {"request": "300s", "backendRequest": "1m30s"},
    });
    let objects = helm::render(&["--set-json", &format!("activator.edge.httpRoute={said}")]).unwrap();
    let route = named(&objects, "HTTPRoute", EDGE);
    assert_eq!(route["metadata"]["annotations"], said["annotations"]);
    assert_eq!(route["spec"]["parentRefs"], said["parentRefs"]);
    assert_eq!(route["spec"]["hostnames"], said["hostnames"]);
    assert_eq!(route["spec"]["rules"][0]["timeouts"], said["timeouts"]);
}

#[test]
fn an_ingress_sends_the_hosts_of_functions_to_the_edge() {
    let Some(objects) = helm::render(&["--set", DOMAIN, "--set", INGRESS]) else { return };
    let backend = json!({"service": {"name": EDGE, "port": {"name": "http"}}});
    let paths = json!({"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]});
    let spec = json!({"rules": [{"host": "*.apps.example.com", "http": paths}]});
    assert_eq!(named(&objects, "Ingress", EDGE)["spec"], spec);
    let said = json!({
        "enabled": true,
        "className": "nginx",
        "annotations": {"example.com/team": "edge"},
        "hosts": ["shop.example.com", "*.other.example.com"],
        "tls": [{"secretName": "wildcard", "hosts": ["*.other.example.com"]}],
    });
    let objects = helm::render(&["--set-json", &format!("activator.edge.ingress={said}")]).unwrap();
    let ingress = named(&objects, "Ingress", EDGE);
    let hosts: Vec<_> =
        ingress["spec"]["rules"].as_array().unwrap().iter().map(|rule| &rule["host"]).collect();
    assert_eq!(hosts, ["shop.example.com", "*.other.example.com"]);
    assert_eq!(ingress["spec"]["ingressClassName"], "nginx");
    assert_eq!(ingress["spec"]["tls"], said["tls"]);
    assert_eq!(ingress["metadata"]["annotations"], said["annotations"]);
}

/// What the activators are told of certificates, and the ports of the edge.
fn served(objects: &[Value]) -> (String, Vec<i64>) {
    let pod = &named(objects, "Deployment", "catnap-activator")["spec"]["template"]["spec"];
    let environment = pod["containers"][0]["env"].as_array().unwrap();
    let variable = environment.iter().find(|one| one["name"] == "CATNAP_TLS_CERTIFICATES");
    let folders = variable.and_then(|one| one["value"].as_str()).unwrap_or_default().to_owned();
    let ports = named(objects, "Service", EDGE)["spec"]["ports"].as_array().unwrap();
    (folders, ports.iter().filter_map(|port| port["port"].as_i64()).collect())
}

#[test]
fn what_cert_manager_issues_is_what_the_edge_shows() {
    let Some(objects) = helm::render(&["--set", DOMAIN, "--set", CERTIFICATE]) else { return };
    let certificate = named(&objects, "Certificate", EDGE);
    assert_eq!(certificate["apiVersion"], "cert-manager.io/v1");
    let spec = json!({
        "secretName": EDGE,
        "dnsNames": ["*.apps.example.com"],
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "letters"},
        "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
    });
    assert_eq!(certificate["spec"], spec);
    assert_eq!(served(&objects), (format!("/etc/catnap/tls/{EDGE}"), vec![80, 443]));

    let secrets =
        "activator.edge.tls.secrets={first,issued},activator.edge.tls.certificate.secretName=issued";
    let more =
        "activator.edge.tls.certificate.duration=2160h,activator.edge.tls.certificate.renewBefore=360h";
    let names = "activator.edge.tls.certificate.dnsNames={shop.example.com}";
    let arguments = [CERTIFICATE, secrets, more, names].map(|value| ["--set", value]);
    let objects = helm::render(arguments.as_flattened()).unwrap();
    let spec = &named(&objects, "Certificate", EDGE)["spec"];
    assert_eq!((&spec["secretName"], &spec["dnsNames"]), (&"issued".into(), &json!(["shop.example.com"])));
    assert_eq!((&spec["duration"], &spec["renewBefore"]), (&"2160h".into(), &"360h".into()));
    // One that is in the list already is not mounted twice.
    assert_eq!(served(&objects).0, "/etc/catnap/tls/first,/etc/catnap/tls/issued");
}

#[test]
fn a_load_balancer_is_what_was_said() {
    let said = json!({
        "type": "LoadBalancer",
        "annotations": {"example.com/balancer": "internal"},
        "loadBalancerClass": "example.com/internal",
        "loadBalancerSourceRanges": ["192.0.2.0/24"],
        "externalTrafficPolicy": "Local",
    });
    let Some(objects) = helm::render(&["--set-json", &format!("activator.edge.service={said}")]) else {
        return;
    };
    let service = named(&objects, "Service", EDGE);
    assert_eq!(service["metadata"]["annotations"], said["annotations"]);
    for field in ["type", "loadBalancerClass", "loadBalancerSourceRanges", "externalTrafficPolicy"] {
        assert_eq!(service["spec"][field], said[field], "{field}");
    }
    // Functions' own addresses stay inside.
    assert_eq!(named(&objects, "Service", "catnap-activator")["spec"]["type"], Value::Null);
}

#[test]
fn a_way_in_that_leads_nowhere_is_refused_with_the_name_of_the_value() {
    let route_alone = "domain=apps.example.com,activator.edge.httpRoute.enabled=true";
    let certificate_alone = "domain=apps.example.com,activator.edge.tls.certificate.enabled=true";
    for (value, words) in [
        (route_alone, "activator.edge.httpRoute.parentRefs"),
        (certificate_alone, "activator.edge.tls.certificate.issuerRef.name"),
        (ROUTE, "activator.edge.httpRoute.hostnames"),
        (INGRESS, "activator.edge.ingress.hosts"),
        (CERTIFICATE, "activator.edge.tls.certificate.dnsNames"),
        ("activator.edge.httpRoute.hostnames={https://example.com}", "/activator/edge/httpRoute/hostnames/0"),
        ("activator.edge.httpRoute.parentRefs[0].namespace=x", "/activator/edge/httpRoute/parentRefs/0"),
        ("activator.edge.httpRoute.timeouts.request=soon", "/activator/edge/httpRoute/timeouts/request"),
        ("activator.edge.ingress.hosts={a.*.example.com}", "/activator/edge/ingress/hosts/0"),
        ("activator.edge.ingress.tls[0].secret=x", "/activator/edge/ingress/tls/0"),
        ("activator.edge.tls.certificate.issuer=x", "/activator/edge/tls/certificate"),
        ("activator.edge.tls.certificate.duration=90d", "/activator/edge/tls/certificate/duration"),
        ("activator.edge.tls.certificate.privateKey.algorithm=DSA", "/privateKey/algorithm"),
        ("activator.edge.tls.secrets={a,a}", "/activator/edge/tls/secrets"),
        ("activator.edge.service.type=ExternalName", "/activator/edge/service/type"),
        (
            "activator.edge.service.externalTrafficPolicy=local",
            "/activator/edge/service/externalTrafficPolicy",
        ),
        ("activator.edge.service.loadBalancerSourceRanges={all}", "/loadBalancerSourceRanges/0"),
    ] {
        let Some(error) = helm::refusal(&["--set", value]) else { return };
        assert!(error.contains(words), "{value}: {error}");
    }
}
