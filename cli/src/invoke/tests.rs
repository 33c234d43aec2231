//! What is sent, what is written, and how it ends, with an activator that answers once.

use catnap_testkit::FakeApi;
use clap::Parser;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::connection;
use crate::fixtures::{function, serving};
use crate::terminal::fake::FakeTerminal;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn parsed(words: &[&str]) -> Result<Arguments, clap::Error> {
    Line::try_parse_from([&["invoke", "hello"][..], words].concat()).map(|line| line.arguments)
}

fn cluster() -> FakeApi {
    let api = FakeApi::default();
    function(&api, "hello", &serving("hello", 0));
    function(&api, "new", &json!({}));
    api
}

/// A whole request, as it came.
async fn request_of(stream: &mut TcpStream) -> String {
    let mut asked = String::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "it ends early: {asked}");
        asked += std::str::from_utf8(&chunk[..read]).unwrap();
        let Some((head, body)) = asked.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return asked;
        }
    }
}

struct Ended {
    asked: String,
    out: String,
    err: String,
    exit: Exit,
}

/// What comes of the command line when an activator answers so.
async fn invoked(words: &[&str], input: &str, answer: String) -> Ended {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let arguments = parsed(&[words, &["--address", &address]].concat()).unwrap();
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = request_of(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        asked
    };
    let mut fake = FakeTerminal::piped();
    let connection = connection::fake(&cluster());
    let invoking = invoke(&arguments, &connection, input.as_bytes(), &mut fake.terminal);
    let (asked, ended) = tokio::join!(answering, invoking);
    let exit = ended.err().map_or(Exit::Done, |error| {
        crate::exit::report(&error, &mut fake.err);
        error.exit()
    });
    Ended { asked, out: fake.out.take(), err: fake.err.take(), exit }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

const COLD: &str = "Server-Timing: catnap;desc=cold, queue;dur=0.1, wake;dur=9.0, schedule;dur=260.0, start;dur=40.0, ready;dur=3.0\r\n";

#[tokio::test]
async fn the_body_is_written_and_the_rest_is_told_when_it_is_asked_for() {
    let ended = invoked(&[], "", answer("200 OK", COLD, "Hello")).await;
    assert_eq!((ended.out.as_str(), ended.err.as_str(), ended.exit), ("Hello", "", Exit::Done));
    assert!(ended.asked.starts_with("GET / HTTP/1.1\r\n"), "{}", ended.asked);
    assert!(ended.asked.contains("\r\nhost: hello.default\r\n"), "{}", ended.asked);

    let ended = invoked(&["-i"], "", answer("200 OK", COLD, "Hello")).await;
    assert_eq!(ended.out, "Hello");
    let lines: Vec<_> = ended.err.lines().collect();
    assert!(lines[0].starts_with("HTTP/1.1 200 OK after ") && lines[0].ends_with(" ms"), "{lines:?}");
    assert_eq!(lines[1], "cold start 312 ms: wake 9, schedule 260, start 40, ready 3");
    assert!(lines.contains(&"content-length: 5"), "{lines:?}");
}

#[tokio::test]
async fn what_is_sent_is_what_was_written() {
    let words = ["-d", "-", "--path", "/a?b=c", "-H", "Host: other.example", "-H", "x-a: 1", "-H", "X-A: 2"];
    let ended = invoked(&words, "from a pipe", answer("204 No Content", "", "")).await;
    assert_eq!(ended.exit, Exit::Done);
    let (head, body) = ended.asked.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "from a pipe");
    assert!(head.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{head}");
    for (header, times) in [("host: other.example", 1), ("host: ", 1), ("x-a: 1", 1), ("x-a: 2", 1)] {
        assert_eq!(head.matches(header).count(), times, "{header}: {head}");
    }
    let ended = invoked(&["-d", "text", "-X", "put"], "", answer("200 OK", "", "")).await;
    assert!(ended.asked.starts_with("PUT / HTTP/1.1\r\n") && ended.asked.ends_with("\r\n\r\ntext"));
}

#[tokio::test]
async fn a_function_that_fails_is_heard_and_ends_with_1() {
    let ended = invoked(&[], "", answer("500 Internal Server Error", "", "broken")).await;
    assert_eq!((ended.out.as_str(), ended.exit), ("broken", Exit::Failed));
    assert_eq!(ended.err, "error: function/hello answered 500 Internal Server Error\n");
}

#[tokio::test]
async fn a_refusal_is_explained_and_ends_as_its_reason_says() {
    for reason in Reason::ALL {
        let problem = r#"{"title": "x", "detail": "not found: registry.example/hello:1"}"#;
        let header = format!("Catnap-Reason: {reason}\r\n");
        let ended = invoked(&[], "", answer("503 Service Unavailable", &header, problem)).await;
        assert_eq!((ended.out.as_str(), ended.exit), ("", exit_of(Some(reason))), "{reason}");
        let lines: Vec<_> = ended.err.lines().collect();
        let title = reason.title();
        let first =
            format!("error: function/hello did not answer (503 Service Unavailable): {title} ({reason})");
        assert_eq!(lines[..2], [first.as_str(), "  not found: registry.example/hello:1"]);
        assert!(lines[2].starts_with("  try: ") && lines[2].contains("catnap describe hello"), "{lines:?}");
    }
    let unknown = answer("503 Service Unavailable", "Catnap-Reason: Newer\r\n", "no JSON");
    let ended = invoked(&[], "", unknown).await;
    assert!(ended.err.contains("(Newer)") && ended.exit == Exit::Failed, "{}", ended.err);
}

#[test]
fn the_exit_code_of_a_refusal_says_who_must_act() {
    let exits = [
        (Reason::UnknownHost, Exit::NotFound),
        (Reason::ActivationTimeout, Exit::TimeOver),
        (Reason::ImagePullFailed, Exit::Stalled),
        (Reason::QueueFull, Exit::Failed),
    ];
    for (reason, exit) in exits {
        assert_eq!(exit_of(Some(reason)), exit, "{reason}");
    }
}

#[tokio::test]
async fn no_end_of_the_answer_within_the_timeout_ends_with_6() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let arguments = parsed(&["--address", &address, "--timeout", "5s"]).unwrap();
    let mut fake = FakeTerminal::piped();
    let connection = connection::fake(&cluster());
    let invoking = invoke(&arguments, &connection, io::empty(), &mut fake.terminal);
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request_of(&mut stream).await;
        stream.write_all(half.as_bytes()).await.unwrap();
        stream
    };
    let (_open, ended) = tokio::join!(answering, invoking);
    let error = ended.unwrap_err();
    assert_eq!(error.exit(), Exit::TimeOver);
    assert_eq!(error.to_string(), "function/hello has not answered within 5 s");
    assert_eq!(fake.out.take(), "half");
}

