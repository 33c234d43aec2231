//! Result tables: one for people on standard output, one as JSON under `target/bench`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::rounds::Ratio;

/// All that one benchmark found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Name of the benchmark, and of its file.
    pub(crate) name: String,
    /// Commit that was measured, with `+` when the checkout had other changes.
    pub(crate) commit: String,
    /// When it ended.
    pub(crate) unix_seconds: u64,
    /// What ran on which core; empty where nothing was pinned.
    #[serde(default)]
    pub(crate) cores: String,
    /// One row a figure.
    pub(crate) rows: Vec<Row>,
}

/// One figure with what it is held against.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// Unit of `ours`, `floor` and `peers`.
    pub(crate) unit: String,
    /// Catnap's figure.
    pub(crate) ours: f64,
    /// The least that the platform alone needs.
    pub(crate) floor: Option<f64>,
    /// Others, measured in the same run.
    pub(crate) peers: BTreeMap<String, f64>,
    /// `ours / floor`, or to what the row's name says.
    pub(crate) ratio: Option<f64>,
    /// Least and most of the ratios of single rounds.
    #[serde(default)]
    pub(crate) spread: Option<(f64, f64)>,
    /// The largest ratio that counts as holding.
    pub(crate) bar: Option<f64>,
    /// Whether it does.
    pub(crate) holds: Option<bool>,
}

impl Row {
    /// A figure without anything to hold it against.
    pub(crate) fn plain(what: impl Into<String>, unit: &str, ours: f64) -> Self {
        Self {
            what: what.into(),
            unit: unit.to_owned(),
            ours,
            floor: None,
            peers: BTreeMap::new(),
            ratio: None,
            spread: None,
            bar: None,
            holds: None,
        }
    }

    /// A figure that must be 0.
    pub(crate) fn none(what: impl Into<String>, count: usize) -> Self {
        let mut row = Self::plain(what, "", count as f64);
        (row.bar, row.holds) = (Some(0.0), Some(count == 0));
        row
    }

    /// How the figure compares, without a ratio that was agreed on.
    pub(crate) fn compare(&mut self, ratio: impl Into<Ratio>) {
        let Ratio { median, spread } = ratio.into();
        (self.ratio, self.spread) = (Some(median), spread);
    }

    /// Holds the figure to a ratio that was agreed on.
    pub(crate) fn hold(&mut self, ratio: impl Into<Ratio>, bar: f64) {
        let ratio: Ratio = ratio.into();
        (self.bar, self.holds) = (Some(bar), Some(ratio.median <= bar));
        self.compare(ratio);
    }

    /// A figure against the floor, with the ratio that was agreed on.
    pub(crate) fn against(
        what: impl Into<String>,
        unit: &str,
        ours: f64,
        floor: f64,
        ratio: impl Into<Ratio>,
        bar: f64,
    ) -> Self {
        let mut row = Self { floor: Some(floor), ..Self::plain(what, unit, ours) };
        row.hold(ratio, bar);
        row
    }
}

impl Report {
    /// A report of the commit that is checked out, made now.
    pub(crate) fn new(name: &str, rows: Vec<Row>) -> anyhow::Result<Self> {
        let unix_seconds =
            SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
        Ok(Self { name: name.to_owned(), commit: commit()?, unix_seconds, cores: String::new(), rows })
    }

    /// With what ran on which core.
    pub(crate) fn pinned(self, cores: impl Into<String>) -> Self {
        Self { cores: cores.into(), ..self }
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
        let mut lines = vec![format!(
            "{:<width$} {:>10} {:>10} {:>7} {:>11} {:>6}  {}",
            "what", "ours", "floor", "ratio", "spread", "bar", "holds"
        )];
        for row in &self.rows {
            lines.push(format!(
                "{:<width$} {:>10} {:>10} {:>7} {:>11} {:>6}  {}",
                row.what,
                format!("{:.1} {}", row.ours, row.unit),
                row.floor.map_or(String::new(), |floor| format!("{floor:.1} {}", row.unit)),
                row.ratio.map_or(String::new(), |ratio| format!("{ratio:.3}")),
                row.spread.map_or(String::new(), |(least, most)| format!("{least:.2}-{most:.2}")),
                row.bar.map_or(String::new(), |bar| format!("{bar:.2}")),
                match row.holds {
                    Some(true) => "yes",
                    Some(false) => "NO",
                    None => "",
                },
            ));
            for (name, value) in &row.peers {
                lines.push(format!("{:>1$}", format!("{name} {value:.1} {}", row.unit), width + 11));
            }
        }
        lines.join("\n")
    }

    /// Writes `<directory>/<name>.json`.
    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let path = directory.join(format!("{}.json", self.name));
        let text = serde_json::to_string_pretty(self).context("cannot write the report as JSON")?;
        std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

fn commit() -> anyhow::Result<String> {
    let git = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = Command::new("git").args(arguments).output().context("cannot run git")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain"])?.is_empty();
    Ok(if changed { head + "+" } else { head })
}
