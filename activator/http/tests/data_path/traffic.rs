//! Two revisions of one function: how requests are split, who stays where, and hosts besides the function's own name.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{
    FunctionPolicy, FunctionRoute, HostRoute, Pod as PodSeen, RevisionRoute, Share, TagRoute,
};
use catnap_activator_http::Outcome;
use catnap_wire::message::RevisionId;
use futures::future::join_all;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::bed::{Bed, function_name, until, within};
use crate::client::{Raw, empty, get, http2, request};
use crate::pod::{NOBODY, Pod, reply};

/// Two revisions, the first and the second, with these percents; `next` is a tag of the second.
fn traffic(percents: [u32; 2]) -> FunctionRoute {
    let name = |number: usize| -> Arc<str> { format!("hello-{number}").into() };
    let share = |(percent, number)| Share { revision: name(number), percent };
    FunctionRoute {
        traffic: percents.into_iter().zip(1..).map(share).collect(),
        tags: vec![TagRoute { tag: "next".into(), revision: name(2) }],
        revisions: (1..=2).map(|number| RevisionRoute::new(name(number))).collect(),
        policy: FunctionPolicy::default(),
        ..FunctionRoute::new(function_name("hello"), "uid-hello".into())
    }
}

impl Bed {
    fn split(&self, percents: [u32; 2]) {
        self.activator.upsert_function(traffic(percents));
    }

    /// The pods of the first or second revision are these now, all Ready.
    fn pods_of(&self, number: usize, addresses: &[SocketAddr]) {
        let pods = addresses.iter().map(|address| PodSeen {
            uid: format!("pod-{}", address.port()).into(),
            address: Some(*address),
            started: true,
            ready: true,
            requires_ready: false,
            terminating: false,
            trouble: None,
        });
        self.activator.set_pods(&id(number), pods.collect());
    }

    fn held_by(&self, number: usize) -> u64 {
        let states = self.activator.snapshot().revisions;
        states.iter().find(|state| state.revision == id(number)).map_or(0, |state| state.held)
    }
}

fn id(number: usize) -> RevisionId {
    RevisionId {
        namespace: "default".into(),
        name: format!("hello-{number}").into(),
        function_uid: "uid-hello".into(),
    }
}

/// A pod that says this.
async fn saying(word: &'static str) -> Pod {
    Pod::http1(move |_| async move { reply(word) }).await
}

