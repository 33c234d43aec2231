//! Finds Helm and renders the chart with it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    let Some(helm) = find() else {
        assert!(env::var_os("CATNAP_REQUIRE_HELM").is_none(), "there is no Helm");
        eprintln!("skipped: there is no Helm; set HELM, or start the test cluster once");
        return None;
    };
    let chart = repository().join("charts/catnap");
    let mut command = Command::new(helm);
    command.arg("template").arg("catnap").arg(chart).args(["--namespace", "catnap-system"]).args(arguments);
    Some(command.output().unwrap())
}

fn find() -> Option<PathBuf> {
    let named = env::var_os("HELM").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("helm"));
    named.into_iter().chain(on_path).chain(built()).find(|helm| helm.is_file())
}

/// Those that the launcher of the test cluster has built.
fn built() -> Vec<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let programs = cache.and_then(|cache| cache.join("catnap/cluster").read_dir().ok());
    programs.into_iter().flatten().flatten().map(|folder| folder.path().join("helm")).collect()
}
