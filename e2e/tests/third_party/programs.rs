//! Our own programs and those of others, built when they are not there, and a bounded run of one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Longest run of one of them.
const SECONDS: &str = "90";

/// The folder with Catnap's command and the example functions.
pub(crate) fn own() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let packages = ["catnap", "catnap-example-hello", "catnap-example-grpc"];
        let arguments = packages.iter().flat_map(|package| ["--package", package]);
        let built = Command::new(env!("CARGO")).args(["build", "--quiet"]).args(arguments).status();
        assert!(built.unwrap().success());
        Path::new(env!("CARGO_BIN_EXE_catnap-cluster")).parent().unwrap().to_owned()
    })
}

/// The folder with the programs of the Go modules. Go keeps what it compiled, so that this is short the second time.
pub(crate) fn go() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = own().join("peers");
        // Two of them have the same name as ours.
        for (package, name) in [
            ("./client", "http-client"),
            ("google.golang.org/grpc/interop/client", "interop-client"),
            ("google.golang.org/grpc/interop/server", "interop-server"),
            ("github.com/summerwind/h2spec/cmd/h2spec", "h2spec"),
        ] {
            let built = Command::new("go")
                .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers"))
                .env("CGO_ENABLED", "0")
                .args(["build", "-trimpath", "-o"])
                .arg(folder.join(name))
                .arg(package)
                .status();
            assert!(built.unwrap().success(), "{package}");
        }
        folder
    })
}

/// A script beside this file.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/third_party").join(name)
}

/// Runs a program to its end, which must be good. Gives what it said on standard output.
pub(crate) fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[A]) -> String {
    let (said, good) = run_to_any_end(program, arguments);
    assert!(good, "{said}");
    said
}

/// Runs a program to its end. Gives what it said, and whether it ended well.
pub(crate) fn run_to_any_end<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[A]) -> (String, bool) {
    let program = Path::new(program.as_ref());
    let output = Command::new("timeout")
        .args(["--kill-after=5", SECONDS])
        .arg(program)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return (said, true);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    (
        format!(
            "{said}\n{errors}\n{} ended with {}; is it installed? deploy/dependencies.sh peers",
            program.display(),
            output.status
        ),
        false,
    )
}
