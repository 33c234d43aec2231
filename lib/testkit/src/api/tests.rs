use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};

use super::*;

fn config_map(data: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "default"}, "data": {"x": data}}))
        .unwrap()
}

fn code(error: kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn objects_are_kept_and_calls_recorded() {
    let fake = FakeApi::default();
    let api: Api<ConfigMap> = Api::default_namespaced(fake.client());
    assert_eq!(api.get_opt("a").await.unwrap(), None);
    let made = api.create(&PostParams::default(), &config_map("1")).await.unwrap();
    assert!(made.metadata.uid.is_some());
    assert_eq!(code(api.create(&PostParams::default(), &config_map("1")).await.unwrap_err()), 409);
    assert_eq!(api.list(&kube::api::ListParams::default()).await.unwrap().items, [made]);
    let words: Vec<_> = fake.take_calls().iter().map(ToString::to_string).collect();
    assert_eq!(words, ["GET configmaps/a", "POST configmaps/a", "POST configmaps/a", "GET configmaps/"]);
}

#[tokio::test]
async fn an_apply_creates_changes_and_heeds_the_uid() {
    let fake = FakeApi::default();
    let api: Api<ConfigMap> = Api::default_namespaced(fake.client());
    let params = PatchParams::apply("tests");
    let first = api.patch("a", &params, &Patch::Apply(config_map("1"))).await.unwrap();
    let same = api.patch("a", &params, &Patch::Apply(config_map("1"))).await.unwrap();
    assert_eq!(first, same, "an apply that changes nothing writes nothing");
    let mut other = config_map("2");
    other.metadata.uid = Some("another".into());
    assert_eq!(code(api.patch("a", &params, &Patch::Apply(&other)).await.unwrap_err()), 409);
    assert!(fake.remove::<ConfigMap>("default", "a"));
    assert_eq!(code(api.patch("a", &params, &Patch::Apply(&other)).await.unwrap_err()), 409);
}

#[tokio::test]
async fn a_delete_heeds_its_preconditions_and_scripts_come_first() {
    let fake = FakeApi::default();
    let api: Api<ConfigMap> = Api::default_namespaced(fake.client());
    fake.insert(&config_map("1"));
    let preconditions = Preconditions { uid: Some("another".into()), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    assert_eq!(code(api.delete("a", &params).await.unwrap_err()), 409);
    fake.fail_next("DELETE", "configmaps/a", 503, "ServiceUnavailable", "later");
    assert_eq!(code(api.delete("a", &DeleteParams::default()).await.unwrap_err()), 503);
    assert!(api.delete("a", &DeleteParams::default()).await.is_ok());
    assert!(fake.list::<ConfigMap>("default").is_empty());
}

#[tokio::test]
async fn what_is_no_object_is_answered_again_and_again() {
    let fake = FakeApi::default();
    fake.answer_always("GET", "/apis", json!({"groups": []}));
    fake.fail_next("GET", "/apis", 503, "ServiceUnavailable", "later");
    let client = fake.client();
    assert_eq!(code(client.list_api_groups().await.unwrap_err()), 503);
    for _ in 0..2 {
        assert!(client.list_api_groups().await.unwrap().groups.is_empty());
    }
    fake.answer_always("GET", "/apis", json!({"groups": [{"name": "apps", "versions": []}]}));
    assert_eq!(client.list_api_groups().await.unwrap().groups.len(), 1);
}
