//! That an autoscaler's answer is understood, and what is said when there is none.

use std::io::{Read, Write as _};

use super::*;
use crate::terminal::fake::FakeTerminal;

const STATE: &str = r#"{"leading": true, "term": {"transitions": 1, "boot": "01"}, "streams": 2, "revisions": [
  {"namespace": "shop", "function": "hello", "revision": "hello-1", "functionUid": "a", "replicas": 0, "gate": "Zero",
   "stage": "Routed", "decision": null, "inputs": null, "changes": []}]}"#;

/// Explains `function/NAME` of an autoscaler that answers once with this: what is printed.
fn explained(
    function: &str,
    output: PageFormat,
    status: &str,
    body: &'static str,
) -> Result<String, ExplainError> {
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
        output,
        autoscaler,
        system_namespace: String::new(),
        lease: String::new(),
        connection: ConnectionArguments {
            namespace: Some("shop".to_owned()),
            ..ConnectionArguments::default()
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut fake = FakeTerminal::piped();
    let result = runtime.block_on(run(arguments, &mut fake.terminal));
    answering.join().unwrap();
    result.map(|()| fake.out.take())
}

#[test]
fn an_answer_is_explained_or_it_is_said_why_not() {
    let text = explained("hello", PageFormat::Table, "200 OK", STATE).unwrap();
    assert!(text.contains("hello-1: 0 replicas, stage Routed, gate Zero\n"), "{text}");
    let told = |function: &str, status: &str, body: &'static str| {
        let error = explained(function, PageFormat::Table, status, body).unwrap_err();
        assert!(error.advice().is_some(), "{error}");
        (error.to_string(), error.exit())
    };
    let unknown = "the autoscaler knows no revision of function/nobody in namespace shop";
    assert_eq!(told("nobody", "200 OK", STATE), (unknown.to_owned(), Exit::NotFound));
    assert!(told("hello", "200 OK", r#"{"leading": false}"#).0.contains("does not lead"));
    let refused = "the autoscaler answered 403 Forbidden: only from within the pod";
    assert_eq!(
        told("hello", "403 Forbidden", "only from within the pod\n"),
        (refused.to_owned(), Exit::Failed)
    );
    assert!(told("hello", "200 OK", "{}").0.starts_with("the answer is not what an autoscaler tells"));
}

#[test]
fn programs_get_the_same_as_json_and_as_yaml() {
    let shown = |output| explained("hello", output, "200 OK", STATE).unwrap();
    let json: serde_json::Value = serde_json::from_str(&shown(PageFormat::Json)).unwrap();
    let yaml: serde_json::Value = serde_saphyr::from_str(&shown(PageFormat::Yaml)).unwrap();
    assert_eq!((&json[0]["revision"], json.as_array().map(Vec::len)), (&"hello-1".into(), Some(1)));
    assert_eq!(json, yaml);
}

#[test]
fn an_autoscaler_that_is_not_there_is_not_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(ask(&address, "shop", "hello")).unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(error.advice().unwrap().contains("--autoscaler"));
}

#[test]
fn an_address_is_understood() {
    assert_eq!(authority("http://127.0.0.1:9090/").as_deref(), Ok("127.0.0.1:9090"));
    assert_eq!(authority("[::1]:9090").as_deref(), Ok("[::1]:9090"));
    assert!(authority("https://a:1").is_err() && authority("http://a").is_err());
}
