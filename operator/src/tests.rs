//! Whole reconciliations against an API server in memory: objects in, writes out.

mod bench;
mod healing;
mod life;
mod refusals;
