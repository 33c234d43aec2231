//! catnap-autoscaler

fn main() {}
