//! What must hold of every decision, whoever checks it: property tests, the simulation and debug builds.

use crate::decide::{Decision, Observation};
use crate::policy::{Policy, Stage};

/// A decision that must not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// More than the owner allows.
    #[error("{desired} replicas decided, at most {max} allowed")]
    AboveMax {
        /// Decided.
        desired: u32,
        /// Allowed.
        max: u32,
    },
    /// Fewer than the owner asks for.
    #[error("{desired} replicas decided, at least {floor} asked for")]
    BelowFloor {
        /// Decided.
        desired: u32,
        /// Asked for.
        floor: u32,
    },
    /// Zero although somebody waits or is served.
    #[error("zero decided while requests are in flight or held")]
    ZeroWhileBusy,
    /// Fewer than now on incomplete measurements.
    #[error("{desired} replicas decided on incomplete measurements, {replicas} now")]
    LoweredBlindly {
        /// Decided.
        desired: u32,
        /// Now.
        replicas: u32,
    },
    /// Held requests have fewer replicas than they fill, below the maximum.
    #[error("{desired} replicas decided for {held} held requests")]
    HeldIgnored {
        /// Decided.
        desired: u32,
        /// Requests.
        held: u64,
    },
    /// No rule is named.
    #[error("a decision without a reason")]
    Unexplained,
}

/// Checks one decision.
pub fn decision(
    policy: &Policy,
    stage: Stage,
    observation: &Observation,
    decision: &Decision,
) -> Result<(), Violation> {
    let (desired, replicas) = (decision.desired, observation.replicas);
    let lowering_forbidden = observation.incomplete || stage == Stage::Proving;
    if desired > policy.max && !(lowering_forbidden && desired == replicas) {
        return Err(Violation::AboveMax { desired, max: policy.max });
    }
    let floor = policy.floor(stage);
    if desired < floor {
        return Err(Violation::BelowFloor { desired, floor });
    }
    let served = observation.busy && replicas > 0;
    let busy = served || observation.held > 0 || observation.pressed > 0;
    if desired == 0 && busy && policy.max > 0 {
        return Err(Violation::ZeroWhileBusy);
    }
    if observation.incomplete && desired < replicas {
        return Err(Violation::LoweredBlindly { desired, replicas });
    }
    let (held, capacity) = (observation.held, u64::from(policy.capacity()));
    if capacity > 0 && u64::from(desired) * capacity < held && desired < policy.max {
        return Err(Violation::HeldIgnored { desired, held });
    }
    if decision.reasons.is_empty() {
        return Err(Violation::Unexplained);
    }
    Ok(())
}
