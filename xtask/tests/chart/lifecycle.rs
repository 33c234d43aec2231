//! What stays when the release goes, and what `helm test` asks.

use serde_json::{Value, json};

use crate::helm::{self, named};
use crate::of_kind;

#[test]
fn the_definition_is_an_object_of_the_release_that_stays_unless_told_otherwise() {
    let keeps = |arguments: &[&str]| {
        let objects = helm::render(arguments)?;
        let definition = named(&objects, "CustomResourceDefinition", "functions.catnap.dev");
        Some(definition["metadata"]["annotations"]["helm.sh/resource-policy"].clone())
    };
    // Helm renders no crds/ folder: what is rendered is brought up to date by `helm upgrade`.
    let Some(default) = keeps(&[]) else { return };
    assert_eq!(default, "keep");
    assert_eq!(keeps(&["--set", "crds.keep=false"]).unwrap(), Value::Null);
    let kept = helm::render(&[]).unwrap();
    let annotated: Vec<_> = kept
        .iter()
        .filter(|object| object["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep")
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert_eq!(annotated, ["CustomResourceDefinition"], "nothing else stays");
}

/// Objects that are there only for a test.
fn of_the_test(objects: &[Value]) -> Vec<&Value> {
    objects.iter().filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test").collect()
}

#[test]
fn a_test_asks_the_api_server_and_an_activator_and_leaves_nothing_behind() {
    let arguments = ["--set", "clusterDomain=cluster.example,fullnameOverride=cat"];
    let Some(objects) = helm::render(&arguments) else { return };
    let hooks = of_the_test(&objects);
    let mut kinds: Vec<_> = hooks.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["Pod", "Role", "RoleBinding", "ServiceAccount"]);
    for object in hooks {
        let policy = &object["metadata"]["annotations"]["helm.sh/hook-delete-policy"];
        assert_eq!(policy, "before-hook-creation,hook-succeeded", "{}", object["kind"]);
    }
    let commands = pod(&objects)["containers"].as_array().unwrap().iter().map(|one| &one["command"]);
    let wanted = [
        json!(["catnap", "reach", "cat-activator.catnap-system.svc.cluster.example:80"]),
        json!(["catnap", "get", "--namespace", "catnap-system"]),
    ];
    assert_eq!(commands.collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
    assert_eq!(pod(&objects)["restartPolicy"], "Never");
    assert!(pod(&objects)["activeDeadlineSeconds"].is_number());

    let objects = helm::render(&["--set", "tests.enabled=false"]).unwrap();
    assert!(of_the_test(&objects).is_empty());
    assert_eq!(of_kind(&objects, "Pod").count(), 0);
}

fn pod(objects: &[Value]) -> &Value {
    &of_kind(objects, "Pod").next().unwrap()["spec"]
}

#[test]
fn the_test_has_a_place_where_catnap_has_one() {
    let said = json!({
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
    });
    let operator = format!("operator={said}");
    let secrets = "image.pullSecrets={one}";
    let Some(objects) = helm::render(&["--set-json", &operator, "--set", secrets]) else { return };
    let pod = pod(&objects);
    assert_eq!(pod["nodeSelector"]["pool"], "system");
    assert_eq!(pod["tolerations"], said["tolerations"]);
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "one"}]));
    let deployment = named(&objects, "Deployment", "catnap-operator");
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert!(pod["containers"].as_array().unwrap().iter().all(|one| &one["image"] == image));
}
