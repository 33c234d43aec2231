//! End-to-end tests that stop parts of the cluster, change the installation or need the machine to themselves, one after the
//! other.

#[path = "faults/activators.rs"]
mod activators;
#[path = "faults/asked.rs"]
mod asked;
#[path = "faults/book.rs"]
mod book;
#[path = "faults/chart.rs"]
mod chart;
#[path = "faults/edits.rs"]
mod edits;
#[path = "faults/exhaustion/mod.rs"]
mod exhaustion;
#[path = "faults/kubelet.rs"]
mod kubelet;
#[path = "faults/leaders.rs"]
mod leaders;
#[path = "faults/learned.rs"]
mod learned;
#[path = "faults/leases.rs"]
mod leases;
#[path = "faults/limits.rs"]
mod limits;
#[path = "faults/mixed/mod.rs"]
mod mixed;
#[path = "faults/operators.rs"]
mod operators;
#[path = "faults/outages.rs"]
mod outages;
#[path = "faults/policies.rs"]
mod policies;
#[path = "faults/silence.rs"]
mod silence;
#[path = "faults/step.rs"]
mod step;
#[path = "faults/trace.rs"]
mod trace;
#[path = "faults/upgrades.rs"]
mod upgrades;
#[path = "faults/zero.rs"]
mod zero;
