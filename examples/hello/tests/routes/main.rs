//! The built function as a process: what it answers, what it counts, and how it stops.

#[cfg(test)]
mod function;

use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use function::{BOUND, start, start_with};

#[tokio::test]
async fn routes_answer_as_documented() {
    let function = start(&[]).await;
    assert_eq!(function.get("/").await, (200, "Hello from hello-1\n".to_owned()));
    assert_eq!(function.get("/status/418").await.0, 418);
    assert_eq!(function.get("/status/100").await.0, 400);
    assert_eq!(function.get("/sleep?ms=1").await, (200, "slept 1 ms\n".to_owned()));
    assert_eq!(function.get("/sleep?ms=long").await.0, 400);
    assert_eq!(function.get("/stream?chunks=2&interval_ms=1").await, (200, "chunk 0\nchunk 1\n".to_owned()));
    assert!(function.get("/env").await.1.contains("K_REVISION=hello-1\n"));
    assert_eq!(function.get("/nothing").await.0, 404);
    let body = vec![7; 100_000];
    let echo = reqwest::Client::new().post(function.url("/echo")).body(body.clone()).send().await.unwrap();
    assert_eq!(echo.bytes().await.unwrap(), body);
}

#[tokio::test]
async fn the_greeting_has_the_status_that_it_is_given() {
    let function = start(&[("STATUS", "500")]).await;
    assert_eq!(function.get("/").await, (500, "Hello from hello-1\n".to_owned()));
    assert_eq!(function.get("/sleep?ms=1").await.0, 200);
}

#[tokio::test]
async fn it_tells_what_it_is_given() {
    let function = start(&[]).await;
    let client = reqwest::Client::new();
    let answer = client.get(function.url("/headers")).header("X-Mine", "kept").send().await.unwrap();
    let headers = answer.text().await.unwrap();
    assert!(headers.contains("x-mine: kept\n") && headers.contains("host: 127.0.0.1:"), "{headers}");
    let (status, around) = function.get("/surroundings").await;
    assert_eq!(status, 200);
    assert!(around.starts_with("stdin=end\nterminal=no\ntmp=yes\nuser="), "{around}");
}

#[tokio::test]
async fn what_is_said_on_standard_input_is_told() {
    let mut function = start_with(&[], Stdio::piped()).await;
    assert!(function.get("/surroundings").await.1.starts_with("stdin=open\n"));
    function.process.stdin.take().unwrap().write_all(b"x").await.unwrap();
    // The one that asked first reads it.
    assert!(function.get("/surroundings").await.1.starts_with("stdin=end\n"));
}

#[tokio::test]
async fn prior_knowledge_http2_is_answered() {
    let function = start(&[]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let response = client.get(function.url("/")).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.text().await.unwrap(), "Hello from hello-1\n");
}

#[tokio::test]
async fn more_than_the_limit_at_once_is_marked() {
    let function = start(&[("MAX_CONCURRENCY", "1")]).await;
    let url = function.url("/sleep?ms=60000");
    let slow = tokio::spawn(async move { reqwest::get(url).await });
    function.met(1).await;
    let over = reqwest::get(function.url("/")).await.unwrap();
    assert_eq!(over.status(), 500);
    assert_eq!(over.headers()["hello-concurrency-exceeded"], "2");
    assert_eq!(function.get("/concurrency").await.1, "2\n");
    slow.abort();
}

#[tokio::test]
async fn it_tells_how_long_it_had_no_request() {
    let function = start(&[]).await;
    let free_for = async || {
        let answer = reqwest::get(function.url("/")).await.unwrap();
        answer.headers()["hello-free-ms"].to_str().unwrap().parse::<u128>().unwrap()
    };
    let began = Instant::now();
    assert_eq!(free_for().await, 0, "the first one");
    sleep(Duration::from_millis(300)).await;
    let told = free_for().await;
    assert!((100..=began.elapsed().as_millis()).contains(&told), "{told} ms");
}

#[tokio::test]
async fn an_id_is_at_the_sink_before_the_answer() {
    let sink = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/ids", sink.local_addr().unwrap());
    let function = start(&[("SINK_URL", &url)]).await;
    let request = tokio::spawn(reqwest::Client::new().post(function.url("/record?id=a-1")).send());
    let (mut stream, _) = timeout(BOUND, sink.accept()).await.unwrap().unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"a-1") {
        let mut buffer = [0; 1024];
        let length = timeout(BOUND, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(length, 0, "the id comes whole");
        received.extend_from_slice(&buffer[..length]);
    }
    assert!(received.starts_with(b"POST /ids HTTP/1.1\r\n"));
    assert!(!request.is_finished(), "the answer waits for the sink's");
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let answer = timeout(BOUND, request).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "a-1\n");
}

#[tokio::test]
async fn what_is_in_flight_at_sigterm_is_finished() {
    let mut function = start(&[]).await;
    let url = function.url("/stream?chunks=3&interval_ms=100");
    let stream = tokio::spawn(async move { reqwest::get(url).await?.text().await });
    function.met(1).await;
    let pid = i32::try_from(function.process.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    let body = timeout(BOUND, stream).await.unwrap().unwrap().unwrap();
    assert_eq!(body, "chunk 0\nchunk 1\nchunk 2\n");
    assert!(timeout(BOUND, function.process.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_websocket_gives_messages_back_and_outlives_sigterm() {
    let mut function = start(&[]).await;
    assert_eq!(function.get("/websocket").await.0, 400);
    let address = function.url("").trim_start_matches("http://").to_owned();
    let stream = TcpStream::connect(&address).await.unwrap();
    let (mut socket, _) = client_async(format!("ws://{address}/websocket"), stream).await.unwrap();
    socket.send(Message::text("first")).await.unwrap();
    let first = timeout(BOUND, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, Message::text("first"));
    let pid = i32::try_from(function.process.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    let refused = async { while TcpStream::connect(&address).await.is_ok() {} };
    timeout(BOUND, refused).await.expect("it listens no more");
    socket.send(Message::text("second")).await.unwrap();
    let second = timeout(BOUND, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(second, Message::text("second"));
    socket.close(None).await.unwrap();
    while timeout(BOUND, socket.next()).await.unwrap().is_some_and(|message| message.is_ok()) {}
    assert!(timeout(BOUND, function.process.wait()).await.unwrap().unwrap().success());
}
