//! `docs/performance.md`, made of the newest results: every figure with its bar, the missed ones included. A section whose
//! benchmark has no result here stays as it is, and one whose benchmark is gone goes by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use k8s_openapi::jiff::{Timestamp, tz::TimeZone};

use crate::report::{Report, Row};

/// Where the page goes.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// The file that is written.
    #[arg(long, default_value = "docs/performance.md")]
    page: PathBuf,
}

const INTRODUCTION: &str = "# Performance

Made by `catnap-bench page` from the newest result of each benchmark. A figure is held against what the platform alone
needs (the floor) or against others that do the same, measured in turns in the same run: absolute times move with the
machine, ratios less. The spread is the least and the most of single rounds. A missed bar stays here until it is met; one
whose spread reaches past it is neither met nor missed for sure.
";

/// Writes the page about all results of a directory. Sections of benchmarks that have none there stay as they are.
pub(crate) fn write(arguments: &PageArgs, results: &Path) -> anyhow::Result<()> {
    let PageArgs { page } = arguments;
    let before = match std::fs::read_to_string(page) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("reading {}", page.display()))?,
    };
    let mut sections = sections(&before);
    let found = std::fs::read_dir(results)
        .with_context(|| format!("there are no results in {}", results.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    for path in found {
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let report: Report =
            serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))?;
        let mut text = String::new();
        section(&mut text, &report)?;
        sections.insert(report.name, text);
    }
    let sections: String = sections.into_values().collect();
    std::fs::write(page, format!("{INTRODUCTION}{sections}"))
        .with_context(|| format!("writing {}", page.display()))
}

/// The sections of a page, by benchmark.
fn sections(page: &str) -> BTreeMap<String, String> {
    let parts = page.split("\n## ").skip(1);
    let named = parts.map(|part| (part.lines().next().unwrap_or_default(), format!("\n## {part}")));
    named.map(|(name, section)| (name.to_owned(), section)).collect()
}

fn section(page: &mut String, report: &Report) -> anyhow::Result<()> {
    let Report { name, commit, unix_seconds, cores, rows } = report;
    let date = Timestamp::from_second(i64::try_from(*unix_seconds)?)?.to_zoned(TimeZone::UTC).date();
    writeln!(page, "\n## {name}\n\n`make bench-{name}`, {date}, commit `{commit}`.{}\n", method(name))?;
    if !cores.is_empty() {
        writeln!(page, "Pinned: {cores}.\n")?;
    }
    writeln!(
        page,
        "| | Catnap | floor | others | ratio | spread | bar | holds |\n|---|---|---|---|---|---|---|---|"
    )?;
    for row in rows {
        writeln!(page, "{}", line(row))?;
    }
    Ok(())
}

/// How to read the rows of a benchmark, where that is not plain.
fn method(benchmark: &str) -> &'static str {
    match benchmark {
        "cold" | "burst" => {
            " The floor are the same pods, scaled by hand. Knative
stands beside with `PEERS=knative`: [Knative Serving](../bench/peers/knative/README.md) on the same cluster, called without an
ingress, which would only add to its times."
        }
        "step" => {
            " From one request at once to a hundred, on a running function that
takes one at a time, for 200 ms; windows and utilization are the defaults of each. No request waits from the first second on in
which 99 percent of those that are sent take less than 300 ms. Replicas are those that are asked for, pod-seconds those of
pods that are there, from the step until the load ends a minute later. The floor is a Deployment scaled by hand to a pod for
each request. Knative stands beside with `PEERS=knative`: [Knative Serving](../bench/peers/knative/README.md) on the same
cluster, called without an ingress."
        }
        "trace" => {
            " Parts of a [recorded trace](../bench/data/README.md) with real
pods that take two requests at once; all get the same requests, each sent when it is due. `diurnal` is the busiest function's
eight hours from morning to the peak of the day and back again the same way, in 100 s at the recorded rate, after 20 s at the
rate of the morning that do not count. `burst` is 20 minutes of a function with 36 requests in every tenth minute and none
between, in 100 s, twelve times as fast. Requests take what is recorded, but none longer than the 99th percentile. The slowdown
of a request is its response time over that time, a minute for one without a 200; cold are those that were due while no pod
was ready. All windows and Catnap's idle time are 6 s, the least that Knative takes. The floor has as many pods all the time as
the requests need when none waits, called by a client that knows which is free. Knative stands beside with `PEERS=knative`:
[Knative Serving](../bench/peers/knative/README.md) on the same cluster, called without an ingress."
        }
        "proxy" => {
            " CPU of the proxy's process for each request, beside nginx and
HAProxy with one worker that write the same header fields; the floor is what the backend itself spends when it is called
directly. Of a limit whose slots another activator owns, both activators count, beside one nginx behind another."
        }
        "latency" => {
            " An open loop: requests fall due at random moments of a fixed
rate, and a latency is counted from then. The rates are shares of what nginx answers in a closed loop at the beginning of
each round. The floor is the backend called directly."
        }
        "fairness" => {
            " The p99 of one function's callers, alone and disturbed in turns.
The floor are the same callers when they call the function directly, past Catnap, while Catnap is disturbed: what the
machine alone does to them. nginx has the same bounds."
        }
        "held" => {
            " Resident memory of the process, beside a server on hyper alone
that keeps the same connections and never answers. The pod has a backlog of 128, the least that is common. The order of
release is that of arrival at a pod that takes one request at a time."
        }
        "wake" => {
            " API server and etcd are real, pods pretended by kwok; a real
activator holds the requests until their callers leave. A write counts from the moment a watch of Deployments shows it to the
benchmark, which is a little after the API server accepted it, for Catnap as for the floor: updates of `/scale` of as many bare
Deployments by one client, 32 calls at once. Of one wake the floor is one such update; at a rate, updates at that rate."
        }
        _ => "",
    }
}

