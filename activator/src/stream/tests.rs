//! The stream against a scripted leader over real TLS on loopback.

use std::io::Write;
use std::net::SocketAddr;
use std::pin::Pin;

use catnap_runtime::tls::SelfMade;
use catnap_wire::proto::measurements_server::{Measurements, MeasurementsServer};
use catnap_wire::{Bucket, RevisionId, Term, WakeAnswer, Welcome};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::*;

mod silence;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One accepted stream, as the leader sees it.
struct Accepted {
    authorization: String,
    incoming: Streaming<proto::ActivatorFrame>,
    outgoing: mpsc::UnboundedSender<Result<proto::LeaderFrame, Status>>,
}

/// Lets in whoever has the right token and hands the streams to the test.
struct ScriptedLeader(mpsc::UnboundedSender<Accepted>);

#[tonic::async_trait]
impl Measurements for ScriptedLeader {
    type ConnectStream = UnboundedReceiverStream<Result<proto::LeaderFrame, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<proto::ActivatorFrame>>,
    ) -> Result<tonic::Response<Self::ConnectStream>, Status> {
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let authorization = authorization.unwrap_or_default().to_owned();
        if authorization == "Bearer refused" {
            return Err(Status::unauthenticated("no"));
        }
        let (outgoing, frames) = mpsc::unbounded_channel();
        self.0.send(Accepted { authorization, incoming: request.into_inner(), outgoing }).unwrap();
        Ok(tonic::Response::new(UnboundedReceiverStream::new(frames)))
    }
}

/// A TLS connection that tonic's server takes.
struct TlsSocket(tokio_rustls::server::TlsStream<TcpStream>);

impl Connected for TlsSocket {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Starts a leader named `holder`; gives its Lease's content and the streams it accepts.
async fn start_leader(holder: &str) -> (Leader, mpsc::UnboundedReceiver<Accepted>) {
    catnap_runtime::tls::install_crypto_provider();
    let certificate = SelfMade::generate("catnap-autoscaler").unwrap();
    let acceptor = TlsAcceptor::from(certificate.server_config(&[b"h2"]).unwrap());
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = futures::stream::unfold((listener, acceptor), |(listener, acceptor)| async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            // A client that pins another certificate ends the handshake; the next one is served.
            if let Ok(socket) = acceptor.accept(socket).await {
                return Some((Ok::<_, std::io::Error>(TlsSocket(socket)), (listener, acceptor)));
            }
        }
    });
    let (accepted, streams) = mpsc::unbounded_channel();
    let service = MeasurementsServer::new(ScriptedLeader(accepted));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(connections));
    let fingerprint = certificate.fingerprint();
    (Leader { lease: 1, holder: holder.to_owned(), transitions: 1, address, fingerprint }, streams)
}

struct Client {
    leader: watch::Sender<Option<Leader>>,
    events: mpsc::Receiver<StreamEvent>,
    token: NamedTempFile,
}

fn start_client(leader: Option<Leader>, token: &str) -> Client {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{token}").unwrap();
    let (sender, receiver) = watch::channel(leader);
    let (events, events_seen) = mpsc::channel(16);
    tokio::spawn(keep_connected(receiver, file.path().to_owned(), events));
    Client { leader: sender, events: events_seen, token: file }
}

impl Client {
    async fn event(&mut self) -> StreamEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the client runs")
    }

    async fn connected(&mut self) -> mpsc::Sender<ActivatorFrame> {
        match self.event().await {
            StreamEvent::Connected { lease: 1, outgoing } => outgoing,
            other => panic!("connected expected, not {other:?}"),
        }
    }
}

async fn accept(streams: &mut mpsc::UnboundedReceiver<Accepted>) -> Accepted {
    timeout(PATIENCE, streams.recv()).await.expect("a stream in time").expect("the leader runs")
}

async fn received(accepted: &mut Accepted) -> ActivatorFrame {
    let message = timeout(PATIENCE, accepted.incoming.message()).await.expect("a frame in time").unwrap();
    ActivatorFrame::try_from(message.expect("the stream is open")).unwrap()
}

fn wake_reply() -> LeaderFrame {
    let revision =
        RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() };
    LeaderFrame::WakeReply { revision, answer: WakeAnswer::Written { replicas: 1 } }
}

