//! A server of whose requests nobody takes what is told: they go on, and what waits to be told is bounded.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;

use catnap_runtime::identity;
use futures::future::join_all;

use super::*;
use crate::traces::{self, TraceArgs};

/// More than may wait: 4,096 lines, or the spans of 2,048 requests.
const REQUESTS: u64 = 6_000;
const CLIENTS: u64 = 8;

/// Standard output that nobody reads until the other end is dropped.
struct Stuck(mpsc::Receiver<()>);

impl io::Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A collector that takes connections and whatever is sent on them, and never says a word.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    address
}

/// A pod that answers every request of a connection with 200.
async fn kept_pod() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while read_head(&mut stream).await.is_some() {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                }
            });
        }
    });
    address
}

/// A head that nothing follows before it is answered; `None` at the end of the connection.
async fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return None;
        }
    }
    Some(head)
}

/// So many requests, one after the other.
async fn call(address: SocketAddr, count: u64) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    for number in 0..count {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: hello.default\r\n\r\n").await.unwrap();
        let answered = tokio::time::timeout(SOON, read_head(&mut stream)).await;
        let head = answered.unwrap_or_else(|_| panic!("no answer to request {number}")).unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_when_nobody_takes_what_is_told_of_them() {
    let (activator, commands) = Activator::new(Settings::new(1, "own"), Arc::new(SystemClock::start()));
    drive(&activator, commands);
    let metrics = Metrics::register(&mut Registry::default(), &activator);
    let losses = Arc::clone(&metrics.losses);
    let (go, gone) = mpsc::channel();
    let lines_apart = apart(LogFormat::Json, Mutex::new(Stuck(gone)));
    let (access_log, writing) = AccessLog::write_to(lines_apart, 1.0, 0, Arc::clone(&losses)).unwrap();
    let args = TraceArgs {
        otlp_endpoint: Some(format!("http://{}", silent().await)),
        trace_sample: 1.0,
        trace_delay: 1,
    };
    let own = identity::Pod {
        name: "activator-1".into(),
        namespace: "catnap".into(),
        uid: "own".into(),
        ip: Ipv4Addr::LOCALHOST.into(),
    };
    let (traces, export) = traces::start(&args, &own, &losses).unwrap().unzip();
    let export = tokio::spawn(export.unwrap().run());
    function(&activator, kept_pod().await);
    let mut config = Config::new(vec![(Listener::InCluster, (Ipv4Addr::LOCALHOST, 0).into())]);
    config.sampling = args.sampling();
    let observers = Observers { metrics, access_log: Some(access_log), traces };
    let server = Server::start(config, activator, Arc::new(observers)).unwrap();
    let address = server.addresses()[0].1;

    join_all((0..CLIENTS).map(|_| call(address, REQUESTS / CLIENTS))).await;

    let (lines, spans) = (losses.lines.load(Relaxed), losses.traces.load(Relaxed));
    // One line may be at the writer already, and a batch of 512 spans at the exporter, which may have given one up.
    assert!((REQUESTS - 4_096 - 1..=REQUESTS - 4_096).contains(&lines), "{lines}");
    assert!(spans >= REQUESTS - 2_048 - 512, "{spans}");
    // Nor does the end of the server wait for them.
    tokio::time::timeout(SOON, server.drain(Duration::ZERO, SOON)).await.unwrap();
    tokio::time::timeout(SOON, writing.ended(Duration::from_millis(10))).await.unwrap();
    export.abort();
    drop(go);
}
