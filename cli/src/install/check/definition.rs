//! Whether the cluster knows Functions, and the same fields of them as this build.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::finding::{Finding, State};
use super::read::{DEFINITION, Facts};

const CHECK: &str = "definition of Function";
/// What brings the chart's definition into the cluster.
const UPGRADE: &str = "`helm upgrade` with the chart of this version, and this version of catnap";
/// Fields that are named; more are only counted.
const NAMED: usize = 3;

pub(super) fn finding(facts: &Facts, installed: bool) -> Finding {
    match &facts.definition {
        Err(error) => Finding::unknown(CHECK, error),
        Ok(Some(definition)) => judged(definition, installed),
        Ok(None) if installed => Finding::new(
            CHECK,
            State::Missing,
            format!("there is no {DEFINITION}, so there can be no Function"),
        )
        .advised("`helm upgrade` with `--set crds.install=true`"),
        Ok(None) => Finding::new(CHECK, State::Absent, "not there yet; the chart brings it"),
    }
}

fn judged(definition: &CustomResourceDefinition, installed: bool) -> Finding {
    let own = catnap_crds::crd();
    let Some(version) = own.spec.versions.first().map(|version| version.name.as_str()) else {
        return Finding::new(CHECK, State::Warning, "this build of catnap has none to compare it with");
    };
    if let Some(problem) = condition(definition) {
        return Finding::new(CHECK, State::Failing, problem)
            .advised(format!("`kubectl describe crd {DEFINITION}`"));
    }
    if !definition.spec.versions.iter().any(|it| it.name == version && it.served) {
        return Finding::new(CHECK, State::Failing, format!("{version} is not served")).advised(UPGRADE);
    }
    let stored = definition.status.as_ref().and_then(|status| status.stored_versions.as_deref());
    let undefined = |name: &&String| !definition.spec.versions.iter().any(|version| version.name == **name);
    if let Some(old) = stored.unwrap_or_default().iter().find(undefined) {
        let message = format!("Functions are stored as {old}, which is not defined any more");
        return Finding::new(CHECK, State::Failing, message).advised(UPGRADE);
    }
    let (theirs, ours) = (fields(definition, version), fields(&own, version));
    let unknown: Vec<_> = ours.difference(&theirs).map(String::as_str).collect();
    let newer: Vec<_> = theirs.difference(&ours).map(String::as_str).collect();
    if !unknown.is_empty() {
        let message = format!("older than this catnap: the cluster drops {}", named(&unknown));
        return Finding::new(CHECK, State::Warning, message).advised(UPGRADE);
    }
    if !newer.is_empty() {
        let message = format!("newer than this catnap, which does not know {}", named(&newer));
        return Finding::new(CHECK, State::Warning, message).advised("a newer catnap on this machine");
    }
    Finding::ok(CHECK, if installed { version.to_owned() } else { kept(definition, version) })
}

/// A definition that outlived its installation, and how Helm takes it over.
fn kept(definition: &CustomResourceDefinition, version: &str) -> String {
    let annotation = |name: &str| definition.metadata.annotations.as_ref()?.get(name);
    match (annotation("meta.helm.sh/release-name"), annotation("meta.helm.sh/release-namespace")) {
        (Some(release), Some(namespace)) => format!(
            "{version}, kept from the release {release} in namespace {namespace}: Helm takes it over under these names only"
        ),
        _ => version.to_owned(),
    }
}

/// Why the API server does not serve it, if it does not.
fn condition(definition: &CustomResourceDefinition) -> Option<String> {
    let conditions = definition.status.as_ref()?.conditions.as_deref()?;
    let bad = conditions.iter().find(|condition| {
        matches!(condition.type_.as_str(), "Established" | "NamesAccepted") && condition.status != "True"
    })?;
    let message = bad.message.as_deref().unwrap_or_default();
    Some(format!("not {}: {message}", bad.type_))
}

fn named(fields: &[&str]) -> String {
    let first = fields[..fields.len().min(NAMED)].join(", ");
    match fields.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Paths of all fields of a version. Descriptions and limits may differ; a field that is not there is lost without a word.
fn fields(definition: &CustomResourceDefinition, version: &str) -> BTreeSet<String> {
    let version = definition.spec.versions.iter().find(|it| it.name == version);
    let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let mut found = BTreeSet::new();
    // What is beside spec and status is Kubernetes' own.
    for part in ["spec", "status"] {
        let part_schema = schema.and_then(|schema| schema.properties.as_ref()?.get(part));
        if let Some(part_schema) = part_schema {
            collect(part_schema, part, &mut found);
        }
    }
    found
}

fn collect(schema: &JSONSchemaProps, path: &str, found: &mut BTreeSet<String>) {
    for (name, inner) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        collect(inner, &path, found);
        found.insert(path);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(inner)) = &schema.items {
        collect(inner, path, found);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(inner)) = &schema.additional_properties {
        collect(inner, path, found);
    }
}
