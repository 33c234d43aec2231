//! A slot of a pod together with the connection that serves it: given back in the right order however the exchange ends.
//!
//! The connection is pooled or closed before the slot is freed, so that open connections never exceed a limit.

use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::Slot;
use catnap_wire::message::PodUid;
use http::Response;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::body::PodBody;
use crate::pool::{Pool, Unfinished, Want};
use crate::progress::Progress;
use crate::request_body::Watched;
use crate::upstream::{ConnectError, Link, SendError};

/// How long the pod may take to end an exchange whose request broke off, and to take another request after one.
const SETTLING: Duration = Duration::from_secs(1);

/// One exchange with a pod.
#[derive(Debug)]
pub(crate) struct Lease {
    /// `None` once freed.
    slot: Option<Slot>,
    pod: PodUid,
    link: Option<Link>,
    pool: Arc<Pool>,
    /// The last moment of what goes on without its client.
    until: Option<Instant>,
    /// The request's body, if there is one.
    upload: Option<Watched>,
    /// How long the pod says that it keeps the connection.
    pub(crate) keep_alive: Option<Duration>,
}

impl Lease {
    /// `until`: the last moment of what goes on without its client; `None` for as long as the pod likes.
    pub(crate) fn new(slot: Slot, pool: Arc<Pool>, until: Option<Instant>) -> Self {
        pool.used(slot.pod());
        let (pod, slot) = (Arc::clone(slot.pod()), Some(slot));
        Self { pod, slot, link: None, pool, until, upload: None, keep_alive: None }
    }

    /// A request is on its way. `upload`: its body, if there is one.
    pub(crate) fn watch(&mut self, upload: Option<Watched>) {
        self.upload = upload;
    }

    pub(crate) fn slot(&self) -> Option<&Slot> {
        self.slot.as_ref()
    }

    /// True when the exchange outlives its client.
    pub(crate) fn limited(&self) -> bool {
        self.slot.as_ref().is_some_and(Slot::limited)
    }

    /// Gets a connection to the pod, in place of the one it may have.
    pub(crate) async fn connect(&mut self, want: Want, timeout: Duration) -> Result<&mut Link, ConnectError> {
        self.close();
        self.upload = None;
        let Some(slot) = &self.slot else { return Err(ConnectError::GivenUp) };
        let link = self.pool.link(slot, want, timeout).await?;
        Ok(self.link.insert(link))
    }

    /// The connection turned out to be closed: no other exchange may begin on it. True when it had served others before,
    /// so that a new one may well work.
    pub(crate) fn connection_failed(&mut self) -> bool {
        let reused = self.link.as_ref().is_some_and(|link| link.reused);
        if let Some(link) = &self.link {
            self.pool.forget(&self.pod, link);
        }
        self.close();
        reused
    }

    /// The pod ended the exchange without the head of a response.
    pub(crate) fn blame(&mut self) {
        if let Some(slot) = &mut self.slot {
            slot.broke_off();
        }
    }

    /// Takes the slot out, for another pod: nothing reached this one.
    pub(crate) fn into_slot(mut self) -> Option<Slot> {
        self.close();
        self.slot.take()
    }

    /// The pod sent its last byte: pools the connection and frees the slot.
    pub(crate) fn finish(mut self) {
        let Some(mut link) = self.link.take() else { return };
        if link.is_shared() {
            if let Some(upload) = self.upload.take_if(|upload| !upload.is_over()) {
                self.pool.keep(&self.pod, Unfinished::wanted(link, upload, self.until));
            }
            return;
        }
        if link.is_ready() {
            self.put(link);
            return;
        }
        if !link.is_uploading() {
            link.socket().close();
            return;
        }
        let mut until = self.until;
        if self.limited() {
            until = Some(Instant::now() + SETTLING);
        } else {
            self.slot = None;
        }
        spawn(async move {
            if before(until, link.ready()).await == Some(true) {
                self.put(link);
            } else {
                link.socket().close();
            }
        });
    }

