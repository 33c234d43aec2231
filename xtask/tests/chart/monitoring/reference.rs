//! The samples that the programs show, as docs/reference/metrics.md lists them.

use std::collections::{BTreeMap, BTreeSet};

/// Labels that Prometheus adds to what it scrapes, whichever monitor told it to.
const TARGET: [&str; 4] = ["instance", "job", "namespace", "pod"];

/// Names of samples, with the labels that each may be asked for.
pub(crate) struct Reference(BTreeMap<String, BTreeSet<String>>);

impl Reference {
    /// Reads the tables.
    pub(crate) fn of(page: &str) -> Self {
        let mut samples = BTreeMap::new();
        for row in page.lines().filter_map(|line| line.strip_prefix("| `")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            let [name, kind, labels, ..] = cells[..] else { panic!("a row is short: {row}") };
            let name = name.trim_end_matches('`');
            let labels = labels.split(", ").map(|label| label.trim_matches('`')).filter(|it| !it.is_empty());
            let labels: BTreeSet<String> = labels.chain(TARGET).map(str::to_owned).collect();
            if kind == "histogram" {
                let mut with_ends = labels.clone();
                with_ends.insert("le".to_owned());
                samples.insert(format!("{name}_bucket"), with_ends);
                samples.insert(format!("{name}_sum"), labels.clone());
                samples.insert(format!("{name}_count"), labels);
            } else {
                samples.insert(name.to_owned(), labels);
            }
        }
        Self(samples)
    }

    /// The labels of a sample; `None` when no program shows it.
    pub(crate) fn labels(&self, sample: &str) -> Option<&BTreeSet<String>> {
        self.0.get(sample)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
