//! A tiny API server that keeps one Lease, on tokio's paused clock.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use k8s_openapi::api::coordination::v1::Lease;
use kube::client::Body;
use kube::{Client, core::Status};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    ACT_WITHIN, ADDRESS_ANNOTATION, DURATION, Election, FINGERPRINT_ANNOTATION, Leadership, LeaseSettings,
    RENEW_EVERY,
};
use crate::tls::SelfMade;

type Answer = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Clone, Default)]
struct Server {
    lease: Arc<watch::Sender<Option<Lease>>>,
    /// Nothing is answered, though writes land.
    mute: Arc<AtomicBool>,
    /// Nothing is answered, and nothing lands.
    down: Arc<AtomicBool>,
    /// Watches say nothing.
    blind: Arc<AtomicBool>,
}

impl Server {
    /// The same Lease over a network of its own.
    fn elsewhere(&self) -> Self {
        Self { lease: Arc::clone(&self.lease), ..Self::default() }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let answer = if server.down.load(Ordering::SeqCst) {
                        None
                    } else {
                        let answer = server.answer(&parts, &body);
                        (!server.mute.load(Ordering::SeqCst)).then_some(answer)
                    };
                    match answer {
                        Some(answer) => Ok::<_, Infallible>(answer),
                        None => std::future::pending().await,
                    }
                }
            }),
            "catnap-system",
        )
    }

    fn answer(&self, request: &http::request::Parts, body: &[u8]) -> Response<Answer> {
        let kept = self.lease.borrow().clone();
        if request.method == Method::GET {
            let query = request.uri.query().unwrap_or_default();
            return match (request.uri.path().ends_with("/leases"), query.contains("watch=true")) {
                (true, true) => self.changes(),
                (true, false) => json(
                    StatusCode::OK,
                    &serde_json::json!({
                        "kind": "LeaseList",
                        "apiVersion": "coordination.k8s.io/v1",
                        "metadata": { "resourceVersion": "1" },
                        "items": kept.as_slice(),
                    }),
                ),
                _ => {
                    kept.map_or_else(|| refusal(StatusCode::NOT_FOUND), |lease| json(StatusCode::OK, &lease))
                }
            };
        }
        let mut sent: Lease = serde_json::from_slice(body).unwrap();
        let version = kept.and_then(|lease| lease.metadata.resource_version);
        if sent.metadata.resource_version != version {
            return refusal(StatusCode::CONFLICT);
        }
        let next = version.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
        sent.metadata.resource_version = Some(next.to_string());
        self.lease.send_replace(Some(sent.clone()));
        json(StatusCode::OK, &sent)
    }

    /// A watch: what there is, and every change of it that the network lets through.
    fn changes(&self) -> Response<Answer> {
        let mut lease = self.lease.subscribe();
        lease.mark_changed();
        let events =
            stream::unfold((self.clone(), lease, None), |(server, mut lease, mut known)| async move {
                loop {
                    lease.changed().await.unwrap();
                    let now = lease.borrow_and_update().clone();
                    let (kind, object) = match (&now, &known) {
                        (Some(now), _) => ("MODIFIED", now.clone()),
                        (None, Some(known)) => ("DELETED", Lease::clone(known)),
                        (None, None) => continue,
                    };
                    known = now;
                    if server.down.load(Ordering::SeqCst) || server.blind.load(Ordering::SeqCst) {
                        continue;
                    }
                    let line = format!("{}\n", serde_json::json!({ "type": kind, "object": object }));
                    let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(line)));
                    return Some((frame, (server, lease, known)));
                }
            });
        Response::new(StreamBody::new(events).boxed_unsync())
    }

    fn holder(&self) -> Option<String> {
        self.lease.borrow().as_ref()?.spec.as_ref()?.holder_identity.clone()
    }

    /// Somebody writes something into it.
    fn edit(&self, change: impl FnOnce(&mut Lease)) {
        self.lease.send_modify(|kept| {
            let lease = kept.as_mut().unwrap();
            let version = lease.metadata.resource_version.as_ref().unwrap().parse::<u64>().unwrap();
            lease.metadata.resource_version = Some((version + 100).to_string());
            change(lease);
        });
    }
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Response<Answer> {
    let body = serde_json::to_vec(body).unwrap();
    Response::builder().status(status).body(Full::from(body).boxed_unsync()).unwrap()
}

fn refusal(code: StatusCode) -> Response<Answer> {
    let reason = code.canonical_reason().unwrap().replace(' ', "");
    let status = Status::failure("refused", &reason).with_code(code.as_u16());
    json(code, &status)
}

