//! The habits of the style guide that a program can check. Formatting is rustfmt's business, and what the
//! compiler or clippy can tell is theirs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace;

/// Most lines of a source file; most files aim at 150.
const LONGEST: usize = 500;

/// What no source file may hold, and why. Split, so that this file may hold the list.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("to", "do!("), "what is not written is not there"),
    (concat!("unimple", "mented!("), "what is not written is not there"),
    (concat!("#[ig", "nore"), "a test that does not run is not a test"),
    (concat!("dead", "_code)"), "delete what nobody calls"),
    (concat!("FIX", "ME"), "fix it, or describe the limit in the documentation"),
    (concat!("TO", "DO"), "do it, or describe the limit in the documentation"),
];

/// Ends of type names that say nothing.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Helpers", "Util", "Utils"];

/// What is wrong, a line each, beginning with the file.
pub(crate) fn findings(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in workspace::files(root)? {
        if file.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&file))
                .with_context(|| format!("reading {}", file.display()))?;
            // The module that a test file belongs to says what both are about.
            let documented = text.starts_with("//! ") || file.ends_with("tests.rs");
            if !documented {
                findings.push(format!("{}: no module documentation in its first line", file.display()));
            }
            findings.extend(faults(&text).into_iter().map(|fault| format!("{}: {fault}", file.display())));
        }
    }
    Ok(findings)
}

/// What is wrong with one source file.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let length = text.lines().count();
    if length > LONGEST {
        faults.push(format!("{length} lines, more than {LONGEST}"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        for (word, why) in FORBIDDEN {
            if line.contains(word) {
                faults.push(format!("line {number}: `{word}`: {why}"));
            }
        }
        if let Some(name) = declared(line)
            && EMPTY_NAMES.iter().any(|empty| name.ends_with(empty))
        {
            faults.push(format!("line {number}: `{name}` does not say what it is"));
        }
    }
    faults
}

/// The name of the type that a line declares.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub").map_or(line, |rest| {
        rest.strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .map_or(rest, |(_, rest)| rest)
            .trim_start()
    });
    let rest =
        ["struct ", "enum ", "trait ", "type "].iter().find_map(|keyword| line.strip_prefix(keyword))?;
    rest.split(|character: char| !character.is_alphanumeric() && character != '_').next()
}

#[cfg(test)]
mod tests;
