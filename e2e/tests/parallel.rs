//! End-to-end tests that run side by side, each in a namespace of its own.

#[path = "parallel/api.rs"]
mod api;
#[path = "parallel/book.rs"]
mod book;
#[path = "parallel/calls.rs"]
mod calls;
#[path = "parallel/command_line.rs"]
mod command_line;
#[path = "parallel/ending.rs"]
mod ending;
#[path = "parallel/examples.rs"]
mod examples;
#[path = "parallel/explaining.rs"]
mod explaining;
#[path = "parallel/failures.rs"]
mod failures;
#[path = "parallel/fixture.rs"]
mod fixture;
#[path = "parallel/gitops.rs"]
mod gitops;
#[path = "parallel/healing.rs"]
mod healing;
#[path = "parallel/hosts.rs"]
mod hosts;
#[path = "parallel/installation.rs"]
mod installation;
#[path = "parallel/learned.rs"]
mod learned;
#[path = "parallel/permissions.rs"]
mod permissions;
#[path = "parallel/rates.rs"]
mod rates;
#[path = "parallel/rename.rs"]
mod rename;
#[path = "parallel/revisions.rs"]
mod revisions;
#[path = "parallel/rollout.rs"]
mod rollout;
#[path = "parallel/rules.rs"]
mod rules;
#[path = "parallel/runtime_contract.rs"]
mod runtime_contract;
#[path = "parallel/scaling.rs"]
mod scaling;
#[path = "parallel/schedules.rs"]
mod schedules;
#[path = "parallel/taken.rs"]
mod taken;
#[path = "parallel/template.rs"]
mod template;
#[path = "parallel/traffic.rs"]
mod traffic;
#[path = "parallel/troubles.rs"]
mod troubles;
