//! Whose lines are shown, and how they are told apart.

use catnap_testkit::FakeApi;
use futures::stream;
use kube::core::Status;
use kube::runtime::watcher::{self, Event};
use serde_json::json;

use super::*;
use crate::connection;
use crate::fixtures::{function, pod, running, serving};
use crate::terminal::fake::FakeTerminal;

fn arguments() -> Arguments {
    Arguments {
        name: "hello".to_owned(),
        revision: None,
        pod: None,
        container: names::CONTAINER.to_owned(),
        follow: false,
        previous: false,
        since: None,
        tail: Some(100),
        timestamps: false,
        connection: ConnectionArguments::default(),
    }
}

fn resting() -> FakeApi {
    let api = FakeApi::default();
    function(&api, "hello", &serving("hello", 0));
    api
}

/// A pod that has written a line.
fn writing(api: &FakeApi, number: i64, name: &str) {
    pod(api, "hello", number, name, &running());
    api.log("default", name, "function", &format!("I am {name}"));
}

async fn shown(api: &FakeApi, arguments: &Arguments) -> (String, String, Exit) {
    let mut fake = FakeTerminal::piped();
    let shown = show(arguments, &connection::fake(api), &mut fake.terminal).await;
    (fake.out.take(), fake.err.take(), shown.err().map_or(Exit::Done, |error| error.exit()))
}

#[tokio::test]
async fn one_pod_is_shown_as_it_writes_and_several_with_their_names() {
    let api = resting();
    writing(&api, 1, "hello-1-6f7d-a");
    assert_eq!(shown(&api, &arguments()).await.0, "I am hello-1-6f7d-a\n");
    writing(&api, 2, "hello-2-6f7d-b");
    let both = "hello-1-6f7d-a | I am hello-1-6f7d-a\nhello-2-6f7d-b | I am hello-2-6f7d-b\n";
    assert_eq!(shown(&api, &arguments()).await.0, both);
    let of_revision = Arguments { revision: Some("hello-2".to_owned()), ..arguments() };
    assert_eq!(shown(&api, &of_revision).await.0, "I am hello-2-6f7d-b\n");
    let of_pod = Arguments { pod: Some("hello-1-6f7d-a".to_owned()), ..arguments() };
    assert_eq!(shown(&api, &of_pod).await.0, "I am hello-1-6f7d-a\n");
}

#[tokio::test]
async fn a_function_at_rest_is_no_error() {
    let expected = "hello has no pod now; --follow waits for one.\n";
    assert_eq!(shown(&resting(), &arguments()).await, (String::new(), expected.to_owned(), Exit::Done));
}

#[tokio::test]
async fn a_pod_that_does_not_write_yet_does_not_hide_the_others() {
    let api = resting();
    pod(&api, "hello", 1, "hello-1-6f7d-a", &json!({"waiting": {"reason": "ContainerCreating"}}));
    let creating = || {
        api.fail_next("GET", "hello-1-6f7d-a/log", 400, "BadRequest", "container is waiting to start");
    };
    creating();
    assert_eq!(shown(&api, &arguments()).await.2, Exit::Failed, "nothing else could be shown");
    writing(&api, 1, "hello-1-6f7d-b");
    creating();
    let (out, err, exit) = shown(&api, &arguments()).await;
    assert_eq!((out.as_str(), exit), ("hello-1-6f7d-b | I am hello-1-6f7d-b\n", Exit::Done));
    assert!(err.contains("pod hello-1-6f7d-a: ") && err.contains("waiting to start"), "{err}");
}

#[tokio::test]
async fn what_is_asked_for_is_what_is_asked() {
    let api = resting();
    writing(&api, 1, "hello-1-6f7d-a");
    let all = Arguments {
        previous: true,
        since: Some("5m".parse().unwrap()),
        tail: Some(7),
        timestamps: true,
        ..arguments()
    };
    shown(&api, &all).await;
    let asked = api.take_calls().pop().unwrap().query;
    for part in ["container=function", "previous=true", "sinceSeconds=300", "tailLines=7", "timestamps=true"]
    {
        assert!(asked.contains(part), "{part} in {asked}");
    }
}

#[tokio::test]
async fn following_takes_pods_that_come_later() {
    let api = resting();
    let mut fake = FakeTerminal::piped();
    let (out, err) = (fake.out.clone(), fake.err.clone());
    let connection = connection::fake(&api);
    let arguments = Arguments { follow: true, ..arguments() };
    let following = show(&arguments, &connection, &mut fake.terminal);
    let coming = async {
        err.shows("waiting for one").await;
        pod(&api, "hello", 1, "hello-1-6f7d-a", &json!({"waiting": {"reason": "ContainerCreating"}}));
        writing(&api, 1, "hello-1-6f7d-b");
        out.shows("hello-1-6f7d-b | I am hello-1-6f7d-b\n").await;
        writing(&api, 1, "hello-1-6f7d-a");
        out.shows("hello-1-6f7d-a | I am hello-1-6f7d-a\n").await;
    };
    let both = Box::pin(async {
        tokio::select! {
            ended = following => panic!("it ends: {ended:?}"),
            () = coming => {}
        }
    });
    tokio::time::timeout(StdDuration::from_secs(20), both).await.expect("the lines come");
}

#[tokio::test]
async fn a_watch_that_is_refused_again_and_again_is_told_of_once() {
    let api = resting();
    let connection = connection::fake(&api);
    let (_, function) = cluster::read(&connection, "hello").await.unwrap();
    let source = Source { arguments: arguments(), connection, function };
    let refused = |why: &str| Err(watcher::Error::WatchError(Status::failure(why, "Forbidden").boxed()));
    let changes = vec![
        refused("not yours"),
        // Lists may be had all the same.
        Ok(Event::Init),
        Ok(Event::InitApply(Pod::default())),
        Ok(Event::InitDone),
        refused("not yours"),
        refused("gone"),
        refused("gone"),
        // It went on in between.
        Ok(Event::Delete(Pod::default())),
        refused("gone"),
    ];
    let mut fake = FakeTerminal::piped();
    Box::pin(follow::follow(source, &[], stream::iter(changes), &mut fake.terminal)).await.unwrap();
    let notes = fake.err.take();
    let told = |why: &str| notes.matches(why).count();
    assert_eq!((told("later pods may be missed"), told("not yours"), told("gone")), (3, 1, 2), "{notes}");
}

#[tokio::test]
async fn a_line_without_an_end_is_broken() {
    let mut written = futures::io::Cursor::new(vec![b'a'; (1 << 20) + 3]);
    let mut lengths = Vec::new();
    while let Some(line) = line(&mut written).await.unwrap() {
        lengths.push(line.len());
    }
    assert_eq!(lengths, [1 << 20, 3]);
}

#[tokio::test]
async fn a_log_that_does_not_go_on_is_given_up() {
    let silent = stream::pending::<std::io::Result<Vec<u8>>>();
    let silent = futures::TryStreamExt::into_async_read(silent);
    let mut fake = FakeTerminal::piped();
    let copied = copy(silent, "hello-1", "", StdDuration::from_millis(20), &mut fake.terminal).await;
    assert_eq!(copied.unwrap_err().exit(), Exit::Unreachable);
}

#[test]
fn tails_are_numbers_or_all() {
    assert_eq!((tail("7"), tail("0"), tail("all")), (Ok(Some(7)), Ok(Some(0)), Ok(None)));
    assert!(tail("-1").is_err() && tail("some").is_err());
}
