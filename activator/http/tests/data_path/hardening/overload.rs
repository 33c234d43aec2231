//! More connections than there are descriptors and ports for: what is idle goes, the rest is told why, and everything works
//! again as soon as there is room. More requests than a worker has time for: the flood is told.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::alone::{alone, alone_with_ports};
use super::room::{bed, idle};
use crate::bed::{Bed, Setup, until, within};
use crate::client::{Raw, get};
use crate::pod::{Pod, describe, reply};
use catnap_activator_http::Drained;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::MissedTickBehavior;

/// Uses up the descriptors of the process, until the files are dropped.
fn use_up_descriptors() -> Vec<File> {
    let limit = Rlimit { current: Some(256), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn as_many_descriptors_are_used_as_there_may_be() {
    alone("hardening::overload::as_many_descriptors_are_used_as_there_may_be", async {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..getrlimit(Resource::Nofile) }).unwrap();
        let _bed = Bed::start();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    });
}

#[test]
fn a_connection_without_a_descriptor_is_told_why() {
    alone("hardening::overload::a_connection_without_a_descriptor_is_told_why", async {
        let (bed, _pod) = bed(1_000, 2).await;
        let mut held = Raw::connect(bed.address()).await;
        held.get("cold.default", "/").await;
        bed.until_held("cold", 1).await;
        // The clients are in this process, too: they have their descriptors already, and connect when the server has none.
        let sockets: Vec<TcpSocket> = (0..10).map(|_| TcpSocket::new_v4().unwrap()).collect();
        let files = use_up_descriptors();
        let mut clients = Vec::new();
        for socket in sockets {
            let mut client = within("a connection", socket.connect(bed.address())).await.unwrap();
            let mut answer = Vec::new();
            within("an answer", client.read_to_end(&mut answer)).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 503 "), "{:?}", String::from_utf8_lossy(&answer));
            // It keeps its descriptor.
            clients.push(client);
        }
        assert_eq!(bed.counts.turned_away.load(SeqCst), 10);
        drop(files);
        assert_eq!(
            get(bed.address(), "hello.default", "/").await.status,
            200,
            "it goes on without a restart"
        );
        let pod = Pod::http1(describe).await;
        bed.pods("cold", &[pod.address]);
        assert_eq!(held.answer().await.status, 200);
    });
}

#[test]
fn a_drain_without_descriptors_closes_what_is_quiet() {
    alone("hardening::overload::a_drain_without_descriptors_closes_what_is_quiet", async {
        let (bed, _pod) = bed(1_000, 2).await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(idle(&bed).await);
        }
        let _files = use_up_descriptors();
        let drained = within("the drain", bed.handle.drain(Duration::ZERO, Duration::from_secs(60))).await;
        assert_eq!(drained, Drained { cut_off: 0 });
        for mut client in clients {
            assert!(client.rest().await.is_empty());
        }
    });
}

#[test]
fn a_request_without_a_descriptor_for_its_pod_is_told_why() {
    alone("hardening::overload::a_request_without_a_descriptor_for_its_pod_is_told_why", async {
        let (bed, _) = bed(1_000, 2).await;
        let pod = Pod::http1(|_| async { reply("ok") }).await;
        bed.function_with("other", Setup { limit: 1, ..Setup::default() }, &[pod.address]);
        let mut client = Raw::connect(bed.address()).await;
        client.get("nobody.default", "/").await;
        assert_eq!(client.answer().await.status, 404);
        let files = use_up_descriptors();
        for _ in 0..5 {
            client.get("other.default", "/").await;
            let answer = client.answer().await;
            assert_eq!(answer.status, 503);
            assert_eq!(answer.header("catnap-reason"), Some("ProcessOverloaded"));
        }
        drop(files);
        client.get("other.default", "/").await;
        assert_eq!(client.answer().await.status, 200, "the pod was not blamed");
        assert_eq!(pod.connections(), 1);
    });
}

