//! The reference page of the chart's values, made from `values.yaml`: a row for each value, with its default and the comment above
//! it. It reads that file as it is written here, a key in a line, and not all of YAML.

use std::fmt::Write;

const INTRODUCTION: &str = "# Values of the chart\n\n\
    Made from `charts/catnap/values.yaml` by `cargo xtask generate`. What each may be is in `values.schema.json` beside it; a\n\
    misspelled one is refused. What they are for is in [the chart's page](../../charts/catnap/README.md).\n\n\
    | value | default | meaning |\n|---|---|---|\n";

/// The page, as Markdown.
pub(crate) fn of(values: &str) -> String {
    let mut page = INTRODUCTION.to_owned();
    // Each with its indentation: the keys that the next line may be below of.
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in values.lines() {
        let text = line.trim_start();
        if text.is_empty() {
            // What stands alone is about the file.
            comment.clear();
        } else if let Some(words) = text.strip_prefix('#') {
            comment.push(words.trim());
        } else if let Some((key, value)) = text.split_once(':').filter(|_| !text.starts_with("- ")) {
            let indentation = line.len() - text.len();
            above.retain(|(other, _)| *other < indentation);
            above.push((indentation, key));
            let path: Vec<_> = above.iter().map(|(_, key)| *key).collect();
            row(&mut page, &path.join("."), value.trim(), &comment.join(" "));
            comment.clear();
        }
    }
    page
}

/// A value, or a group of them that something is said about.
fn row(page: &mut String, path: &str, value: &str, meaning: &str) {
    let meaning = meaning.replace('|', "\\|");
    if !value.is_empty() {
        let _ = writeln!(page, "| `{path}` | `{}` | {meaning} |", value.replace('|', "\\|"));
    } else if !meaning.is_empty() {
        let _ = writeln!(page, "| `{path}` | | {meaning} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_row_with_its_default_and_what_is_said_of_it() {
        let values = "\
# About the file.

# One image
# for all.
image:
  repository: catnap
  # Empty: the | other.
  tag: \"\"
  pullSecrets: []

log:
  # A filter.
  filter: info
  more:
    deep: {a: 1}
plain: 5
";
        let page = of(values);
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(
            rows,
            [
                "| `image` | | One image for all. |",
                "| `image.repository` | `catnap` |  |",
                "| `image.tag` | `\"\"` | Empty: the \\| other. |",
                "| `image.pullSecrets` | `[]` |  |",
                "| `log.filter` | `info` | A filter. |",
                "| `log.more.deep` | `{a: 1}` |  |",
                "| `plain` | `5` |  |",
            ]
        );
    }
}
