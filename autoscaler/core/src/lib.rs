//! The autoscaler without I/O: what the activators measured and what the API server said go in, frames and writes come out.
//!
//! [`Leader`] is the whole of one leading process; [`decide()`] is the formula alone. Nothing here reads a clock, knows
//! Kubernetes or waits: `now` is the time since the process started, and every answer of the API server is an input.

mod activators;
mod context;
pub mod decide;
pub mod effect;
mod gate;
pub mod invariants;
pub mod leader;
pub mod learned;
mod moment;
pub mod parsers;
pub mod policy;
pub mod replay;
mod revision;
mod series;
pub mod settings;
pub mod simulator;
mod version;

pub use decide::{Decision, History, Observation, Reason, Reasons, decide, formula};
pub use effect::{Effect, Event, ReadOutcome, Scale, StreamId, Token, WriteOutcome};
pub use leader::{Explanation, Leader, PodFact, Refusal, ScaleFact};
pub use learned::{Learned, Outlook};
pub use policy::{IdlePolicy, Metric, OpenSchedule, Policy, Shift, Stage};
pub use settings::Settings;
