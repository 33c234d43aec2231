//! catnap-activator-http
