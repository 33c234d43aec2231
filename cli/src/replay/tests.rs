//! What a replay writes for a series and a policy, and what it says of lines and policies that are none.

use std::path::Path;

use rstest::rstest;

use super::*;

const TEN: &str = "scale: {target: 10, utilization: 100}\n";

/// Lines written, and the error with its causes.
fn replayed(policy: &str, series: &str) -> (Vec<String>, Option<String>) {
    replayed_from(Some("2026-05-05T06:59:50Z"), policy, series)
}

/// As [`replayed`], with the time at which `t` is 0.
fn replayed_from(start: Option<&str>, policy: &str, series: &str) -> (Vec<String>, Option<String>) {
    let policy = policy::parse(Path::new("policy.yaml"), policy).unwrap();
    let start = start.map(|start| start.parse().unwrap());
    let mut output = Vec::new();
    let result =
        series_of(policy, start).and_then(|to_decide| replay(series.as_bytes(), &mut output, to_decide));
    let lines = String::from_utf8(output).unwrap().lines().map(str::to_owned).collect();
    (lines, result.err().map(|error| format!("{:#}", anyhow::Error::from(error))))
}

#[test]
fn averages_are_decided_by_the_formulas() {
    let series = r#"{"t": 12.0, "stable": 50.0, "panic": 100.0, "ready": 1}
{"t": 14, "stable": 20, "panic": 10, "ready": 10}

{"t": 80.5, "stable": 0, "panic": 0, "ready": 3}
"#;
    let (lines, error) = replayed(TEN, series);
    assert_eq!(error, None);
    assert_eq!(
        lines,
        [
            r#"{"t":12.0,"desired":10,"panic":true,"reasons":["50.00 requests at once over the stable window, 10.00 a replica: 5","panic: 100.00 requests at once over the panic window: 10"]}"#,
            r#"{"t":14,"desired":10,"panic":true,"reasons":["20.00 requests at once over the stable window, 10.00 a replica: 2","2 asked for, 5 allowed in one step","panic: 10.00 requests at once over the panic window: 1","1 asked for, 5 allowed in one step","panic: not below 10, the highest since it began"]}"#,
            r#"{"t":80.5,"desired":1,"panic":false,"reasons":["0.00 requests at once over the stable window, 10.00 a replica: 0","0 asked for, 1 allowed in one step"]}"#,
        ]
    );
}

#[test]
fn seconds_are_averaged_and_idle_time_counts() {
    let policy = "concurrency: {limit: 5}\nscale: {utilization: 100, window: 6s, idle: {after: 2s}}\n";
    let series = r#"{"t": 0, "concurrency": 12.5, "requests": 13, "ready": 0}
{"t": 1, "concurrency": 10, "requests": 1, "ready": 3}
{"t": 8, "concurrency": 0, "requests": 0, "ready": 3}
"#;
    let (lines, error) = replayed(policy, series);
    assert_eq!(error, None);
    assert_eq!(
        lines,
        [
            r#"{"t":0,"desired":3,"panic":true,"reasons":["12.50 requests at once over the stable window, 5.00 a replica: 3","panic: 12.50 requests at once over the panic window: 3","13 requests held without a usable pod, 5 a replica: 3"]}"#,
            r#"{"t":1,"desired":3,"panic":true,"reasons":["11.25 requests at once over the stable window, 5.00 a replica: 3","panic: 11.25 requests at once over the panic window: 3"]}"#,
            r#"{"t":8,"desired":0,"panic":false,"reasons":["0.00 requests at once over the stable window, 5.00 a replica: 0","0 asked for, 1 allowed in one step","idle time has passed: 0"]}"#,
        ]
    );
}

#[rstest]
#[case::no_json("nonsense", "not JSON (expected ident at line 1 column 2); a line is one JSON object")]
#[case::no_object("[1]", "not an object; a line is one JSON object")]
#[case::not_a_number(r#"{"t": 1, "stable": NaN, "panic": 1, "ready": 1}"#, "not JSON")]
#[case::infinite(r#"{"t": 1, "stable": 1e999, "panic": 1, "ready": 1}"#, "not JSON (number out of range")]
#[case::negative(
    r#"{"t": 1, "stable": -1, "panic": 1, "ready": 1}"#,
    "`stable` must be a number from 0 to 1000000, is -1"
)]
#[case::a_text(
    r#"{"t": 1, "stable": "1", "panic": 1, "ready": 1}"#,
    "`stable` must be a number from 0 to 1000000, is \"1\""
)]
#[case::half_a_pod(
    r#"{"t": 1, "stable": 1, "panic": 1, "ready": 1.5}"#,
    "`ready` must be a whole number from 0 to 1000000, is 1.5"
)]
#[case::oversized(
    r#"{"t": 1, "stable": 1, "panic": 1, "ready": 1e7}"#,
    "`ready` must be a whole number from 0 to 1000000"
)]
#[case::missing(r#"{"t": 1, "stable": 1, "panic": 1}"#, "`ready` is missing; needed are {\"t\", \"stable\"")]
#[case::no_form(r#"{"t": 1, "ready": 1}"#, "`stable` is missing")]
#[case::no_time(r#"{"stable": 1, "panic": 1, "ready": 1}"#, "`t` is missing")]
#[case::unknown(
    r#"{"t": 1, "stabel": 1, "panic": 1, "ready": 1}"#,
    "`stabel` is not known; allowed are {\"t\", \"stable\""
)]
#[case::mixed(
    r#"{"t": 1, "stable": 1, "requests": 1, "ready": 1}"#,
    "`requests` and `stable` do not go together"
)]
#[case::no_metric(r#"{"t": 1, "requests": 1, "ready": 1}"#, "`concurrency` is missing")]
fn a_bad_line_is_named_with_what_is_allowed(#[case] line: &str, #[case] expected: &str) {
    let (lines, error) = replayed(TEN, &format!("\n{line}\n"));
    assert_eq!(lines, Vec::<String>::new());
    let error = error.unwrap();
    assert!(error.starts_with(&format!("line 2: {expected}")), "{error}");
}

