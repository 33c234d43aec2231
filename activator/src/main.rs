//! catnap-activator

fn main() {}