#[tokio::test]
async fn requests_are_split_over_every_protocol() {
    let bed = Bed::start();
    let (first, second) = (saying("first").await, saying("second").await);
    bed.split([80, 20]);
    bed.pods_of(1, &[first.address]);
    bed.pods_of(2, &[second.address]);
    let mut client = Raw::connect(bed.address()).await;
    for _ in 0..500 {
        client.get("hello.default", "/").await;
        assert_eq!(client.answer().await.status, 200);
    }
    let mut other = http2(bed.address()).await;
    for _ in 0..500 {
        let response = other.send_request(request("GET", "http://hello.default/", empty())).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(first.requests() + second.requests(), 1_000);
    // 4 standard deviations of the binomial distribution: 50.6.
    assert!(second.requests().abs_diff(200) <= 50, "{}", second.requests());
}

#[tokio::test]
async fn a_tag_is_a_name_of_one_revision() {
    let bed = Bed::start();
    let (first, second) = (saying("first").await, saying("second").await);
    bed.split([100, 0]);
    bed.pods_of(1, &[first.address]);
    bed.pods_of(2, &[second.address]);
    for _ in 0..20 {
        assert_eq!(get(bed.address(), "hello.default", "/").await.text(), "first");
        assert_eq!(get(bed.address(), "next-hello.default.svc", "/").await.text(), "second");
    }
    assert_eq!(get(bed.address(), "old-hello.default", "/").await.status, 404);
    assert_eq!(get(bed.edge(), "next-hello.default", "/").await.status, 404);
    // A function of that name comes first, for as long as it is there.
    let own = saying("own").await;
    bed.function_with("next-hello", crate::bed::Setup::default(), &[own.address]);
    assert_eq!(get(bed.address(), "next-hello.default", "/").await.text(), "own");
    bed.activator.remove_function(&function_name("next-hello"));
    assert_eq!(get(bed.address(), "next-hello.default", "/").await.text(), "second");
}

#[tokio::test]
async fn hosts_are_served_where_they_were_given() {
    let bed = Bed::start();
    let (first, second) = (saying("first").await, saying("second").await);
    let host = |host: &str, tag: Option<&str>| HostRoute { host: host.into(), tag: tag.map(Into::into) };
    let hosts = vec![
        host("shop.example.com", None),
        host("next-shop.example.com", Some("next")),
        host("*.shop.example.com", None),
    ];
    bed.activator.upsert_function(FunctionRoute { hosts, ..traffic([100, 0]) });
    bed.pods_of(1, &[first.address]);
    bed.pods_of(2, &[second.address]);
    for listener in [bed.edge(), bed.address()] {
        for (host, expected) in [
            ("Shop.Example.com", Some("first")),
            ("next-shop.example.com:8443", Some("second")),
            ("a.b.shop.example.com.", Some("first")),
            ("example.com", None),
            ("hello.default.example.com", None),
        ] {
            let answer = get(listener, host, "/").await;
            match expected {
                Some(word) => assert_eq!((answer.status, answer.text()), (200, word), "{host}"),
                None => assert_eq!(answer.header("catnap-reason"), Some("UnknownHost"), "{host}"),
            }
        }
    }
    assert_eq!(get(bed.edge(), "hello.default", "/").await.status, 404);
    bed.split([100, 0]);
    assert_eq!(get(bed.edge(), "shop.example.com", "/").await.status, 404);
}

/// A pod that reads a request and closes, and the ids of what it read.
async fn breaking() -> (Pod, Arc<Mutex<BTreeSet<String>>>) {
    let ids: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let kept = Arc::clone(&ids);
    let pod = Pod::raw(move |_, stream: TcpStream| {
        let ids = Arc::clone(&kept);
        async move {
            let mut read = Raw::over(stream);
            let head = String::from_utf8(read.through(b"\r\n\r\n").await).unwrap().to_lowercase();
            let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
            ids.lock().insert(id.to_owned());
        }
    })
    .await;
    (pod, ids)
}

#[tokio::test]
async fn a_request_that_is_sent_again_stays_with_its_revision() {
    let bed = Bed::start();
    let (first, second, (broken, seen)) = (saying("first").await, saying("second").await, breaking().await);
    bed.split([50, 50]);
    bed.pods_of(2, &[second.address]);
    let mut again = 0;
    for number in 0..200 {
        // A pod that failed is avoided until it did well: made anew, it is asked again.
        if number % 10 == 0 {
            let failing = if number < 100 { broken.address } else { NOBODY };
            bed.pods_of(1, &[]);
            bed.pods_of(1, &[first.address, failing]);
        }
        let mut client = Raw::connect(bed.address()).await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: hello.default\r\nX-Request-Id: number-{number}\r\n\r\n"))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200, "request {number}: {}", answer.text());
        let attempts = bed.until_ended(number + 1).await[number].attempts;
        if seen.lock().contains(&format!("number-{number}")) {
            assert_eq!(attempts, 2);
        }
        if attempts > 1 {
            again += 1;
            assert_eq!(answer.text(), "first", "request {number}");
        }
    }
    let broken = seen.lock().len();
    assert!(0 < broken && broken < again, "{broken} broke off, {again} were sent again");
}

#[tokio::test]
async fn who_is_held_stays_or_moves_when_the_weights_change() {
    let bed = Bed::start();
    bed.split([100, 0]);
    let second = saying("second").await;
    bed.pods_of(2, &[second.address]);
    let clients = (0..20).map(|_| async {
        let mut client = Raw::connect(bed.address()).await;
        client.get("hello.default", "/").await;
        client
    });
    let mut clients = join_all(clients).await;
    until("all are held", || bed.held_by(1) == 20).await;
    bed.split([1, 99]);
    assert_eq!(bed.held_by(1), 20, "their revision has a share");
    let first = saying("first").await;
    bed.pods_of(1, &[first.address]);
    for client in &mut clients {
        assert_eq!(client.answer().await.text(), "first");
    }
    bed.pods_of(1, &[]);
    bed.split([100, 0]);
    for client in &mut clients {
        client.get("hello.default", "/").await;
    }
    until("all are held again", || bed.held_by(1) == 20).await;
    bed.split([0, 100]);
    for client in &mut clients {
        assert_eq!(client.answer().await.text(), "second");
    }
}

#[tokio::test]
async fn a_request_that_moved_counts_for_the_revision_that_it_waited_for_last() {
    let bed = Bed::start();
    bed.split([100, 0]);
    bed.pods_of(1, &[NOBODY]);
    let mut client = Raw::connect(bed.address()).await;
    client.get("hello.default", "/").await;
    until("its pod has refused it", || bed.held_by(1) == 1).await;
    let policy = FunctionPolicy { activation: Duration::from_millis(1), ..FunctionPolicy::default() };
    bed.activator.upsert_function(FunctionRoute { policy, ..traffic([0, 100]) });
    assert_eq!(client.answer().await.header("catnap-reason"), Some("ActivationTimeout"));
    let ended = bed.until_ended(1).await;
    assert!(ended[0].attempts > 0, "a pod of the first revision was asked: {ended:?}");
    assert_eq!(ended[0].revision, Some(id(2)), "that one had nothing to do with its end");
}

/// A pod whose one response is what is sent into the channel.
async fn streaming(events: UnboundedReceiver<&'static str>) -> Pod {
    let events = Arc::new(Mutex::new(Some(events)));
    Pod::http1(move |_| {
        let events = Arc::clone(&events);
        async move {
            let events = UnboundedReceiverStream::new(events.lock().take().unwrap());
            let frames = events.map(|event| Ok(Frame::data(bytes::Bytes::from(event))));
            Response::new(BodyExt::boxed(StreamBody::new(frames)))
        }
    })
    .await
}

#[tokio::test]
async fn streams_of_a_revision_without_traffic_go_on_and_nothing_is_lost() {
    let bed = Bed::start();
    let (sender, events): (UnboundedSender<&'static str>, _) = unbounded_channel();
    let (first, second) = (streaming(events).await, saying("second").await);
    bed.split([100, 0]);
    bed.pods_of(1, &[first.address]);
    bed.pods_of(2, &[second.address]);
    let mut stream = Raw::connect(bed.address()).await;
    stream.get("hello.default", "/").await;
    assert_eq!(stream.head().await.status, 200);
    let mut others = http2(bed.address()).await;
    for percents in [Some([0, 100]), None] {
        if let Some(percents) = percents {
            bed.split(percents);
        } else {
            // Now it is in no status any more.
            let whole = traffic([0, 100]);
            let revisions = whole.revisions[1..].to_vec();
            bed.activator.upsert_function(FunctionRoute { revisions, ..whole });
        }
        for _ in 0..20 {
            let uri = "http://hello.default/";
            let response = others.send_request(request("GET", uri, empty())).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "second");
            sender.send("event\n").unwrap();
            within("an event", stream.through(b"event\n")).await;
        }
    }
    drop(sender);
    stream.through(b"0\r\n\r\n").await;
    let ended = bed.until_ended(41).await;
    assert!(ended.iter().all(|end| end.status == Some(200) && end.outcome == Outcome::Answered), "{ended:?}");
}

/// While the weights change all the time, everybody is answered, whether a revision sleeps or not.
#[tokio::test]
async fn nothing_is_lost_while_the_weights_change_under_load() {
    let bed = Bed::start();
    let (first, second) = (saying("first").await, saying("second").await);
    bed.split([100, 0]);
    bed.pods_of(1, &[first.address]);
    let client = async |number: usize| {
        let mut client = Raw::connect(bed.address()).await;
        for _ in 0..50 {
            let host = if number == 0 { "next-hello.default" } else { "hello.default" };
            client.get(host, "/").await;
            let answer = client.answer().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            if number == 0 {
                assert_eq!(answer.text(), "second");
            }
        }
    };
    let changes = async {
        let shares = [[50, 50], [0, 100], [99, 1], [100, 0], [1, 99]];
        for (round, percents) in shares.into_iter().cycle().take(50).enumerate() {
            bed.split(percents);
            // One that has pods now, and none at other times.
            bed.pods_of(2, if round % 3 == 0 { &[] } else { std::slice::from_ref(&second.address) });
            let before = first.requests() + second.requests();
            until("some more were answered, or all that may be", || {
                first.requests() + second.requests() >= before + 4 || bed.held_by(2) > 0 || bed.all_ended(400)
            })
            .await;
        }
        bed.pods_of(2, &[second.address]);
    };
    within("all of it", async { tokio::join!(join_all((0..8).map(client)), changes) }).await;
    assert!(bed.until_ended(400).await.iter().all(|end| end.status == Some(200)));
}

impl Bed {
    fn all_ended(&self, count: usize) -> bool {
        self.counts.ended.lock().len() >= count
    }
}