#[test]
fn time_rises_and_the_form_stays() {
    let averages = |t: &str| format!("{{\"t\": {t}, \"stable\": 1, \"panic\": 1, \"ready\": 1}}\n");
    let second = |t: &str| format!("{{\"t\": {t}, \"concurrency\": 1, \"ready\": 1}}\n");
    for (series, expected) in [
        (averages("5.0") + &averages("4"), "line 2: `t` is 4, but the line before has 5.0: time must rise"),
        (averages("5") + &averages("5"), "line 2: `t` is 5, but the line before has 5: time must rise"),
        (
            second("5") + &second("5.3"),
            "line 2: `t` is 5.3, but the line before has 5: time must rise by a second from line to line",
        ),
        (
            averages("5") + &second("6"),
            "line 2: `concurrency` belongs to the other form than the lines before; a series has one form throughout",
        ),
    ] {
        let (lines, error) = replayed(TEN, &series);
        assert_eq!((lines.len(), error.as_deref()), (1, Some(expected)), "what came before is written");
    }
}

#[test]
fn a_line_without_an_end_is_not_read_for_ever() {
    let (_, error) = replayed(TEN, &" ".repeat(100_000).replacen(' ', "x", 1));
    assert!(error.unwrap().starts_with("line 1: too long"));
}

#[rstest]
#[case("scale: {max: 0}\n", "scale.max must be at least 1, is 0")]
#[case("scale: {min: 3, max: 2}\n", "scale.min must be at most spec.scale.max")]
#[case("scale: {panik: 3}\n", "scale.panik does not exist; what may stand here is: ")]
#[case("replicas: 3\n", "`replicas` does not exist; a policy has the blocks concurrency and scale")]
#[case("- 3\n", "is not a policy: it must have the blocks concurrency and scale")]
#[case("scale: [\n", "is not one YAML object")]
#[case(
    "scale: {schedules: [{cron: 61 7 * * *, duration: 1h, min: 1}]}\n",
    "spec.scale.schedules[0]: `61 7 * * *` is no cron expression"
)]
fn a_bad_policy_is_refused_as_the_api_would(#[case] text: &str, #[case] expected: &str) {
    let error = policy::parse(Path::new("policy.yaml"), text).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_manifest_and_an_empty_file_are_policies_too() {
    let policy = |text| policy::parse(Path::new("policy.yaml"), text).unwrap().policy;
    let manifest = "apiVersion: catnap.dev/v1alpha1\nkind: Function\nmetadata: {name: a}\nspec: {image: a, scale: {max: 7}}\n";
    assert_eq!(policy(manifest).max, 7);
    assert_eq!(policy("# nothing\n"), catnap_autoscaler_core::Policy::default());
    assert_eq!(policy("scale:\nconcurrency: {limit: 3}\n").total(), 3);
}

const SCHEDULED: &str =
    "scale: {idle: {after: 2s}, schedules: [{name: mornings, cron: 0 7 * * *, duration: 1m, min: 2}]}\n";

#[test]
fn schedules_open_by_the_start_that_was_given() {
    let line = |t: u32| format!("{{\"t\": {t}, \"concurrency\": 0, \"ready\": 0}}\n");
    let series: String = [9, 10, 69, 70, 71, 72, 73].map(line).concat();
    let (lines, error) = replayed(SCHEDULED, &series);
    assert_eq!(error, None);
    let desired: Vec<_> =
        lines.iter().map(|line| line.split("\"desired\":").nth(1).unwrap().as_bytes()[0]).collect();
    assert_eq!(desired, *b"0221100", "{lines:#?}");
    assert!(lines[1].contains("schedule mornings is open: not below 2"), "{}", lines[1]);
    let averages = r#"{"t": 20, "stable": 0, "panic": 0, "ready": 0}"#;
    assert!(replayed(SCHEDULED, averages).0[0].contains("\"desired\":2"), "averages, too");
}

#[test]
fn schedules_without_a_start_are_not_left_out() {
    let (lines, error) = replayed_from(None, SCHEDULED, r#"{"t": 1, "concurrency": 0, "ready": 0}"#);
    assert_eq!(lines, Vec::<String>::new());
    assert!(error.unwrap().starts_with("scale.schedules go by the clock: --start must say"));
}

#[test]
fn what_is_learned_is_replayed_and_averages_are_refused_for_it() {
    let policy = "scale: {idle: {after: 20s, policy: Learned}}\n";
    let line = |t| {
        let concurrency = if t % 100 == 0 { 0.5 } else { 0.0 };
        format!("{{\"t\": {t}, \"concurrency\": {concurrency}, \"ready\": 0}}\n")
    };
    let series: String = (0..600).map(line).collect();
    let (lines, error) = replayed(policy, &series);
    assert_eq!(error, None);
    let ahead = |t: usize| lines[t].contains("\"desired\":1") && lines[t].contains("learned: ");
    assert!(!ahead(399) && ahead(499) && ahead(599), "{}\n{}", lines[399], lines[499]);
    let (_, error) = replayed(policy, r#"{"t": 1, "stable": 0, "panic": 0, "ready": 0}"#);
    assert!(error.unwrap().contains("scale.idle.policy is Learned, which needs {\"t\", \"concurrency\""));
}
