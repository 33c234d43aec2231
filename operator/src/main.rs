//! catnap-operator

fn main() {}
