//! What a Function asks of the autoscaler's core, and what the core has to say to people: both ends of a decision.
//!
//! Shared by `catnap-autoscaler` and by `catnap`, which runs the same core without a cluster. No client, no I/O, no clock.

mod policy;
mod schedules;
pub mod state;

pub use policy::policy;
pub use schedules::Windows;
