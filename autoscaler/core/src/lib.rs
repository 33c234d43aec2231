//! catnap-autoscaler-core
