//! More connections than there may be: what is quiet goes, the rest is told why, and there is room again as soon as there can be.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::net::TcpStream;

use crate::bed::{Bed, Setup, until, within};
use crate::client::{Answer, Raw, empty, get, http2, request};
use crate::pod::{Pod, describe};

/// A server of so many connections at most, with a function whose pod answers and one without a pod. What is idle is quiet at once.
pub(super) async fn bed(most: usize, workers: usize) -> (Bed, Pod) {
    let bed = Bed::configured(|config| {
        config.max_connections = Some(most);
        config.quiet_after = Duration::ZERO;
        config.workers = workers;
    });
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    bed.function("cold", Setup::default());
    (bed, pod)
}

/// A connection that served a request and is idle, or about to be: the worker has only to take note of it.
pub(super) async fn idle(bed: &Bed) -> Raw {
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    assert_eq!(client.answer().await.status, 200);
    client
}

#[tokio::test]
async fn the_oldest_idle_connection_makes_room() {
    for workers in [1, 3] {
        let (bed, _pod) = bed(4, workers).await;
        let mut clients = vec![idle(&bed).await];
        // Its worker has done all that came before: nobody else's silence begins sooner.
        let looks = bed.counts.looks.lock().clone();
        until("every worker was looked at", || {
            let now = bed.counts.looks.lock();
            now.len() == workers && now.iter().all(|(worker, count)| looks.get(worker) < Some(count))
        })
        .await;
        for _ in 0..4 {
            clients.push(idle(&bed).await);
        }
        assert!(clients[0].rest().await.is_empty(), "the oldest is closed");
        for client in &mut clients[1..] {
            client.get("hello.default", "/").await;
            assert_eq!(client.answer().await.status, 200, "the others are not");
        }
        assert_eq!(bed.counts.turned_away.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn the_request_of_a_new_connection_is_waited_for() {
    let bed = Bed::configured(|config| {
        config.max_connections = Some(1);
        config.quiet_after = Duration::from_secs(600);
    });
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    let mut first = Raw::connect(bed.address()).await;
    for turned_away in 1..=20 {
        let answer = get(bed.address(), "hello.default", "/").await;
        assert_eq!((answer.status, answer.header("catnap-reason")), (503, Some("ProcessOverloaded")));
        assert_eq!(bed.counts.turned_away.load(SeqCst), turned_away);
    }
    for _ in 0..2 {
        first.get("hello.default", "/").await;
        assert_eq!(first.answer().await.status, 200, "it was there first");
        assert_eq!(get(bed.address(), "hello.default", "/").await.status, 503, "it asks again soon");
    }
}

/// Requests that each thread of the server has begun.
fn begun(bed: &Bed) -> BTreeMap<String, usize> {
    bed.counts.threads.lock().clone()
}

/// A connection of the same worker as that of `other`, idle as well.
async fn beside(bed: &Bed, other: &mut Raw) -> Raw {
    let before = begun(bed);
    other.get("nobody.default", "/").await;
    assert_eq!(other.answer().await.status, 404);
    let worker = begun(bed).into_iter().find(|(name, count)| before.get(name) != Some(count)).unwrap().0;
    let looking = async {
        loop {
            let before = begun(bed)[&worker];
            let one = idle(bed).await;
            if begun(bed)[&worker] > before {
                return one;
            }
        }
    };
    within("one of that worker", looking).await
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "the worker waits for it, which is another thread")]
async fn a_request_that_comes_when_its_connection_went_for_another_is_still_served() {
    let (bed, pod) = bed(20, 2).await;
    let mut late = idle(&bed).await;
    let mut busy = beside(&bed, &mut late).await;
    let worker_goes_on = bed.counts.gate.lock();
    let begun_before: usize = begun(&bed).values().sum();
    busy.get("hello.default", "/").await;
    until("their worker stands still", || begun(&bed).values().sum::<usize>() > begun_before).await;
    let mut newcomers: Vec<TcpStream> = Vec::new();
    let is_closed = |newcomer: &TcpStream| newcomer.try_read(&mut [0]).is_ok_and(|count| count == 0);
    // More than there is room for, of those whom the kernel leads to the other worker. The first that goes is the one that has
    // been quiet for longest.
    let coming = async {
        while !newcomers.iter().any(is_closed) {
            newcomers.push(TcpStream::connect(bed.address()).await.unwrap());
        }
    };
    within("the other worker has closed a newcomer", coming).await;
    let served = pod.requests();
    late.get("hello.default", "/").await;
    drop(worker_goes_on);
    let answer = late.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(late.rest().await.is_empty());
    assert_eq!(busy.answer().await.status, 200);
    assert_eq!(pod.requests(), served + 2);
}

#[tokio::test]
async fn an_idle_http2_connection_is_told_to_make_room() {
    let (bed, _pod) = bed(1, 1).await;
    let mut first = http2(bed.address()).await;
    // It is idle while nothing of it is unread: no reset of a stream that was not read, no acknowledgement of settings, which
    // comes before a second request.
    for _ in 0..2 {
        let response = first.send_request(request("GET", "http://hello.default/", empty())).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(get(bed.address(), "hello.default", "/").await.status, 200);
    until("it is told", || first.is_closed()).await;
}

#[tokio::test]
async fn without_an_idle_one_a_new_connection_is_told_why() {
    let (bed, pod) = bed(3, 1).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = Raw::connect(bed.address()).await;
        client.get("cold.default", "/").await;
        held.push(client);
    }
    bed.until_held("cold", 3).await;
    for turned_away in 1..=5 {
        let answer = get(bed.address(), "hello.default", "/").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("catnap-reason"), Some("ProcessOverloaded"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(bed.counts.turned_away.load(SeqCst), turned_away);
    }
    assert_eq!(pod.requests(), 0);
    bed.pods("cold", &[pod.address]);
    for client in &mut held {
        assert_eq!(client.answer().await.status, 200, "who was there first is served");
    }
    until("they are idle", || bed.counts.under_way.load(SeqCst) == 0).await;
    // Nobody looks for idle connections all the time.
    let room = async {
        while get(bed.address(), "hello.default", "/").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    within("room", room).await;
}

#[tokio::test]
async fn a_storm_of_connections_leaves_those_that_are_served_alone() {
    let bed = Bed::configured(|config| {
        config.max_connections = Some(50);
        config.workers = 2;
    });
    let pod = Pod::http1(describe).await;
    bed.function_with("hello", Setup::default(), &[pod.address]);
    bed.function("cold", Setup::default());
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut client = Raw::connect(bed.address()).await;
        client.get("cold.default", "/").await;
        held.push(client);
    }
    bed.until_held("cold", 10).await;
    let address = bed.address();
    let mut storm = Vec::new();
    for _ in 0..1_000 {
        storm.push(Raw::connect(address).await);
    }
    // Every one of them is idle, and so is closed sooner or later when others come.
    let room = async {
        while get(address, "hello.default", "/").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    within("room", room).await;
    let mut served = 0;
    let all_served = async {
        while served < 20 {
            let mut client = Raw::connect(address).await;
            client.get("hello.default", "/").await;
            match client.answer().await {
                Answer { status: 200, .. } => served += 1,
                refused => assert_eq!(refused.header("catnap-reason"), Some("ProcessOverloaded")),
            }
        }
    };
    within("room for each", all_served).await;
    drop(storm);
    bed.pods("cold", &[pod.address]);
    for client in &mut held {
        assert_eq!(client.answer().await.status, 200);
    }
}
