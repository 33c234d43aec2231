//! How long connections are kept and for whom, and HTTP/2 ones that are not made, or not for long.

use std::net::TcpListener;

use catnap_activator_core::{
    Activator, Admission, FunctionName, FunctionRoute, Listener, Pod, RevisionRoute, Settings, SystemClock,
};
use catnap_wire::message::{LeaderFrame, RevisionId, Term, Welcome};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A slot of an HTTP/2 pod at this address.
fn slot(address: SocketAddr) -> Slot {
    slot_of(address, Protocol::H2c)
}

fn slot_of(address: SocketAddr, protocol: Protocol) -> Slot {
    let (activator, _commands) = Activator::new(Settings::new(7, "own-pod"), Arc::new(SystemClock::start()));
    let connection = activator.leader_connected();
    let welcome = Welcome { term: Term::default(), closed: vec![], more: false };
    activator.leader_frame(connection, LeaderFrame::Welcome(welcome));
    let name = FunctionName { namespace: "default".into(), name: "hello".into() };
    let revision = RevisionRoute { protocol, ..RevisionRoute::new("hello-1".into()) };
    activator.upsert_function(FunctionRoute::of_one(name, "uid".into(), revision));
    let revision =
        RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() };
    let pod = Pod {
        uid: "pod".into(),
        address: Some(address),
        started: true,
        ready: true,
        requires_ready: false,
        terminating: false,
        trouble: None,
    };
    activator.set_pods(&revision, vec![pod]);
    match activator.route(Listener::InCluster, "hello.default").unwrap().admit() {
        Admission::Dispatch(slot) => slot,
        other => panic!("not dispatched: {other:?}"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_task_that_was_ended_while_it_connected_stands_in_nobodys_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let slot = slot(listener.local_addr().unwrap());
    let pool = Arc::new(Pool::default());
    let ended = runtime();
    let begun = ended.block_on(async { pool.link(&slot, Want::Any, TIMEOUT).now_or_never() });
    assert!(begun.is_none(), "it is connecting");
    assert!(pool.pods.lock()[slot.pod()].connecting.is_some());
    drop(ended);
    let link = runtime().block_on(pool.link(&slot, Want::Any, TIMEOUT));
    assert!(link.is_ok_and(|link| link.is_shared()));
}

#[tokio::test]
async fn a_connection_that_the_pod_closed_at_once_is_an_error_and_not_pooled() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut link = Link::connect(address, Protocol::H2c, TIMEOUT).await.unwrap();
    drop(listener.accept().unwrap());
    let closed = async {
        while link.ready().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUT, closed).await.unwrap();
    let pool = Arc::new(Pool::default());
    let attempt = Attempt { pool: Arc::clone(&pool), pod: "pod".into() };
    let connected = attempt.connected(link, address);
    assert!(matches!(connected, Err(ConnectError::Closed { .. })), "{connected:?}");
    assert!(pool.pods.lock().is_empty());
}

#[tokio::test]
async fn who_connects_has_a_stream_however_many_others_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let slot = slot(listener.local_addr().unwrap());
    let pool = Arc::new(Pool::default());
    // More than a connection takes before the pod said how many it allows.
    let links = (0..150).map(|_| pool.link(&slot, Want::Any, TIMEOUT));
    let links = futures::future::try_join_all(links).await.unwrap();
    assert_eq!(links.len(), 150);
    assert_eq!(pool.pods.lock()[slot.pod()].shared.len(), 2);

    let link = pool.shared_link(&slot, TIMEOUT).await.unwrap();
    assert!(link.is_shared());
    // The first stream is taken out before the others see the connection.
    let fresh = Arc::new(Pool::default());
    let (connecting, own) = fresh.connect_shared(&slot, TIMEOUT);
    connecting.await.unwrap();
    let others: Vec<_> = std::iter::from_fn(|| {
        fresh.pods.lock().get_mut(slot.pod()).and_then(|known| known.shared[0].share())
    })
    .collect();
    assert!(!others.is_empty());
    assert!(own.await.unwrap().is_ready());
}

/// A pool, and a pod's slot with this many connections to it.
async fn pool_and_links(count: usize) -> (Arc<Pool>, TcpListener, Slot, Vec<Link>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut links = Vec::new();
    for _ in 0..count {
        links.push(Link::connect(address, Protocol::Http1, TIMEOUT).await.unwrap());
    }
    (Arc::new(Pool::default()), listener, slot_of(address, Protocol::Http1), links)
}

