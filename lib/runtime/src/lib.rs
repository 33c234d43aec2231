//! catnap-runtime