#[tokio::test]
async fn frames_go_both_ways_in_order_with_the_token() {
    let (leader, mut streams) = start_leader("leader_1").await;
    let mut client = start_client(Some(leader), "the-token");
    let outgoing = client.connected().await;
    let mut accepted = accept(&mut streams).await;
    assert_eq!(accepted.authorization, "Bearer the-token");
    for index in 0..100 {
        outgoing.send(ActivatorFrame::Through { index }).await.unwrap();
    }
    for index in 0..100 {
        assert_eq!(received(&mut accepted).await, ActivatorFrame::Through { index });
    }
    accepted.outgoing.send(Ok((&wake_reply()).into())).unwrap();
    assert!(matches!(client.event().await, StreamEvent::Frame(frame) if frame == wake_reply()));
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_with_the_token_of_then() {
    let (leader, mut streams) = start_leader("leader_1").await;
    let mut client = start_client(Some(leader), "first");
    client.connected().await;
    let accepted = accept(&mut streams).await;
    std::fs::write(client.token.path(), "second\n").unwrap();
    drop(accepted);
    assert!(matches!(client.event().await, StreamEvent::Lost));
    client.connected().await;
    assert_eq!(accept(&mut streams).await.authorization, "Bearer second");
}

#[tokio::test]
async fn another_leader_in_the_lease_is_followed_at_once() {
    let (first, mut first_streams) = start_leader("leader_1").await;
    let (second, mut second_streams) = start_leader("leader_2").await;
    let mut client = start_client(None, "token");
    client.leader.send_replace(Some(first));
    client.connected().await;
    let _still_open = accept(&mut first_streams).await;
    client.leader.send_replace(Some(second));
    assert!(matches!(client.event().await, StreamEvent::Lost));
    client.connected().await;
    accept(&mut second_streams).await;
}

#[tokio::test]
async fn a_lease_that_names_nobody_keeps_a_stream_that_works() {
    let (leader, mut streams) = start_leader("leader_1").await;
    let mut client = start_client(Some(leader), "token");
    let outgoing = client.connected().await;
    let mut accepted = accept(&mut streams).await;
    client.leader.send_replace(None);
    outgoing.send(ActivatorFrame::Through { index: 7 }).await.unwrap();
    assert_eq!(received(&mut accepted).await, ActivatorFrame::Through { index: 7 });
    assert!(client.events.try_recv().is_err());
}

#[tokio::test]
async fn a_server_with_another_certificate_is_never_given_the_token() {
    let (impostor, mut streams) = start_leader("leader_1").await;
    let (genuine, mut genuine_streams) = start_leader("leader_2").await;
    // The Lease names the genuine certificate at the impostor's address.
    let mixed = Leader { fingerprint: genuine.fingerprint, ..impostor };
    let mut client = start_client(Some(mixed.clone()), "token");
    let attempt = Connection::open(&mixed, client.token.path()).await;
    assert!(matches!(attempt, Err(StreamError::Connect { .. })), "the handshake fails");
    client.leader.send_replace(Some(genuine));
    client.connected().await;
    accept(&mut genuine_streams).await;
    assert!(streams.try_recv().is_err(), "no request reached the impostor");
}

#[tokio::test]
async fn a_refused_token_or_a_missing_one_is_said() {
    let (leader, _streams) = start_leader("leader_1").await;
    let client = start_client(None, "refused");
    let refused = Connection::open(&leader, client.token.path()).await;
    assert!(
        matches!(refused, Err(StreamError::Ended { source, .. }) if source.code() == tonic::Code::Unauthenticated)
    );
    let missing = Connection::open(&leader, Path::new("/nowhere/token")).await;
    assert!(matches!(missing, Err(StreamError::Connect { source: ChannelError::ReadToken { .. }, .. })));
}

#[tokio::test]
async fn a_malformed_frame_ends_the_stream() {
    let (leader, mut streams) = start_leader("leader_1").await;
    let mut client = start_client(Some(leader), "token");
    client.connected().await;
    let accepted = accept(&mut streams).await;
    accepted.outgoing.send(Ok(proto::LeaderFrame { frame: None })).unwrap();
    assert!(matches!(client.event().await, StreamEvent::Lost));
    client.connected().await;
}

/// Longest next delay after as many failures as lead to the cap, and one stream on which the leader said `frames`.
async fn delay_after_a_stream(frames: Vec<LeaderFrame>) -> Duration {
    let (leader, mut streams) = start_leader("leader_1").await;
    let client = start_client(None, "token");
    let connection = Connection::open(&leader, client.token.path()).await.unwrap();
    let accepted = accept(&mut streams).await;
    for frame in &frames {
        accepted.outgoing.send(Ok(frame.into())).unwrap();
    }
    drop(accepted);
    let (events, _kept) = mpsc::channel(16);
    let mut delay = GrowingDelay::new(FIRST_RETRY, LAST_RETRY);
    for _ in 0..10 {
        delay.delay();
    }
    timeout(PATIENCE, connection.run(&leader, &events, &mut delay)).await.expect("the stream ends").unwrap();
    delay.delay()
}

#[tokio::test]
async fn only_the_whole_welcome_makes_the_next_attempt_come_soon() {
    let welcome = |more| LeaderFrame::Welcome(Welcome { term: Term::default(), closed: Vec::new(), more });
    let soon = Duration::from_millis(100);
    assert!(delay_after_a_stream(Vec::new()).await > soon, "a hello that is refused");
    assert!(delay_after_a_stream(vec![welcome(true)]).await > soon, "half of it");
    assert!(delay_after_a_stream(vec![welcome(true), welcome(false)]).await <= soon);
}

#[tokio::test]
async fn a_second_of_ten_thousand_functions_may_wait() {
    let (leader, mut streams) = start_leader("leader_1").await;
    let mut client = start_client(Some(leader), "token");
    let outgoing = client.connected().await;
    let mut accepted = accept(&mut streams).await;
    // In one turn of the control loop: nothing is taken meanwhile.
    for number in 0..10_000 {
        let name = format!("hello-{number}").into();
        let revision = RevisionId { namespace: "default".into(), name, function_uid: "uid".into() };
        let bucket = Bucket { index: 1, request_microseconds: 1, arrivals: 1 };
        let (buckets, pods) = (vec![bucket], Vec::new());
        outgoing.try_send(ActivatorFrame::Buckets { revision: revision.clone(), buckets }).unwrap();
        outgoing.try_send(ActivatorFrame::Pods { revision, pods }).unwrap();
    }
    outgoing.try_send(ActivatorFrame::Through { index: 1 }).unwrap();
    assert!(matches!(received(&mut accepted).await, ActivatorFrame::Buckets { .. }));
}
