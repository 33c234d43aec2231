//! A `DomainMapping`: a host of the Function that its Service becomes.
//!
//! <https://knative.dev/docs/serving/services/custom-domains/>; its fields: knative/serving
//! `pkg/apis/serving/v1beta1/domainmapping_types.go`.

use serde_json::{Value, json};

use super::metadata::{knatives, server_field};
use super::notes::Notes;
use super::objects::is_serving;
use super::place::Place;
use crate::manifest::is_host;

/// Most hosts of a Function.
const MOST_HOSTS: usize = 16;
/// Longest host that it can have.
const LONGEST_HOST: usize = 253;

/// The Service that a `DomainMapping` leads to, and the namespace that both are in, or why that cannot be a Function.
pub(super) fn service<'a>(mapping: &Place<'a>) -> Result<(&'a str, &'a str), String> {
    let namespace =
        mapping.field("metadata").map(|metadata| metadata.field_text("namespace")).unwrap_or_default();
    let reference = mapping.at(&["spec", "ref"]).ok_or("spec.ref is missing")?;
    let (kind, version) = (reference.field_text("kind"), reference.field_text("apiVersion"));
    if kind != "Service" || !is_serving(version) {
        return Err(format!(
            "spec.ref leads to `{kind}` of `{version}`: only what becomes a Function, a Service of serving.knative.dev, can have a host"
        ));
    }
    let elsewhere = reference.field_text("namespace");
    if !elsewhere.is_empty() && elsewhere != namespace {
        return Err(
            "spec.ref.namespace is another one: a host belongs to a Function of its own namespace".to_owned()
        );
    }
    Ok((namespace, reference.field_text("name")))
}

/// Gives the host to the Function, which is called `name`.
pub(super) fn attach(
    mapping: &Place<'_>,
    name: &str,
    function: &mut Value,
    notes: &mut Notes,
) -> Result<(), String> {
    let host = mapping.at(&["metadata", "name"]).ok_or("metadata.name, the host, is missing")?;
    let text = host.string().filter(|host| is_host(host) && host.len() <= LONGEST_HOST).ok_or_else(|| {
        format!(
            "metadata.name is `{}`, and no host such as shop.example.com",
            host.text().unwrap_or_default()
        )
    })?;
    let hosts = &mut function["spec"]["http"]["hosts"];
    let had = hosts.as_array().map_or(0, Vec::len);
    if had >= MOST_HOSTS {
        return Err(format!("Function {name} has {MOST_HOSTS} hosts already, the most it can have"));
    }
    match hosts.as_array_mut() {
        Some(hosts) if hosts.iter().any(|other| other == text) => {}
        Some(hosts) => hosts.push(json!(text)),
        None => *hosts = json!([text]),
    }
    notes.changed(&host, format!("in spec.http.hosts of Function {name}; its namespace must be allowed to have it: kubectl annotate namespace NAMESPACE catnap.dev/host-suffixes={text}"));
    Ok(())
}

/// Says what becomes of the other parts.
pub(super) fn note_the_rest(mapping: &Place<'_>, notes: &mut Notes) {
    for name in ["apiVersion", "kind", "status"] {
        if let Some(place) = mapping.field(name) {
            notes.not_needed(&place, "a host is a field of the Function");
        }
    }
    if let Some(metadata) = mapping.field("metadata") {
        for (name, place) in metadata.fields() {
            if name == "namespace" {
                notes.converted(&place, "metadata.namespace of the Function");
            } else if let Some(why) = server_field(name) {
                notes.not_needed(&place, why);
            }
        }
        for (key, place) in metadata.field("annotations").map(|it| it.fields()).unwrap_or_default() {
            knatives(key, &place, notes);
        }
    }
    if let Some(reference) = mapping.at(&["spec", "ref"]) {
        let version = reference.field_text("apiVersion");
        notes.converted(&reference, format!("the Function that the Service of {version} became"));
    }
    if let Some(tls) = mapping.at(&["spec", "tls"]) {
        notes.left_out(&tls, "certificates are the installation's: name the Secret in the value activator.edge.tls.secrets of the chart");
    }
    notes.name_the_rest(mapping);
}
