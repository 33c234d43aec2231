//! End-to-end tests that run side by side, each in a namespace of its own.

#[path = "parallel/api.rs"]
mod api;
#[path = "parallel/calls.rs"]
mod calls;
#[path = "parallel/examples.rs"]
mod examples;
#[path = "parallel/explaining.rs"]
mod explaining;
#[path = "parallel/failures.rs"]
mod failures;
#[path = "parallel/fixture.rs"]
mod fixture;
#[path = "parallel/healing.rs"]
mod healing;
#[path = "parallel/permissions.rs"]
mod permissions;
#[path = "parallel/revisions.rs"]
mod revisions;
#[path = "parallel/rules.rs"]
mod rules;
#[path = "parallel/scaling.rs"]
mod scaling;
#[path = "parallel/schedules.rs"]
mod schedules;
