use super::*;
use std::time::Instant;

use crate::connections::Registration;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(5);
/// Longer than any test.
const PATIENCE: Duration = Duration::from_secs(600);

/// A client and what a worker has of its connection.
struct Open {
    _client: TcpStream,
    socket: Arc<Socket>,
    _registration: Registration,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn open(connections: &Arc<Connections>) -> Open {
    let (client, stream) = pair().await;
    let mut registration = connections.reserve();
    let peer = stream.peer_addr().unwrap();
    let socket = Arc::new(Socket::new(stream, peer).unwrap());
    registration.attach(&socket);
    Open { _client: client, socket, _registration: registration }
}

/// A room for two workers.
fn room(most: usize) -> (Arc<Room>, [Arc<Connections>; 2]) {
    let connections = [Arc::<Connections>::default(), Arc::default()];
    (Room::new(most, Duration::ZERO, connections.to_vec()), connections)
}

#[tokio::test]
async fn the_longest_quiet_one_goes_first() {
    let (room, workers) = room(4);
    let mut all = Vec::new();
    for number in 0..4 {
        assert!(room.admits());
        all.push(open(&workers[number % 2]).await);
    }
    assert!(all.iter().all(|open| !open.socket.is_leaving()), "there was room");
    all[0].socket.exchange_began(Instant::now());
    for gone in 1..4 {
        assert!(room.admits());
        let leaving: Vec<bool> = all.iter().map(|open| open.socket.is_leaving()).collect();
        assert_eq!(leaving, (0..4).map(|number| (1..=gone).contains(&number)).collect::<Vec<_>>());
    }
    assert!(!room.admits(), "the last one is busy");
}

#[tokio::test]
async fn one_that_became_busy_stays() {
    let (room, workers) = room(2);
    let (first, second) = (open(&workers[0]).await, open(&workers[0]).await);
    assert!(room.admits());
    assert!(first.socket.is_leaving(), "both were found, and this one was quiet for longer");
    second.socket.exchange_began(Instant::now());
    assert!(!room.admits());
    assert!(!second.socket.is_leaving());
    second.socket.exchange_ended(Instant::now());
    assert!(room.admits());
    assert!(second.socket.is_leaving());
}

#[tokio::test]
async fn an_http2_client_is_told_to_go() {
    let (room, workers) = room(1);
    let one = open(&workers[0]).await;
    one.socket.multiplex();
    assert!(room.admits());
    tokio::time::timeout(SOON, one.socket.asked_to_leave()).await.unwrap();
    assert!(!one.socket.hung_up(), "it may finish in the way of its protocol");
}

#[tokio::test]
async fn many_quiet_ones_are_found_in_order() {
    let (room, workers) = room(1);
    let mut all = Vec::new();
    for _ in 0..2 * LOOKS + 3 {
        all.push(open(&workers[0]).await);
    }
    let mut times: Vec<Instant> = all.iter().filter_map(|open| open.socket.quiet_since()).collect();
    times.sort_unstable();
    for _ in 0..all.len() {
        assert!(room.admits());
        let left = all.iter().filter_map(|open| open.socket.quiet_since()).min();
        times.remove(0);
        assert_eq!(left, times.first().copied());
    }
    assert!(!room.admits());
}

#[tokio::test]
async fn a_storm_costs_a_newcomer_as_much_as_a_calm() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    for size in [100, 3_000] {
        let (_, [worker, _]) = room(size);
        let mut all = Vec::new();
        for _ in 0..size {
            all.push(open(&worker).await);
        }
        let newcomer = || {
            let search = worker.longest_quiet(Duration::ZERO, LOOKS);
            if let Some((_, socket)) = &search.found {
                socket.close();
            }
            (search.found.is_some(), search.looks)
        };
        for _ in 0..50 {
            let (found, looks) = newcomer();
            assert!(found && looks <= 2, "{looks} looks: the last one and the next");
        }
        let quiet = [60, size - 20, size - 1];
        for (number, open) in all.iter().enumerate().filter(|(number, _)| !quiet.contains(number)) {
            assert!(number < 50 || !open.socket.is_leaving());
            open.socket.exchange_began(Instant::now());
        }
        let tries: Vec<_> = (0..size / LOOKS + 2 + quiet.len()).map(|_| newcomer()).collect();
        assert!(tries.iter().all(|(_, looks)| *looks <= LOOKS));
        assert!(quiet.iter().all(|number| all[*number].socket.is_leaving()), "each was found among {size}");
        assert_eq!(tries.iter().filter(|(found, _)| *found).count(), quiet.len());
    }
}

