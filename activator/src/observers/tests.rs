//! Requests that try to have their own words written somewhere, through a running server with everything on that writes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use catnap_activator_core::{
    Activator, Command, FunctionName, FunctionRoute, Listener, Pod, Reason, RevisionRoute, Settings,
    SystemClock,
};
use catnap_activator_http::{Config, Outcome, Server};
use catnap_runtime::telemetry::{LogFormat, apart};
use catnap_wire::message::{LeaderFrame, RevisionId, Term, Welcome};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

mod stuck;

const SOON: Duration = Duration::from_secs(20);
/// What clients write wherever they can.
const WORD: &str = "zzword";

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pod that answers each request with 200 and the end of the connection.
async fn pod() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
                        return;
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
            });
        }
    });
    address
}

/// A leader that greets, and probes that are made.
fn drive(activator: &Arc<Activator>, mut commands: UnboundedReceiver<Command>) {
    let connection = activator.leader_connected();
    let welcome = Welcome { term: Term::default(), closed: vec![], more: false };
    activator.leader_frame(connection, LeaderFrame::Welcome(welcome));
    let activator = Arc::clone(activator);
    tokio::spawn(async move {
        loop {
            let wait = activator.tick();
            match tokio::time::timeout(wait, commands.recv()).await {
                Ok(Some(Command::Probe { revision, probe })) => {
                    let answered = catnap_activator_http::probe(&probe).await.is_ok();
                    activator.probed(&revision, &probe.uid, answered);
                }
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => return,
            }
        }
    });
}

/// Sends the bytes; gives the status, 0 when there is none.
async fn send(address: SocketAddr, bytes: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, read).await.unwrap_or_else(|_| panic!("no answer to {bytes:?}"));
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

async fn send_http2(address: SocketAddr, method: &str, authority: &str) -> u16 {
    let stream = TcpStream::connect(address).await.unwrap();
    let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = client.await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://{authority}/{WORD}?{WORD}={WORD}"))
        .header(WORD, WORD)
        .header("x-request-id", format!("{WORD} {WORD}"))
        .header("user-agent", WORD)
        .body(Empty::<Bytes>::new())
        .unwrap();
    sender.send_request(request).await.map_or(0, |response| response.status().as_u16())
}

/// A function that serves.
fn function(activator: &Activator, pod: SocketAddr) {
    let name = FunctionName { namespace: "default".into(), name: "hello".into() };
    let revision = RevisionRoute::new("hello-1".into());
    activator.upsert_function(FunctionRoute::of_one(name, "uid".into(), revision));
    let pods = vec![Pod {
        uid: "pod-1".into(),
        address: Some(pod),
        started: true,
        ready: true,
        requires_ready: false,
        terminating: false,
        trouble: None,
    }];
    let revision =
        RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() };
    activator.set_pods(&revision, pods);
}

