//! How requests of revisions end between which they move: asked of the leading autoscaler, only while some do or soon will.
//!
//! A Function is asked about from the look that proves a revision or begins a rollout until one that does neither, or until nobody
//! looks any more. Whatever keeps the autoscaler from telling makes what is known unknown, and loses nothing that was counted.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use catnap_operator_core::{Counts, LONGEST_PAUSE, Owner, Rates};
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
/// A Function at which nobody looked for so long is not asked about any more: it is gone, or somebody else leads. While it may be
/// judged it is looked at far more often.
const FORGOTTEN: Duration = LONGEST_PAUSE.saturating_mul(5);
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
    #[error("{holder} ended the stream and did not say why")]
    Closed { holder: String },
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
    revisions: BTreeMap<String, Growth>,
    /// Since when these revisions are counted, all of them.
    counted_since: Option<Timestamp>,
    known_since: Option<Timestamp>,
    looked_at: Instant,
}

impl Asked {
    /// Nobody tells any more.
    fn lost(&mut self) {
        self.known_since = None;
        self.revisions.values_mut().for_each(Growth::lost);
    }
}

/// What ended of one revision since it is asked about. The autoscaler tells sums that begin anew where another one leads, where
/// nobody asked for a while, or where an activator forgot; so what they grow by is added up, between two that can be compared.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    /// The last complete sums on this stream.
    told: Option<Counts>,
    complete: bool,
    grown: Counts,
    /// Whether there ever were complete ones.
    begun: bool,
}

impl Growth {
    fn told(&mut self, told: Counts, complete: bool) {
        self.complete = complete;
        // What one activator has not told yet would count as new when it does.
        if !complete {
            return;
        }
        if let Some(before) = self.told.replace(told)
            && let Some(ended) = told.ended.checked_sub(before.ended)
            && let Some(errors) = told.errors.checked_sub(before.errors)
        {
            self.grown.ended = self.grown.ended.saturating_add(ended);
            self.grown.errors = self.grown.errors.saturating_add(errors).min(self.grown.ended);
        }
        self.begun = true;
    }

    fn lost(&mut self) {
        (self.told, self.complete) = (None, false);
    }
}

impl RateBook {
    /// What is known of this Function's revisions.
    pub(crate) fn rates(&self, owner: &Owner) -> Rates {
        let functions = self.functions.lock();
        let Some(asked) = functions.get(&owner.uid) else { return Rates::default() };
        let begun = asked.revisions.iter().filter(|(_, growth)| growth.begun);
        Rates {
            counted_since: asked.counted_since,
            known_since: asked.known_since,
            counts: begun.map(|(name, growth)| (name.clone(), growth.grown)).collect(),
        }
    }

    /// After a look at this Function: from now on these of its revisions are asked about, and no others.
    pub(crate) fn ask(&self, owner: &Owner, compared: Option<&[String; 2]>) {
        let mut functions = self.functions.lock();
        let Some(compared) = compared else {
            functions.remove(&owner.uid);
            return;
        };
        let asked = functions.entry(owner.uid.clone()).or_insert_with(|| Asked {
            namespace: owner.namespace.as_str().into(),
            revisions: BTreeMap::new(),
            counted_since: None,
            known_since: None,
            looked_at: Instant::now(),
        });
        asked.looked_at = Instant::now();
        asked.revisions.retain(|name, _| compared.contains(name));
        for name in compared {
            if !asked.revisions.contains_key(name) {
                asked.revisions.insert(name.clone(), Growth::default());
                (asked.counted_since, asked.known_since) = (None, None);
                self.news.notify_one();
            }
        }
    }

    /// Functions that are asked about, and those of them of which everything is known.
    pub(crate) fn count(&self) -> (usize, usize) {
        let functions = self.functions.lock();
        (functions.len(), functions.values().filter(|asked| asked.known_since.is_some()).count())
    }

    /// What is asked now. More than a frame may hold waits until there is room, and nothing is known of it until then.
    fn wanted(&self) -> BTreeSet<RevisionId> {
        let mut functions = self.functions.lock();
        functions.retain(|_, asked| asked.looked_at.elapsed() < FORGOTTEN);
        let mut all: Vec<_> = functions.iter_mut().collect();
        // Whoever comes later takes nobody's place.
        all.sort_by_key(|(_, asked)| asked.known_since.is_none());
        let mut wanted = BTreeSet::new();
        for (uid, asked) in all {
            if wanted.len() + asked.revisions.len() > MAX_COUNTED {
                asked.lost();
                continue;
            }
            wanted.extend(asked.revisions.keys().map(|name| RevisionId {
                namespace: asked.namespace.clone(),
                name: name.as_str().into(),
                function_uid: uid.as_str().into(),
            }));
        }
        wanted
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
            let Some(growth) = asked.revisions.get_mut(&*revision.name) else { continue };
            growth.told(Counts { ended, errors }, complete);
            if asked.revisions.values().all(|growth| growth.complete) {
                asked.counted_since.get_or_insert(now);
                asked.known_since.get_or_insert(now);
            } else {
                asked.known_since = None;
            }
        }
    }

    /// Nobody tells any more.
    fn lost(&self) {
        self.functions.lock().values_mut().for_each(Asked::lost);
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
    let opened = Instant::now();
    let mut asked = BTreeSet::new();
    let mut tick = interval(ASK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let wanted = book.wanted();
                if wanted.is_empty() {
                    delay.start_over();
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
                let Some(message) = message else {
                    let unasked = book.wanted().is_empty();
                    return if unasked { Ok(()) } else { Err(RatesError::Closed { holder: holder() }) };
                };
                let Counted(counts) = Counted::try_from(message)
                    .map_err(|source| RatesError::Malformed { holder: holder(), source })?;
                // Streams that tell and end at once, again and again, are no success.
                if opened.elapsed() >= LAST_RETRY {
                    delay.start_over();
                }
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
