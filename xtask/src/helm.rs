//! Renders the chart with Helm: `$HELM`, one on `PATH`, or the one that the test cluster's programs include.
//!
//! The chart's tests include this file too.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// What Helm says of a release `catnap` in `catnap-system`; `None` where there is no Helm, unless `$CATNAP_REQUIRE_HELM` is set.
pub(crate) fn template(root: &Path, arguments: &[&str]) -> Result<Option<Output>> {
    let Some(helm) = find() else {
        ensure!(env::var_os("CATNAP_REQUIRE_HELM").is_none(), "there is no Helm");
        return Ok(None);
    };
    let mut command = Command::new(&helm);
    command.arg("template").arg("catnap").arg(root.join("charts/catnap"));
    command.args(["--namespace", "catnap-system"]).args(arguments);
    let output = command.output().with_context(|| format!("starting {}", helm.display()))?;
    Ok(Some(output))
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
