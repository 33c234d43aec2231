//! What is printed of an autoscaler's answer, and what is said when there is none.

use std::io::{Read, Write as _};

use super::*;

const STATE: &str = r#"{"leading": true, "term": {"transitions": 1}, "streams": 2, "revisions": [
  {"namespace": "shop", "function": "other", "revision": "other-1", "functionUid": "b", "replicas": 0, "gate": "Zero",
   "stage": "Routed", "decision": null, "inputs": null, "changes": []},
  {"namespace": "shop", "function": "hello", "revision": "hello-1", "functionUid": "a", "replicas": 3, "gate": "Up",
   "stage": "Routed",
   "decision": {"desired": 5, "panic": true, "atMax": true, "rule": "Max", "reasons": ["first", "not above scale.max: 5"],
    "secondsAgo": 0.4},
   "inputs": {"metric": "Concurrency", "stable": 12.5, "panic": 60.0, "goal": 7.0, "total": 10, "ready": 3, "arrivals": 9,
    "held": 0, "pressed": 61, "busy": true, "idle": false, "incomplete": false},
   "changes": [{"secondsAgo": 2.0, "from": 1, "to": 3, "reasons": ["a", "b"]},
    {"secondsAgo": 62.5, "from": 0, "to": 1, "reasons": []}]}]}"#;

#[test]
fn a_person_sees_the_decision_its_inputs_and_the_last_changes() {
    let state: State = serde_json::from_str(STATE).unwrap();
    let text: String = state.of("shop", "hello").iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        "hello-1: 3 replicas, stage Routed, gate Up
  needs 5, in panic, bound by Max, decided 0.4 s ago:
    first
    not above scale.max: 5
  from:
    Concurrency 12.50 (stable window), 60.00 (panic window); 7.00 a replica, of 10
    3 ready; 0 held without a pod, 61 without free capacity, 9 arrived in the last second
    busy
  changes, the latest first:
    2.0 s ago from 1 to 3: a; b
    62.5 s ago from 0 to 1: written by somebody else
"
    );
}

/// Explains `function/NAME` of an autoscaler that answers once with this.
fn explained(function: &str, status: &str, body: &'static str) -> Result<(), ExplainError> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let autoscaler = Some(listener.local_addr().unwrap().to_string());
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).unwrap();
        assert!(request[..read].starts_with(b"GET /debug/state HTTP/1.1\r\n"));
        stream.write_all((head + body).as_bytes()).unwrap();
    });
    let arguments = Arguments {
        function: function.to_owned(),
        namespace: "shop".to_owned(),
        autoscaler,
        system_namespace: String::new(),
        lease: String::new(),
        json: true,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(run(arguments));
    answering.join().unwrap();
    result
}

#[test]
fn an_answer_is_explained_or_it_is_said_why_not() {
    explained("hello", "200 OK", STATE).unwrap();
    let said = |result: Result<(), ExplainError>| result.unwrap_err().to_string();
    assert_eq!(
        said(explained("nobody", "200 OK", STATE)),
        "the autoscaler knows no revision of function/nobody in namespace shop"
    );
    assert!(said(explained("hello", "200 OK", r#"{"leading": false}"#)).contains("does not lead"));
    assert_eq!(
        said(explained("hello", "403 Forbidden", "only from within the pod\n")),
        "the autoscaler answered 403 Forbidden: only from within the pod"
    );
    assert!(
        said(explained("hello", "200 OK", "{}")).starts_with("the answer is not what an autoscaler tells")
    );
}

#[test]
fn arguments_and_kubectls_words_are_understood() {
    assert_eq!(function_name("function/hello").as_deref(), Ok("hello"));
    assert!(function_name("hello").is_err() && function_name("pod/hello").is_err());
    assert_eq!(authority("http://127.0.0.1:9090/").as_deref(), Ok("127.0.0.1:9090"));
    assert_eq!(authority("[::1]:9090").as_deref(), Ok("[::1]:9090"));
    assert!(authority("https://a:1").is_err() && authority("http://a").is_err());
    assert_eq!(forward::forwarded("Forwarding from 127.0.0.1:41234 -> 9090"), Some("127.0.0.1:41234"));
    assert_eq!(forward::forwarded("Handling connection for 9090"), None);
}
