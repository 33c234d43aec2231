//! What is said about manifests with something wrong in them.

use rstest::rstest;

use super::*;

fn parsed(spec: &str) -> Result<Function, ManifestError> {
    let text = format!(
        "apiVersion: catnap.dev/v1alpha1\nkind: Function\nmetadata: {{name: hello, labels: {{a: b}}}}\nspec:\n  image: hello\n{spec}"
    );
    parse(Path::new("function.yaml"), &text)
}

#[test]
fn the_defaults_are_filled_in() {
    let function = parsed("  command: [hello]\n").unwrap();
    assert_eq!(function.spec.scale.max, 100);
    assert_eq!(function.spec.command, ["hello"]);
}

#[rstest]
#[case(
    "  scale: {idel: {after: 5s}}\n",
    "spec.scale.idel does not exist; what may stand here is: downDelay, idle, initial, max, metric, min, panic, schedules, target, utilization, wake, window"
)]
#[case(
    "  env: [{name: A, vlaue: b}]\n",
    "spec.env[0].vlaue does not exist; what may stand here is: name, value, valueFrom"
)]
#[case("  scale: {max: 20000}\n", "spec.scale.max must be at most 10000, is 20000")]
#[case("  scale: {max: many}\n", "spec.scale.max must be an integer, is \"many\"")]
#[case("  port: 0\n", "spec.port must be at least 1, is 0")]
#[case("  protocol: HTTP2\n", "spec.protocol must be one of HTTP1, H2C, is `HTTP2`")]
#[case("  scale: {window: 60}\n", "spec.scale.window must be a string, is 60")]
#[case(
    "  scale: {window: 1.5s}\n",
    "spec.scale.window: `1.5s` is not a duration: write one to four terms such as 1h, 30m, 45s or 500ms"
)]
#[case("  command: hello\n", "spec.command must be a list, is \"hello\"")]
#[case("  scale: {min: 3, max: 2}\n", "spec.scale.min must be at most spec.scale.max")]
#[case("  scale: {window: 5s, panic: {window: 1s}}\n", "spec.scale.window must be between 6s and 1h")]
#[case("  scale: {idle: {after: 10ms}}\n", "spec.scale.idle.after must be between 1s and 24h")]
#[case(
    "  scale: {target: 3}\n  concurrency: {limit: 2}\n",
    "spec.scale.target must be at most spec.concurrency.limit, or 0 for the same, unless spec.scale.metric is RequestRate"
)]
#[case("  scale: {downDelay: 61m}\n", "spec.scale.downDelay must be between 0s and 1h")]
#[case(
    "  scale: {schedules: [{cron: '0 7 * *', duration: 1h, min: 1}]}\n",
    "spec.scale.schedules[0].cron must have five fields, such as 0 7 * * 1-5"
)]
#[case(
    "  scale: {schedules: [{cron: '0 7 * * *', timeZone: 'Europe/', duration: 1h, min: 1}]}\n",
    "spec.scale.schedules[0].timeZone must be the name of a time zone, such as Europe/Paris"
)]
#[case(
    "  scale: {schedules: [{cron: '0 7 * * *', duration: 59s, min: 1}]}\n",
    "spec.scale.schedules[0].duration must be between 1m and 168h"
)]
#[case(
    "  scale: {schedules: [{cron: '0 7 * * *', duration: 1h, min: 0}]}\n",
    "spec.scale.schedules[0].min must be at least 1, is 0"
)]
#[case(
    "  scale: {schedules: [{cron: '0 7 * * *', timeZone: Europe/Atlantis, duration: 1h, min: 1}]}\n",
    "spec.scale.schedules[0]: `Europe/Atlantis` is no time zone"
)]
#[case("  scale: {metric: RPS}\n", "spec.scale.metric must be one of Concurrency, RequestRate, is `RPS`")]
fn a_problem_names_its_field_and_what_is_allowed(#[case] spec: &str, #[case] expected: &str) {
    match parsed(spec) {
        Err(ManifestError::Invalid { problems, .. }) => assert_eq!(problems, [expected]),
        other => panic!("{spec}: {other:?}"),
    }
}

#[test]
fn the_target_of_a_rate_is_not_held_against_the_limit() {
    let spec = "  scale: {metric: RequestRate, target: 300}\n  concurrency: {limit: 2}\n";
    assert_eq!(parsed(spec).unwrap().spec.scale.concurrency_target(), 0);
}

#[test]
fn all_problems_come_together() {
    let spec = "  scale: {max: 0, idel: 1}\n  port: 99999\n";
    let Err(ManifestError::Invalid { problems, .. }) = parsed(spec) else { panic!("it was accepted") };
    assert_eq!(problems.len(), 3, "{problems:?}");
}

