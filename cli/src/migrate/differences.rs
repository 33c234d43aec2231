//! How a Function differs from a Service where neither says anything. Knative's defaults: the `ConfigMaps` `config-defaults`,
//! `config-autoscaler` and `config-features` in knative/serving `config/core/configmaps`; an installation may have others.

/// A line for each.
pub(super) const DIFFERENCES: &[&str] = &[
    "spec.http.visibility is External, as every Service is unless labelled cluster-local: it has an address outside if the chart's value `domain` is set, and the address is another one",
    "it rests 30 s after the last request (spec.scale.idle.after), and not after the 60 s of Knative's window",
    "it has at most 100 replicas (spec.scale.max), and not any number",
    "a pod has 60 s to end its requests after SIGTERM (spec.terminationGracePeriodSeconds), and not the 300 s of timeoutSeconds",
    "timeouts.request does not end WebSockets, server-sent events and gRPC, which timeoutSeconds does",
    "a new revision takes requests once spec.scale.initial replicas are ready, and gives them back when too many fail (spec.rollout)",
    "no token of the namespace's default ServiceAccount is mounted, allowPrivilegeEscalation is false and the seccomp profile RuntimeDefault (docs/pod-template.md)",
];
