//! End-to-end tests that run side by side, each in a namespace of its own.

#[path = "parallel/fixture.rs"]
mod fixture;
