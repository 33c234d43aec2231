//! Two of each component on different nodes, before functions where these are full; and what a platform team says about pods.

use std::fs;

use serde_json::{Value, json};

use crate::helm::{self, named};
use crate::of_kind;

const COMPONENTS: [&str; 3] = ["operator", "activator", "autoscaler"];

fn deployment<'objects>(objects: &'objects [Value], component: &str) -> &'objects Value {
    named(objects, "Deployment", &format!("catnap-{component}"))
}

fn budgets(objects: &[Value]) -> Vec<&Value> {
    of_kind(objects, "PodDisruptionBudget").collect()
}

#[test]
fn two_of_each_keep_apart_and_are_not_drained_together() {
    let Some(objects) = helm::render(&[]) else { return };
    assert_eq!(budgets(&objects).len(), COMPONENTS.len());
    for component in COMPONENTS {
        let deployment = deployment(&objects, component);
        let selector = &deployment["spec"]["selector"];
        assert_eq!(deployment["spec"]["replicas"], 2, "{component}");
        let pod = &deployment["spec"]["template"]["spec"];
        let spread = pod["topologySpreadConstraints"].as_array().unwrap();
        assert_eq!(spread.len(), 1, "a second key would switch this off where nodes do not have it");
        assert_eq!(spread[0]["topologyKey"], "kubernetes.io/hostname");
        assert_eq!(spread[0]["whenUnsatisfiable"], "ScheduleAnyway");
        assert_eq!(&spread[0]["labelSelector"], selector);
        let apart = pod["affinity"]["podAntiAffinity"].as_object().unwrap();
        assert_eq!(apart.keys().collect::<Vec<_>>(), ["preferredDuringSchedulingIgnoredDuringExecution"]);
        let terms = apart["preferredDuringSchedulingIgnoredDuringExecution"].as_array().unwrap();
        let keys: Vec<_> = terms.iter().map(|term| &term["podAffinityTerm"]["topologyKey"]).collect();
        assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
        assert!(terms.iter().all(|term| &term["podAffinityTerm"]["labelSelector"] == selector));
        let budget = &named(&objects, "PodDisruptionBudget", &format!("catnap-{component}"))["spec"];
        assert_eq!(&budget["selector"], selector);
        assert_eq!(budget["maxUnavailable"], 1);
    }
}

#[test]
fn one_alone_keeps_no_node_from_being_drained() {
    let Some(objects) = helm::render(&["--set", "operator.replicas=1,autoscaler.replicas=0"]) else { return };
    let names: Vec<_> = budgets(&objects).iter().map(|budget| &budget["metadata"]["name"]).collect();
    assert_eq!(names, ["catnap-activator"]);
    let objects = helm::render(&["--set", "disruptionBudgets.enabled=false"]).unwrap();
    assert!(budgets(&objects).is_empty());
}

#[test]
fn functions_do_not_take_the_place_of_what_wakes_them() {
    let classes = |arguments: &[&str]| {
        let objects = helm::render(arguments)?;
        let made: Vec<_> = of_kind(&objects, "PriorityClass").cloned().collect();
        let named = COMPONENTS.map(|component| {
            let pod = &deployment(&objects, component)["spec"]["template"]["spec"];
            pod["priorityClassName"].as_str().unwrap_or_default().to_owned()
        });
        Some((made, named))
    };
    let Some((made, named)) = classes(&[]) else { return };
    assert_eq!(made.len(), 1);
    assert_eq!(named, ["catnap"; 3]);
    assert_eq!(made[0]["metadata"]["name"], "catnap");
    // A float would be refused, and Helm reads every number of values.yaml as one.
    assert_eq!(made[0]["value"].as_i64(), Some(1_000_000));
    assert_eq!(made[0]["globalDefault"], Value::Null);
    let (made, named) = classes(&["--set", "priorityClass.name=important"]).unwrap();
    assert_eq!((made.len(), named), (0, ["important"; 3].map(str::to_owned)));
    let (made, named) = classes(&["--set", "priorityClass.create=false"]).unwrap();
    assert_eq!((made.len(), named), (0, [""; 3].map(str::to_owned)));
}

#[test]
fn what_is_said_of_one_component_reaches_its_pods_alone() {
    for component in COMPONENTS {
        let said = json!({
            "podLabels": {"team": "edge"},
            "podAnnotations": {"example.com/pod": "1"},
            "deploymentAnnotations": {"example.com/deployment": "1"},
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "system", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "extraEnv": [{"name": "EXTRA", "value": "yes"}],
            "topologySpreadConstraints":
                [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
        });
        let argument = format!("{component}={said}");
        let Some(objects) = helm::render(&["--set-json", &argument]) else { return };
        for other in COMPONENTS {
            let deployment = deployment(&objects, other);
            let (pod, spec) = (&deployment["spec"]["template"], &deployment["spec"]["template"]["spec"]);
            let here = other == component;
            let environment = spec["containers"][0]["env"].as_array().unwrap();
            for (what, found) in [
                ("podLabels", pod["metadata"]["labels"]["team"] == "edge"),
                ("podAnnotations", pod["metadata"]["annotations"]["example.com/pod"] == "1"),
                (
                    "deploymentAnnotations",
                    deployment["metadata"]["annotations"]["example.com/deployment"] == "1",
                ),
                ("nodeSelector", spec["nodeSelector"]["pool"] == "system"),
                ("tolerations", spec["tolerations"] == said["tolerations"]),
                ("affinity", spec["affinity"]["nodeAffinity"].is_object()),
                ("extraEnv", environment.contains(&said["extraEnv"][0])),
                (
                    "topologySpreadConstraints",
                    spec["topologySpreadConstraints"] == said["topologySpreadConstraints"],
                ),
            ] {
                assert_eq!(found, here, "{component}.{what} in the pods of {other}");
            }
            // A rolling update would never find its pods otherwise.
            assert_eq!(deployment["spec"]["selector"]["matchLabels"]["team"], Value::Null);
            assert!(spec["affinity"]["podAntiAffinity"].is_object(), "replicas still keep apart");
            assert_eq!(spec["nodeSelector"]["kubernetes.io/os"], "linux");
        }
    }
}

#[test]
fn replicas_keep_apart_in_another_way_where_it_is_said() {
    let affinity =
        r#"operator.affinity={"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[]}}"#;
    let Some(objects) = helm::render(&["--set-json", affinity]) else { return };
    let wanted = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}});
    assert_eq!(deployment(&objects, "operator")["spec"]["template"]["spec"]["affinity"], wanted);
}

