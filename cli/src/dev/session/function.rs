//! A manifest as the two cores want it: one Function with one revision, which has the traffic from the start.
//!
//! There is nothing to prove a first revision against on one's own machine, so it begins at its floor and not at
//! `scale.initial`: usually at zero.

use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{
    FunctionName, FunctionPolicy, FunctionRoute, Probe, Protocol, RevisionRoute, Timeouts,
};
use catnap_autoscaler_api::{Windows, policy};
use catnap_autoscaler_core::{Policy, Stage};
use catnap_crds::{Function, Protocol as SpecProtocol};
use catnap_wire::RevisionId;

use crate::dev::program::Program;
use crate::dev::replica::ReadinessCheck;

/// A readiness check of a replica takes at most this long, as kubelet's does by default.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// The Function and its revision.
pub(super) struct Local {
    /// For the activator.
    pub(super) route: FunctionRoute,
    /// Its only revision.
    pub(super) revision: RevisionId,
    /// For the autoscaler.
    pub(super) policy: Policy,
    /// When it has a higher floor.
    pub(super) windows: Windows,
    /// Where the revision is in its life.
    pub(super) stage: Stage,
    protocol: Protocol,
    readiness_path: Arc<str>,
}

impl Local {
    pub(super) fn new(function: &Function, program: &Program) -> Self {
        let (spec, scale) = (&function.spec, &function.spec.scale);
        let timeouts = &spec.timeouts;
        let uid: Arc<str> = "local".into();
        let protocol = match spec.protocol() {
            SpecProtocol::Http1 => Protocol::Http1,
            SpecProtocol::H2c => Protocol::H2c,
        };
        let readiness_path: Arc<str> = spec.readiness_path().into();
        let name = FunctionName {
            namespace: program.namespace.as_str().into(),
            name: program.function.as_str().into(),
        };
        let revision = RevisionId {
            namespace: Arc::clone(&name.namespace),
            name: program.revision.as_str().into(),
            function_uid: Arc::clone(&uid),
        };
        let route = RevisionRoute {
            name: Arc::clone(&revision.name),
            port: u16::try_from(spec.port()).unwrap_or_default(),
            protocol,
            readiness_path: Arc::clone(&readiness_path),
            concurrency_limit: count(spec.concurrency_limit()),
            requires_ready: false,
            wake: count(scale.wake_replicas()),
            max: count(scale.max),
        };
        Self {
            route: FunctionRoute {
                policy: FunctionPolicy {
                    target: count(scale.concurrency_target()),
                    activation: timeouts.activation.get(),
                    max_requests: usize::try_from(spec.queue.max_requests).unwrap_or_default(),
                    window: scale.window.get(),
                    timeouts: Timeouts::of(
                        timeouts.first_byte.get(),
                        timeouts.request.get(),
                        timeouts.inactivity.get(),
                    ),
                },
                ..FunctionRoute::of_one(name, uid, route)
            },
            revision,
            policy: policy(scale, spec.concurrency_limit()),
            windows: Windows::new(&scale.schedules),
            stage: Stage::Routed,
            protocol,
            readiness_path,
        }
    }

    /// What stands in for kubelet's readiness probe.
    pub(super) fn readiness_check(&self) -> ReadinessCheck {
        let (protocol, path) = (self.protocol, Arc::clone(&self.readiness_path));
        Arc::new(move |address| {
            let probe =
                Probe { uid: "".into(), address, protocol, path: Arc::clone(&path), timeout: CHECK_TIMEOUT };
            Box::pin(async move { catnap_activator_http::probe(&probe).await.is_ok() })
        })
    }
}

/// The manifest was checked: no number is negative.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}
