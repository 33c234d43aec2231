//! catnap-activator-core
