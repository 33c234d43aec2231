//! Whether the three parts of Catnap are there, lead, can be reached, and are bounded.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::finding::{Finding, State};
use super::read::{Facts, OURS};

const COMPONENTS: [&str; 3] = ["operator", "activator", "autoscaler"];
const COMPONENT: &str = "app.kubernetes.io/component";
const VERSION: &str = "app.kubernetes.io/version";
/// Lease of a part's leader, beside the part.
const LEASES: [(&str, &str); 2] = [("operator", "catnap-operator"), ("autoscaler", "catnap-autoscaler")];
/// What a Lease lasts when it does not say.
const LEASE_SECONDS: i32 = 15;
/// Clocks of this machine and of the cluster's may differ by so much.
const CLOCK_SECONDS: i64 = 30;
/// Ends of the names of the policies.
const POLICIES: [&str; 3] = ["scale", "peers", "pods"];

/// Whether somebody installed it. Where that cannot be read, Functions would not be known without.
pub(super) fn are_there(facts: &Facts) -> bool {
    match &facts.deployments {
        Ok(found) => !found.is_empty(),
        Err(_) => !matches!(facts.definition, Ok(None)),
    }
}

/// A row for each part, and for what keeps them together.
pub(super) fn findings(facts: &Facts, system: &str, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &facts.deployments {
        Err(error) => findings.push(Finding::unknown("Deployments", error)),
        Ok(found) => {
            findings.extend(COMPONENTS.map(|component| ready(found, component, system)));
            findings.push(versions(found));
        }
    }
    match &facts.leases {
        Err(error) => findings.push(Finding::unknown("Leases", error)),
        Ok(found) => {
            findings.extend(LEASES.map(|(component, lease)| leads(found, component, lease, system, now)));
        }
    }
    findings.push(reachable(facts, system));
    findings.push(policies(facts));
    findings.push(seats(facts));
    findings
}

fn label<'object>(metadata: &'object ObjectMeta, name: &str) -> Option<&'object str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

fn ready(deployments: &[Deployment], component: &str, system: &str) -> Finding {
    let of: Vec<_> =
        deployments.iter().filter(|it| label(&it.metadata, COMPONENT) == Some(component)).collect();
    if of.is_empty() {
        return Finding::new(component, State::Missing, "its Deployment is not there")
            .advised("`helm upgrade` makes it again");
    }
    let wanted = |it: &&Deployment| it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let is_ready =
        |it: &&Deployment| it.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let (wanted, ready) = (of.iter().map(wanted).sum::<i32>(), of.iter().map(is_ready).sum::<i32>());
    let message = format!("{ready} of {wanted} ready");
    let state = match ready {
        0 => State::Failing,
        _ if ready < wanted => State::Warning,
        _ => return Finding::ok(component, message),
    };
    let advice = if wanted == 0 {
        format!("`helm upgrade` with `--set {component}.replicas=1`: it is scaled to zero")
    } else {
        format!("`kubectl --namespace {system} describe pods --selector {OURS},{COMPONENT}={component}`")
    };
    Finding::new(component, state, message).advised(advice)
}

/// The parts understand each other across one version; this command understands its own.
fn versions(deployments: &[Deployment]) -> Finding {
    const CHECK: &str = "version";
    const OWN: &str = env!("CARGO_PKG_VERSION");
    let found: BTreeSet<_> = deployments.iter().filter_map(|it| label(&it.metadata, VERSION)).collect();
    let text = found.iter().copied().collect::<Vec<_>>().join(", ");
    match found.len() {
        0 => Finding::new(CHECK, State::Warning, format!("no Deployment says it in its label {VERSION}")),
        1 if text == OWN => Finding::ok(CHECK, text),
        1 => Finding::new(CHECK, State::Warning, format!("{text} in the cluster, {OWN} of this catnap"))
            .advised(format!("catnap {text} on this machine, or `helm upgrade`")),
        _ => Finding::new(CHECK, State::Warning, format!("several at once: {text}"))
            .advised("`helm upgrade`, which an earlier one may not have ended"),
    }
}