#[test]
fn some_descriptors_are_left_to_the_rest_of_the_process() {
    /// Fewer than a quarter of the 256 that there are then.
    const LEFT: usize = 32;
    alone("hardening::overload::some_descriptors_are_left_to_the_rest_of_the_process", async {
        let (bed, pod) = bed(1_000, 2).await;
        let mut client = Raw::connect(bed.address()).await;
        client.get("nobody.default", "/").await;
        assert_eq!(client.answer().await.status, 404);
        let socket = TcpSocket::new_v4().unwrap();
        let mut files = use_up_descriptors();
        // The last of them, as if each of the others were a connection.
        files.truncate(files.len() - LEFT);

        client.get("hello.default", "/").await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("catnap-reason"), Some("ProcessOverloaded"));
        assert_eq!(pod.connections(), 0);

        // It would have to go for another one if it were quiet.
        client.get("cold.default", "/").await;
        bed.until_held("cold", 1).await;
        let mut another = within("a connection", socket.connect(bed.address())).await.unwrap();
        let mut answer = Vec::new();
        within("an answer", another.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("ProcessOverloaded"), "{answer}");
        assert_eq!(bed.counts.turned_away.load(SeqCst), 1);

        let rest: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        assert!(rest.len() >= LEFT / 2, "{} are left", rest.len());
        drop((rest, files));
        bed.pods("cold", &[pod.address]);
        assert_eq!(client.answer().await.status, 200, "who was there is served");
        assert_eq!(get(bed.address(), "hello.default", "/").await.status, 200, "and so is who comes");
    });
}

#[test]
fn the_last_descriptors_replace_no_quiet_connection() {
    alone("hardening::overload::the_last_descriptors_replace_no_quiet_connection", async {
        let (bed, _pod) = bed(1_000, 1).await;
        let mut quiet = idle(&bed).await;
        let socket = TcpSocket::new_v4().unwrap();
        let mut files = use_up_descriptors();
        // A quarter of the 64 that are reserved then.
        files.truncate(files.len() - 16);
        let mut another = within("a connection", socket.connect(bed.address())).await.unwrap();
        let mut answer = Vec::new();
        within("an answer", another.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 503 "), "{:?}", String::from_utf8_lossy(&answer));
        assert!(quiet.rest().await.is_empty(), "it makes room for the next one");
        drop(files);
        assert_eq!(get(bed.address(), "hello.default", "/").await.status, 200);
    });
}

#[test]
fn a_request_without_a_port_for_its_pod_is_told_why() {
    let name = "hardening::overload::a_request_without_a_port_for_its_pod_is_told_why";
    alone_with_ports(40_000, 40_019, name, async {
        let (bed, _pod) = bed(1_000, 1).await;
        let finish = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&finish);
        let pod = Pod::http1(move |_| {
            let gate = Arc::clone(&gate);
            async move {
                until("the test lets it finish", || gate.load(SeqCst)).await;
                reply("ok")
            }
        })
        .await;
        bed.function_with("busy", Setup::default(), &[pod.address]);
        let mut clients = Vec::new();
        for port in 20_000..20_040 {
            // The clients have ports of their own.
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, 1], port).into()).unwrap();
            let mut client = Raw::over(within("a connection", socket.connect(bed.address())).await.unwrap());
            client.get("busy.default", "/").await;
            clients.push(client);
        }
        let refused = || bed.counts.ended.lock().len();
        until("each request has a port or an answer", || refused() + pod.requests() == 40).await;
        assert!(pod.requests() > 0 && refused() >= 20, "{} have a port", pod.requests());
        finish.store(true, SeqCst);
        let mut overloaded = 0;
        for client in &mut clients {
            let answer = client.answer().await;
            match answer.header("catnap-reason") {
                Some(reason) => {
                    assert_eq!((answer.status, reason), (503, "ProcessOverloaded"));
                    overloaded += 1;
                }
                None => assert_eq!(answer.status, 200),
            }
        }
        assert_eq!(overloaded + pod.requests(), 40);
        for client in &mut clients {
            client.get("busy.default", "/").await;
            assert_eq!(
                client.answer().await.status,
                200,
                "it goes on without a restart, and no pod was blamed"
            );
        }
    });
}