struct Candidate {
    leadership: watch::Receiver<Option<Leadership>>,
    release: CancellationToken,
    run: JoinHandle<()>,
}

impl Candidate {
    fn start(server: &Server, holder: &str) -> Self {
        let annotations = [(ADDRESS_ANNOTATION.to_owned(), "10.0.0.1:9443".to_owned())].into();
        let settings = LeaseSettings {
            namespace: "catnap-system".into(),
            name: "catnap-autoscaler".into(),
            holder: holder.into(),
            annotations,
        };
        let (election, leadership) = Election::new(server.client(), settings);
        let release = CancellationToken::new();
        let run = tokio::spawn(election.run(release.clone()));
        Self { leadership, release, run }
    }

    async fn wait_for(&mut self, leads: bool) -> Option<Leadership> {
        let waited = self.leadership.wait_for(|leadership| leadership.is_some() == leads);
        timeout(Duration::from_secs(60), waited).await.unwrap().unwrap().clone()
    }
}

/// More than the events at one moment of the paused clock may be apart.
const LATENCY: Duration = Duration::from_millis(50);

/// Moves the paused clock on, through every timer on the way.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_and_the_second_stands_by() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    let leadership = first.wait_for(true).await.unwrap();
    assert_eq!(leadership.transitions, 1);
    let second = Candidate::start(&server, "b");
    pass(10 * DURATION).await;
    assert!(leadership.is_valid(Instant::now()));
    assert!(second.leadership.borrow().is_none());
    assert_eq!(server.holder().as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once_with_another_term() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    let leadership = first.wait_for(true).await.unwrap();
    let mut second = Candidate::start(&server, "b");
    pass(RENEW_EVERY / 2).await;
    let begin = Instant::now();
    first.release.cancel();
    let next = second.wait_for(true).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO, "nothing waited for a timer");
    assert!(!leadership.is_valid(Instant::now()), "two lead at once");
    assert!(first.leadership.borrow().is_none());
    assert_eq!(next.transitions, leadership.transitions + 1);
}

#[tokio::test(start_paused = true)]
async fn of_many_candidates_one_takes_what_is_released() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    first.wait_for(true).await;
    let others = ["b", "c", "d"].map(|holder| Candidate::start(&server, holder));
    pass(RENEW_EVERY / 2).await;
    first.release.cancel();
    first.run.await.unwrap();
    for _ in 0..20 {
        pass(DURATION / 4).await;
        let leaders = others.iter().filter(|other| other.leadership.borrow().is_some()).count();
        assert_eq!(leaders, 1);
    }
    let transitions = |lease: &Lease| super::object::transitions(lease);
    assert_eq!(server.lease.borrow().as_ref().map(transitions), Some(2), "and nobody took it again");
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_leader_that_died_is_taken_within_its_duration() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    let lost = first.wait_for(true).await.unwrap();
    let mut second = Candidate::start(&server, "b");
    // Right after a renewal is the worst moment.
    pass(RENEW_EVERY + LATENCY).await;
    first.run.abort();
    let begin = Instant::now();
    let next = second.wait_for(true).await.unwrap();
    let took = begin.elapsed();
    assert!(took <= DURATION && took + 2 * LATENCY >= DURATION, "{took:?}");
    assert!(!lost.is_valid(Instant::now()), "it had stopped long before");
    assert_eq!(next.transitions, lost.transitions + 1);
}

/// Nothing is told by the watch: what a candidate does by its own clock alone is late, but neither wrong nor for ever.
#[rstest::rstest]
#[case::released(true)]
#[case::died(false)]
#[tokio::test(start_paused = true)]
async fn a_silent_watch_delays_by_one_duration_at_most(#[case] released: bool) {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    let leadership = first.wait_for(true).await.unwrap();
    let others = server.elsewhere();
    let mut second = Candidate::start(&others, "b");
    pass(RENEW_EVERY / 2).await;
    others.blind.store(true, Ordering::SeqCst);
    pass(5 * DURATION).await;
    assert!(leadership.is_valid(Instant::now()), "whoever renews is not taken for dead");
    assert!(second.leadership.borrow().is_none());
    if released {
        first.release.cancel();
    } else {
        first.run.abort();
    }
    let begin = Instant::now();
    second.wait_for(true).await;
    assert!(begin.elapsed() <= 2 * DURATION + RENEW_EVERY, "{:?}", begin.elapsed());
}