fn leads(leases: &[Lease], component: &str, name: &str, system: &str, now: Timestamp) -> Finding {
    let check = format!("leading {component}");
    let failing = |message: String| {
        let logs = format!(
            "`kubectl --namespace {system} logs --selector {OURS},{COMPONENT}={component}` tells why"
        );
        Finding::new(&check, State::Failing, message).advised(logs)
    };
    let lease = leases.iter().find(|it| it.metadata.name.as_deref() == Some(name));
    let Some(spec) = lease.and_then(|lease| lease.spec.as_ref()) else {
        return failing(format!("there is no Lease {name}"));
    };
    let Some(holder) = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty()) else {
        return failing(format!("nobody holds the Lease {name}"));
    };
    // `<pod>_<boot>`
    let pod = holder.rsplit_once('_').map_or(holder, |(pod, _)| pod);
    let lasts = i64::from(spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS));
    let Some(renewed) = &spec.renew_time else {
        return failing(format!("{pod} holds the Lease {name} and never renewed it"));
    };
    let age = now.duration_since(renewed.0).as_secs();
    if age > lasts + CLOCK_SECONDS {
        return failing(format!(
            "{pod} has not renewed the Lease {name} for {age} s, by this machine's clock"
        ));
    }
    Finding::ok(&check, pod)
}

fn reachable(facts: &Facts, system: &str) -> Finding {
    const CHECK: &str = "way to the activators";
    let (services, slices) = match (&facts.services, &facts.slices) {
        (Err(error), _) | (_, Err(error)) => return Finding::unknown(CHECK, error),
        (Ok(services), Ok(slices)) => (services, slices),
    };
    let of_activators = services.iter().filter(|it| label(&it.metadata, COMPONENT) == Some("activator"));
    let names: Vec<_> = of_activators.filter_map(|it| it.metadata.name.as_deref()).collect();
    if names.is_empty() {
        return Finding::new(CHECK, State::Missing, "their Services are not there")
            .advised("`helm upgrade` makes them again");
    }
    let pods = |service: &str| {
        let of_service = slices
            .iter()
            .filter(|slice| label(&slice.metadata, catnap_crds::labels::SERVICE_NAME) == Some(service));
        let endpoints = of_service.flat_map(|slice| &slice.endpoints);
        let ready = endpoints.filter(|endpoint| {
            // Not said is ready (discovery.k8s.io/v1).
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        });
        // One pod has an address of each family.
        let addressed = ready.filter_map(|endpoint| {
            let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.as_ref());
            pod.or(endpoint.addresses.first())
        });
        addressed.collect::<BTreeSet<_>>().len()
    };
    let counted: Vec<_> = names.iter().map(|&name| (name, pods(name))).collect();
    let told: Vec<_> = counted.iter().map(|(name, pods)| format!("{name} to {pods} pods")).collect();
    let message = format!("by {}", told.join(", "));
    match counted.iter().find(|(_, pods)| *pods == 0) {
        None => Finding::ok(CHECK, message),
        Some((name, _)) => Finding::new(CHECK, State::Failing, message)
            .advised(format!("`kubectl --namespace {system} describe service {name}`")),
    }
}

fn policies(facts: &Facts) -> Finding {
    const CHECK: &str = "admission policies";
    let (policies, bindings) = match (&facts.policies, &facts.bindings) {
        (Err(error), _) | (_, Err(error)) => return Finding::unknown(CHECK, error),
        (Ok(policies), Ok(bindings)) => (policies, bindings),
    };
    let bound: BTreeSet<_> = bindings
        .iter()
        .filter_map(|binding| binding.spec.as_ref().and_then(|spec| spec.policy_name.as_deref()))
        .collect();
    let in_force: Vec<_> = policies
        .iter()
        .filter_map(|it| it.metadata.name.as_deref())
        .filter(|it| bound.contains(it))
        .collect();
    let is_missing = |end: &&str| !in_force.iter().any(|name| name.ends_with(&format!("-{end}")));
    let missing: Vec<_> = POLICIES.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, POLICIES.join(", "));
    }
    let values: Vec<_> = missing.iter().map(|end| format!("admissionPolicies.{end}=true")).collect();
    let message =
        format!("not in force: {}; RBAC alone bounds Catnap's own service accounts", missing.join(", "));
    Finding::new(CHECK, State::Warning, message)
        .advised(format!("`helm upgrade` with `--set {}`, unless it is meant to be so", values.join(",")))
}

fn seats(facts: &Facts) -> Finding {
    const CHECK: &str = "seats at the API server";
    match &facts.levels {
        Err(error) => Finding::unknown(CHECK, error),
        Ok(levels) if !levels.is_empty() => Finding::ok(CHECK, "of its own"),
        Ok(_) => Finding::new(
            CHECK,
            State::Warning,
            "none of its own: a first request takes turns with every other service account",
        )
        .advised("`helm upgrade` with `--set apiPriority.enabled=true`, unless it is meant to be so"),
    }
}
