//! Who may connect to Catnap's pods, and where these may connect to.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm;
use crate::of_kind;

const ON: &str = "networkPolicies.enabled=true";

/// From, to and port; `*` for everybody, `-` for what no label names.
type Connection = (String, String, String);

/// What the policies let in.
fn let_in(objects: &[Value]) -> BTreeSet<Connection> {
    allowed(objects, "Ingress", "ingress", "from")
        .into_iter()
        .map(|(own, other, port)| (other, own, port))
        .collect()
}

/// What they let out.
fn let_out(objects: &[Value]) -> BTreeSet<Connection> {
    allowed(objects, "Egress", "egress", "to")
}

/// Whose policy it is, the other end and the port.
fn allowed(objects: &[Value], kind: &str, rules: &str, peers: &str) -> BTreeSet<Connection> {
    let mut connections = BTreeSet::new();
    for policy in of_kind(objects, "NetworkPolicy") {
        let spec = &policy["spec"];
        let own = component(&spec["podSelector"]);
        assert!(spec[rules].is_null() || strings(&spec["policyTypes"]).contains(&kind.to_owned()));
        for rule in spec[rules].as_array().into_iter().flatten() {
            let others = match rule[peers].as_array() {
                Some(listed) => listed.iter().map(peer).collect(),
                None => vec!["*".to_owned()],
            };
            for other in others {
                for port in rule["ports"].as_array().unwrap() {
                    let number = port["port"].as_i64().map(|number| number.to_string());
                    let port = number.unwrap_or_else(|| port["port"].as_str().unwrap().to_owned());
                    connections.insert((own.clone(), other.clone(), port));
                }
            }
        }
    }
    connections
}

fn component(selector: &Value) -> String {
    selector["matchLabels"]["app.kubernetes.io/component"].as_str().unwrap_or("-").to_owned()
}

fn peer(peer: &Value) -> String {
    let block = peer["ipBlock"]["cidr"].as_str().map(str::to_owned);
    block.unwrap_or_else(|| component(&peer["podSelector"]))
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn set(connections: &[(&str, &str, &str)]) -> BTreeSet<Connection> {
    connections.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}

#[test]
fn there_are_none_unless_they_are_asked_for() {
    let Some(objects) = helm::render(&[]) else { return };
    assert_eq!(of_kind(&objects, "NetworkPolicy").count(), 0);
}

#[test]
fn only_callers_of_functions_and_catnap_itself_get_in() {
    let Some(objects) = helm::render(&["--set", ON]) else { return };
    assert_eq!(of_kind(&objects, "NetworkPolicy").count(), 3);
    let own = [
        ("*", "activator", "http"),
        ("*", "activator", "edge"),
        ("activator", "activator", "peers"),
        ("activator", "autoscaler", "stream"),
        ("operator", "autoscaler", "stream"),
    ];
    assert_eq!(let_in(&objects), set(&own));
    // Without a rule, but under Ingress, nobody gets in.
    for policy in of_kind(&objects, "NetworkPolicy") {
        assert_eq!(strings(&policy["spec"]["policyTypes"]), ["Ingress"]);
    }
    assert_eq!(let_out(&objects), set(&[]));
}

#[test]
fn every_port_that_is_named_is_one_of_the_pods() {
    let tls = "activator.edge.tls.secrets={wildcard}";
    let monitoring = "networkPolicies.metricsFrom[0].podSelector.matchLabels.app=prometheus";
    let Some(objects) = helm::render(&["--set", ON, "--set", tls, "--set", monitoring]) else { return };
    let connections = let_in(&objects);
    assert!(connections.contains(&("*".to_owned(), "activator".to_owned(), "edge-tls".to_owned())));
    for (_, own, port) in connections {
        let deployment = helm::named(&objects, "Deployment", &format!("catnap-{own}"));
        let ports = &deployment["spec"]["template"]["spec"]["containers"][0]["ports"];
        let named = ports.as_array().unwrap().iter().any(|one| one["name"] == *port);
        assert!(named, "{own} has no port {port}");
    }
}

#[test]
fn metrics_and_edge_are_for_those_who_are_named() {
    let monitoring = "networkPolicies.metricsFrom[0].ipBlock.cidr=10.1.0.0/16";
    let balancer = "networkPolicies.edgeFrom[0].ipBlock.cidr=10.2.0.0/16";
    let Some(objects) = helm::render(&["--set", ON, "--set", monitoring, "--set", balancer]) else { return };
    let connections = let_in(&objects);
    for component in ["operator", "activator", "autoscaler"] {
        let metrics = ("10.1.0.0/16".to_owned(), component.to_owned(), "admin".to_owned());
        assert!(connections.contains(&metrics), "{connections:?}");
    }
    let edge: Vec<_> = connections.iter().filter(|(_, _, port)| port == "edge").collect();
    assert_eq!(edge, [&("10.2.0.0/16".to_owned(), "activator".to_owned(), "edge".to_owned())]);
}

#[test]
fn what_does_not_call_functions_connects_to_little() {
    let egress = "networkPolicies.egress.enabled=true";
    let server = "networkPolicies.egress.apiServer.networks={10.96.0.1/32,172.18.0.2/32}";
    let Some(objects) = helm::render(&["--set", ON, "--set", egress, "--set", server]) else { return };
    let mut wanted = vec![("operator", "autoscaler", "stream")];
    for own in ["operator", "autoscaler"] {
        wanted.push((own, "*", "53"));
        for address in ["10.96.0.1/32", "172.18.0.2/32"] {
            wanted.extend([(own, address, "443"), (own, address, "6443")]);
        }
    }
    assert_eq!(let_out(&objects), set(&wanted));
    let activator = helm::named(&objects, "NetworkPolicy", "catnap-activator");
    assert_eq!(strings(&activator["spec"]["policyTypes"]), ["Ingress"], "it calls the pods of functions");
}

#[test]
fn a_policy_that_cannot_work_is_refused_with_the_name_of_the_value() {
    let egress = "networkPolicies.enabled=true,networkPolicies.egress.enabled=true";
    for (value, words) in [
        (egress, "networkPolicies.egress.apiServer.networks"),
        ("networkPolicies.enabled=maybe", "/networkPolicies/enabled"),
        ("networkPolicies.metricsFrom[0].pods=x", "/networkPolicies/metricsFrom/0"),
        (
            "networkPolicies.egress.apiServer.networks={10.0.0.1}",
            "/networkPolicies/egress/apiServer/networks/0",
        ),
        ("networkPolicies.egress.apiServer.ports={0}", "/networkPolicies/egress/apiServer/ports/0"),
        ("networkPolicies.egress.extra[0].from=x", "/networkPolicies/egress/extra/0"),
    ] {
        let Some(error) = helm::refusal(&["--set", value]) else { return };
        assert!(error.contains(words), "{value}: {error}");
    }
}
