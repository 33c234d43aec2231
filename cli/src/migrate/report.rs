//! What is printed: the Functions, and what became of each object.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::differences::DIFFERENCES;
use super::knative::Migrated;
use super::render::Ordered;
use super::{Format, MigrateError};

/// The Functions as one text.
pub fn functions(migrated: &[Migrated], format: Format) -> Result<String, MigrateError> {
    let functions: Vec<_> = migrated.iter().filter_map(|one| one.function.as_ref()).collect();
    match (format, functions.as_slice()) {
        (_, []) => Ok(String::new()),
        (Format::Json, [one]) => json_text(one),
        (Format::Json, several) => json_text(&json!({"apiVersion": "v1", "kind": "List", "items": several})),
        (Format::Yaml, several) => {
            let texts: Result<Vec<_>, _> = several.iter().map(|function| yaml_text(function)).collect();
            Ok(texts?.join("---\n"))
        }
    }
}

/// A name and a text for each Function. One that stands there several times, revision for revision, has as many files, for they
/// are applied one after the other.
pub(super) fn files(migrated: &[Migrated], format: Format) -> Result<Vec<(String, String)>, MigrateError> {
    let counts = times(migrated);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut files = Vec::new();
    for one in migrated {
        let Some(function) = &one.function else { continue };
        let stem = stem(one);
        let number = seen.entry(stem.clone()).or_default();
        *number += 1;
        let number = if counts.get(&stem) > Some(&1) { format!(".{number}") } else { String::new() };
        let (text, ending) = match format {
            Format::Yaml => (yaml_text(function)?, "yaml"),
            Format::Json => (json_text(function)?, "json"),
        };
        files.push((format!("{stem}{number}.{ending}"), text));
    }
    Ok(files)
}

/// What became of each object, and how Functions differ from Services in general.
pub fn report(migrated: &[Migrated]) -> String {
    let mut report = String::new();
    // Writing into a text cannot fail.
    for one in migrated {
        let _ = writeln!(report, "{}", one.object.title());
        match &one.refused {
            Some(why) => {
                let _ = writeln!(report, "  not converted\n    {why}");
            }
            None => {
                let _ = write!(report, "{}", one.notes);
            }
        }
        report.push('\n');
    }
    for (stem, count) in times(migrated).into_iter().filter(|(_, count)| *count > 1) {
        let _ = writeln!(
            report,
            "Function {stem} is there {count} times, one for each revision: apply them one after the other, and wait in between until it is Ready.\n"
        );
    }
    if migrated.iter().any(|one| one.function.is_some()) {
        report.push_str("for all of them, where the Service says nothing else\n");
        for line in DIFFERENCES {
            let _ = writeln!(report, "  {line}");
        }
    }
    report
}

/// How many Functions of each name there are.
fn times(migrated: &[Migrated]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in migrated.iter().filter(|one| one.function.is_some()) {
        *counts.entry(stem(one)).or_default() += 1;
    }
    counts
}

/// A name for files; neither of its parts has a dot in it.
fn stem(one: &Migrated) -> String {
    let namespace = one.object.namespace();
    let separator = if namespace.is_empty() { "" } else { "." };
    format!("{namespace}{separator}{}", one.object.name())
}

fn yaml_text(function: &Value) -> Result<String, MigrateError> {
    serde_saphyr::to_string(&Ordered(function)).map_err(|source| MigrateError::Yaml { source })
}

fn json_text(function: &Value) -> Result<String, MigrateError> {
    let text = serde_json::to_string_pretty(&Ordered(function));
    text.map(|text| text + "\n").map_err(|source| MigrateError::Json { source })
}
