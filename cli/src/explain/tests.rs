//! That an autoscaler's answer is understood, and what is said when there is none.

use std::io::{Read, Write as _};

use super::*;

const STATE: &str = r#"{"leading": true, "term": {"transitions": 1, "boot": "01"}, "streams": 2, "revisions": [
  {"namespace": "shop", "function": "hello", "revision": "hello-1", "functionUid": "a", "replicas": 0, "gate": "Zero",
   "stage": "Routed", "decision": null, "inputs": null, "changes": []}]}"#;

/// Explains `function/NAME` of an autoscaler that answers once with this.
fn explained(function: &str, status: &str, body: &'static str) -> Result<(), ExplainError> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let autoscaler = Some(listener.local_addr().unwrap().to_string());
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    let asked = format!("GET /debug/state?function=shop/{function} HTTP/1.1\r\n");
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).unwrap();
        assert!(request[..read].starts_with(asked.as_bytes()));
        stream.write_all((head + body).as_bytes()).unwrap();
    });
    let arguments = Arguments {
        function: function.to_owned(),
        autoscaler,
        system_namespace: String::new(),
        lease: String::new(),
        json: true,
        connection: ConnectionArguments {
            namespace: Some("shop".to_owned()),
            ..ConnectionArguments::default()
        },
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
fn arguments_are_understood() {
    assert_eq!(function_name("function/hello").as_deref(), Ok("hello"));
    assert!(function_name("hello").is_err() && function_name("pod/hello").is_err());
    assert_eq!(authority("http://127.0.0.1:9090/").as_deref(), Ok("127.0.0.1:9090"));
    assert_eq!(authority("[::1]:9090").as_deref(), Ok("[::1]:9090"));
    assert!(authority("https://a:1").is_err() && authority("http://a").is_err());
}
