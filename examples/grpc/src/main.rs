//! catnap-example-grpc

fn main() {}
