//! What the chart makes for Prometheus and Grafana, and the pages that alerts lead to: they ask for nothing that no program
//! shows, and every alert has its page.

mod promql;
mod promtool;
mod reference;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::helm;
use promql::Query;
use reference::Reference;

const SECTIONS: [&str; 4] = ["## Meaning", "## Impact", "## Diagnosis", "## Mending"];

fn page(path: &str) -> String {
    let path = helm::repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn reference() -> Reference {
    let reference = Reference::of(&page("docs/reference/metrics.md"));
    assert!(reference.len() > 50, "the tables are read");
    reference
}

/// The alerts of all groups.
fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&page("charts/catnap/files/alerts.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap().iter();
    let alerts: Vec<Value> = groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
    assert!(alerts.len() > 12, "the file is read");
    alerts
}

fn text<'value>(value: &'value Value, name: &str) -> &'value str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// What is wrong with a query, and with the labels that a text names after this prefix.
fn faults(reference: &Reference, query: &str, shown: &str, prefix: &str) -> Vec<String> {
    let query = match Query::of(query) {
        Ok(query) => query,
        Err(fault) => return vec![fault],
    };
    let has = query.result_labels(reference);
    let named = shown.split(prefix).skip(1).map(word).filter(|label| !label.is_empty());
    let missing =
        named.filter(|label| !has.contains(*label)).map(|label| format!("no label {label} to show"));
    query.faults(reference).into_iter().chain(missing).collect()
}

/// The name that a text begins with.
fn word(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn alerts_ask_for_what_the_programs_show() {
    let reference = reference();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert, "alert");
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        assert!(["critical", "warning", "info"].contains(&text(&alert["labels"], "severity")), "{name}");
        let lasts = text(&alert, "for");
        assert!(lasts.ends_with(['m', 'h']) && lasts.len() > 1, "{name} is for {lasts}");
        let summary = text(&alert["annotations"], "summary");
        let faults = faults(&reference, text(&alert, "expr"), summary, "$labels.");
        assert!(faults.is_empty(), "{name}: {faults:#?}");
    }
}

/// A value that no program gives a label is a query that finds nothing, without a word.
#[test]
fn alerts_choose_by_values_that_the_programs_give() {
    let mut looked_at = 0;
    for alert in alerts() {
        for (sample, label, value) in Query::of(text(&alert, "expr")).unwrap().values() {
            let program = sample.split('_').nth(1).unwrap();
            let sources = sources(&helm::repository().join(program));
            let said = [format!("\"{value}\""), format!("    {value},\n")];
            let found = sources.iter().any(|source| said.iter().any(|said| source.contains(said)));
            assert!(found, "{}: {label} of {sample} is never {value}", text(&alert, "alert"));
            looked_at += 1;
        }
    }
    assert!(looked_at > 20, "{looked_at}");
}

/// The texts of a program's and its core's sources, without tests.
fn sources(folder: &Path) -> Vec<String> {
    let mut folders = vec![folder.to_owned()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| !path.ends_with("tests") && !path.ends_with("tests.rs")) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(fs::read_to_string(&path).unwrap());
            }
        }
    }
    sources
}

#[test]
fn the_dashboard_asks_for_what_the_programs_show() {
    let dashboard: Value = serde_json::from_str(&page("charts/catnap/files/dashboard.json")).unwrap();
    let reference = reference();
    let mut identifiers = BTreeSet::new();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(identifiers.insert(panel["id"].as_u64().unwrap()), "two panels have one id: {panel}");
        let targets = panel["targets"].as_array();
        assert_eq!(targets.is_none(), panel["type"] == "row", "{panel}");
        for target in targets.into_iter().flatten() {
            let query = text(target, "expr");
            let faults = faults(&reference, query, text(target, "legendFormat"), "{{");
            assert!(faults.is_empty(), "{}: {query}: {faults:#?}", text(panel, "title"));
            queries += 1;
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        let faults = faults(&reference, text(&variable["query"], "query"), "", "{{");
        assert!(faults.is_empty(), "{variable}: {faults:#?}");
        queries += 1;
    }
    assert!(queries > 40, "{queries}");
}

/// Pages in docs/runbooks but the list of them.
fn runbooks() -> Vec<PathBuf> {
    let folder = helm::repository().join("docs/runbooks");
    let pages = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    pages.filter(|path| !path.ends_with("README.md")).collect()
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let alerts: BTreeSet<String> =
        alerts().iter().map(|alert| format!("{}.md", text(alert, "alert"))).collect();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let pages: BTreeSet<String> = runbooks().iter().map(name).collect();
    assert_eq!(pages, alerts);
    let list = page("docs/runbooks/README.md");
    for alert in alerts {
        assert!(list.contains(&format!("]({alert})")), "{alert} is not in the list of runbooks");
    }
}

