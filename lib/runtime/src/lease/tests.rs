//! A tiny API server that keeps one Lease, on tokio's paused clock.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::client::Body;
use kube::{Client, core::Status};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    ACT_WITHIN, ADDRESS_ANNOTATION, DURATION, Election, FINGERPRINT_ANNOTATION, Leadership, LeaseSettings,
};
use crate::tls::SelfMade;

#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Lease>>>,
    /// Nothing is answered, though writes land.
    mute: Arc<AtomicBool>,
    /// Nothing is answered, and nothing lands.
    down: Arc<AtomicBool>,
}

impl Server {
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
                        let answer = server.answer(&parts.method, &body);
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

    fn answer(&self, method: &Method, body: &[u8]) -> Response<Body> {
        let mut kept = self.lease.lock();
        if *method == Method::GET {
            return kept
                .as_ref()
                .map_or_else(|| refusal(StatusCode::NOT_FOUND), |lease| json(StatusCode::OK, lease));
        }
        let mut sent: Lease = serde_json::from_slice(body).unwrap();
        let version = kept.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if sent.metadata.resource_version != version {
            return refusal(StatusCode::CONFLICT);
        }
        let next = version.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
        sent.metadata.resource_version = Some(next.to_string());
        json(StatusCode::OK, kept.insert(sent))
    }

    fn holder(&self) -> Option<String> {
        self.lease.lock().as_ref()?.spec.as_ref()?.holder_identity.clone()
    }
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Response<Body> {
    let body = serde_json::to_vec(body).unwrap();
    Response::builder().status(status).body(Body::from(body)).unwrap()
}

fn refusal(code: StatusCode) -> Response<Body> {
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
    first.release.cancel();
    first.run.await.unwrap();
    assert!(first.leadership.borrow().is_none());
    let begin = Instant::now();
    let next = second.wait_for(true).await.unwrap();
    assert!(begin.elapsed() <= super::LOOK_EVERY, "{:?}", begin.elapsed());
    assert_eq!(next.transitions, leadership.transitions + 1);
}

#[tokio::test(start_paused = true)]
async fn release_takes_the_annotations_away() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "a");
    first.wait_for(true).await;
    let annotations = |server: &Server| server.lease.lock().clone().unwrap().metadata.annotations.unwrap();
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
    let cut_off = Arc::new(AtomicBool::new(false));
    let others = Server { lease: Arc::clone(&server.lease), down: Arc::clone(&cut_off), ..Server::default() };
    let mut second = Candidate::start(&others, "b");
    server.down.store(true, Ordering::SeqCst);
    let begin = Instant::now();
    first.wait_for(false).await;
    assert!(begin.elapsed() <= ACT_WITHIN);
    assert!(!leadership.is_valid(Instant::now()));
    assert!(second.leadership.borrow().is_none());
    second.wait_for(true).await;
    assert!(begin.elapsed() >= DURATION);
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
    pass(super::RENEW_EVERY + super::REQUEST_TIMEOUT / 2).await;
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
    {
        let mut kept = server.lease.lock();
        let lease = kept.as_mut().unwrap();
        lease.metadata.resource_version = Some("100".into());
        lease.spec.as_mut().unwrap().holder_identity = Some("b".into());
    }
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
    pass(super::LOOK_EVERY).await;
    first.release.cancel();
    first.run.await.unwrap();
    *server.lease.lock() = None;
    let created = second.wait_for(true).await.unwrap();
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
