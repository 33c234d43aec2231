//! The measurement stream of activators: gRPC over TLS, one bidirectional stream each, only while this process leads.
//!
//! It authenticates, decodes and hands frames to the driver in order; what a frame means is none of its business.

use std::sync::Arc;

use catnap_autoscaler_core::StreamId;
use catnap_runtime::{CancellationToken, Causes};
use catnap_wire::proto::{self, measurements_server};
use catnap_wire::{ActivatorFrame, LeaderFrame, PodUid};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

pub(crate) mod authentication;
mod claims;
pub(crate) mod rates;
pub(crate) mod server;

use crate::driver::{Input, OUTGOING_FRAMES, Opening, Outgoing, Refusal};
use crate::metrics::Metrics;
use authentication::{AuthenticationError, Authenticator, Role};

/// The service.
#[derive(Clone)]
pub(crate) struct Measurements {
    authenticator: Arc<Authenticator>,
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
    /// Cancelled when a stream was accepted on the connection that this is for.
    proved: CancellationToken,
}

impl Measurements {
    pub(crate) fn new(authenticator: Authenticator, inputs: mpsc::Sender<Input>, metrics: Metrics) -> Self {
        Self { authenticator: Arc::new(authenticator), inputs, metrics, proved: CancellationToken::new() }
    }

    /// The service for one connection; `proved` is cancelled when an activator's stream is accepted on it.
    fn on_connection(&self, proved: CancellationToken) -> Self {
        Self { proved, ..self.clone() }
    }

    async fn open(&self, pod: PodUid, outgoing: Outgoing) -> Result<StreamId, Status> {
        let (answer, answered) = oneshot::channel();
        let stopping = |_| Status::unavailable("stopping");
        let opening = Input::Open(Opening { pod, outgoing, answer });
        self.inputs.send(opening).await.map_err(|_| Status::unavailable("stopping"))?;
        let opened = answered.await.map_err(stopping)?;
        self.metrics.authentication(outcome(&opened));
        opened.map_err(Status::from)
    }
}

/// UID of the pod that a call comes from.
async fn authenticate(
    authenticator: &Authenticator,
    metrics: &Metrics,
    metadata: &MetadataMap,
) -> Result<PodUid, Status> {
    let header = metadata.get("authorization").and_then(|header| header.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
    authenticator.authenticate(token).await.map_err(|error| {
        metrics.authentication(error.name());
        tracing::warn!(error = %Causes(&error), "a stream is refused");
        match error {
            AuthenticationError::Busy | AuthenticationError::Review { .. } | AuthenticationError::Timeout => {
                Status::unavailable("cannot check the token now")
            }
            AuthenticationError::BadToken => Status::unauthenticated("the token is not valid here"),
            AuthenticationError::Stranger { role: Role::Activator, .. } => {
                Status::permission_denied("not an activator")
            }
            AuthenticationError::Stranger { role: Role::Operator, .. } => {
                Status::permission_denied("not an operator")
            }
        }
    })
}

/// What the metric says of a stream that was let in, or not.
fn outcome<T>(opened: &Result<T, Refusal>) -> &'static str {
    match opened {
        Ok(_) => "Accepted",
        Err(Refusal::NotLeading) => "NotLeading",
        Err(Refusal::UnknownPod) => "UnknownPod",
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotLeading => Self::unavailable("not the leader"),
            // Most likely a new pod that the watch is about to see.
            Refusal::UnknownPod => Self::unavailable("no such activator pod is known"),
        }
    }
}

#[tonic::async_trait]
impl measurements_server::Measurements for Measurements {
    type ConnectStream = BoxStream<'static, Result<proto::LeaderFrame, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<proto::ActivatorFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let pod = authenticate(&self.authenticator, &self.metrics, request.metadata()).await?;
        let (outgoing, frames) = mpsc::channel(OUTGOING_FRAMES);
        let weak_outgoing = outgoing.downgrade();
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let stream = self.open(pod.clone(), Outgoing { frames: outgoing, _ended: guard }).await?;
        self.proved.cancel();
        tracing::info!(stream = stream.0, %pod, "an activator connected");
        let reading = Reading {
            stream,
            outgoing: weak_outgoing,
            inputs: self.inputs.clone(),
            metrics: self.metrics.clone(),
        };
        tokio::spawn(async move { ended.run_until_cancelled(reading.run(request.into_inner())).await });
        let frames =
            ReceiverStream::new(frames).map(|frame| frame.map(|frame| proto::LeaderFrame::from(&frame)));
        Ok(Response::new(frames.boxed()))
    }
}

/// The reading half of one stream.
struct Reading {
    stream: StreamId,
    /// Weak, so that the driver alone decides how long the stream lives.
    outgoing: mpsc::WeakSender<Result<LeaderFrame, Status>>,
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
}

impl Reading {
    async fn run(self, mut incoming: Streaming<proto::ActivatorFrame>) {
        loop {
            match incoming.message().await {
                Ok(Some(message)) => match ActivatorFrame::try_from(message) {
                    Ok(frame) => {
                        self.metrics.frame_taken();
                        if self.inputs.send(Input::Frame(self.stream, frame, Instant::now())).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        self.refuse(&error.to_string());
                        break;
                    }
                },
                Ok(None) => break,
                Err(status) => {
                    if status.code() == tonic::Code::OutOfRange || status.code() == tonic::Code::Internal {
                        self.refuse(status.message());
                    }
                    break;
                }
            }
        }
        tracing::info!(stream = self.stream.0, "an activator's stream ended");
        let _ = self.inputs.send(Input::Closed(self.stream)).await;
    }

    fn refuse(&self, why: &str) {
        tracing::warn!(stream = self.stream.0, why, "a frame is refused");
        self.metrics.frame_refused();
        if let Some(outgoing) = self.outgoing.upgrade() {
            let _ = outgoing.try_send(Err(Status::invalid_argument(why)));
        }
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