/// Calls `flood` on one connection until it is told to stop. Counts refusals.
async fn flood(address: std::net::SocketAddr, stop: Arc<AtomicBool>, refused: Arc<AtomicUsize>) {
    let mut client = Raw::connect(address).await;
    while !stop.load(SeqCst) {
        client.get("flood.default", "/").await;
        let answer = client.answer().await;
        if answer.status != 200 {
            assert_eq!((answer.status, answer.header("catnap-reason")), (503, Some("ProcessOverloaded")));
            assert_eq!(answer.header("retry-after"), Some("1"));
            refused.fetch_add(1, SeqCst);
        }
    }
}

#[tokio::test]
async fn a_worker_without_time_refuses_the_flood_and_nobody_else() {
    // Little is enough: what a worker does meanwhile is as slow as tests are, and its clients take the same CPU.
    let bed = Bed::configured(|config| config.busy_limit = 0.05);
    let pod = Pod::http1(describe).await;
    bed.function_with("flood", Setup::default(), &[pod.address]);
    bed.function_with("light", Setup::default(), &[pod.address]);
    let (stop, refused) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let floods: Vec<_> = (0..16)
        .map(|_| tokio::spawn(flood(bed.address(), Arc::clone(&stop), Arc::clone(&refused))))
        .collect();
    let mut light = Raw::connect(bed.address()).await;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let calls = async {
        while refused.load(SeqCst) < 200 {
            pace.tick().await;
            light.get("light.default", "/").await;
            assert_eq!(light.answer().await.status, 200, "the light one is never refused");
        }
    };
    within("the flood is refused", calls).await;
    until("whoever watches is told", || bed.counts.refuses.load(SeqCst)).await;
    stop.store(true, SeqCst);
    for flood in floods {
        within("the flood ends", flood).await.unwrap();
    }
    let told = bed.counts.ended.lock().iter().filter(|ended| ended.status == Some(503)).count();
    assert_eq!(told, refused.load(SeqCst), "each is counted");
    // A late one is not to be followed by many at once.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = 0;
    let calm = async {
        // So slowly that it is not heavy.
        while answered < 20 {
            pace.tick().await;
            let status = get(bed.address(), "flood.default", "/").await.status;
            answered = if status == 200 { answered + 1 } else { 0 };
        }
    };
    within("the function that flooded is served again", calm).await;
}

#[tokio::test]
async fn a_download_is_work_of_its_function() {
    let bed = Bed::configured(|config| config.busy_limit = 0.02);
    let stream = Pod::raw(|_, mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
                return;
            }
        }
        // Without a length: to its end.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
        let piece = vec![0; 64 * 1024];
        while stream.write_all(&piece).await.is_ok() {}
    })
    .await;
    let pod = Pod::http1(describe).await;
    bed.function_with("stream", Setup::default(), &[stream.address]);
    bed.function_with("light", Setup::default(), &[pod.address]);
    let mut download = Raw::connect(bed.address()).await;
    download.get("stream.default", "/").await;
    let reading = tokio::spawn(async move {
        let mut bytes = vec![0; 64 * 1024];
        while matches!(download.stream.read(&mut bytes).await, Ok(1..)) {}
    });
    let mut light = Raw::connect(bed.address()).await;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let mut refused = false;
    let calls = async {
        while !refused {
            pace.tick().await;
            light.get("light.default", "/").await;
            assert_eq!(light.answer().await.status, 200, "the light one is never refused");
            if bed.counts.refuses.load(SeqCst) {
                let mut another = Raw::connect(bed.address()).await;
                another.get("stream.default", "/").await;
                refused = another.head().await.status == 503;
            }
        }
    };
    within("a second download is refused", calls).await;
    reading.abort();
}
