//! catnap-testkit
