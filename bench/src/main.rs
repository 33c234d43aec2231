//! catnap-bench

fn main() {}
