//! The page on Events names those that the programs tell, and no others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

/// Where the names of Events are.
const SOURCES: [&str; 2] = ["operator/core/src/status/news.rs", "autoscaler/src/driver/notice.rs"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// Texts in quotes that are words like `ScaledUp`, without those of tests.
fn words(source: &str) -> BTreeSet<&str> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let quoted = source.split('"').skip(1).step_by(2);
    let is_word = |text: &&str| {
        text.starts_with(char::is_uppercase) && text.chars().all(|letter| letter.is_ascii_alphabetic())
    };
    quoted.filter(is_word).collect()
}

#[test]
fn the_page_on_events_has_each() {
    let page = read("docs/reference/conditions.md");
    let (_, events) = page.split_once("\n## Events\n").unwrap();
    let rows = events.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let named: BTreeSet<&str> = rows.map(|(name, _)| name).collect();
    let sources = SOURCES.map(read);
    // What is done, which an Event says beside its reason, and what a condition's status may be.
    let others = BTreeSet::from(["Create", "Route", "Scaling", "True", "False"]);
    let told: BTreeSet<&str> = sources.iter().flat_map(|source| words(source)).collect();
    assert_eq!(named, &told - &others);
}
