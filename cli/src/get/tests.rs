//! What is listed, in which form, and what is said when something is not there.

use catnap_crds::guarded::Guarded;
use catnap_testkit::FakeApi;
use futures::stream;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::*;
use crate::connection;
use crate::exit::{Exit, Failure};
use crate::fixtures::{condition, deployment, function, record, serving, stalled, too_deep};
use crate::terminal::fake::FakeTerminal;

fn named(names: &[&str]) -> Arguments {
    Arguments { names: names.iter().map(|name| (*name).to_owned()).collect(), ..Arguments::default() }
}

fn cluster() -> FakeApi {
    let api = FakeApi::default();
    function(&api, "hello", &serving("hello", 0));
    function(&api, "busy", &serving("busy", 7));
    function(&api, "shop", &stalled("shop"));
    function(&api, "new", &json!({}));
    api
}

/// What is written, and how it ends.
async fn shown(api: &FakeApi, arguments: &Arguments, mut fake: FakeTerminal) -> (String, String, Exit) {
    let shown = show(arguments, &connection::fake(api), &mut fake.terminal).await;
    let exit = shown.err().map_or(Exit::Done, |error| {
        crate::exit::report(&error, &mut fake.err);
        error.exit()
    });
    (fake.out.take(), fake.err.take(), exit)
}

async fn piped(api: &FakeApi, arguments: &Arguments) -> (String, String, Exit) {
    shown(api, arguments, FakeTerminal::piped()).await
}

#[tokio::test]
async fn functions_are_rows() {
    let (out, err, exit) = piped(&cluster(), &Arguments::default()).await;
    assert_eq!((err.as_str(), exit), ("", Exit::Done));
    insta::assert_snapshot!("rows", out);
    let wide = Arguments { output: Format::Wide, all_namespaces: true, ..Arguments::default() };
    insta::assert_snapshot!("rows_wide", piped(&cluster(), &wide).await.0);
    let coloured = shown(&cluster(), &Arguments::default(), FakeTerminal::of_person(80, "")).await.0;
    insta::assert_snapshot!("rows_in_colour", coloured.replace('\x1b', "^"));
}

#[tokio::test]
async fn programs_get_the_apis_own_objects() {
    let form = |names: &[&str], output| Arguments { output, ..named(names) };
    let one = piped(&cluster(), &form(&["hello"], Format::Json)).await.0;
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&json!("Function"), &json!("hello")));
    let all: Value = serde_json::from_str(&piped(&cluster(), &form(&[], Format::Json)).await.0).unwrap();
    assert_eq!((&all["kind"], all["items"].as_array().map(Vec::len)), (&json!("List"), Some(4)));
    insta::assert_snapshot!("yaml", piped(&cluster(), &form(&["hello"], Format::Yaml)).await.0);
    let names = piped(&cluster(), &form(&["shop", "hello"], Format::Name)).await.0;
    assert_eq!(names, "function.catnap.dev/shop\nfunction.catnap.dev/hello\n");
}

#[tokio::test]
async fn what_this_build_does_not_know_is_kept_for_programs_and_a_row_for_people() {
    let api = FakeApi::default();
    let object = json!({
        "metadata": {"name": "newer", "namespace": "default", "managedFields": [{"manager": "x"}]},
        "spec": {"image": "x", "protocol": "HTTP9"},
    });
    api.insert_at("/apis/catnap.dev/v1alpha1/namespaces/default/functions", object);
    let row = piped(&api, &Arguments::default()).await.0;
    assert!(row.contains("newer   cannot be read"), "{row}");
    let json = piped(&api, &Arguments { output: Format::Json, ..named(&["newer"]) }).await.0;
    assert!(json.contains("HTTP9") && !json.contains("managedFields"), "{json}");
}

