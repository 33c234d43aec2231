//! Links of the documentation: each leads to a file that is there, and to a heading in it. Addresses elsewhere are not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace;

/// Links that lead nowhere, a line each, beginning with the file.
pub(crate) fn findings(root: &Path) -> Result<Vec<String>> {
    let files = workspace::files(root)?;
    let mut pages = BTreeMap::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(root.join(file));
        pages.insert(file.clone(), text.with_context(|| format!("reading {}", file.display()))?);
    }
    let mut findings = Vec::new();
    for (file, text) in &pages {
        for (number, line) in prose(text) {
            for target in targets(line).filter(|target| !target.contains("://")) {
                if let Some(fault) = fault(root, file, target, &pages) {
                    findings.push(format!("{}: line {number}: `{target}`: {fault}", file.display()));
                }
            }
        }
    }
    Ok(findings)
}

/// What is wrong with a link of a page.
fn fault(root: &Path, file: &Path, target: &str, pages: &BTreeMap<PathBuf, String>) -> Option<&'static str> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let to = if path.is_empty() { file.to_owned() } else { plain(&file.with_file_name(path)) };
    if !root.join(&to).exists() {
        return Some("nothing is there");
    }
    let page = pages.get(&to)?;
    let there = heading.is_empty() || anchors(page).contains(heading);
    (!there).then_some("no such heading")
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}

/// The lines outside of fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Where the links of a line lead: `[words](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// What one adds to a page's address to come to a heading, as GitHub makes it.
fn anchors(page: &str) -> BTreeSet<String> {
    let heading = |(_, line): (usize, &str)| {
        let words = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?;
        // Of a link only the words count.
        let words: Vec<_> =
            words.split("](").enumerate().map(|(part, words)| after_target(part, words)).collect();
        let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
        let words = words.concat().trim().to_lowercase();
        let letters = words.chars().filter(kept).map(|letter| if letter == ' ' { '-' } else { letter });
        Some(letters.collect::<String>())
    };
    prose(page).filter_map(heading).collect()
}

fn after_target(part: usize, words: &str) -> &str {
    let is_behind_words = part > 0;
    words.split_once(')').filter(|_| is_behind_words).map_or(words, |(_, after)| after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_leads_somewhere() {
        let findings = super::findings(workspace::root()).unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        let page = "# One\n\n[a](../README.md), [b](two.md) and [c](#one)\n[d](#two) [e](../README.md#what-is-it)\n\
            [f](../README.md#what) [g](https://example.com/h)\n```\n[i](nowhere.md)\n```\n";
        fs::write(root.path().join("docs/one.md"), page).unwrap();
        fs::write(root.path().join("README.md"), "# It\n\n## What [is](docs/one.md) it?\n").unwrap();
        assert_eq!(
            findings(root.path()).unwrap(),
            [
                "docs/one.md: line 3: `two.md`: nothing is there",
                "docs/one.md: line 4: `#two`: no such heading",
                "docs/one.md: line 5: `../README.md#what`: no such heading",
            ]
        );
    }
}