fn line(row: &Row) -> String {
    let Row { what, unit, ours, floor, peers, ratio, spread, bar, holds } = row;
    let figure = |value: f64| format!("{} {unit}", (value * 100.0).round() / 100.0).trim_end().to_owned();
    let optional = |value: Option<f64>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
    let holds = holds.map_or("", |holds| if holds { "yes" } else { "**no**" });
    let floor = floor.map(figure).unwrap_or_default();
    let others: Vec<String> =
        peers.iter().map(|(name, value)| format!("{name} {}", figure(*value))).collect();
    let spread = spread.map(|(least, most)| format!("{least:.2} to {most:.2}")).unwrap_or_default();
    format!(
        "| {what} | {} | {floor} | {} | {} | {spread} | {} | {holds} |",
        figure(*ours),
        others.join(", "),
        optional(*ratio),
        optional(*bar)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_bar_is_shown() {
        let row = Row::against("cold request p50", "ms", 266.0, 200.0, 1.33, 1.1);
        assert_eq!(line(&row), "| cold request p50 | 266 ms | 200 ms |  | 1.33 |  | 1.10 | **no** |");
        assert_eq!(
            line(&Row::plain("rounds counted", "", 40.0)),
            "| rounds counted | 40 |  |  |  |  |  |  |"
        );
    }

    #[test]
    fn sections_without_a_new_result_stay() {
        let directory = tempfile::tempdir().unwrap();
        let report = |name: &str, commit: &str| Report {
            name: name.into(),
            commit: commit.into(),
            unix_seconds: 0,
            cores: String::new(),
            rows: vec![Row::plain("rounds counted", "", 40.0)],
        };
        let arguments = PageArgs { page: directory.path().join("page.md") };
        let mut pages = Vec::new();
        for results in
            [[report("cold", "a"), report("burst", "a")], [report("cold", "b"), report("cold", "b")]]
        {
            let newest = directory.path().join(&results[0].commit);
            std::fs::create_dir(&newest).unwrap();
            for report in results {
                let path = newest.join(format!("{}.json", report.name));
                std::fs::write(path, serde_json::to_vec(&report).unwrap()).unwrap();
            }
            write(&arguments, &newest).unwrap();
            pages.push(std::fs::read_to_string(&arguments.page).unwrap());
        }
        let expected = pages[0].replace(
            "`make bench-cold`, 1970-01-01, commit `a`",
            "`make bench-cold`, 1970-01-01, commit `b`",
        );
        assert_ne!(pages[0], expected);
        assert_eq!(pages[1], expected);
    }

    #[test]
    fn a_section_says_when_and_what_was_measured() {
        let report = Report {
            name: "cold".into(),
            commit: "abc".into(),
            unix_seconds: 1_795_275_478,
            cores: "callers on 0".into(),
            rows: Vec::new(),
        };
        let mut page = String::new();
        section(&mut page, &report).unwrap();
        assert!(page.contains("`make bench-cold`, 2026-11-21, commit `abc`"), "{page}");
    }
}
