//! Runs a command of the machine to its end and keeps what it said.

use std::{
    ffi::OsStr,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use super::Error;

/// Commands that the launcher needs on `PATH`, with the Debian package of each.
const NEEDED: &[(&str, &str)] = &[
    ("runc", "runc"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
];

/// Runs it; its standard output, or an error with its standard error.
pub(super) fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[A]) -> Result<String, Error> {
    run_with_input(program, arguments, "")
}

/// As [`run`], with a text on its standard input.
pub(super) fn run_with_input<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: &[A],
    input: &str,
) -> Result<String, Error> {
    let mut command = Command::new(program);
    command.args(arguments);
    let described = describe(&command);
    match exchange(command, input) {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(Error::Command {
            command: described,
            output: format!("{} ({})", String::from_utf8_lossy(&output.stderr).trim(), output.status),
        }),
        Err(error) => Err(Error::Command { command: described, output: error.to_string() }),
    }
}

fn exchange(mut command: Command, input: &str) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input closes the pipe; its status tells whether that was wrong.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Fails with the first command that is missing.
pub(super) fn check_needed() -> Result<(), Error> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    for (program, package) in NEEDED {
        if !std::env::split_paths(&paths).any(|directory| directory.join(program).is_file()) {
            return Err(Error::MissingProgram { program, package });
        }
    }
    if !std::path::Path::new(super::configuration::CNI_PLUGINS).join("bridge").is_file() {
        return Err(Error::MissingProgram { program: "bridge", package: "containernetworking-plugins" });
    }
    Ok(())
}