#[test]
fn runbooks_say_all_of_it_and_ask_for_what_the_programs_show() {
    let reference = reference();
    for path in runbooks() {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.display();
        let sections: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(sections, SECTIONS, "{path}");
        assert!(text.contains("```sh\n"), "{path} has no command");
        for query in text.split("```promql\n").skip(1) {
            let (query, _) = query.split_once("```").unwrap();
            let faults = faults(&reference, query, "", "{{");
            assert!(faults.is_empty(), "{path}: {query}: {faults:#?}");
        }
        for program in ["activator", "autoscaler", "operator", "build", "process"] {
            let prefix = format!("catnap_{program}_");
            for said in text.split(prefix.as_str()).skip(1).map(word) {
                let name = format!("{prefix}{said}");
                assert!(reference.labels(&name).is_some(), "{path}: no program shows {name}");
            }
        }
    }
}

/// A word that nobody logs any more finds nothing, and looks as if all were well.
#[test]
fn runbooks_look_in_logs_for_what_the_programs_write() {
    let shared = sources(&helm::repository().join("lib"));
    let mut looked_for = 0;
    for path in runbooks() {
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.contains(" logs ") && line.contains("| grep ")) {
            let named = line.split_once("app.kubernetes.io/component=").map(|(_, rest)| word(rest));
            let programs = named.map_or(vec!["activator", "autoscaler", "operator"], |program| vec![program]);
            let of_programs = programs.iter().flat_map(|program| sources(&helm::repository().join(program)));
            let all: Vec<String> = of_programs.chain(shared.iter().cloned()).collect();
            for words in line.split(" -e ").skip(1) {
                let quoted = words.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
                let words = quoted.map_or_else(|| word(words), |(quoted, _)| quoted);
                let is_there = all.iter().any(|source| source.contains(words));
                assert!(is_there, "{}: nobody logs `{words}`", path.display());
                looked_for += 1;
            }
        }
    }
    assert!(looked_for > 15, "{looked_for}");
}

fn of_kind<'objects>(objects: &'objects [Value], kind: &str) -> Vec<&'objects Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// Whether labels have all of what a selector asks for.
fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value)
}

/// The pod templates of all three programs.
fn pods(objects: &[Value]) -> Vec<&Value> {
    let pods: Vec<_> =
        of_kind(objects, "Deployment").into_iter().map(|object| &object["spec"]["template"]).collect();
    assert_eq!(pods.len(), 3);
    pods
}

fn has_port(pod: &Value, name: &Value) -> bool {
    let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
    ports.iter().any(|port| port["name"] == *name && port["containerPort"] == 9090)
}

#[test]
fn nothing_of_it_is_there_unless_it_is_asked_for() {
    let Some(objects) = helm::render(&[]) else { return };
    let group = |object: &&Value| text(object, "apiVersion").starts_with("monitoring.coreos.com/");
    assert_eq!(objects.iter().filter(group).count(), 0);
    assert!(
        of_kind(&objects, "ConfigMap")
            .iter()
            .all(|map| !text(&map["metadata"], "name").contains("dashboard"))
    );
    assert!(of_kind(&objects, "Service").iter().all(|service| {
        let ports = service["spec"]["ports"].as_array().unwrap();
        ports.iter().all(|port| port["port"] != 9090)
    }));
}

#[test]
fn a_pod_monitor_finds_every_program() {
    let arguments = "monitoring.monitor.kind=PodMonitor,monitoring.monitor.interval=15s,monitoring.monitor.labels.release=mine";
    let Some(objects) = helm::render(&["--set", arguments]) else { return };
    let monitors = of_kind(&objects, "PodMonitor");
    let [monitor] = monitors[..] else { panic!("{monitors:?}") };
    assert_eq!(monitor["metadata"]["labels"]["release"], "mine");
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!((&endpoint["interval"], &endpoint["path"]), (&json!("15s"), &json!("/metrics")));
    // Without it a series of a Function would have the namespace of Catnap.
    assert_eq!(endpoint["honorLabels"], true);
    for pod in pods(&objects) {
        assert!(selects(&monitor["spec"]["selector"]["matchLabels"], &pod["metadata"]["labels"]), "{pod}");
        assert!(has_port(pod, &endpoint["port"]), "{pod}");
    }
    assert!(helm::refusal(&["--set", "monitoring.monitor.kind=Probe"]).unwrap().contains("kind"));
    assert!(helm::refusal(&["--set", "monitoring.monitor.interval=often"]).unwrap().contains("interval"));
}

