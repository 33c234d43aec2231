//! What the API server's answers become, against scripted ones.

use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn revision() -> RevisionId {
    RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() }
}

type Seen = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// A client whose every call is answered with `code` and `body`, and what it called.
fn scripted(code: u16, body: Value) -> (ScaleClient, Seen) {
    let seen = Seen::default();
    let calls = Arc::clone(&seen);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (calls, body) = (Arc::clone(&calls), body.clone());
        async move {
            let (parts, sent) = request.into_parts();
            let sent = sent.collect().await?.to_bytes();
            let sent = serde_json::from_slice(&sent).unwrap_or(Value::Null);
            calls.lock().unwrap().push((parts.method, parts.uri.path().to_owned(), sent));
            let answer = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            Ok::<_, kube::Error>(answer.unwrap())
        }
    });
    (ScaleClient::new(Client::new(service, "default")), seen)
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "no"})
}

#[tokio::test]
async fn a_read_gives_the_count_and_its_version() {
    let (client, seen) = scripted(
        200,
        json!({"metadata": {"resourceVersion": "42"}, "spec": {"replicas": 3}, "status": {"replicas": 2}}),
    );
    let scale = client.read(&revision()).await.unwrap();
    assert_eq!(scale, Scale { replicas: 3, pods: 2, resource_version: "42".into() });
    let path = "/apis/apps/v1/namespaces/default/deployments/hello-1/scale";
    assert_eq!(*seen.lock().unwrap(), [(Method::GET, path.to_owned(), Value::Null)]);
}

#[tokio::test]
async fn a_count_of_zero_may_be_left_out() {
    let (client, _) = scripted(200, json!({"metadata": {"resourceVersion": "42"}, "spec": {}}));
    assert_eq!(client.read(&revision()).await.unwrap().replicas, 0);
}

#[tokio::test]
async fn a_raise_puts_the_count_under_the_version_that_was_read() {
    let (client, seen) =
        scripted(200, json!({"metadata": {"resourceVersion": "43"}, "spec": {"replicas": 2}}));
    client.raise(&revision(), 2, "42").await.unwrap();
    let seen = seen.lock().unwrap();
    let [(method, _, sent)] = seen.as_slice() else { panic!("one call, not {seen:?}") };
    assert_eq!(*method, Method::PUT);
    assert_eq!(sent["spec"]["replicas"], 2);
    assert_eq!(sent["metadata"]["resourceVersion"], "42");
    assert_eq!(sent["metadata"]["name"], "hello-1");
}

#[rstest]
#[case(409, "Conflict", ScaleError::Conflict)]
#[case(404, "NotFound", ScaleError::NotFound)]
#[case(403, "Forbidden", ScaleError::Failed("no".to_owned()))]
#[case(500, "InternalError", ScaleError::Failed("no".to_owned()))]
#[tokio::test]
async fn a_refusal_says_whether_to_read_again(
    #[case] code: u16,
    #[case] reason: &str,
    #[case] expected: ScaleError,
) {
    let (client, seen) = scripted(code, status(code, reason));
    assert_eq!(client.raise(&revision(), 1, "42").await, Err(expected.clone()));
    assert_eq!(client.read(&revision()).await, Err(expected));
    assert_eq!(seen.lock().unwrap().len(), 2, "no call is repeated by itself");
}

#[tokio::test(start_paused = true)]
async fn a_silent_api_server_is_given_up() {
    let service =
        tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, kube::Error>>());
    let client = ScaleClient::new(Client::new(service, "default"));
    assert!(matches!(client.read(&revision()).await, Err(ScaleError::Failed(_))));
}