#[test]
fn common_labels_are_on_every_object_and_select_nothing() {
    let Some(objects) = helm::render(&["--set", "commonLabels.cost-centre=seven"]) else { return };
    for object in &objects {
        assert_eq!(object["metadata"]["labels"]["cost-centre"], "seven", "{}", object["metadata"]["name"]);
    }
    for service in of_kind(&objects, "Service") {
        assert_eq!(service["spec"]["selector"]["cost-centre"], Value::Null);
    }
    for component in COMPONENTS {
        let deployment = deployment(&objects, component);
        assert_eq!(deployment["spec"]["selector"]["matchLabels"]["cost-centre"], Value::Null);
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["cost-centre"], "seven");
    }
}

#[test]
fn an_image_is_named_by_its_tag_or_its_digest() {
    let image = |arguments: &[&str]| {
        let objects = helm::render(arguments)?;
        let pod = &deployment(&objects, "operator")["spec"]["template"]["spec"];
        Some((pod["containers"][0]["image"].as_str()?.to_owned(), pod["imagePullSecrets"].clone()))
    };
    let digest = format!("sha256:{}", "4f".repeat(32));
    let Some((default, secrets)) = image(&[]) else { return };
    assert_eq!((&*default, secrets), (concat!("catnap:", env!("CARGO_PKG_VERSION")), Value::Null));
    let said = "image.repository=registry.example:5000/catnap,image.pullSecrets={one,two}";
    let (tagged, secrets) = image(&["--set", said, "--set", "image.tag=v2"]).unwrap();
    assert_eq!(tagged, "registry.example:5000/catnap:v2");
    assert_eq!(secrets, json!([{"name": "one"}, {"name": "two"}]));
    let (pinned, _) = image(&["--set", &format!("image.digest={digest}")]).unwrap();
    assert_eq!(pinned, format!("catnap@{digest}"));
    let (both, _) = image(&["--set", &format!("image.tag=v2,image.digest={digest}")]).unwrap();
    assert_eq!(both, format!("catnap:v2@{digest}"));
}

#[test]
fn requests_cover_what_was_measured_with_a_thousand_functions() {
    let Some(objects) = helm::render(&[]) else { return };
    let page = fs::read_to_string(helm::repository().join("docs/performance.md")).unwrap();
    for component in COMPONENTS {
        let row = format!("| 1000, catnap-{component} resident | ");
        let measured = page.lines().find_map(|line| line.strip_prefix(&row)?.split_once(" MiB")).unwrap();
        let measured: f64 = measured.0.parse().unwrap();
        let container = &deployment(&objects, component)["spec"]["template"]["spec"]["containers"][0];
        let requested = container["resources"]["requests"]["memory"].as_str().unwrap();
        let requested: f64 = requested.strip_suffix("Mi").unwrap().parse().unwrap();
        assert!(requested > measured, "{component} asks for {requested} MiB and takes {measured} MiB");
    }
}

#[test]
fn what_no_pod_can_have_is_refused_with_the_name_of_the_value() {
    for (value, words) in [
        ("operator.replicas=-1", "/operator/replicas"),
        ("autoscaler.replicas=two", "/autoscaler/replicas"),
        ("priorityClass.value=2000000000", "/priorityClass/value"),
        ("priorityClass.name=Important", "/priorityClass/name"),
        ("disruptionBudgets.enabled=perhaps", "/disruptionBudgets/enabled"),
        ("image.digest=sha256:4f", "/image/digest"),
        ("image.tag=a:b", "/image/tag"),
        ("image.pullSecrets={Not_A_Name}", "/image/pullSecrets"),
        ("commonLabels.app\\.kubernetes\\.io/name=other", "/commonLabels"),
        ("operator.podLabels.app\\.kubernetes\\.io/component=other", "/operator/podLabels"),
        ("activator.podLabels.team=a/b", "/activator/podLabels/team"),
        ("operator.affinity.podAntiaffinity.x=y", "podAntiaffinity"),
        ("operator.resources.request.cpu=1", "/operator/resources"),
        ("operator.resources.requests.memory=much", "/operator/resources/requests/memory"),
        ("operator.extraEnv[0].value=x", "/operator/extraEnv/0"),
        ("activator.topologySpreadConstraints[0].maxSkew=1", "/activator/topologySpreadConstraints/0"),
        ("activator.trustedProxies={10.0.0.0/33}", "/activator/trustedProxies/0"),
        ("fullnameOverride=Catnap", "/fullnameOverride"),
    ] {
        let Some(error) = helm::refusal(&["--set", value]) else { return };
        assert!(error.contains(words), "{value}: {error}");
    }
}
