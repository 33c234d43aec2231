//! Traces over OTLP: the spans of sampled requests, made when a request ends and sent from the control thread.
//!
//! A worker never waits for it: spans go through a bounded queue, and those that find it full are counted. The names are those
//! of OpenTelemetry's semantic conventions for HTTP and for functions; host and path, which a client chooses, are left out.

#[cfg(test)]
mod reference;
mod rejected;
mod spans;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context;
use catnap_activator_http::{Ended, Sampling};
use catnap_runtime::identity::Pod;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::instrument::WithSubscriber;
use tracing::{Dispatch, warn};

use crate::access_log::part;
use crate::metrics::Losses;
use rejected::{Listener, Rejected};

/// Requests whose spans may wait to be sent.
const QUEUE: usize = 2_048;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// Longest time for sending spans, that of a connection included, for which the exporter has no limit.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);
const SERVICE: &str = "catnap-activator";

/// Where traces go, and which requests have one.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// Where traces are sent, over OTLP with gRPC, such as `http://collector.monitoring:4317` [default: nowhere]. The other
    /// variables of OpenTelemetry's exporter count too: `OTEL_EXPORTER_OTLP_HEADERS`, `_TIMEOUT`, `OTEL_RESOURCE_ATTRIBUTES`.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Part of the requests that have a trace, from 0 to 1, of those whose caller has not decided it.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_parser = part, default_value = "0.01")]
    pub(crate) trace_sample: f64,
    /// Milliseconds until spans are sent, unless there are many before.
    #[arg(long, env = "OTEL_BSP_SCHEDULE_DELAY", default_value_t = 5_000)]
    pub(crate) trace_delay: u64,
}

impl TraceArgs {
    fn endpoint(&self) -> Option<&str> {
        // A variable that is set to nothing counts as not set.
        self.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty())
    }

    /// Which requests are sampled; `None` when nobody takes traces.
    pub(crate) fn sampling(&self) -> Option<Sampling> {
        self.endpoint().map(|_| Sampling { ratio: self.trace_sample, caller_decides: false })
    }
}

/// The workers' end of the queue.
#[derive(Debug)]
pub(crate) struct Traces {
    queue: mpsc::Sender<Vec<SpanData>>,
    losses: Arc<Losses>,
}

/// The other end, and where it leads.
#[derive(Debug)]
pub(crate) struct Export {
    exporter: SpanExporter,
    queue: mpsc::Receiver<Vec<SpanData>>,
    delay: Duration,
    timeout: Duration,
    losses: Arc<Losses>,
}

/// Both ends, when traces are wanted. To be called on the runtime that then runs the export.
pub(crate) fn start(
    args: &TraceArgs,
    pod: &Pod,
    losses: &Arc<Losses>,
) -> anyhow::Result<Option<(Traces, Export)>> {
    let Some(endpoint) = args.endpoint() else { return Ok(None) };
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| format!("cannot send traces to {endpoint}"))?;
    exporter.set_resource(&resource(pod));
    let (sender, queue) = mpsc::channel(QUEUE);
    let export = Export {
        exporter,
        queue,
        delay: Duration::from_millis(args.trace_delay),
        timeout: EXPORT_TIMEOUT,
        losses: Arc::clone(losses),
    };
    Ok(Some((Traces { queue: sender, losses: Arc::clone(losses) }, export)))
}

/// Who the spans are from. What the environment says of it (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) comes first.
fn resource(pod: &Pod) -> Resource {
    let own = [
        KeyValue::new("k8s.namespace.name", pod.namespace.clone()),
        KeyValue::new("k8s.pod.name", pod.name.clone()),
        KeyValue::new("k8s.pod.uid", pod.uid.clone()),
    ];
    let resource = Resource::builder().with_attributes(own);
    if std::env::var_os("OTEL_SERVICE_NAME").is_some() {
        resource.build()
    } else {
        resource.with_service_name(SERVICE).build()
    }
}

impl Traces {
    /// Queues the request's spans, if its trace is sampled.
    pub(crate) fn ended(&self, exchange: &Ended<'_>) {
        if let Some(details) = exchange.details
            && let Some(trace) = &details.trace
        {
            // Spans that there is no room for are not made.
            match self.queue.try_reserve() {
                Ok(room) => room.send(spans::of(exchange, details, trace)),
                Err(_) => {
                    self.losses.traces.fetch_add(1, Relaxed);
                }
            }
        }
    }
}

impl Export {
    /// Sends spans until nobody makes any.
    pub(crate) async fn run(mut self) {
        let listener = Listener::default();
        let listening = Dispatch::new(listener.clone());
        while let Some(first) = self.queue.recv().await {
            let mut batch = first;
            let mut requests = 1;
            let until = Instant::now() + self.delay;
            while batch.len() < BATCH {
                // Late, or nobody makes any more: what there is goes.
                let Ok(Some(more)) = timeout_at(until, self.queue.recv()).await else { break };
                batch.extend(more);
                requests += 1;
            }
            let exported = self.exporter.export(batch).with_subscriber(listening.clone());
            // It has a timeout of its own (OTEL_EXPORTER_OTLP_TIMEOUT, 10 s), but for its connection.
            let lost = match timeout(self.timeout, exported).await {
                Ok(Ok(())) => rejected(&listener, requests),
                Ok(Err(error)) => {
                    warn!(%error, requests, "traces are lost");
                    requests
                }
                Err(_) => {
                    warn!(after = ?self.timeout, requests, "traces are lost: nobody took them");
                    requests
                }
            };
            self.losses.traces.fetch_add(lost, Relaxed);
        }
    }
}

/// How many of so many requests the collector rejected spans of; as it does not say of which, each span counts as one.
fn rejected(listener: &Listener, requests: u64) -> u64 {
    let Rejected { spans, why } = listener.heard();
    if spans > 0 {
        warn!(spans, ?why, requests, "traces are lost: the collector rejected spans");
    }
    spans.min(requests)
}

#[cfg(test)]
mod tests;
