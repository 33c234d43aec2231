//! The chart as Helm renders it, or what Helm says against the values.

#[path = "../../src/helm.rs"]
mod program;

use std::path::Path;
use std::process::Output;

use serde_json::Value;

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The objects of a release `catnap` in `catnap-system`; `None` where there is no Helm.
pub(crate) fn render(arguments: &[&str]) -> Option<Vec<Value>> {
    let output = template(arguments)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rendered = String::from_utf8(output.stdout).unwrap();
    Some(serde_saphyr::from_multiple(&rendered).unwrap())
}

/// The one of that kind and name.
pub(crate) fn named<'objects>(objects: &'objects [Value], kind: &str, name: &str) -> &'objects Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// What Helm says against these arguments; `None` where there is no Helm.
pub(crate) fn refusal(arguments: &[&str]) -> Option<String> {
    let output = template(arguments)?;
    assert!(!output.status.success(), "{arguments:?} was let through");
    Some(String::from_utf8(output.stderr).unwrap())
}

fn template(arguments: &[&str]) -> Option<Output> {
    let output = program::template(repository(), arguments).unwrap();
    if output.is_none() {
        eprintln!("skipped: there is no Helm; set HELM, or start the test cluster once");
    }
    output
}
