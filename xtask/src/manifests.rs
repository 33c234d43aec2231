//! `deploy/catnap.yaml`: what the chart renders with its defaults, for those who install without Helm.
//!
//! Whether it is stale is a question of its objects: Helm's versions differ in order and blank lines.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::helm;

const PATH: &str = "deploy/catnap.yaml";

/// What comes before the chart's objects. A namespace is Helm's business, and not the chart's.
const HEAD: &str = r#"# Catnap as the chart installs it by default. Made by `cargo xtask generate`; do not edit.
#
# The image is one that you have built and pushed (deploy/Containerfile):
#
#     sed 's|image: "catnap:.*"|image: "REGISTRY/catnap:TAG"|' deploy/catnap.yaml | kubectl apply --server-side -f -
---
apiVersion: v1
kind: Namespace
metadata:
  name: catnap-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
"#;

/// Beginnings of lines that would pretend a release of Helm's.
const OF_A_RELEASE: &[&str] = &["# Source: ", "app.kubernetes.io/managed-by: Helm", "helm.sh/"];

/// Writes the file; a line for whoever has no Helm.
pub(crate) fn write(root: &Path) -> Result<Vec<String>> {
    let Some(fresh) = rendered(root)? else {
        return Ok(vec![format!("{PATH} could not be written: there is no Helm; set HELM to one")]);
    };
    fs::write(root.join(PATH), fresh).with_context(|| format!("writing {PATH}"))?;
    Ok(Vec::new())
}

/// A line if the file is not what the chart says.
pub(crate) fn stale(root: &Path) -> Result<Vec<String>> {
    let Some(fresh) = rendered(root)? else {
        eprintln!("skipped: {PATH}: there is no Helm; set HELM, or start the test cluster once");
        return Ok(Vec::new());
    };
    let present = fs::read_to_string(root.join(PATH)).unwrap_or_default();
    let fresh = objects(&fresh).context("reading what Helm has rendered")?;
    if objects(&present).is_ok_and(|present| present == fresh) {
        return Ok(Vec::new());
    }
    Ok(vec![format!("{PATH} is stale: run `cargo xtask generate`")])
}

fn rendered(root: &Path) -> Result<Option<String>> {
    // What keeps an object when a release goes means nothing to kubectl, nor do tests.
    let Some(output) = helm::template(root, &["--skip-tests", "--set", "crds.keep=false"])? else {
        return Ok(None);
    };
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("Helm has rendered no text")?;
    Ok(Some(without_release(&text)))
}

/// The objects alone, after those that come first.
fn without_release(rendered: &str) -> String {
    let mut lines = Vec::new();
    for line in rendered.lines().map(str::trim_end) {
        let begins = line.trim_start();
        if OF_A_RELEASE.iter().any(|beginning| begins.starts_with(beginning)) {
            continue;
        }
        // Helm leaves empty lines between objects; those within an object are of a text.
        while line == "---" && lines.last() == Some(&"") {
            lines.pop();
        }
        if line != "---" || lines.last() != Some(&"---") {
            lines.push(line);
        }
    }
    format!("{HEAD}{}\n", lines.join("\n").trim_end())
}

/// In an order that does not depend on who has written them.
fn objects(text: &str) -> Result<Vec<Value>> {
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(text)?;
    objects.sort_by_cached_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn what_is_checked_in_is_fresh() {
        let stale = stale(workspace::root()).unwrap();
        assert!(stale.is_empty(), "{}", stale.join("\n"));
    }

    #[test]
    fn nothing_of_a_release_is_left() {
        let text = fs::read_to_string(workspace::root().join(PATH)).unwrap();
        for word in ["helm.sh", "managed-by", "# Source"] {
            assert!(!text.contains(word), "{word}");
        }
        let objects = objects(&text).unwrap();
        assert!(objects.iter().all(Value::is_object));
        let count = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count();
        assert_eq!((count("Namespace"), count("Deployment"), count("CustomResourceDefinition")), (1, 3, 1));
        assert_eq!(count("Pod"), 0);
    }

    #[test]
    fn objects_are_taken_out_of_what_helm_writes() {
        let rendered = "---\n# Source: a.yaml\n# Why.\nkind: A\nmetadata:\n  name: a\n  labels:\n    \
            app.kubernetes.io/managed-by: Helm\n    helm.sh/chart: c\n    b: c\n\n\n---\n# Source: b.yaml\n\
            kind: B\ntext: |\n  one\n\n  two\n";
        let objects = "---\n# Why.\nkind: A\nmetadata:\n  name: a\n  labels:\n    b: c\n---\nkind: B\ntext: |\n  \
            one\n\n  two\n";
        assert_eq!(without_release(rendered), format!("{HEAD}{objects}"));
    }

    #[test]
    fn another_order_is_not_stale_and_another_field_is() {
        let one = objects("kind: A\nmetadata: {name: a}\n---\nkind: B\nmetadata: {name: b}\n").unwrap();
        let other =
            objects("kind: B\nmetadata: {name: b}\n---\n# Why.\nkind: A\nmetadata: {name: a}\n").unwrap();
        assert_eq!(one, other);
        let edited = objects("kind: A\nmetadata: {name: a}\n---\nkind: B\nmetadata: {name: c}\n").unwrap();
        assert_ne!(one, edited);
    }
}
