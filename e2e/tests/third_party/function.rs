//! A function under `catnap dev`, at rest until somebody calls it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;

use super::programs;

/// Longest that a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `catnap dev`; ended when dropped.
pub(crate) struct Function {
    process: Child,
    address: String,
    _manifest: TempDir,
}

impl Function {
    /// Starts one. `protocol`: `HTTP1` or `H2C`; `command`: what a replica runs, a program of ours by name.
    pub(crate) fn start(name: &str, protocol: &str, command: &[&str]) -> Self {
        let manifest = TempDir::new().unwrap();
        let path = manifest.path().join("function.yaml");
        let function = serde_json::json!({
            "apiVersion": "catnap.dev/v1alpha1",
            "kind": "Function",
            "metadata": {"name": name},
            "spec": {"image": name, "protocol": protocol, "command": command},
        });
        std::fs::write(&path, function.to_string()).unwrap();
        let search = format!("{}:{}", programs::own().display(), std::env::var("PATH").unwrap());
        let mut process = Command::new(programs::own().join("catnap"))
            .args(["dev", "--listen", "127.0.0.1:0", "-f"])
            .arg(&path)
            .env("PATH", search)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            // Read to its end, so that it never waits for somebody to read.
            for line in output.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let mut started = Self { process, address: String::new(), _manifest: manifest };
        while started.address.is_empty() {
            let line = lines.recv_timeout(PATIENCE).unwrap();
            if let Some((_, rest)) = line.split_once(" listens on http://") {
                rest.split(' ').next().unwrap().clone_into(&mut started.address);
            }
        }
        started
    }

    /// `hello`, which speaks both protocols.
    pub(crate) fn hello(protocol: &str) -> Self {
        Self::start("hello", protocol, &["hello"])
    }

    /// `http://HOST:PORT` and the path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Most memory that `catnap dev` ever had resident, in bytes.
    pub(crate) fn most_resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Where it listens.
    pub(crate) fn host_and_port(&self) -> (&str, &str) {
        self.address.split_once(':').unwrap()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Both fail only when it ended already. It ends its replicas when it is killed, too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
