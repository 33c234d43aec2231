//! catnap-operator-core