#[tokio::test]
async fn who_is_turned_away_is_told_why() {
    let room = Room::new(0, PATIENCE, Vec::new());
    for at_once in [false, true] {
        let (mut client, stream) = pair().await;
        if at_once {
            turn_away_at_once(stream.into_std().unwrap(), false);
        } else {
            room.turn_away(stream, false);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let nothing = client.try_read(&mut [0]).unwrap_err();
            assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock, "it has not asked");
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        }
        let mut answer = Vec::new();
        tokio::time::timeout(SOON, client.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, NO_ROOM);
    }
}

#[tokio::test]
async fn who_is_turned_away_and_says_nothing_is_told_all_the_same() {
    let (room, _) = room(0);
    for tls in [false, true] {
        let (mut client, stream) = pair().await;
        room.turn_away(stream, tls);
        let mut answer = Vec::new();
        tokio::time::timeout(SOON, client.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, if tls { b"" } else { NO_ROOM }, "TLS: {tls}");
    }
}

#[tokio::test]
async fn no_more_than_so_many_take_their_time() {
    let room = Room::new(0, PATIENCE, Vec::new());
    let mut waiting = Vec::new();
    for _ in 0..LINGERING {
        let (client, stream) = pair().await;
        room.turn_away(stream, false);
        waiting.push(client);
    }
    let (mut client, stream) = pair().await;
    room.turn_away(stream, false);
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, client.read_to_end(&mut answer)).await.expect("at once").unwrap();
    assert_eq!(answer, NO_ROOM);
    assert!(waiting.iter().all(|client| client.try_read(&mut [0]).is_err()), "they have not asked");
    drop(waiting);
    let all_gone = async {
        while room.lingering.load(Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, all_gone).await.expect("their places are free again");
}

#[tokio::test]
async fn two_workers_that_find_the_same_one_both_make_room() {
    let (room, workers) = room(2);
    let (first, second) = (open(&workers[0]).await, open(&workers[1]).await);
    let (since, found) = room.longest_quiet().unwrap();
    assert!(end(&found, since));
    assert!(!end(&found, since), "it went for somebody else");
    assert!(room.close_longest_quiet(), "there is another");
    assert!(first.socket.is_leaving() && second.socket.is_leaving());
}

#[tokio::test]
async fn one_that_was_just_made_is_not_quiet_yet() {
    let worker = Arc::<Connections>::default();
    let patient = Room::new(1, PATIENCE, vec![Arc::clone(&worker)]);
    let one = open(&worker).await;
    assert!(!patient.admits() && !one.socket.is_leaving());
    let hasty = Room::new(1, Duration::ZERO, vec![worker]);
    assert!(hasty.admits() && one.socket.is_leaving());
}

#[tokio::test]
async fn of_what_one_sends_that_is_turned_away_little_is_read() {
    const BUFFERS: usize = 64 * 1024;
    let room = Room::new(0, PATIENCE, Vec::new());
    let (mut client, stream) = pair().await;
    SockRef::from(&client).set_send_buffer_size(BUFFERS).unwrap();
    SockRef::from(&stream).set_recv_buffer_size(BUFFERS).unwrap();
    room.turn_away(stream, false);
    let (mut answers, mut requests) = client.split();
    let flood = async {
        let (block, mut sent) = (vec![0; 16 * 1024], 0);
        while let Ok(count) = requests.write(&block).await {
            sent += count;
        }
        sent
    };
    let mut answer = vec![0; NO_ROOM.len()];
    let both = async { tokio::join!(flood, answers.read_exact(&mut answer)) };
    let (sent, read) = tokio::time::timeout(SOON, both).await.expect("it is closed");
    read.unwrap();
    assert_eq!(answer, NO_ROOM);
    // The kernel doubles what it is told, and has some of it underway.
    assert!(sent < READ + 8 * BUFFERS, "{sent} bytes were taken");
    let all_gone = async {
        while room.lingering.load(Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, all_gone).await.expect("its place is free again");
}