#[tokio::test]
async fn one_that_is_nested_too_deep_is_a_row_that_says_so_and_hides_no_others() {
    let api = cluster();
    too_deep(&api, "deep");
    for arguments in [Arguments::default(), Arguments { all_namespaces: true, ..Arguments::default() }] {
        let (out, err, exit) = piped(&api, &arguments).await;
        assert_eq!((err.as_str(), exit), ("", Exit::Done));
        let row = out.lines().find(|line| line.contains("deep")).unwrap();
        assert!(row.contains("cannot be read (TooDeep)"), "{row}");
        assert_eq!(out.lines().count(), 1 + 5, "{out}");
    }
    let json = Arguments { output: Format::Json, ..named(&["deep"]) };
    let (out, err, exit) = piped(&api, &json).await;
    let object: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&object["metadata"]["name"], exit), (&json!("deep"), Exit::Done));
    assert_eq!(err, "function/deep is printed without what is more than 64 levels deep in it.\n");
    let (_, err, exit) = piped(&api, &Arguments { revisions: true, ..named(&["deep"]) }).await;
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("kubectl delete functions.catnap.dev deep"), "{err}");
}

#[tokio::test]
async fn one_that_becomes_too_deep_is_told_of_by_a_watch() {
    let api = cluster();
    let functions = Functions::new(&connection::fake(&api));
    let arguments = Arguments { watch: true, ..Arguments::default() };
    let (found, _) = find(&arguments, &functions).await.unwrap();
    let mut fake = FakeTerminal::piped();
    let screen = fake.out.clone();
    let watching = watch::run(&arguments, &functions, found, &mut fake.terminal);
    let coming = async {
        screen.shows("shop").await;
        too_deep(&api, "deep");
        screen.shows("deep    cannot be read (TooDeep)").await;
        function(&api, "busy", &serving("busy", 8));
        screen.shows("busy").await;
    };
    let both = Box::pin(async {
        tokio::select! {
            ended = watching => panic!("it ends: {ended:?}"),
            () = coming => {}
        }
    });
    tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("the rows come");
}

#[tokio::test]
async fn many_come_page_by_page_and_at_once_when_the_pages_are_forgotten() {
    let api = FakeApi::default();
    for number in 0..501 {
        function(&api, &format!("hello-{number}"), &serving("hello", 0));
    }
    let names = Arguments { output: Format::Name, ..Arguments::default() };
    let count = |out: &str| out.lines().collect::<std::collections::BTreeSet<_>>().len();
    let pages = |api: &FakeApi| api.take_calls().iter().filter(|call| call.query.contains("limit=")).count();
    assert_eq!(count(&piped(&api, &names).await.0), 501);
    assert_eq!(pages(&api), 2);
    api.expire_next_page();
    let (out, err, exit) = piped(&api, &names).await;
    assert_eq!((count(&out), out.lines().count(), err.as_str(), exit), (501, 501, "", Exit::Done));
}

#[tokio::test]
async fn a_name_that_does_not_exist_ends_with_3_and_the_others_are_shown() {
    let (out, err, exit) = piped(&cluster(), &named(&["helo", "shop"])).await;
    assert_eq!(exit, Exit::NotFound);
    assert!(out.contains("shop") && !out.contains("hello"), "{out}");
    assert_eq!(err, "error: there is no function/helo in namespace default\n  try: hello?\n");
}

#[tokio::test]
async fn nothing_is_said_to_be_nothing() {
    let (out, err, exit) = piped(&FakeApi::default(), &Arguments::default()).await;
    assert_eq!((out.as_str(), exit), ("", Exit::Done));
    assert_eq!(err, "There is no Function in namespace default.\n");
    let json = Arguments { output: Format::Json, ..Arguments::default() };
    let (out, _, exit) = piped(&FakeApi::default(), &json).await;
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["items"], json!([]));
    assert_eq!(exit, Exit::Done);
}

#[tokio::test]
async fn labels_choose() {
    let api = cluster();
    let labelled = |it: &mut Value| it["metadata"]["labels"] = json!({"team": "a"});
    assert!(api.edit::<catnap_crds::Function>("default", "busy", labelled));
    let arguments =
        Arguments { selector: Some("team=a".to_owned()), output: Format::Name, ..Arguments::default() };
    assert_eq!(piped(&api, &arguments).await.0, "function.catnap.dev/busy\n");
}

