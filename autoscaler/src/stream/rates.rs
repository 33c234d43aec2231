//! The operator's stream, on the activators' port: how requests end, for whoever has an operator's token.
//!
//! As with activators it authenticates, decodes and hands on; the driver answers.

use std::sync::Arc;

use catnap_runtime::CancellationToken;
use catnap_wire::rates::Wanted;
use catnap_wire::rates_proto::{self as proto, rates_server};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::authentication::Authenticator;
use super::{authenticate, outcome};
use crate::driver::{Asked, Input};
use crate::metrics::Metrics;
use crate::outcomes::{Listener, WAITING_FRAMES, WatcherId};

/// The service.
#[derive(Clone)]
pub(crate) struct Rates {
    authenticator: Arc<Authenticator>,
    inputs: mpsc::Sender<Input>,
    metrics: Metrics,
    /// Cancelled when a stream was accepted on the connection that this is for.
    proved: CancellationToken,
}

impl Rates {
    pub(crate) fn new(authenticator: Authenticator, inputs: mpsc::Sender<Input>, metrics: Metrics) -> Self {
        Self { authenticator: Arc::new(authenticator), inputs, metrics, proved: CancellationToken::new() }
    }

    /// The service for one connection; `proved` is cancelled when an operator's stream is accepted on it.
    pub(super) fn on_connection(&self, proved: CancellationToken) -> Self {
        Self { proved, ..self.clone() }
    }

    async fn open(&self, listener: Listener) -> Result<WatcherId, Status> {
        let (answer, answered) = oneshot::channel();
        let watch = Input::Rates(Asked::Watch(listener, answer));
        self.inputs.send(watch).await.map_err(|_| Status::unavailable("stopping"))?;
        let opened = answered.await.map_err(|_| Status::unavailable("stopping"))?;
        self.metrics.authentication(outcome(&opened));
        opened.map_err(Status::from)
    }
}

#[tonic::async_trait]
impl rates_server::Rates for Rates {
    type WatchStream = BoxStream<'static, Result<proto::Counted, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<proto::Wanted>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let pod = authenticate(&self.authenticator, &self.metrics, request.metadata()).await?;
        let (frames, counted) = mpsc::channel(WAITING_FRAMES);
        let ended = CancellationToken::new();
        let refusals = frames.downgrade();
        let watcher = self.open(Listener::new(frames, &ended)).await?;
        self.proved.cancel();
        tracing::info!(%pod, "an operator connected");
        let (inputs, metrics) = (self.inputs.clone(), self.metrics.clone());
        tokio::spawn(async move {
            let reading = read(watcher, request.into_inner(), &inputs);
            if let Some(Err(refused)) = ended.run_until_cancelled(reading).await {
                tracing::warn!(error = %refused, "a frame of an operator is refused");
                metrics.frame_refused();
                if let Some(frames) = refusals.upgrade() {
                    let _ = frames.try_send(Err(Status::invalid_argument(refused.to_string())));
                }
            }
            tracing::info!(%pod, "an operator's stream ended");
            let _ = inputs.send(Input::Rates(Asked::Leave(watcher))).await;
        });
        let counted =
            ReceiverStream::new(counted).map(|counted| counted.map(|counted| proto::Counted::from(&counted)));
        Ok(Response::new(counted.boxed()))
    }
}

/// Hands on what is wanted until the stream ends, or says what cannot be.
async fn read(
    watcher: WatcherId,
    mut incoming: Streaming<proto::Wanted>,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), catnap_wire::codec::DecodeError> {
    while let Ok(Some(message)) = incoming.message().await {
        let Wanted(revisions) = Wanted::try_from(message)?;
        if inputs.send(Input::Rates(Asked::Want(watcher, revisions))).await.is_err() {
            break;
        }
    }
    Ok(())
}
