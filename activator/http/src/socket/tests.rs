use super::*;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(5);

async fn pair() -> (TcpStream, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    (client, Socket::new(stream, peer).unwrap())
}

#[tokio::test]
async fn a_fin_behind_unread_bytes_is_noticed() {
    let (mut client, socket) = pair().await;
    client.write_all(b"body that nobody reads").await.unwrap();
    socket.stream.readable().await.unwrap();
    assert!(!socket.hung_up());
    assert!(socket.has_unread());
    let mut hang_up = Box::pin(socket.hang_up());
    assert!(futures::poll!(hang_up.as_mut()).is_pending());
    drop(client);
    tokio::time::timeout(SOON, hang_up).await.unwrap();
    assert!(socket.hung_up());
}

#[tokio::test]
async fn a_reset_is_noticed() {
    let (client, socket) = pair().await;
    client.set_zero_linger().unwrap();
    drop(client);
    tokio::time::timeout(SOON, socket.hang_up()).await.unwrap();
    assert!(socket.hung_up());
}

#[tokio::test]
async fn a_close_is_no_end_of_a_response_that_is_not_whole() {
    for (delimited, finished) in [(true, false), (true, true), (false, false)] {
        let (mut client, socket) = pair().await;
        socket.delimit_by_close(delimited);
        socket.stream.writable().await.unwrap();
        socket.stream.try_write(b"hello").unwrap();
        let mut begun = [0; 5];
        client.read_exact(&mut begun).await.unwrap();
        if finished {
            socket.finish().unwrap();
        }
        socket.close();
        tokio::time::timeout(SOON, socket.hang_up()).await.expect("whoever waits is told");
        assert!(socket.hung_up() && socket.is_leaving());
        drop(socket);
        let end = tokio::time::timeout(SOON, client.read(&mut begun)).await.unwrap();
        let expected = if delimited && !finished { Err(io::ErrorKind::ConnectionReset) } else { Ok(0) };
        assert_eq!(end.map_err(|error| error.kind()), expected, "{delimited} {finished}");
    }
}

#[tokio::test]
async fn phases_follow_the_requests() {
    let (_client, socket) = pair().await;
    assert_eq!(socket.phase(), Phase::Head);
    socket.exchange_began(Instant::now());
    socket.exchange_began(Instant::now());
    socket.exchange_ended(Instant::now());
    assert_eq!(socket.phase(), Phase::Busy, "one stream of two is still open");
    socket.exchange_ended(Instant::now());
    assert_eq!(socket.phase(), Phase::Idle);
    socket.count_received(3);
    assert_eq!(socket.phase(), Phase::Idle, "HTTP/2 frames on an idle connection begin no head");
    socket.head_began();
    assert_eq!(socket.phase(), Phase::Head);
    assert_eq!(socket.received(), 3);
}

#[tokio::test]
async fn one_that_is_asked_to_leave_serves_what_is_here_before() {
    let (mut client, socket) = pair().await;
    let leaves = || poll_fn(|context| Poll::Ready(socket.poll_leaves(context).is_ready()));
    assert!(!leaves().await, "nobody asked");
    assert!(socket.ask_to_leave());
    assert!(!socket.ask_to_leave(), "once is enough");
    assert!(leaves().await);
    client.write_all(b"G").await.unwrap();
    tokio::time::timeout(SOON, socket.stream.peek(&mut [0])).await.unwrap().unwrap();
    assert!(!leaves().await, "it waits in the kernel");
    let mut bytes = Vec::new();
    assert_eq!(socket.try_read(&mut bytes).unwrap(), 1);
    socket.count_received(1);
    assert!(!leaves().await, "the rest of the head is to come");
    socket.exchange_began(Instant::now());
    assert!(!leaves().await, "it is served");
    socket.exchange_ended(Instant::now());
    assert!(leaves().await);
}

#[tokio::test]
async fn whoever_waits_for_a_request_is_woken_to_leave() {
    let (_client, socket) = pair().await;
    let socket = Arc::new(socket);
    let waiting = Arc::clone(&socket);
    let waiting = tokio::spawn(async move { poll_fn(|context| waiting.poll_leaves(context)).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    std::thread::spawn(move || socket.ask_to_leave()).join().unwrap();
    tokio::time::timeout(SOON, waiting).await.expect("it is woken").unwrap();
}

#[tokio::test]
async fn lingering_ends_with_the_peer() {
    let (mut client, socket) = pair().await;
    client.write_all(&vec![7; 20_000]).await.unwrap();
    let peer = async {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        drop(client);
    };
    let both = async { tokio::join!(socket.linger(Duration::from_secs(60)), peer) };
    tokio::time::timeout(SOON, both).await.unwrap();
}

/// Sends as fast as it goes until the other side is gone, on a thread of its own. Gives the bytes that the kernel took.
fn flood(client: TcpStream) -> std::thread::JoinHandle<usize> {
    let mut client = client.into_std().unwrap();
    client.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        let block = vec![0; 1 << 20];
        let mut sent = 0;
        while let Ok(count) = client.write(&block) {
            sent += count;
        }
        sent
    })
}

#[test]
fn lingering_ends_in_time_and_leaves_others_their_turn_whatever_the_peer_sends() {
    const LONGEST: Duration = Duration::from_millis(300);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen = runtime.block_on(async {
            let (client, socket) = pair().await;
            // What is under way then is no large part of what was read.
            SockRef::from(&client).set_send_buffer_size(64 * 1024).unwrap();
            SockRef::from(&socket.stream).set_recv_buffer_size(64 * 1024).unwrap();
            let flood = flood(client);
            socket.stream.readable().await.unwrap();
            let turns = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&turns);
            let others = tokio::spawn(async move {
                let mut turn = tokio::time::interval(LONGEST / 100);
                loop {
                    turn.tick().await;
                    counted.fetch_add(1, Relaxed);
                }
            });
            socket.linger(LONGEST).await;
            socket.reset();
            drop(socket);
            others.abort();
            (turns.load(Relaxed), flood.join().unwrap())
        });
        tell.send(seen).unwrap();
    });
    let (turns, sent) = told.recv_timeout(SOON).expect("an end");
    assert!(turns > 3, "{turns} turns");
    // One look at the beginning, and six more.
    assert!(sent < 8 << 20, "{sent} bytes were read");
}

/// The event loop of another thread hears of bytes while this one reads those before them.
#[test]
fn what_comes_during_a_read_on_another_thread_is_not_missed() {
    let elsewhere =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ((mut client, socket), (mut ringer, bell)) =
        elsewhere.block_on(async { (pair().await, pair().await) });
    let mut buffer = Vec::with_capacity(100);
    elsewhere.block_on(async {
        client.write_all(b"first").await.unwrap();
        socket.stream.readable().await.unwrap();
    });
    let read = socket.try_read_by(100, || {
        let read = socket.stream.try_read_buf(&mut buffer);
        elsewhere.block_on(async {
            client.write_all(b"second").await.unwrap();
            // The loop hears of both in their order.
            ringer.write_all(b"!").await.unwrap();
            tokio::time::timeout(SOON, bell.stream.readable()).await.unwrap().unwrap();
        });
        read
    });
    assert_eq!(read.unwrap(), b"first".len());
    // The kernel may have been slower with it than with the bell.
    let heard = elsewhere.block_on(async { tokio::time::timeout(SOON, socket.stream.readable()).await });
    heard.expect("nobody is woken for the second").unwrap();
}
