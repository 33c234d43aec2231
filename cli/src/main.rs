//! catnap

fn main() {}