/// So much time passes for what is idle, and none for anybody else.
fn pass(pool: &Pool, slot: &Slot, time: Duration) {
    if let Some(known) = pool.pods.lock().get_mut(slot.pod()) {
        for idle in known.idle.iter_mut().chain(&mut known.shared) {
            idle.since -= time;
            idle.until -= time;
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_idle_connection_is_kept_for_four_seconds_and_less_than_the_pod_keeps_it() {
    for (says, kept) in [(None, 4_u32), (Some(60), 4), (Some(5), 4), (Some(4), 3)] {
        let (pool, _listener, slot, mut links) = pool_and_links(1).await;
        let (says, kept) = (says.map(Duration::from_secs), kept * SECOND);
        pool.put(slot.pod(), links.remove(0), says);
        pass(&pool, &slot, kept.saturating_sub(SECOND));
        pool.sweep();
        let link = pool.take(&slot, Want::Any).unwrap_or_else(|| panic!("{says:?}: gone too soon"));
        assert!(link.reused);
        let socket = Arc::clone(link.socket());
        pool.put(slot.pod(), link, says);
        pass(&pool, &slot, kept);
        assert!(!socket.is_leaving());
        pool.sweep();
        assert!(socket.is_leaving() && pool.pods.lock().is_empty(), "{says:?}: kept too long");
    }
    let (pool, _listener, slot, mut links) = pool_and_links(2).await;
    let link = links.remove(0);
    let socket = Arc::clone(link.socket());
    pool.put(slot.pod(), link, Some(SECOND));
    assert!(socket.is_leaving(), "one second less one second is no time");
    pool.put(slot.pod(), links.remove(0), None);
    pass(&pool, &slot, IDLE);
    assert!(pool.take(&slot, Want::Any).is_none(), "it is not used before the sweep either");
}

#[tokio::test]
async fn as_many_are_kept_as_were_used_at_once_in_the_last_four_seconds() {
    let (pool, _listener, slot, mut links) = pool_and_links(12).await;
    let idle = || pool.pods.lock().get(slot.pod()).map_or(0, |known| known.idle.len());
    let mut put = |count: usize| {
        for link in links.drain(..count) {
            pool.put(slot.pod(), link, None);
        }
    };
    for _ in 0..5 {
        pool.used(slot.pod());
    }
    for _ in 0..5 {
        pool.unused(slot.pod());
    }
    put(1);
    for _ in 1..4 {
        pool.sweep();
    }
    put(6);
    assert_eq!(idle(), 5, "the peak is three seconds old");
    pool.sweep();
    assert_eq!(idle(), 5, "none is closed because it is forgotten");
    pool.used(slot.pod());
    pass(&pool, &slot, IDLE);
    pool.sweep();
    assert_eq!(idle(), 0);
    put(5);
    assert_eq!(idle(), 2, "however few are used");
}

#[tokio::test]
async fn what_cannot_be_sent_again_takes_a_connection_that_was_idle_for_half_a_second_at_most() {
    let (pool, _listener, slot, mut links) = pool_and_links(2).await;
    for link in links.drain(..) {
        pool.put(slot.pod(), link, None);
    }
    pass(&pool, &slot, Duration::from_millis(100));
    let link = pool.take(&slot, Want::Recent).expect("it is recent");
    let socket = Arc::clone(link.socket());
    pool.put(slot.pod(), link, None);
    pass(&pool, &slot, Duration::from_millis(500));
    assert!(pool.take(&slot, Want::Recent).is_none(), "a fresh one is made");
    assert!(socket.is_leaving(), "in its place");
    assert!(pool.take(&slot, Want::New).is_none());
    assert!(pool.take(&slot, Want::Any).is_some(), "others may use what is left");
}

#[tokio::test]
async fn http2_connections_shrink_to_the_one_that_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let slot = slot(listener.local_addr().unwrap());
    let pool = Arc::new(Pool::default());
    let links = (0..150).map(|_| pool.link(&slot, Want::Any, TIMEOUT));
    drop(futures::future::try_join_all(links).await.unwrap());
    let mut connections = Vec::new();
    for _ in 0..6 {
        drop(pool.link(&slot, Want::Any, TIMEOUT).await.unwrap());
        pass(&pool, &slot, SECOND);
        pool.sweep();
        connections.push(pool.pods.lock()[slot.pod()].shared.len());
    }
    assert_eq!((connections[0], connections[5]), (2, 1), "{connections:?}");
    pass(&pool, &slot, IDLE);
    pool.sweep();
    assert!(pool.pods.lock().is_empty());
}
