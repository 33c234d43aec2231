//! The peer port over real TLS on loopback: two that know each other, and everybody else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::PeerId;
use catnap_runtime::CancellationToken;
use catnap_runtime::listen::listen;
use catnap_runtime::tls::{Fingerprint, SelfMade, install_crypto_provider, pinning_client_config};
use catnap_runtime::watch::Change;
use catnap_wire::PodUid;
use catnap_wire::peer::PeerFrame;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::directory::{Directory, KnownPeers};
use super::lease::Advertisement;
use super::server::Server;
use super::stream::Streams;
use super::{Outgoing, PeerEvent, dial};
use crate::members::{Activator, Members};

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One activator: its port, and what happens on its streams.
struct One {
    uid: PodUid,
    certificate: Arc<SelfMade>,
    address: SocketAddr,
    directory: Directory,
    known: KnownPeers,
    members: Members,
    streams: Streams,
    events: mpsc::Receiver<PeerEvent>,
    stop: CancellationToken,
}

impl Drop for One {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl One {
    fn start(uid: &str) -> Self {
        install_crypto_provider();
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = Arc::new(SelfMade::generate("catnap-activator").unwrap());
        let (directory, known) = Directory::new(uid.into());
        let (tell, events) = mpsc::channel(64);
        let (streams, stop) = (Streams::new(tell), CancellationToken::new());
        let server = Server::new(&certificate, known.clone(), streams.clone()).unwrap();
        tokio::spawn(server.serve(listener, stop.clone()));
        let members = Members::default();
        Self { uid: uid.into(), certificate, address, directory, known, members, streams, events, stop }
    }

    fn advertisement(&self) -> Advertisement {
        let (address, fingerprint) = (self.address, self.certificate.fingerprint());
        Advertisement { pod: self.uid.clone(), boot: 1, address, fingerprint }
    }

    /// Learns of another one.
    fn learns_of(&mut self, other: &Self) {
        let pod = json!({
            "metadata": {"uid": &*other.uid},
            "status": {"phase": "Running", "podIP": "127.0.0.1"},
        });
        self.members.apply(Change::Applied(Activator::trim(serde_json::from_value(pod).unwrap()).unwrap()));
        self.directory.leases_changed(Change::Applied(other.advertisement()));
        self.directory.members(&self.members);
    }

    fn forgets_all(&mut self) {
        self.members.apply(Change::Listed(Vec::new()));
        self.directory.leases_changed(Change::Listed(Vec::new()));
        self.directory.members(&self.members);
    }

    fn dials(&self) -> tokio::task::JoinHandle<()> {
        let (certificate, known) = (Arc::clone(&self.certificate), self.known.clone());
        tokio::spawn(dial::keep_connected(self.uid.clone(), certificate, known, self.streams.clone()))
    }

    async fn event(&mut self) -> PeerEvent {
        timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap()
    }

    async fn connected(&mut self) -> (PeerId, Outgoing) {
        match self.event().await {
            PeerEvent::Connected { peer, outgoing, .. } => (peer, outgoing),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn two_that_know_each_other_talk_over_one_stream_until_one_hangs_up() {
    let (mut a, mut b) = (One::start("a"), One::start("b"));
    a.learns_of(&b);
    b.learns_of(&a);
    let _dialing = [a.dials(), b.dials()];
    let (peer, to_b) = a.connected().await;
    assert_eq!(peer, PeerId { pod: "b".into(), boot: 1 });
    let (peer, to_a) = b.connected().await;
    assert_eq!(peer, PeerId { pod: "a".into(), boot: 1 });
    to_b.frames.send(PeerFrame::Leaving).await.unwrap();
    assert!(matches!(b.event().await, PeerEvent::Frame { frame: PeerFrame::Leaving, .. }));
    to_a.frames.send(PeerFrame::Bye).await.unwrap();
    assert!(matches!(a.event().await, PeerEvent::Frame { frame: PeerFrame::Bye, .. }));
    drop(to_a);
    assert!(matches!(a.event().await, PeerEvent::Lost { .. }));
    assert!(matches!(b.event().await, PeerEvent::Lost { .. }));
    // And again, because both are still there.
    drop(to_b);
    a.connected().await;
    b.connected().await;
}

#[tokio::test]
async fn the_end_of_a_stream_to_one_that_is_gone_is_told() {
    let (mut a, mut b) = (One::start("a"), One::start("b"));
    a.learns_of(&b);
    b.learns_of(&a);
    let _dialing = a.dials();
    let (_, to_b) = a.connected().await;
    b.connected().await;
    // Its pod was deleted by force; the core then ends what it has with it.
    a.forgets_all();
    drop(to_b);
    assert!(matches!(a.event().await, PeerEvent::Lost { .. }));
}

#[tokio::test]
async fn one_that_learns_of_the_other_later_lets_it_in_then() {
    let (mut a, mut b) = (One::start("a"), One::start("b"));
    a.learns_of(&b);
    let _dialing = a.dials();
    assert!(timeout(Duration::from_millis(300), b.events.recv()).await.is_err(), "nobody knows it yet");
    b.learns_of(&a);
    b.connected().await;
    a.connected().await;
}

/// What comes of a connection with this certificate, or none, that says whatever it likes.
async fn stranger(
    server: &One,
    certificate: Option<&SelfMade>,
    pinned: Fingerprint,
) -> std::io::Result<usize> {
    let config = match certificate {
        Some(certificate) => certificate.mutual_client_config(pinned, &[b"h2"]),
        None => pinning_client_config(pinned, &[b"h2"]),
    };
    let socket = TcpStream::connect(server.address).await?;
    let name = ServerName::IpAddress(server.address.ip().into());
    let mut socket = TlsConnector::from(config.unwrap()).connect(name, socket).await?;
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    timeout(PATIENCE, socket.read(&mut [0; 64])).await.unwrap()
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let mut server = One::start("b");
    let (friend, former) = (One::start("a"), One::start("c"));
    server.learns_of(&former);
    server.forgets_all();
    server.learns_of(&friend);
    let pinned = server.certificate.fingerprint();
    stranger(&server, Some(&friend.certificate), pinned).await.expect("it answers whom it knows");
    stranger(&server, None, pinned).await.expect_err("without a certificate");
    stranger(&server, Some(&former.certificate), pinned).await.expect_err("one that is gone");
    let made_up = SelfMade::generate("catnap-activator").unwrap();
    stranger(&server, Some(&made_up), pinned).await.expect_err("one that nobody knows");
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // At most a TLS alert, then the end; not a byte of HTTP.
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.windows(4).any(|bytes| bytes == b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn an_imitation_of_the_server_is_not_talked_to() {
    let (mut a, real, mut imitation) = (One::start("a"), One::start("b"), One::start("b"));
    imitation.learns_of(&a);
    // At the address that is known, but with another certificate.
    let mut said = imitation.advertisement();
    said.fingerprint = real.certificate.fingerprint();
    a.learns_of(&real);
    a.directory.leases_changed(Change::Applied(said));
    a.directory.members(&a.members);
    let _dialing = a.dials();
    assert!(timeout(Duration::from_millis(500), imitation.events.recv()).await.is_err());
    assert!(a.events.try_recv().is_err());
}