    /// Both sides said all that they wanted on a connection that carries no HTTP any more.
    pub(crate) fn end_tunnel(mut self) {
        if let Some(link) = self.link.take() {
            link.socket().close();
        }
    }

    /// Nobody waits for what was sent any more: with a limit the response is awaited and dropped all the same.
    pub(crate) fn go_on<S>(mut self, sending: S, request: Arc<Progress>)
    where
        S: Future<Output = Result<Response<PodBody>, SendError>> + Send + 'static,
    {
        if self.is_half_sent(&request) {
            drop(sending);
            return self.end_half_sent(request);
        }
        let until = self.until;
        let going_on = async move {
            if let Ok(response) = sending.await {
                return self.read_out(response.into_body(), request).await;
            }
            // Its stream is over, or its connection.
            self.upload = None;
            self.settle(&request).await;
        };
        spawn(async move {
            before(until, going_on).await;
        });
    }

    /// The client left: with a limit the rest of the response is read and dropped first. `answered`: it is there, and has all that it
    /// waits for.
    pub(crate) fn leave(self, response: PodBody, request: Arc<Progress>, answered: bool) {
        if !self.limited() {
            if answered && self.link.as_ref().is_some_and(Link::is_shared) {
                self.finish();
            }
            return;
        }
        if self.is_half_sent(&request) {
            drop(response);
            return self.end_half_sent(request);
        }
        let until = self.until;
        spawn(async move {
            before(until, self.read_out(response, request)).await;
        });
    }

    /// True when the client left before the end of its upload. A pod that does not read would have us find that out never: it
    /// comes behind what waits for the pod.
    fn is_half_sent(&self, request: &Progress) -> bool {
        // After a time limit the client may still be there.
        request.expiry().is_none() && self.upload.as_ref().is_some_and(Watched::lacks_bytes)
    }

    /// What nobody could read to its end has broken off.
    fn end_half_sent(self, request: Arc<Progress>) {
        request.break_request(None);
        self.break_off(request);
    }

    /// Reads the response to its end for nobody.
    async fn read_out(mut self, mut response: PodBody, request: Arc<Progress>) {
        loop {
            match response.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => {
                    self.upload = None;
                    return self.settle(&request).await;
                }
                None => return self.finish(),
            }
        }
    }

    /// The exchange broke off: the client its upload, or the pod what it began. A pod with a limit gets the end of the
    /// connection and a moment to end its own side, which it may have done already. A stream is over when it was reset.
    async fn settle(self, request: &Progress) {
        match &self.link {
            Some(link) if self.limited() && !link.is_shared() => link.socket().linger(SETTLING).await,
            Some(_) if self.limited() && request.broken() => tokio::time::sleep(SETTLING).await,
            Some(_) | None => {}
        }
    }

    /// As `settle`, for whom nobody waits.
    pub(crate) fn break_off(self, request: Arc<Progress>) {
        if self.limited() {
            spawn(async move { self.settle(&request).await });
        }
    }

    fn put(&self, link: Link) {
        self.pool.put(&self.pod, link, self.keep_alive);
    }

    /// The exchange ends here, whatever the pod still has to say.
    fn close(&mut self) {
        if let Some(link) = self.link.take_if(|link| !link.is_shared()) {
            link.socket().reset();
        }
        self.link = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(link) = self.link.take_if(|link| link.is_shared())
            && let Some(upload) = self.upload.take_if(|upload| !upload.is_over())
        {
            let slot = self.slot.take_if(|slot| slot.limited());
            self.pool.keep(&self.pod, Unfinished::abandoned(link, upload, slot));
        }
        // Before the slot: see above.
        self.close();
        self.pool.unused(&self.pod);
    }
}

/// What becomes of the future before `until`; it is dropped then, with what it holds.
async fn before<T>(until: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => timeout_at(until, future).await.ok(),
        None => Some(future.await),
    }
}

/// Goes on without the exchange's own task, which ends with its client.
fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    // There is none only when the worker itself ends, and every connection with it.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(future);
    }
}
