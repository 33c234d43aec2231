//! Clients that verify certificates, against the data path's listener under TLS with the example as a pod.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{self, Child};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catnap_activator_core::{
    Activator, Command, FunctionName, FunctionRoute, Listener, Pod, RevisionRoute, Settings, SystemClock,
};
use catnap_activator_http::{Certificates, Config, Handle, Server, Tls};
use catnap_wire::{LeaderFrame, RevisionId, Term, Welcome};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use super::programs::{own, run};

/// A name that certificates are issued for, and that the function has.
const HOST: &str = "hello.default";
const PATIENCE: Duration = Duration::from_secs(30);

/// The data path on a free port under TLS, and its pod.
pub(crate) struct Listening {
    pod: Child,
    folder: TempDir,
    server: Handle,
}

impl Listening {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let issued = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        std::fs::write(folder.path().join("tls.crt"), issued.cert.pem()).unwrap();
        std::fs::write(folder.path().join("tls.key"), issued.signing_key.serialize_pem()).unwrap();
        let certificates = Arc::new(Certificates::load(vec![folder.path().to_owned()]));

        let pod_port = free_port();
        let pod =
            process::Command::new(own().join("hello")).env("PORT", pod_port.to_string()).spawn().unwrap();
        let pod_address = SocketAddr::from((Ipv4Addr::LOCALHOST, pod_port));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(pod_address).is_err() {
            assert!(Instant::now() < deadline, "hello does not listen");
        }

        // Some clients name only the address.
        let settings = Settings { any_host: Some(function().name), ..Settings::new(7, "own-pod") };
        let (activator, commands) = Activator::new(settings, Arc::new(SystemClock::start()));
        activator.upsert_function(function());
        let pod_state = Pod {
            uid: "pod".into(),
            address: Some(pod_address),
            started: true,
            ready: true,
            requires_ready: false,
            terminating: false,
            trouble: None,
        };
        let revision = RevisionId {
            namespace: "default".into(),
            name: "hello-1".into(),
            function_uid: "uid-hello".into(),
        };
        activator.set_pods(&revision, vec![pod_state]);
        tick(&activator, commands);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = Config::new(vec![]);
        config.tls = Some(Tls { listeners: vec![(Listener::InCluster, any)], certificates });
        let server = Server::start(config, activator, Arc::new(())).unwrap();
        Self { pod, folder, server }
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.addresses()[0].1.port()
    }

    fn certificate(&self) -> String {
        self.folder.path().join("tls.crt").display().to_string()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Both fail only when it ended already.
        let _ = self.pod.kill();
        let _ = self.pod.wait();
    }
}

/// Keeps the core's time, with a leader that has nothing to say. There is nothing to wake, so no command matters.
fn tick(activator: &Arc<Activator>, mut commands: UnboundedReceiver<Command>) {
    let connection = activator.leader_connected();
    let welcome = Welcome { term: Term::default(), closed: vec![], more: false };
    activator.leader_frame(connection, LeaderFrame::Welcome(welcome));
    let activator = Arc::downgrade(activator);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            while let Some(wait) = activator.upgrade().map(|activator| activator.tick()) {
                let _ = tokio::time::timeout(wait, commands.recv()).await;
            }
        });
    });
}

fn function() -> FunctionRoute {
    let name = FunctionName { namespace: "default".into(), name: "hello".into() };
    FunctionRoute::of_one(name, "uid-hello".into(), RevisionRoute::new("hello-1".into()))
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn curl_agrees_on_a_protocol_and_trusts_the_certificate() {
    let listening = Listening::start();
    let port = listening.port();
    let resolve = format!("{HOST}:{port}:127.0.0.1");
    let url = format!("https://{HOST}:{port}/");
    for (version, number) in [("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")] {
        for tls in ["--tls-max=1.2", "--tlsv1.3"] {
            let tls: Vec<&str> = tls.split('=').collect();
            let mut arguments = vec!["--silent", "--show-error", version];
            arguments.extend(tls);
            let certificate = listening.certificate();
            arguments.extend(["--cacert", &certificate, "--resolve", &resolve]);
            arguments.extend(["--write-out", "%{http_code} %{http_version} %{num_connects}\n", &url, &url]);
            let told = run("curl", &arguments);
            let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("200")).collect();
            assert_eq!(lines, [format!("200 {number} 1"), format!("200 {number} 0")], "{told}");
        }
    }
}

#[test]
fn curl_shares_one_connection_for_many_requests() {
    let listening = Listening::start();
    let target = format!("https://127.0.0.1:{}/?request=[1-200]", listening.port());
    let form = "%{http_code} %{http_version} %{num_connects}\n";
    let arguments = ["--silent", "--show-error", "--insecure", "--parallel", "--output", "/dev/null"];
    let told = run("curl", &[&arguments[..], &["--write-out", form, &target]].concat());
    assert_eq!(told.lines().filter(|line| line.starts_with("200 2 ")).count(), 200, "{told}");
    let connections: u32 = told.lines().map(|line| line[6..].parse::<u32>().unwrap()).sum();
    assert_eq!(connections, 1, "{told}");
}

#[test]
fn h2load_loses_nothing_under_tls() {
    let listening = Listening::start();
    for protocol in ["--npn-list=h2", "--h1"] {
        let port = listening.port().to_string();
        let connect = format!("--connect-to=127.0.0.1:{port}");
        let url = format!("https://{HOST}:{port}/");
        let report = run("h2load", &["-n", "2000", "-c", "20", "-m", "10", protocol, &connect, &url]);
        assert!(report.contains(" 2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
        assert!(report.contains("status codes: 2000 2xx"), "{report}");
    }
}

#[test]
fn wrk_loses_nothing_under_tls() {
    let listening = Listening::start();
    let url = format!("https://127.0.0.1:{}/", listening.port());
    let host = format!("Host: {HOST}");
    let report = run("wrk", &["-t", "2", "-c", "20", "-d", "2s", "--timeout", "10s", "-H", &host, &url]);
    assert!(report.contains(" requests in "), "{report}");
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
}