#[tokio::test]
async fn without_a_way_it_is_said_what_is_missing() {
    let connection = connection::fake(&cluster());
    let mut fake = FakeTerminal::piped();
    let arguments = parsed(&[]).unwrap();
    let ended = invoke(&arguments, &connection, io::empty(), &mut fake.terminal).await;
    let error = ended.unwrap_err();
    assert_eq!(error.to_string(), "no activator is ready in namespace catnap-system");
    assert!(error.exit() == Exit::Unreachable && error.advice().unwrap().contains("catnap install check"));

    let new = Arguments { name: "new".to_owned(), ..arguments.clone() };
    let ended = invoke(&new, &connection, io::empty(), &mut fake.terminal).await;
    assert_eq!(ended.unwrap_err().to_string(), "function/new in namespace default has no address yet");

    let nobody = Arguments { name: "helo".to_owned(), ..arguments };
    let ended = invoke(&nobody, &connection, io::empty(), &mut fake.terminal).await;
    let error = ended.unwrap_err();
    assert_eq!((error.exit(), error.advice().as_deref()), (Exit::NotFound, Some("hello?")));
}

#[tokio::test]
async fn who_may_not_look_for_an_activator_is_told_of_the_other_way() {
    let api = cluster();
    api.fail_next("GET", "pods", 403, "Forbidden", "no role of yours has it");
    let (connection, arguments) = (connection::fake(&api), parsed(&[]).unwrap());
    let mut fake = FakeTerminal::piped();
    let ended = invoke(&arguments, &connection, io::empty(), &mut fake.terminal).await;
    let error = ended.unwrap_err();
    assert_eq!(error.to_string(), "you may not list pods in namespace catnap-system");
    assert_eq!(error.exit(), Exit::NotAllowed);
    let advice = error.advice().unwrap();
    assert!(advice.starts_with("--address") && advice.contains("pods/portforward"), "{advice}");
}

#[tokio::test]
async fn an_activator_that_is_ready_and_stays_is_asked() {
    let api = FakeApi::default();
    let pod = |name: &str, component: &str, ready: &str| {
        let pod = json!({
            "metadata": {"name": name, "namespace": "catnap-system",
                "labels": {"app.kubernetes.io/name": "catnap", "app.kubernetes.io/component": component}},
            "spec": {"containers": []},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        });
        api.insert::<Pod>(&serde_json::from_value(pod).unwrap());
    };
    let connection = connection::fake(&api);
    pod("operator-1", "operator", "True");
    pod("activator-1", "activator", "False");
    pod("activator-2", "activator", "True");
    let leave =
        |it: &mut serde_json::Value| it["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(api.edit::<Pod>("catnap-system", "activator-2", leave));
    assert_eq!(target::activator(&connection, "catnap-system").await.unwrap(), None);
    pod("activator-3", "activator", "True");
    let found = target::activator(&connection, "catnap-system").await.unwrap();
    assert_eq!(found.as_deref(), Some("activator-3"));
}

#[test]
fn what_makes_no_request_is_refused_by_the_flag() {
    for (flag, value) in [
        ("--path", "a"),
        ("--path", "/a b"),
        ("--header", "no colon"),
        ("--header", "a b: c"),
        ("--method", "CONNECT"),
        ("--method", "G T"),
        ("--address", "https://activator:443"),
        ("--timeout", "5"),
    ] {
        let error = parsed(&[flag, value]).unwrap_err().to_string();
        assert!(error.contains(flag) && error.contains("write "), "{error}");
    }
}

#[test]
fn a_body_is_text_a_file_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, "of a file").unwrap();
    let read = |data: &str| request::body(data, "of a pipe".as_bytes());
    assert_eq!(read(&format!("@{}", file.display())).unwrap(), "of a file");
    assert_eq!(read("-").unwrap(), "of a pipe");
    assert_eq!(read("text").unwrap(), "text");
    assert!(read("@/nowhere").unwrap_err().to_string().contains("/nowhere"));
    let endless = io::repeat(b'a');
    assert!(matches!(request::body("-", endless), Err(DataError::TooLarge { .. })));
}