#[test]
fn a_service_monitor_finds_every_program_through_a_service_of_its_own() {
    let Some(objects) = helm::render(&["--set", "monitoring.monitor.kind=ServiceMonitor"]) else { return };
    assert!(of_kind(&objects, "PodMonitor").is_empty());
    let monitors = of_kind(&objects, "ServiceMonitor");
    let [monitor] = monitors[..] else { panic!("{monitors:?}") };
    let selector = &monitor["spec"]["selector"]["matchLabels"];
    let services = of_kind(&objects, "Service").into_iter();
    let services: Vec<_> = services.filter(|it| selects(selector, &it["metadata"]["labels"])).collect();
    let [service] = services[..] else { panic!("{services:?}") };
    let (endpoint, port) = (&monitor["spec"]["endpoints"][0], &service["spec"]["ports"][0]);
    assert_eq!((&endpoint["port"], &endpoint["honorLabels"]), (&port["name"], &json!(true)));
    assert_eq!(service["spec"]["clusterIP"], "None");
    for pod in pods(&objects) {
        assert!(selects(&service["spec"]["selector"], &pod["metadata"]["labels"]), "{pod}");
        assert!(has_port(pod, &port["targetPort"]), "{pod}");
    }
}

#[test]
fn each_alert_leads_to_its_page_and_may_be_left_out() {
    let rendered = |arguments: &[&str]| {
        let objects = helm::render(&[&["--set", "monitoring.rules.enabled=true"][..], arguments].concat())?;
        let rules = of_kind(&objects, "PrometheusRule");
        let [rule] = rules[..] else { panic!("{rules:?}") };
        let groups = rule["spec"]["groups"].as_array().unwrap().iter();
        Some(groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect::<Vec<_>>())
    };
    let Some(all) = rendered(&[]) else { return };
    for (shown, written) in all.iter().zip(alerts()) {
        let name = text(&written, "alert");
        for field in ["alert", "expr", "for", "labels"] {
            assert_eq!(shown[field], written[field], "{name}");
        }
        let annotations = &shown["annotations"];
        // Prometheus fills this in, and Helm must not.
        assert_eq!(annotations["summary"], written["annotations"]["summary"], "{name}");
        // Nobody is sent to where no pages are.
        assert_eq!(annotations.get("runbook_url"), None, "{name}");
    }
    assert_eq!(all.len(), alerts().len());

    let values = "monitoring.rules.runbookBaseUrl=https://git.example.com/runbooks/,monitoring.rules.alertLabels.severity=page,monitoring.rules.disabled={CatnapTracesDropped}";
    let fewer = rendered(&["--set", values]).unwrap();
    assert_eq!(fewer.len(), all.len() - 1);
    for alert in &fewer {
        let name = text(alert, "alert");
        assert_ne!(name, "CatnapTracesDropped");
        assert_eq!(alert["labels"]["severity"], "page");
        let address = format!("https://git.example.com/runbooks/{name}.md");
        assert_eq!(alert["annotations"]["runbook_url"], address);
    }
    let nowhere = helm::refusal(&["--set", "monitoring.rules.runbookBaseUrl=docs/runbooks"]).unwrap();
    assert!(nowhere.contains("runbookBaseUrl"), "{nowhere}");
    let unknown = "monitoring.rules.enabled=true,monitoring.rules.disabled={CatnapMissing}";
    let error = helm::refusal(&["--set", unknown]).unwrap();
    assert!(error.contains("there is no alert CatnapMissing; there are CatnapActivatorsDown"), "{error}");
}

#[test]
fn the_dashboard_reaches_grafana_as_it_is() {
    let arguments = "monitoring.dashboard.enabled=true,monitoring.dashboard.namespace=grafana";
    let Some(objects) = helm::render(&["--set", arguments]) else { return };
    let maps = of_kind(&objects, "ConfigMap").into_iter();
    let maps: Vec<_> = maps.filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1").collect();
    let [map] = maps[..] else { panic!("{maps:?}") };
    assert_eq!(map["metadata"]["namespace"], "grafana");
    let shown: Value = serde_json::from_str(text(&map["data"], "catnap.json")).unwrap();
    let written: Value = serde_json::from_str(&page("charts/catnap/files/dashboard.json")).unwrap();
    assert_eq!(shown, written);
}
