//! Objects as they come in answers of the API server, deep and wrong ones among good ones.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::{DynamicObject, ObjectList, WatchEvent};
use rstest::rstest;

use super::*;

/// `{"a":{"a":…}}`, as a text: what reads or prints such a value by recursion ends the process.
fn nested(levels: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

fn record(name: &str, managed: &str, data: &str) -> String {
    let managed = format!(r#"[{{"manager":"a","fieldsV1":{managed}}}]"#);
    let metadata = format!(r#"{{"name":"{name}","resourceVersion":"7","managedFields":{managed}}}"#);
    format!(
        r#"{{"kind":"ControllerRevision","apiVersion":"apps/v1","metadata":{metadata},"revision":1,"data":{data}}}"#
    )
}

fn list(items: &[String]) -> String {
    let items = items.join(",");
    format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":[{items}]}}"#)
}

/// How many objects are inside each other, and what is in the last.
fn innermost(value: &Value) -> (usize, &Value) {
    let mut found = (0, value);
    while let Some(inner) = found.1.get("a") {
        found = (found.0 + 1, inner);
    }
    found
}

#[rstest]
#[case::in_a_field_of_any_form(1, 10_000)]
#[case::in_the_managed_fields(10_000, 1)]
fn one_object_that_is_nested_too_deep_spoils_no_list(#[case] managed: usize, #[case] data: usize) {
    let deep = record("deep", &nested(managed), &nested(data));
    let text = list(&[record("a", "{}", "{}"), deep, record("b", "{}", "{}")]);
    let list: ObjectList<Guarded<ControllerRevision>> = serde_json::from_str(&text).unwrap();
    let names: Vec<_> = list.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["a", "deep", "b"]);
    assert!(list.items.iter().all(|item| item.0.is_ok()), "{list:?}");
}

#[test]
fn what_is_too_deep_is_replaced_and_the_rest_is_as_it_was() {
    let read = |levels| {
        let text = record("a", "{}", &nested(levels));
        let Guarded(object) = serde_json::from_str::<Guarded<ControllerRevision>>(&text).unwrap();
        object.unwrap().data.unwrap().0
    };
    // One level is the object itself.
    let most = read(LEVELS - 1);
    assert_eq!(innermost(&most), (LEVELS - 1, &Value::from(1)));
    for levels in [LEVELS, LEVELS + 1, 10_000] {
        let cut = read(levels);
        assert_eq!(innermost(&cut), (LEVELS - 1, &Value::from(levels::SKIPPED)), "{levels}");
    }
}

#[test]
fn whether_something_was_skipped_can_be_told() {
    let read = |data: &str| {
        let Guarded(object) =
            serde_json::from_str::<Guarded<DynamicObject>>(&record("a", "{}", data)).unwrap();
        is_cut(&object.unwrap().data)
    };
    assert!(read(&nested(LEVELS)) && read(&nested(10_000)));
    assert!(!read(&nested(LEVELS - 1)) && !read("{}"));
    assert!(!read(&format!("{:?}", levels::SKIPPED)), "somebody wrote that");
}

#[test]
fn a_watch_tells_of_an_object_that_is_nested_too_deep() {
    let text = format!(r#"{{"type":"MODIFIED","object":{}}}"#, record("deep", "{}", &nested(10_000)));
    let event: WatchEvent<Guarded<ControllerRevision>> = serde_json::from_str(&text).unwrap();
    let WatchEvent::Modified(object) = event else { panic!("{event:?}") };
    assert_eq!(object.resource_version().as_deref(), Some("7"));
    assert!(object.0.is_ok());
}

#[test]
fn every_kind_of_value_is_read() {
    let text = r#"{"metadata":{},"revision":-1,"data":{"a":[1,-1,0.5,true,null,"text"]}}"#;
    let Guarded(object) = serde_json::from_str::<Guarded<ControllerRevision>>(text).unwrap();
    let object = object.unwrap();
    assert_eq!(object.revision, -1);
    assert_eq!(object.data.unwrap().0, serde_json::json!({"a": [1, -1, 0.5, true, null, "text"]}));
}

#[rstest]
#[case::a_field_of_another_kind(r#"{"metadata":{"name":"a"},"spec":{"containers":3}}"#, "a")]
#[case::no_metadata(r#"{"spec":{"containers":3}}"#, "")]
#[case::metadata_of_another_kind(r#"{"metadata":3}"#, "")]
#[case::no_object("3", "")]
fn of_an_object_that_cannot_be_read_there_is_who_it_is(#[case] text: &str, #[case] name: &str) {
    let object: Guarded<Pod> = serde_json::from_str(text).unwrap();
    assert_eq!(object.name_any(), name);
    assert!(object.0.is_err());
    assert_eq!(object.into_outline().metadata.name.unwrap_or_default(), name);
}
