//! Prometheus' own judgement of what the chart brings: it reads every query, and makes alerts of the series in `alerts.yaml`.
//!
//! That takes promtool: `$PROMTOOL`, one on `PATH`, or the one that `make promtool` has fetched. Without one these tests say so and
//! pass, unless `$CATNAP_REQUIRE_PROMTOOL` is set, as it is in CI.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{alerts, of_kind, page, runbooks, text};
use crate::helm;

const SERIES: &str = "xtask/tests/chart/monitoring/alerts.yaml";
/// What Grafana puts into queries.
const VARIABLES: [(&str, &str); 3] =
    [("$__rate_interval", "5m"), ("$namespace", "default"), ("$function", "hello")];

/// Runs it, from the repository's folder; nothing where there is none.
fn promtool(arguments: &[&str]) {
    let Some(program) = find() else {
        assert!(env::var_os("CATNAP_REQUIRE_PROMTOOL").is_none(), "there is no promtool");
        eprintln!("skipped: there is no promtool; set PROMTOOL, or run `make promtool` once");
        return;
    };
    let output = Command::new(program).args(arguments).current_dir(helm::repository()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}

fn find() -> Option<PathBuf> {
    let named = env::var_os("PROMTOOL").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("promtool"));
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let fetched = cache.map(|cache| cache.join("catnap/tools/promtool"));
    named.into_iter().chain(on_path).chain(fetched).find(|program| program.is_file())
}

/// Has it read rules, in JSON, which is YAML too.
fn check(rules: &Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    fs::write(&file, rules.to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

#[test]
fn prometheus_reads_the_alerts_as_they_are_and_as_the_chart_renders_them() {
    promtool(&["check", "rules", "charts/catnap/files/alerts.yaml"]);
    let values = "monitoring.rules.enabled=true,monitoring.rules.runbookBaseUrl=https://git.example.com/runbooks,monitoring.rules.alertLabels.team=platform";
    let Some(objects) = helm::render(&["--set", values]) else { return };
    let rules = of_kind(&objects, "PrometheusRule");
    let [rule] = rules[..] else { panic!("{rules:?}") };
    // The Prometheus Operator writes the spec into a file of rules.
    check(&rule["spec"]);
}

#[test]
fn prometheus_makes_of_series_the_alerts_that_are_meant() {
    promtool(&["test", "rules", SERIES]);
}

#[test]
fn every_alert_fires_somewhere() {
    let series: Value = serde_saphyr::from_str(&page(SERIES)).unwrap();
    let tests = series["tests"].as_array().unwrap().iter();
    let asked = tests.flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten());
    let firing: BTreeSet<_> = asked
        .filter(|asked| asked["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty()))
        .map(|asked| text(asked, "alertname").to_owned())
        .collect();
    let all: BTreeSet<_> = alerts().iter().map(|alert| text(alert, "alert").to_owned()).collect();
    assert_eq!(firing, all, "those that fire in {SERIES}, and those that there are");
}

#[test]
fn prometheus_reads_the_queries_of_the_dashboard_and_of_runbooks() {
    let dashboard: Value = serde_json::from_str(&page("charts/catnap/files/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut queries: Vec<String> = targets.map(|target| text(target, "expr").to_owned()).collect();
    assert!(queries.len() > 40, "the dashboard is read");
    for path in runbooks() {
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("```promql\n").skip(1).filter_map(|rest| rest.split_once("```"));
        queries.extend(blocks.map(|(query, _)| query.to_owned()));
    }
    let rules: Vec<Value> = (0..).zip(&queries).map(|(number, query)| rule(number, query)).collect();
    check(&json!({"groups": [{"name": "queries", "rules": rules}]}));
}

/// A rule that asks for what a query does. Each has a name of its own: two that make the same are refused.
fn rule(number: usize, query: &str) -> Value {
    let replaced = |query: String, (name, value): (&str, &str)| query.replace(name, value);
    let query = VARIABLES.into_iter().fold(query.trim().to_owned(), replaced);
    assert!(!query.contains('$'), "a variable that nobody knows: {query}");
    json!({"record": format!("query_{number}"), "expr": query})
}
