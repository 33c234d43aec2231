//! The values that the API server fills in, as functions because serde and the schema want them so.
//!
//! Fields that form a revision have none here: a revision's name comes from what the user wrote, so what the user
//! left out must stay out. Their defaults are the accessors of [`FunctionSpec`](crate::FunctionSpec).

use crate::Duration;

pub(crate) const fn activation_timeout() -> Duration {
    Duration::from_secs(60)
}

pub(crate) const fn request_timeout() -> Duration {
    Duration::from_secs(300)
}

pub(crate) const fn queue_max_requests() -> i32 {
    1000
}

pub(crate) const fn revision_history_limit() -> i32 {
    5
}

pub(crate) const fn scale_max() -> i32 {
    100
}

pub(crate) const fn scale_initial() -> i32 {
    1
}

pub(crate) const fn scale_wake() -> i32 {
    1
}

pub(crate) const fn scale_utilization() -> i32 {
    70
}

pub(crate) const fn scale_window() -> Duration {
    Duration::from_secs(60)
}

pub(crate) const fn panic_window() -> Duration {
    Duration::from_secs(6)
}

pub(crate) const fn panic_threshold() -> i32 {
    200
}

pub(crate) const fn idle_after() -> Duration {
    Duration::from_secs(30)
}

pub(crate) const fn idle_budget() -> i32 {
    50
}

pub(crate) const fn rollout_step_percent() -> i32 {
    100
}

pub(crate) const fn rollout_interval() -> Duration {
    Duration::from_secs(60)
}

pub(crate) const fn rollout_max_error_percent() -> i32 {
    5
}

pub(crate) fn time_zone() -> String {
    "UTC".to_owned()
}
