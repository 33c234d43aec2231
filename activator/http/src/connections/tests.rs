use super::*;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const LIMITS: PhaseLimits = PhaseLimits {
    head: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    stall: Duration::from_secs(60),
};
const SOON: Duration = Duration::from_secs(10);

/// Waits until the condition holds.
async fn until(mut condition: impl FnMut() -> bool) {
    let looking = async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            look.tick().await;
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap();
}

/// A client of HTTP/2 of whom nothing is known but that, and what a worker has of its connection.
async fn idle() -> (TcpStream, Arc<Socket>, Arc<Connections>, Registration) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let socket = Arc::new(Socket::new(stream, peer).unwrap());
    let connections = Arc::<Connections>::default();
    let mut registration = connections.reserve();
    registration.attach(&socket);
    socket.multiplex();
    (client, socket, connections, registration)
}

#[tokio::test]
async fn an_http2_client_that_was_asked_to_leave_is_let_go_when_it_has_been_silent() {
    let (mut client, socket, connections, _registration) = idle().await;
    socket.ask_to_leave();
    // A request that it sent before it heard of that, and that nobody has read yet.
    client.write_all(b"x").await.unwrap();
    socket.stream.readable().await.unwrap();
    until(|| {
        connections.end_late(LIMITS);
        assert!(!socket.is_let_go());
        socket.leaving_for().is_some_and(|age| age > SILENT)
    })
    .await;
    assert_eq!(socket.stream.try_read(&mut [0; 2]).unwrap(), 1);
    connections.end_late(LIMITS);
    assert!(socket.is_let_go() && !socket.is_closed(), "what was sent to it goes on");
}

#[tokio::test]
async fn what_the_kernel_still_has_is_cut_off() {
    for (bytes, cut_off) in [(16 << 20, 1), (1, 0)] {
        let (_client, socket, connections, _registration) = idle().await;
        // As much as the kernel takes.
        assert!(socket.stream.try_write(&vec![0; bytes]).unwrap() > 0);
        socket.watch_unsent().unwrap();
        socket.let_go();
        until(|| cut_off > 0 || socket.all_sent()).await;
        connections.close_all();
        assert_eq!(connections.cut_off(), cut_off);
    }
}

#[tokio::test]
async fn a_silent_client_has_a_second() {
    let (_client, socket, connections, _registration) = idle().await;
    let asked = Instant::now();
    socket.ask_to_leave();
    until(|| {
        connections.end_late(LIMITS);
        socket.is_let_go() || socket.is_closed()
    })
    .await;
    assert!(asked.elapsed() >= SILENT && !socket.is_closed());
}
