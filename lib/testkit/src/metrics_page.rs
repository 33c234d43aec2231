//! The reference page of metrics: a section for each program, made from what it shows at a scrape after everything was counted
//! once. A test of the program checks its section; `cargo xtask generate` has the test write it.

use std::fmt::Write;

use crate::page::Page;

const PAGE: Page = Page {
    name: "metrics.md",
    variable: "CATNAP_WRITE_METRICS_PAGE",
    introduction: "# Metrics reference\n\n\
        Made from the programs by `cargo xtask generate`. Each shows them at `/metrics` of port 9090, in OpenMetrics text.\n\
        Labels are names of objects that exist or from fixed lists, never what a client sent; the series of a Function or a\n\
        revision go with it.\n",
};

/// Checks the section of `program` against its scrape, or writes it. Says what to do when the page is stale.
pub fn check(program: &str, scrape: &str) -> Result<(), String> {
    PAGE.check(program, &section(program, scrape))
}

fn section(program: &str, scrape: &str) -> String {
    let mut section = format!("{program}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
    let lines: Vec<&str> = scrape.lines().collect();
    for (position, line) in lines.iter().enumerate() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let about =
            lines[position..].iter().take_while(|other| *other == line || !other.starts_with("# HELP "));
        let kind =
            about.clone().find_map(|line| line.strip_prefix(&format!("# TYPE {name} "))).unwrap_or("unknown");
        let labels =
            about.filter(|line| !line.starts_with('#')).find_map(|line| labels(line)).unwrap_or_default();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let help = help.trim_end_matches('.').replace('|', "\\|");
        let _ = writeln!(section, "| `{name}{suffix}` | {kind} | {labels} | {help} |");
    }
    section
}

/// Names of a sample's labels, in their order. Values have no quotes in them here.
fn labels(sample: &str) -> Option<String> {
    let (_, rest) = sample.split_once('{')?;
    let (labels, _) = rest.rsplit_once('}')?;
    let names = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name);
    let names: Vec<String> = names.filter(|name| *name != "le").map(|name| format!("`{name}`")).collect();
    Some(names.join(", ")).filter(|names| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
        a_seconds_sum{of=\"x,y\"} 1\na_seconds_bucket{le=\"1\",of=\"x,y\"} 1\n\
        # HELP b Times | places\n# TYPE b counter\nb_total 3\n\
        # HELP c What it is.\n# TYPE c info\nc_info{name=\"\",place=\"\"} 1\n# EOF\n";

    #[test]
    fn a_metric_is_a_row_with_its_labels() {
        let rows = "a\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n\
            | `a_seconds` | histogram | `of` | How long |\n| `b_total` | counter |  | Times \\| places |\n\
            | `c_info` | info | `name`, `place` | What it is |\n";
        assert_eq!(section("a", SCRAPE), rows);
    }

    #[test]
    fn sections_keep_each_other() {
        let replaced = |page: &str, program: &str, section: &str| PAGE.replaced(page, program, section);
        let first = replaced("", "b", "b\n\nold\n");
        let both = replaced(&first, "a", "a\n\nnew\n");
        assert!(both.ends_with("\n\n## a\n\nnew\n\n## b\n\nold\n"), "{both}");
        assert_eq!(replaced(&both, "a", "a\n\nnew\n"), both, "and nothing else changes");
        assert!(!replaced(&both, "b", "b\n\nother\n").contains("old"));
    }
}