/// The table that a real API server is asked about: here it is the same, so that nobody meets a surprise in a cluster.
#[test]
fn every_manifest_of_the_table_is_judged_as_in_a_cluster() {
    // Messages name the whole path here, and the item that is meant.
    let plain = |text: &str| {
        let text = text.replace("spec.", "");
        let mut parts = text.split('[');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            text + "[" + part.trim_start_matches(|character: char| character.is_ascii_digit())
        })
    };
    let table = include_str!("../../../crds/tests/manifests.yaml");
    let table: Vec<Value> = serde_saphyr::from_str(table).unwrap();
    let mut complaints = Vec::new();
    for case in &table {
        let name = case.get("function").and_then(Value::as_str).unwrap_or("hello");
        let object = serde_json::json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": name}, "spec": case["spec"],
        });
        let expected: Vec<_> = case["refused"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|words| plain(words.as_str().unwrap()))
            .collect();
        let said = function(Path::new("function.yaml"), object).map_err(|error| plain(&error.to_string()));
        let fine = match &said {
            Ok(_) => expected.is_empty(),
            Err(said) => !expected.is_empty() && expected.iter().all(|words| said.contains(words)),
        };
        if !fine {
            complaints.push(format!("{}: {said:?}", case["name"]));
        }
    }
    assert!(table.len() > 200 && complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_list_has_its_bound() {
    let schedule = "{cron: '0 7 * * *', duration: 1h, min: 1}";
    let spec = |count| format!("  scale: {{schedules: [{}]}}\n", [schedule].repeat(count).join(", "));
    assert!(parsed(&spec(16)).is_ok());
    let Err(ManifestError::Invalid { problems, .. }) = parsed(&spec(17)) else { panic!("it was accepted") };
    assert_eq!(problems, ["spec.scale.schedules may have 16 entries, has 17"]);
}

#[test]
fn something_else_than_a_function_is_said_to_be_so() {
    let refused = parse(Path::new("x.yaml"), "apiVersion: v1\nkind: Pod\n");
    assert!(
        matches!(refused, Err(ManifestError::Kind { kind, api_version }) if kind == "Pod" && api_version == "v1")
    );
    assert!(matches!(parse(Path::new("x.yaml"), "a: [1\n"), Err(ManifestError::Parse { .. })));
    assert!(matches!(parse(Path::new("x.yaml"), "a: 1\n---\nb: 2\n"), Err(ManifestError::Parse { .. })));
}

#[rstest]
#[case("just some words\n", "x.yaml holds only text where an object should be; ")]
#[case("- a\n- b\n", "x.yaml holds a list where an object should be; ")]
#[case("7\n", "x.yaml holds a number where an object should be; ")]
#[case("true\n", "x.yaml holds a yes or no where an object should be; ")]
#[case("null\n", "x.yaml holds nothing where an object should be; ")]
#[case("spec: {image: a}\n", "this says neither `kind` nor `apiVersion`; ")]
#[case("kind: Function\n", "this is `Function` and says no `apiVersion`; ")]
#[case("apiVersion: v1\n", "this is of `v1` and says no `kind`; ")]
#[case("apiVersion: v1\nkind: Pod\n", "this is `Pod` of `v1`; ")]
fn what_a_file_holds_instead_is_named(#[case] text: &str, #[case] begins: &str) {
    let advice = "a manifest for Catnap says `kind: Function` and `apiVersion: catnap.dev/v1alpha1`";
    let error = parse(Path::new("x.yaml"), text).unwrap_err();
    assert_eq!(error.to_string(), format!("{begins}{advice}"));
}

#[test]
fn numbers_are_octal_where_kubectl_reads_them_so() {
    let function =
        parsed("  podTemplate: {spec: {volumes: [{name: a, secret: {secretName: a, defaultMode: 0644}}]}}\n");
    let template = serde_json::to_value(function.unwrap().spec).unwrap()["podTemplate"].clone();
    assert_eq!(template["spec"]["volumes"][0]["secret"]["defaultMode"], 420);
    let documents = objects(Path::new("x.yaml"), "a: 0644\n---\n# nothing\n---\nb: 1\n").unwrap();
    assert_eq!(documents, [serde_json::json!({"a": 420}), serde_json::json!({"b": 1})]);
}

#[test]
fn what_is_nested_deeper_than_anything_is_read_is_refused() {
    let with = |levels: usize| {
        // The object, its spec, its podTemplate and those in it.
        let inner = (3..levels).fold(serde_json::json!(1), |inner, _| serde_json::json!({"a": inner}));
        let object = serde_json::json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": "a"},
            "spec": {"image": "a", "podTemplate": {"a": inner}},
        });
        function(Path::new("x.yaml"), object).map_err(|error| error.to_string())
    };
    assert!(with(64).is_ok());
    for levels in [65, 1000] {
        assert!(with(levels).unwrap_err().contains("more than 64 objects and lists inside each other"));
    }
}

#[test]
fn hostile_files_are_refused() {
    let nested = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let rows = [("twice", "a: 1\na: 2\n"), ("nested", nested.as_str()), ("alias", "a: *nobody\n")];
    for (name, text) in rows {
        let path = Path::new(name);
        assert!(matches!(object(path, text), Err(ManifestError::Parse { .. })), "{name}");
        assert!(matches!(objects(path, text), Err(ManifestError::Yaml { .. })), "{name}");
    }
}

#[test]
fn an_image_is_required_and_a_name_must_be_one() {
    let text = "apiVersion: catnap.dev/v1alpha1\nkind: Function\nmetadata: {name: hello}\nspec: {}\n";
    let Err(ManifestError::Invalid { problems, .. }) = parse(Path::new("x.yaml"), text) else {
        panic!("accepted")
    };
    assert_eq!(problems, ["spec.image is missing"]);
    let text =
        "apiVersion: catnap.dev/v1alpha1\nkind: Function\nmetadata: {name: Hello_1}\nspec: {image: a}\n";
    let Err(ManifestError::Invalid { problems, .. }) = parse(Path::new("x.yaml"), text) else {
        panic!("accepted")
    };
    assert!(problems[0].starts_with("metadata.name must be"), "{problems:?}");
}
