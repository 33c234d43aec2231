//! How requests of revisions end between which they move: asked of the leading autoscaler, only while some do.
//!
//! A Function is asked about from the first look at it in which it has a rollout, until one in which it has none or until nobody
//! looks any more. Whatever keeps the autoscaler from telling makes what is known unknown.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use catnap_crds::RolloutStatus;
use catnap_operator_core::{Counts, Owner, Rates};
use catnap_runtime::{
    Causes,
    backoff::GrowingDelay,
    channel::{self, ChannelError},
    leader::{Leader, replaced},
};
use catnap_wire::{
    RevisionId,
    codec::DecodeError,
    limits::{MAX_COUNTED, MAX_FRAME_BYTES},
    rates::{CountOf, Counted, Wanted},
    rates_proto::{self as proto, rates_client::RatesClient},
};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

/// How often the autoscaler is told what is asked, when that has changed.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// A Function at which nobody looked for so long is not asked about any more: while requests are watched it is looked at every
/// second. The next look asks again.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Longest time for the connection, its handshake and the leader's check of who we are.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Why nothing is told, or no more.
#[derive(Debug, thiserror::Error)]
enum RatesError {
    #[error("no connection to {holder}")]
    Connect {
        holder: String,
        #[source]
        source: ChannelError,
    },
    #[error("{holder} did not answer within {CONNECT_TIMEOUT:?}")]
    Timeout { holder: String },
    #[error("{holder} ended the stream")]
    Ended {
        holder: String,
        #[source]
        source: Box<Status>,
    },
    #[error("{holder} sent a frame that is refused")]
    Malformed {
        holder: String,
        #[source]
        source: DecodeError,
    },
}

/// What is asked, and what is known.
#[derive(Debug, Default)]
pub(crate) struct RateBook {
    functions: Mutex<HashMap<String, Asked>>,
    news: Notify,
}

/// Of one Function, by its UID.
#[derive(Debug)]
struct Asked {
    namespace: Arc<str>,
    /// By name; `None`: the autoscaler has said nothing.
    revisions: BTreeMap<String, Option<Known>>,
    known_since: Option<Timestamp>,
    looked_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    counts: Counts,
    complete: bool,
}

impl RateBook {
    /// What is known of the revisions of this Function between which requests move; from now on they are asked about.
    pub(crate) fn look(&self, owner: &Owner, rollout: Option<&RolloutStatus>) -> Rates {
        let mut functions = self.functions.lock();
        let Some(RolloutStatus { from, to, .. }) = rollout else {
            functions.remove(&owner.uid);
            return Rates::default();
        };
        let asked = functions.entry(owner.uid.clone()).or_insert_with(|| Asked {
            namespace: owner.namespace.as_str().into(),
            revisions: BTreeMap::new(),
            known_since: None,
            looked_at: Instant::now(),
        });
        asked.looked_at = Instant::now();
        asked.revisions.retain(|name, _| name == from || name == to);
        for name in [from, to] {
            if !asked.revisions.contains_key(name) {
                asked.revisions.insert(name.clone(), None);
                asked.known_since = None;
                self.news.notify_one();
            }
        }
        let counts =
            asked.revisions.iter().filter_map(|(name, known)| Some((name.clone(), (*known)?.counts)));
        Rates { known_since: asked.known_since, counts: counts.collect() }
    }

    /// Functions that are asked about, and those of them of which everything is known.
    pub(crate) fn count(&self) -> (usize, usize) {
        let functions = self.functions.lock();
        (functions.len(), functions.values().filter(|asked| asked.known_since.is_some()).count())
    }

    /// What is asked now. More than a frame may hold waits until there is room.
    fn wanted(&self) -> BTreeSet<RevisionId> {
        let mut functions = self.functions.lock();
        functions.retain(|_, asked| asked.looked_at.elapsed() < FORGOTTEN);
        let ids = functions.iter().flat_map(|(uid, asked)| {
            asked.revisions.keys().map(|name| RevisionId {
                namespace: asked.namespace.clone(),
                name: name.as_str().into(),
                function_uid: uid.as_str().into(),
            })
        });
        ids.take(MAX_COUNTED).collect()
    }

