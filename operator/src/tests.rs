//! Whole reconciliations against an API server in memory: objects in, writes out.

pub(crate) mod bench;
mod healing;
mod hosts;
mod leadership;
mod life;
mod refusals;
mod webhooks;
