//! What is true at the moment of a scrape, read off the core's state: nothing to keep, nothing to forget.

use std::fmt;
use std::sync::Arc;

use catnap_activator_core::{Activator, RevisionState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads the state at each scrape.
#[derive(Debug)]
pub(super) struct StateGauges(pub(super) Arc<Activator>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RevisionLabels {
    namespace: Arc<str>,
    revision: Arc<str>,
}

impl Collector for StateGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = self.0.snapshot();
        let leader = ConstGauge::new(i64::from(state.leader));
        let help = "1 while a stream to the leading autoscaler is open and greeted";
        leader.encode(encoder.encode_descriptor("leader_connected", help, None, MetricType::Gauge)?)?;
        let functions = ConstGauge::new(number(state.functions.len() as u64));
        functions.encode(encoder.encode_descriptor(
            "functions",
            "Functions known",
            None,
            MetricType::Gauge,
        )?)?;
        let mut gauge = |name: &str, help: &str, values: Vec<i64>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (revision, value) in state.revisions.iter().zip(values) {
                let id = &revision.revision;
                let labels =
                    RevisionLabels { namespace: Arc::clone(&id.namespace), revision: Arc::clone(&id.name) };
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
            Ok::<(), fmt::Error>(())
        };
        let of = |value: fn(&RevisionState) -> u64| {
            state.revisions.iter().map(|revision| number(value(revision))).collect()
        };
        gauge("held", "Requests held now", of(|revision| revision.held))?;
        gauge("in_flight", "Requests dispatched and not ended", of(|revision| revision.in_flight))?;
        gauge(
            "usable_pods",
            "Pods that take requests now",
            of(|revision| revision.pods.iter().filter(|pod| pod.usable).count() as u64),
        )
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
