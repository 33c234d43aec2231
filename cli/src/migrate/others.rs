//! Kinds of Knative that become no Function, and what to do about each.

/// What there is instead of an object of a kind that cannot be converted.
pub(super) fn advice(group: &str, kind: &str) -> &'static str {
    let known = KINDS.iter().find(|(in_group, of_kind, _)| {
        (*in_group == group || group.ends_with(in_group.trim_start_matches('*')) && in_group.starts_with('*'))
            && (*of_kind == "*" || *of_kind == kind)
    });
    known.map_or("not known to this command", |(_, _, advice)| advice)
}

/// Whether a group is one of Knative's.
pub(super) fn is_knatives(group: &str) -> bool {
    group == "knative.dev" || group.ends_with(".knative.dev")
}

/// Group, kind and advice; the first that fits counts. A group with `*` in front stands for all that end so.
const KINDS: &[(&str, &str, &str)] = &[
    (
        "serving.knative.dev",
        "Route",
        "a Route of its own has no counterpart: write its traffic into spec.traffic of the Service that has the Configuration's template, and convert that; several Configurations behind one Route are several Functions, with the split in front of them",
    ),
    (
        "serving.knative.dev",
        "Configuration",
        "a Configuration of its own has no counterpart: make it a Service with the same spec.template, and convert that",
    ),
    (
        "serving.knative.dev",
        "Revision",
        "revisions are made by their Service; to keep an old one, convert what `kn service export NAME --with-revisions --mode replay` prints",
    ),
    (
        "client.knative.dev",
        "Export",
        "this form is only for kn import: convert what `kn service export NAME --with-revisions --mode replay` prints",
    ),
    (
        "networking.internal.knative.dev",
        "ClusterDomainClaim",
        "which namespace may have a host is said by the annotation catnap.dev/host-suffixes of the Namespace, with the hosts or their suffixes and commas between them",
    ),
    (
        "sources.knative.dev",
        "SinkBinding",
        "nothing sets K_SINK here: set it in spec.env of the Function, to the address that events go to",
    ),
    (
        "sources.knative.dev",
        "*",
        "Catnap has no events: keep Knative Eventing for it, with the Function's address as sink (uri: http://NAME.NAMESPACE), or have the source call that address",
    ),
    (
        "eventing.knative.dev",
        "Trigger",
        "Catnap has no events: keep Knative Eventing for it, with the Function's address as subscriber (uri: http://NAME.NAMESPACE)",
    ),
    (
        "messaging.knative.dev",
        "Subscription",
        "Catnap has no events: keep Knative Eventing for it, with the Function's address as subscriber (uri: http://NAME.NAMESPACE)",
    ),
    (
        "eventing.knative.dev",
        "*",
        "Catnap has no events: keep Knative Eventing for it, it works beside Catnap",
    ),
    (
        "messaging.knative.dev",
        "*",
        "Catnap has no events: keep Knative Eventing for it, it works beside Catnap",
    ),
    (
        "flows.knative.dev",
        "*",
        "Catnap has no events: keep Knative Eventing for it, with the Functions' addresses as steps (uri: http://NAME.NAMESPACE)",
    ),
    ("sinks.knative.dev", "*", "Catnap has no events: keep Knative Eventing for it, it works beside Catnap"),
    (
        "operator.knative.dev",
        "*",
        "an installation is not converted: what it sets for all Services (domain, TLS, defaults) are values of Catnap's chart, or said in each Function",
    ),
    ("*.internal.knative.dev", "*", "written by Knative itself: leave it out"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_reached() {
        for (index, (group, kind, text)) in KINDS.iter().enumerate() {
            let group = group.replace('*', "caching");
            let kind = kind.replace('*', "Anything");
            assert_eq!(advice(&group, &kind), *text, "row {index}");
        }
        assert_eq!(advice("new.knative.dev", "Thing"), "not known to this command");
    }
}
