//! The built function as a process of the test's own.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longest wait for anything that must happen.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// A running function; it is killed when this is dropped.
pub(crate) struct Function {
    pub(crate) process: Child,
    address: String,
}

/// Starts it on a free port, and waits until it listens.
pub(crate) async fn start(environment: &[(&str, &str)]) -> Function {
    start_with(environment, Stdio::null()).await
}

/// As [`start`], with this standard input.
pub(crate) async fn start_with(environment: &[(&str, &str)], stdin: Stdio) -> Function {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let process = Command::new(env!("CARGO_BIN_EXE_hello"))
        .env("PORT", port.to_string())
        .env("K_REVISION", "hello-1")
        .envs(environment.iter().copied())
        .stdin(stdin)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let listening = async { while TcpStream::connect(("127.0.0.1", port)).await.is_err() {} };
    timeout(BOUND, listening).await.expect("the function listens");
    Function { process, address: format!("http://127.0.0.1:{port}") }
}

impl Function {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = timeout(BOUND, reqwest::get(self.url(path))).await.unwrap().unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Waits until this many requests were in flight at once.
    pub(crate) async fn met(&self, requests: usize) {
        let seen = async { while self.get("/concurrency").await.1.trim() != requests.to_string() {} };
        timeout(BOUND, seen).await.expect("the requests arrive");
    }
}
