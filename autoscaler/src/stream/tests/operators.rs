//! The operators' stream beside the activators': who may open which, and what may be said on it.

use catnap_wire::limits::{MAX_COUNTED, MAX_NAME_BYTES};
use catnap_wire::rates::{CountOf, Counted, Wanted};
use catnap_wire::rates_proto::{self, rates_client::RatesClient};

use super::*;
use crate::driver::Asked;
use crate::outcomes::{Listener, Outcomes, WatcherId};

type Watched = (mpsc::Sender<rates_proto::Wanted>, Result<Streaming<rates_proto::Counted>, Status>);

const AUDIENCE: &[&str] = &["catnap-rates"];

async fn watch(address: (SocketAddr, Fingerprint), token: &str) -> Watched {
    let channel = channel(address.0, address.1).await.unwrap();
    let (wanted, outgoing) = mpsc::channel(16);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let response = RatesClient::new(channel).watch(request).await;
    (wanted, response.map(tonic::Response::into_inner))
}

fn revision(name: &str) -> RevisionId {
    RevisionId { namespace: "shop".into(), name: name.into(), function_uid: "uid".into() }
}

/// Connects as an operator, while the test plays the driver.
async fn watch_as_driver(server: &mut Server, outcomes: &mut Outcomes) -> (Watched, WatcherId) {
    let address = (server.address, server.fingerprint);
    let token = token_for(AUDIENCE, "operator");
    let driving = async {
        let Some(Input::Rates(Asked::Watch(listener, answer))) = server.inputs.recv().await else {
            panic!("an operator asks first")
        };
        let watcher = outcomes.watch(listener);
        answer.send(Ok(watcher)).unwrap();
        watcher
    };
    soon(async { tokio::join!(watch(address, &token), driving) }).await
}

#[tokio::test]
async fn an_operator_asks_and_is_told() {
    let mut server = start().await;
    let (answer, mut listening) = mpsc::channel::<Listener>(1);
    let address = (server.address, server.fingerprint);
    let operator = token_for(AUDIENCE, "operator");
    let mut outcomes = Outcomes::default();
    let driving = async {
        let Some(Input::Rates(Asked::Watch(listener, opened))) = server.inputs.recv().await else {
            panic!("an operator asks first")
        };
        let (frames, _) = mpsc::channel(1);
        let id = outcomes.watch(Listener::new(frames, &CancellationToken::new()));
        answer.send(listener).await.unwrap();
        opened.send(Ok(id)).unwrap();
        id
    };
    let ((wanted, counted), id) = soon(async { tokio::join!(watch(address, &operator), driving) }).await;
    let listener = listening.recv().await.unwrap();
    let asked = vec![revision("hello-1"), revision("hello-2")];
    wanted.send((&Wanted(asked.clone())).into()).await.unwrap();
    let input = soon(server.inputs.recv()).await;
    assert!(matches!(input, Some(Input::Rates(Asked::Want(of, found))) if of == id && found == asked));
    let told =
        Counted(vec![CountOf { revision: revision("hello-1"), ended: 200, errors: 3, complete: true }]);
    listener.tell(Ok(told.clone()));
    let mut counted = counted.unwrap();
    let got = soon(counted.message()).await.unwrap().unwrap();
    assert_eq!(Counted::try_from(got), Ok(told));
    listener.tell(Err(Status::unavailable("another process may lead")));
    drop(listener);
    let ended = soon(counted.message()).await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "another process may lead"));
    assert!(matches!(soon(server.inputs.recv()).await, Some(Input::Rates(Asked::Leave(of))) if of == id));
}

#[tokio::test]
async fn whoever_is_no_operator_is_refused_and_nobody_hears_of_it() {
    let mut server = start().await;
    let address = (server.address, server.fingerprint);
    let both = &["catnap", "catnap-rates"];
    for (audiences, name, code, label) in [
        // As an activator has it: not even reviewed.
        (&["catnap"][..], "activator", Code::Unauthenticated, "BadToken"),
        (both, "activator", Code::PermissionDenied, "NotAnOperator"),
        (both, "stranger", Code::PermissionDenied, "NotAnOperator"),
        (both, "namesake", Code::PermissionDenied, "NotAnOperator"),
        (both, "boss", Code::PermissionDenied, "NotAnOperator"),
        (both, "other-audience", Code::Unauthenticated, "BadToken"),
        (both, "forged", Code::Unauthenticated, "BadToken"),
    ] {
        let before = server.reviews.load(Ordering::SeqCst);
        let (_wanted, counted) = soon(watch(address, &token_for(audiences, name))).await;
        assert_eq!(counted.unwrap_err().code(), code, "{name}");
        let mut text = String::new();
        encode(&mut text, &server.registry).unwrap();
        let counted = format!("catnap_autoscaler_authentications_total{{outcome=\"{label}\"}}");
        assert!(text.contains(&counted), "{text}");
        let reviews = server.reviews.load(Ordering::SeqCst) - before;
        assert_eq!(reviews, usize::from(audiences.contains(&"catnap-rates")), "{name}");
    }
    assert!(server.inputs.try_recv().is_err(), "the driver never hears of them");
}

#[tokio::test]
async fn an_operator_measures_nothing() {
    let mut server = start().await;
    for (audiences, code) in
        [(AUDIENCE, Code::Unauthenticated), (&["catnap", "catnap-rates"][..], Code::PermissionDenied)]
    {
        let (_frames, stream) = soon(connect(&server, &token_for(audiences, "operator"))).await;
        assert_eq!(stream.unwrap_err().code(), code, "{audiences:?}");
    }
    assert!(server.inputs.try_recv().is_err());
}

#[tokio::test]
async fn what_an_operator_may_not_say_ends_its_stream_and_is_counted() {
    let named =
        |name: String| rates_proto::Revision { namespace: "shop".into(), name, function_uid: "uid".into() };
    for (wrong, why) in [
        (vec![named("x".repeat(MAX_NAME_BYTES + 1))], "revision.name must have"),
        (vec![named(String::new())], "revision.name must have"),
        (vec![named("hello-1".into()); MAX_COUNTED + 1], "wanted.revisions is"),
    ] {
        let mut server = start().await;
        let mut outcomes = Outcomes::default();
        let ((wanted, counted), id) = watch_as_driver(&mut server, &mut outcomes).await;
        wanted.send(rates_proto::Wanted { revisions: wrong }).await.unwrap();
        let ended = soon(counted.unwrap().message()).await.unwrap_err();
        assert_eq!(ended.code(), Code::InvalidArgument);
        assert!(ended.message().contains(why), "{}", ended.message());
        assert!(metric(&server, "catnap_autoscaler_frames_refused_total 1"));
        let left = soon(server.inputs.recv()).await;
        assert!(matches!(left, Some(Input::Rates(Asked::Leave(of))) if of == id));
    }
}

#[tokio::test]
async fn only_a_leader_tells() {
    let mut server = start().await;
    let address = (server.address, server.fingerprint);
    let operator = token_for(AUDIENCE, "operator");
    let driving = async {
        let Some(Input::Rates(Asked::Watch(_, answer))) = server.inputs.recv().await else {
            panic!("an operator asks first")
        };
        answer.send(Err(Refusal::NotLeading)).unwrap();
    };
    let ((_wanted, counted), ()) = soon(async { tokio::join!(watch(address, &operator), driving) }).await;
    let refused = counted.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "not the leader"));
}
