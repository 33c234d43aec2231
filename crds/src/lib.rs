//! catnap-crds