#[tokio::test]
async fn a_right_that_is_missing_ends_with_4() {
    let api = cluster();
    api.fail_next("GET", "functions", 403, "Forbidden", "functions.catnap.dev is forbidden");
    let (out, err, exit) = piped(&api, &Arguments::default()).await;
    assert_eq!((out.as_str(), exit), ("", Exit::NotAllowed));
    assert!(err.contains("kubectl auth can-i list functions.catnap.dev --namespace default"), "{err}");
}

#[tokio::test]
async fn revisions_are_told_with_what_they_take() {
    let api = cluster();
    let mut status = serving("busy", 7);
    status["traffic"] = json!([
        {"revision": "busy-2", "percent": 90, "latest": true},
        {"revision": "busy-1", "percent": 10, "tag": "old"},
    ]);
    status["revisions"] = json!([
        {"name": "busy-1", "port": 8080, "protocol": "HTTP1", "state": "Retiring"},
        {"name": "busy-2", "port": 8080, "protocol": "HTTP1", "state": "Routed"},
    ]);
    function(&api, "busy", &status);
    for number in [0, 1, 2] {
        record(&api, "busy", number + 1);
    }
    deployment(&api, "busy", 2, 7, 6);
    // Of a Function of that name that was deleted.
    record(&api, "busy", 9);
    let stranger = |it: &mut Value| it["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    assert!(api.edit::<k8s_openapi::api::apps::v1::ControllerRevision>("default", "busy-9", stranger));
    let arguments = Arguments { revisions: true, ..named(&["busy"]) };
    insta::assert_snapshot!("revisions", piped(&api, &arguments).await.0);
}

/// What is written of these changes after what was found.
async fn watched(api: &FakeApi, arguments: &Arguments, changes: Vec<(char, &str, Value)>) -> String {
    let connection = connection::fake(api);
    let functions = Functions::new(&connection);
    let (found, _) = find(arguments, &functions).await.unwrap();
    let mut events = Vec::new();
    for (change, name, status) in changes {
        function(api, name, &status);
        let object = Guarded(Ok(functions.get(name).await.unwrap().object));
        events.push(Ok(if change == '-' { Event::Delete(object) } else { Event::Apply(object) }));
    }
    let mut fake = FakeTerminal::piped();
    let changes = stream::iter(events);
    watch::follow(arguments, &functions, found, changes, &mut fake.terminal).await.unwrap();
    fake.out.take()
}

#[tokio::test]
async fn a_watch_tells_what_changes_and_nothing_twice() {
    let mut unseen = serving("hello", 0);
    unseen["conditions"][1] = condition("Stalled", "False", "Settled", "");
    let changes = vec![
        ('+', "hello", unseen),
        ('+', "hello", serving("hello", 1)),
        ('+', "longer-than-all-others", serving("longer-than-all-others", 0)),
        ('-', "hello", serving("hello", 1)),
    ];
    let arguments = Arguments { watch: true, ..Arguments::default() };
    insta::assert_snapshot!("watched", watched(&cluster(), &arguments, changes).await);
    let changes = vec![('+', "hello", serving("hello", 1)), ('+', "busy", serving("busy", 1))];
    let arguments = Arguments { output: Format::Json, watch: true, ..named(&["hello"]) };
    let lines = watched(&cluster(), &arguments, changes).await;
    let replicas: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["status"]["replicas"].clone())
        .collect();
    assert_eq!(replicas, [json!(0), json!(1)]);
}

#[tokio::test]
async fn a_function_that_went_while_nobody_watched_is_told_to_be_gone() {
    let api = cluster();
    let functions = Functions::new(&connection::fake(&api));
    let arguments = named(&["hello"]);
    let (found, _) = find(&arguments, &functions).await.unwrap();
    let mut fake = FakeTerminal::piped();
    let changes = stream::iter([Ok(Event::Init), Ok(Event::InitDone)]);
    watch::follow(&arguments, &functions, found, changes, &mut fake.terminal).await.unwrap();
    assert!(fake.out.take().lines().last().unwrap().contains("deleted"));
}
