//! Programs under valgrind's tools.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

pub(super) const MISSING: &str = "cannot start valgrind: `deploy/dependencies.sh counts` installs it";

/// A program that runs another one under valgrind with these options, which a shell reads. `name`: of the file in `directory`.
pub(super) fn wrap(program: &Path, directory: &Path, name: &str, options: &str) -> anyhow::Result<PathBuf> {
    let script = directory.join(name);
    let text = format!("#!/bin/sh\nexec valgrind {options} '{}' \"$@\"\n", program.display());
    std::fs::write(&script, text).context("cannot write a script")?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
        .context("cannot write a script")?;
    Ok(script)
}