    /// Returns when something is asked.
    async fn asks(&self) {
        while self.functions.lock().is_empty() {
            self.news.notified().await;
        }
    }

    fn told(&self, counts: Vec<CountOf>, now: Timestamp) {
        let mut functions = self.functions.lock();
        for CountOf { revision, ended, errors, complete } in counts {
            let Some(asked) = functions.get_mut(&*revision.function_uid) else { continue };
            let Some(known) = asked.revisions.get_mut(&*revision.name) else { continue };
            *known = Some(Known { counts: Counts { ended, errors }, complete });
            let all = asked.revisions.values().all(|known| known.is_some_and(|known| known.complete));
            asked.known_since = if all { asked.known_since.or(Some(now)) } else { None };
        }
    }

    /// Nobody tells any more.
    fn lost(&self) {
        for asked in self.functions.lock().values_mut() {
            asked.known_since = None;
            asked.revisions.values_mut().for_each(|known| *known = None);
        }
    }
}

/// Asks whoever leads for as long as there is something to ask; ends when the Lease is no longer followed.
pub(crate) async fn keep_asking(
    book: Arc<RateBook>,
    mut leader: watch::Receiver<Option<Leader>>,
    token_file: PathBuf,
) {
    let mut delay = GrowingDelay::new(FIRST_RETRY, LAST_RETRY);
    loop {
        book.asks().await;
        let current = match leader.wait_for(Option::is_some).await {
            Ok(found) => found.clone(),
            Err(_) => return,
        };
        let Some(current) = current else { continue };
        leader.mark_unchanged();
        let ended = tokio::select! {
            ended = ask(&book, &current, &token_file, &mut delay) => ended,
            () = replaced(&mut leader, &current) => Ok(()),
        };
        book.lost();
        if let Err(error) = ended {
            tracing::warn!(error = %Causes(&error), "the autoscaler does not tell how requests end");
            tokio::select! {
                () = sleep(delay.delay()) => {}
                () = replaced(&mut leader, &current) => delay.start_over(),
            }
        }
    }
}

/// Asks one leader until nothing is asked any more.
async fn ask(
    book: &RateBook,
    leader: &Leader,
    token_file: &Path,
    delay: &mut GrowingDelay,
) -> Result<(), RatesError> {
    let holder = || leader.holder.clone();
    let (questions, mut counted) = timeout(CONNECT_TIMEOUT, open(leader, token_file))
        .await
        .map_err(|_| RatesError::Timeout { holder: holder() })??;
    let mut asked = BTreeSet::new();
    let mut tick = interval(ASK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let wanted = book.wanted();
                if wanted.is_empty() {
                    return Ok(());
                }
                // One that does not take what is asked is asked again a second later.
                if wanted != asked
                    && questions.try_send((&Wanted(wanted.iter().cloned().collect())).into()).is_ok()
                {
                    asked = wanted;
                }
            }
            message = counted.message() => {
                let message = message
                    .map_err(|source| RatesError::Ended { holder: holder(), source: Box::new(source) })?;
                let Some(message) = message else { return Ok(()) };
                let Counted(counts) = Counted::try_from(message)
                    .map_err(|source| RatesError::Malformed { holder: holder(), source })?;
                delay.start_over();
                book.told(counts, crate::context::Context::now());
            }
        }
    }
}

async fn open(
    leader: &Leader,
    token_file: &Path,
) -> Result<(mpsc::Sender<proto::Wanted>, Streaming<proto::Counted>), RatesError> {
    let holder = || leader.holder.clone();
    let failed = |source| RatesError::Connect { holder: holder(), source };
    let authorization = channel::authorization(token_file).await.map_err(failed)?;
    let channel = channel::open(leader).await.map_err(failed)?;
    let (questions, wanted) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(wanted));
    request.metadata_mut().insert("authorization", authorization);
    let mut client = RatesClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
    let response = client.watch(request).await;
    let response =
        response.map_err(|status| RatesError::Ended { holder: holder(), source: Box::new(status) })?;
    Ok((questions, response.into_inner()))
}

#[cfg(test)]
mod tests;