/// A take-over that got no answer has landed: whoever holds the Lease then leads.
#[tokio::test(start_paused = true)]
async fn a_take_over_without_an_answer_is_a_term_all_the_same() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    first.wait_for(true).await;
    let others = server.elsewhere();
    let mut second = Candidate::start(&others, "b");
    pass(RENEW_EVERY / 2).await;
    others.mute.store(true, Ordering::SeqCst);
    first.release.cancel();
    pass(LATENCY).await;
    assert_eq!(server.holder().as_deref(), Some("b"), "its write landed");
    assert!(second.leadership.borrow().is_none());
    others.mute.store(false, Ordering::SeqCst);
    let next = second.wait_for(true).await.unwrap();
    assert!(next.transitions > 2, "whatever came of the first, this is another term");
    assert!(next.is_valid(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn release_takes_the_annotations_away() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    first.wait_for(true).await;
    let annotations = |server: &Server| server.lease.borrow().clone().unwrap().metadata.annotations.unwrap();
    assert!(annotations(&server).contains_key(ADDRESS_ANNOTATION));
    first.release.cancel();
    first.run.await.unwrap();
    assert!(annotations(&server).is_empty());
    assert_eq!(server.holder(), None);
}

#[tokio::test(start_paused = true)]
async fn a_leader_stops_acting_before_another_may_take_over() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    let leadership = first.wait_for(true).await.unwrap();
    let others = server.elsewhere();
    let mut second = Candidate::start(&others, "b");
    server.down.store(true, Ordering::SeqCst);
    let begin = Instant::now();
    first.wait_for(false).await;
    assert!(begin.elapsed() <= ACT_WITHIN);
    assert!(!leadership.is_valid(Instant::now()));
    assert!(second.leadership.borrow().is_none());
    second.wait_for(true).await;
    let took = begin.elapsed();
    assert!(took <= DURATION && took + RENEW_EVERY >= DURATION, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn leadership_runs_out_by_itself() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    let leadership = first.wait_for(true).await.unwrap();
    assert!(leadership.is_valid(Instant::now()));
    assert!(!leadership.is_valid(Instant::now() + ACT_WITHIN));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_landed_without_an_answer_is_not_a_loss() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    first.wait_for(true).await;
    server.mute.store(true, Ordering::SeqCst);
    pass(RENEW_EVERY + super::REQUEST_TIMEOUT / 2).await;
    server.mute.store(false, Ordering::SeqCst);
    pass(2 * DURATION).await;
    assert!(first.leadership.borrow().as_ref().unwrap().is_valid(Instant::now()));
    assert_eq!(first.leadership.borrow().as_ref().unwrap().transitions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_replaced_stops_at_its_next_renewal() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    let leadership = first.wait_for(true).await.unwrap();
    server.edit(|lease| lease.spec.as_mut().unwrap().holder_identity = Some("b".into()));
    first.wait_for(false).await;
    assert!(!leadership.is_valid(Instant::now()));
    assert_eq!(server.holder().as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_created_again_with_a_later_term() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    let lost = first.wait_for(true).await.unwrap();
    let mut second = Candidate::start(&server, "b");
    pass(RENEW_EVERY / 2).await;
    first.run.abort();
    let begin = Instant::now();
    server.lease.send_replace(None);
    let created = second.wait_for(true).await.unwrap();
    assert!(begin.elapsed() <= LATENCY, "{:?}", begin.elapsed());
    assert!(created.transitions > lost.transitions);
}

#[test]
fn only_a_complete_advertisement_is_read() {
    let fingerprint = SelfMade::generate("x").unwrap().fingerprint();
    let lease = |annotations: serde_json::Value, holder: &str| {
        let spec = serde_json::json!({ "holderIdentity": holder, "leaseTransitions": 7 });
        serde_json::from_value::<Lease>(
            serde_json::json!({ "metadata": { "annotations": annotations }, "spec": spec }),
        )
        .unwrap()
    };
    let complete = serde_json::json!({
        ADDRESS_ANNOTATION: "10.0.0.1:9443",
        FINGERPRINT_ANNOTATION: fingerprint.to_string(),
    });
    let read = super::advertised(&lease(complete.clone(), "a_1")).unwrap();
    assert_eq!((read.transitions, read.address.port(), read.fingerprint), (7, 9443, fingerprint));
    assert_eq!(super::advertised(&lease(complete, "")), None);
    assert_eq!(
        super::advertised(&lease(serde_json::json!({ ADDRESS_ANNOTATION: "10.0.0.1:9443" }), "a_1")),
        None
    );
}