#[tokio::test]
async fn nothing_that_a_client_wrote_is_written_anywhere() {
    let log = Written::default();
    let logged = log.clone();
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || logged.clone())
        .finish();
    // The workers have threads of their own.
    tracing::subscriber::set_global_default(everything).expect("the only test that sets it");
    let (activator, commands) = Activator::new(Settings::new(1, "own"), Arc::new(SystemClock::start()));
    drive(&activator, commands);
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, &activator);
    let lines = Written::default();
    let lines_apart = apart(LogFormat::Json, Mutex::new(lines.clone()));
    let (access_log, writing) =
        AccessLog::write_to(lines_apart, 1.0, 0, Arc::clone(&metrics.losses)).unwrap();
    function(&activator, pod().await);
    let config = Config::new(vec![(Listener::InCluster, (Ipv4Addr::LOCALHOST, 0).into())]);
    let observers = Observers { metrics, access_log: Some(access_log), traces: None };
    let server = Server::start(config, activator, Arc::new(observers)).unwrap();
    let address = server.addresses()[0].1;

    let hello = "Host: hello.default\r\n";
    let length = "Content-Length: 0\r\n";
    for (status, request) in [
        (200, format!("ZZWORD /zzword?zzword=zzword HTTP/1.1\r\n{hello}{length}\r\n")),
        (200, format!("GET /%7Azzword HTTP/1.1\r\n{hello}X-Request-Id: zzword zzword\r\n\r\n")),
        (200, format!("GET / HTTP/1.1\r\n{hello}traceparent: zzword\r\ntracestate: zzword=1\r\n\r\n")),
        (
            200,
            format!(
                "GET / HTTP/1.1\r\n{hello}User-Agent: zzword\r\nCookie: zzword=zzword\r\nZzword: 1\r\n\r\n"
            ),
        ),
        (
            200,
            format!(
                "GET / HTTP/1.1\r\n{hello}Expect: zzword\r\nConnection: upgrade\r\nUpgrade: zzword\r\n\r\n"
            ),
        ),
        (200, format!("GET / HTTP/1.1\r\n{hello}X-Forwarded-For: zzword\r\nForwarded: for=zzword\r\n\r\n")),
        (404, "GET / HTTP/1.1\r\nHost: zzword.default\r\n\r\n".to_owned()),
        (404, "GET / HTTP/1.1\r\nHost: zzword\r\n\r\n".to_owned()),
        (404, "ZZWORD / HTTP/1.1\r\nHost: hello.zzword.svc.cluster.local\r\n\r\n".to_owned()),
        (405, "CONNECT zzword:443 HTTP/1.1\r\nHost: zzword:443\r\n\r\n".to_owned()),
        (405, format!("TRACE /zzword HTTP/1.1\r\n{hello}\r\n")),
        (400, "GET /zzword HTTP/1.1\r\n\r\n".to_owned()),
        (400, format!("GET / HTTP/1.1\r\n{hello}Host: zzword\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{hello}zzword without a colon\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{hello}A: b\r\n zzword\r\n\r\n")),
        // Its sender is told this name, and nobody else.
        (400, format!("GET / HTTP/1.1\r\n{hello}zzword : b\r\n\r\n")),
        (400, format!("GET / zzword\r\n{hello}\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{hello}Content-Length: zzword\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{hello}Transfer-Encoding: zzword\r\n\r\n")),
        (414, format!("GET /{} HTTP/1.1\r\n{hello}\r\n", WORD.repeat(3_000))),
        (431, format!("GET / HTTP/1.1\r\n{hello}A: {}\r\n\r\n", WORD.repeat(11_000))),
    ] {
        assert_eq!(send(address, &request).await, status, "{}", &request[..request.len().min(200)]);
    }
    // What becomes of a body of no chunks depends on how soon it is read.
    send(address, &format!("POST / HTTP/1.1\r\n{hello}Transfer-Encoding: chunked\r\n\r\nzzword\r\n")).await;
    send(address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nzzwordzzwordzzword").await;
    assert_eq!(send_http2(address, "ZZWORD", "hello.default").await, 200);
    assert_eq!(send_http2(address, "GET", "zzword.default").await, 404);

    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    server.drain(Duration::ZERO, Duration::from_secs(1)).await;
    writing.ended(SOON).await;
    let (lines, log) = (lines.text(), log.text());
    for (name, text) in [("metrics", &page), ("access log", &lines), ("log", &log)] {
        let told = text.lines().find(|line| line.to_ascii_lowercase().contains(WORD));
        assert_eq!(told, None, "in the {name}");
    }
    // Each of the three is what it should be.
    assert!(page.contains(r#"unrouted_requests_total{reason="UnknownHost"} 4"#), "{page}");
    assert!(page.contains(r#"reason="BadRequest""#), "{page}");
    let methods: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["method"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(methods.iter().filter(|method| *method == "_OTHER").count(), 3, "{methods:?}");
    assert!(methods.iter().any(|method| method == "CONNECT"), "{methods:?}");
    assert!(
        lines.contains(r#""status":431,"reason":"HeadTooLarge""#),
        "what the parser refused has a line, too: {lines}"
    );
    assert!(log.contains("DEBUG"), "{log}");
}

#[test]
fn the_metrics_are_told_of_everything() {
    let (activator, _commands) = Activator::new(Settings::new(1, "own"), Arc::new(SystemClock::start()));
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, &activator);
    let observers = Observers { metrics, access_log: None, traces: None };
    assert!(!observers.wants_details(), "only the access log does");
    (0..3).for_each(|_| observers.began());
    let refused = |reason: Reason| Ended {
        function: None,
        revision: None,
        status: Some(reason.status()),
        grpc_status: None,
        outcome: Outcome::Refused(reason),
        duration: Duration::from_millis(1),
        first_byte: None,
        held: None,
        phases: None,
        attempts: 0,
        request_bytes: 0,
        response_bytes: 0,
        details: None,
    };
    observers.ended(&refused(Reason::UnknownHost));
    observers.unparsable(&refused(Reason::HeadTooLarge));
    observers.turned_away();
    observers.looked_at(3, 0.5, true);
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    for line in [
        r#"unrouted_requests_total{reason="UnknownHost"} 1"#,
        r#"unparsable_requests_total{reason="HeadTooLarge"} 1"#,
        "turned_away_connections_total 1",
        "active_requests 2",
        r#"worker_busy_ratio{worker="3"} 0.5"#,
        r#"worker_refuses{worker="3"} 1"#,
    ] {
        assert!(page.contains(&format!("\ncatnap_activator_{line}\n")), "{line}\n{page}");
    }
}
