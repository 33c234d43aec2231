//! The pod template of a revision: the user's fields, the identity that Catnap gives, and safe defaults.

use catnap_crds::{FunctionSpec, ImagePullPolicy, Protocol, labels, names};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, HTTPGetAction, Lifecycle, LifecycleHandler,
        PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile, SecurityContext, SleepAction,
        TCPSocketAction,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use crate::Owner;

/// The pod template of the revision that `spec` forms; `restricted`: the namespace enforces Pod Security `restricted`.
pub(crate) fn render_template(
    owner: &Owner,
    spec: &FunctionSpec,
    revision: &str,
    restricted: bool,
) -> PodTemplateSpec {
    let mut labels = owner.child_labels(Some(revision));
    labels.insert(labels::FUNCTION_UID.to_owned(), owner.uid.clone());
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            containers: vec![container(owner, spec, revision, restricted)],
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(PodSecurityContext {
                run_as_non_root: restricted.then_some(true),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            // Kubernetes counts the time of a preStop hook inside the grace period.
            termination_grace_period_seconds: Some(
                i64::from(spec.termination_grace_period_seconds()) + names::LAME_DUCK_SECONDS,
            ),
            ..PodSpec::default()
        }),
    }
}

fn container(owner: &Owner, spec: &FunctionSpec, revision: &str, restricted: bool) -> Container {
    let port_name = match spec.protocol() {
        Protocol::Http1 => "http1",
        Protocol::H2c => "h2c",
    };
    Container {
        name: names::CONTAINER.to_owned(),
        image: Some(spec.image.clone()),
        image_pull_policy: spec.image_pull_policy.and_then(pull_policy),
        command: some_if_any(&spec.command),
        args: some_if_any(&spec.args),
        env: Some(environment(owner, spec, revision)),
        env_from: some_if_any(&spec.env_from),
        ports: Some(vec![ContainerPort {
            name: Some(port_name.to_owned()),
            container_port: spec.port(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: spec.resources.clone(),
        readiness_probe: Some(readiness_probe(spec)),
        lifecycle: Some(Lifecycle {
            // A deleted pod answers for this long, until everybody who sends it requests has heard of it.
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: names::LAME_DUCK_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: restricted
                .then(|| Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// Catnap's variables first, so that the user's own may refer to them as `$(PORT)`.
fn environment(owner: &Owner, spec: &FunctionSpec, revision: &str) -> Vec<EnvVar> {
    let port = spec.port().to_string();
    let ours = [
        ("PORT", port.as_str()),
        ("K_SERVICE", &owner.name),
        ("K_CONFIGURATION", &owner.name),
        ("K_REVISION", revision),
        ("CATNAP_FUNCTION", &owner.name),
        ("CATNAP_NAMESPACE", &owner.namespace),
        ("CATNAP_REVISION", revision),
    ];
    let users =
        spec.env.iter().filter(|variable| !ours.iter().any(|(name, _)| *name == variable.name)).cloned();
    let ours = ours.iter().map(|(name, value)| EnvVar {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        value_from: None,
    });
    ours.chain(users).collect()
}

fn readiness_probe(spec: &FunctionSpec) -> Probe {
    let port = IntOrString::Int(spec.port());
    let path = spec.readiness_path();
    // kubelet speaks HTTP/1.1 only: for H2C it looks at the port, and the activator asks for the path.
    let by_path = !path.is_empty() && spec.protocol() == Protocol::Http1;
    Probe {
        http_get: by_path.then(|| HTTPGetAction {
            path: Some(path.to_owned()),
            port: port.clone(),
            ..HTTPGetAction::default()
        }),
        tcp_socket: (!by_path).then_some(TCPSocketAction { port, host: None }),
        period_seconds: Some(1),
        timeout_seconds: Some(1),
        failure_threshold: Some(3),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

fn pull_policy(policy: ImagePullPolicy) -> Option<String> {
    match policy {
        ImagePullPolicy::Unset => None,
        ImagePullPolicy::Always => Some("Always".to_owned()),
        ImagePullPolicy::IfNotPresent => Some("IfNotPresent".to_owned()),
        ImagePullPolicy::Never => Some("Never".to_owned()),
    }
}

fn some_if_any<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}
