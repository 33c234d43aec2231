//! The files that are made from the code and checked in, so that users and the chart have them without a build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{reference, values, workspace};

/// One generated file.
struct Generated {
    /// Relative to the workspace.
    path: PathBuf,
    content: String,
}

fn all() -> Result<Vec<Generated>> {
    let definition = catnap_crds::crd_yaml().context("rendering the definition of Function")?;
    let reference = reference::of(&catnap_crds::crd())?;
    let values = workspace::root().join("charts/catnap/values.yaml");
    let values = fs::read_to_string(&values).with_context(|| format!("reading {}", values.display()))?;
    Ok(vec![
        Generated { path: "crds/generated/functions.yaml".into(), content: definition.clone() },
        // A chart can hold only files of its own.
        Generated { path: "charts/catnap/files/functions.yaml".into(), content: definition },
        Generated { path: "docs/reference/function.md".into(), content: reference },
        Generated { path: "docs/reference/values.md".into(), content: values::of(&values) },
    ])
}

/// Writes every generated file.
pub(crate) fn write(root: &Path) -> Result<()> {
    for Generated { path, content } in all()? {
        fs::write(root.join(&path), content).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Has tests check the pages that only programs know the contents of (commands, flags, metrics, reasons, traces), or write them.
/// False: one is stale.
pub(crate) fn pages(root: &Path, write: bool) -> Result<bool> {
    let mut command = Command::new(env!("CARGO"));
    // All packages, as whoever tests everything: of some, dependencies would be built once more with other features.
    command.args(["test", "--quiet", "--lib", "--bins", "--locked", "--workspace"]).current_dir(root);
    if write {
        // One test after the other: they write the same file.
        for page in ["COMMANDS", "FLAGS", "METRICS", "REASONS", "TRACES"] {
            command.env(format!("CATNAP_WRITE_{page}_PAGE"), "1");
        }
    }
    let status = command.arg("page_is_fresh").stdout(Stdio::null()).status();
    Ok(status.context("starting cargo test")?.success())
}

/// The files that are not what the code says, a line each.
pub(crate) fn stale(root: &Path) -> Result<Vec<String>> {
    let stale = all()?.into_iter().filter(|file| {
        !fs::read_to_string(root.join(&file.path)).is_ok_and(|present| present == file.content)
    });
    Ok(stale.map(|file| format!("{} is stale: run `cargo xtask generate`", file.path.display())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_checked_in_is_fresh() {
        let stale = stale(workspace::root()).unwrap();
        assert!(stale.is_empty(), "{}", stale.join("\n"));
    }

    #[test]
    fn an_edited_or_missing_file_is_stale() {
        let root = tempfile::tempdir().unwrap();
        for file in all().unwrap() {
            fs::create_dir_all(root.path().join(file.path).parent().unwrap()).unwrap();
        }
        assert_eq!(stale(root.path()).unwrap().len(), all().unwrap().len());
        write(root.path()).unwrap();
        assert_eq!(stale(root.path()).unwrap(), Vec::<String>::new());
        fs::write(root.path().join("docs/reference/function.md"), "edited").unwrap();
        assert_eq!(stale(root.path()).unwrap().len(), 1);
    }
}
