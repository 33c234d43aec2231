//! HTTP/2 connections that are not made, or not for long.

use std::net::TcpListener;

use catnap_activator_core::{
    Activator, Admission, FunctionName, FunctionPolicy, FunctionRoute, Listener, Pod, RevisionRoute,
    Settings, SystemClock,
};
use catnap_wire::message::{LeaderFrame, RevisionId, Term, Welcome};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A slot of an HTTP/2 pod at this address.
fn slot(address: SocketAddr) -> Slot {
    let (activator, _commands) = Activator::new(Settings::new(7, "own-pod"), Arc::new(SystemClock::start()));
    let connection = activator.leader_connected();
    let welcome = Welcome { term: Term::default(), closed: vec![], more: false };
    activator.leader_frame(connection, LeaderFrame::Welcome(welcome));
    activator.upsert_function(FunctionRoute {
        name: FunctionName { namespace: "default".into(), name: "hello".into() },
        uid: "uid".into(),
        routed: Some("hello-1".into()),
        revisions: vec![RevisionRoute {
            name: "hello-1".into(),
            port: 8080,
            protocol: Protocol::H2c,
            readiness_path: "".into(),
            concurrency_limit: 0,
        }],
        policy: FunctionPolicy::default(),
        stalled: None,
    });
    let revision =
        RevisionId { namespace: "default".into(), name: "hello-1".into(), function_uid: "uid".into() };
    let pod = Pod {
        uid: "pod".into(),
        address: Some(address),
        started: true,
        ready: true,
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
