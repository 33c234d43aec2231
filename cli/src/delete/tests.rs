//! What is removed, when it is asked, and what is waited for.

use catnap_testkit::FakeApi;
use k8s_openapi::api::apps::v1::Deployment;

use super::*;
use crate::connection;
use crate::fixtures::{deployment, function, serving, stalled, too_deep};
use crate::terminal::fake::FakeTerminal;

fn arguments(names: &[&str]) -> Arguments {
    Arguments {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        yes: false,
        wait: true,
        timeout: "20s".parse().unwrap(),
        connection: ConnectionArguments::default(),
    }
}

fn cluster() -> FakeApi {
    let api = FakeApi::default();
    function(&api, "hello", &serving("hello", 0));
    function(&api, "shop", &stalled("shop"));
    api
}

async fn deleted(api: &FakeApi, arguments: &Arguments, fake: &mut FakeTerminal) -> Result<(), DeleteError> {
    delete(arguments, &connection::fake(api), &mut fake.terminal).await
}

#[tokio::test]
async fn a_script_is_not_asked() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    deleted(&api, &arguments(&["hello", "shop"]), &mut fake).await.unwrap();
    assert_eq!(api.take_writes(), ["DELETE functions/hello", "DELETE functions/shop"]);
    assert_eq!(fake.out.take(), "function/hello deleted\nfunction/shop deleted\n");
}

#[tokio::test]
async fn a_person_is_told_what_goes_and_may_say_no() {
    for (types, yes, writes) in [("n\n", false, 0), ("y\n", false, 1), ("", true, 1)] {
        let (api, mut fake) = (cluster(), FakeTerminal::of_person(80, types));
        let arguments = Arguments { yes, ..arguments(&["hello"]) };
        let declined = deleted(&api, &arguments, &mut fake).await.is_err();
        assert_eq!((api.take_writes().len(), declined), (writes, writes == 0), "{types:?}");
        let asked = fake.err.take();
        let question = "function/hello in namespace default: http://hello.default; 0 replicas, every revision\nDelete? [y/N] ";
        assert_eq!(asked.contains(question), !yes, "{asked}");
    }
}

#[tokio::test]
async fn a_mistyped_name_deletes_nothing() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    let error = deleted(&api, &arguments(&["hello", "shup"]), &mut fake).await.unwrap_err();
    assert_eq!((error.exit(), error.advice().as_deref()), (Exit::NotFound, Some("shop?")));
    assert!(api.take_writes().is_empty());
}

#[tokio::test]
async fn it_waits_until_the_deployments_are_gone() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    deployment(&api, "hello", 1, 1, 1);
    let screen = fake.err.clone();
    let arguments = arguments(&["hello"]);
    let collecting = async {
        screen.shows("waiting until nothing of hello is left").await;
        assert!(api.remove::<Deployment>("default", "hello-1"));
    };
    let (gone, ()) = tokio::join!(deleted(&api, &arguments, &mut fake), collecting);
    gone.unwrap();
}

#[tokio::test]
async fn what_stays_too_long_is_told() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    deployment(&api, "hello", 1, 1, 1);
    let arguments = Arguments { timeout: "50ms".parse().unwrap(), ..arguments(&["hello"]) };
    let error = deleted(&api, &arguments, &mut fake).await.unwrap_err();
    assert_eq!(error.exit(), Exit::TimeOver);
    assert!(error.advice().unwrap().contains("-l catnap.dev/function=hello"), "{error}");
    assert_eq!(fake.out.take(), "");
    let without = Arguments { wait: false, ..self::arguments(&["shop"]) };
    deleted(&api, &without, &mut fake).await.unwrap();
}

#[tokio::test]
async fn one_that_takes_long_keeps_the_others_from_nothing() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    deployment(&api, "hello", 1, 1, 1);
    let arguments = Arguments { timeout: "50ms".parse().unwrap(), ..arguments(&["hello", "shop", "hello"]) };
    let error = deleted(&api, &arguments, &mut fake).await.unwrap_err();
    assert_eq!(error.exit(), Exit::TimeOver);
    assert_eq!(api.take_writes(), ["DELETE functions/hello", "DELETE functions/shop"]);
}

#[tokio::test]
async fn who_may_not_see_deployments_may_delete() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    deployment(&api, "hello", 1, 1, 1);
    api.fail_next("GET", "/deployments", 403, "Forbidden", "deployments.apps is forbidden");
    deleted(&api, &arguments(&["hello"]), &mut fake).await.unwrap();
    let said = fake.err.take();
    assert!(
        said.contains("you may not list deployments.apps") && said.contains("only function/hello"),
        "{said}"
    );
}

#[tokio::test]
async fn a_watch_that_breaks_is_tried_again_and_one_that_is_not_allowed_is_told_of() {
    let (api, mut fake) = (cluster(), FakeTerminal::piped());
    api.fail_next("GET", "/functions", 500, "InternalError", "the server is starting");
    deleted(&api, &arguments(&["hello"]), &mut fake).await.unwrap();
    api.fail_next("GET", "/functions", 403, "Forbidden", "functions.catnap.dev is forbidden");
    let error = deleted(&api, &arguments(&["shop"]), &mut fake).await.unwrap_err();
    assert_eq!(error.exit(), Exit::NotAllowed);
    assert!(error.to_string().starts_with("function/shop was deleted, but"), "{error}");
}

#[tokio::test]
async fn one_that_is_nested_too_deep_can_be_deleted() {
    let (api, mut fake) = (FakeApi::default(), FakeTerminal::piped());
    too_deep(&api, "deep");
    deleted(&api, &arguments(&["deep"]), &mut fake).await.unwrap();
    assert_eq!(api.take_writes(), ["DELETE functions/deep"]);
    assert_eq!(fake.out.take(), "function/deep deleted\n");
}
