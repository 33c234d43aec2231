//! catnap-example-hello

fn main() {}
