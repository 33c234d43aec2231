//! The images of this workspace: Catnap's programs in one, the example functions in another, and in one each nginx, the program
//! of Knative's conformance tests, and the programs of Knative Serving.
//!
//! Each is a small layer of Debian packages (see [`base`]) below a layer with the programs: built here with Cargo or Go, or out
//! of more packages. They land as OCI archives under `target/images`; the Containerfiles build the same elsewhere.

mod base;
mod debian;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::oci::{self, FinishedLayer, Image, Layer};

/// User and group of every image; in neither does anything belong to it.
const USER: &str = "65532:65532";
const PROGRAM_DIRECTORY: &str = "usr/local/bin";

/// Why images could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Cargo or Go could not be started or did not build the programs.
    #[error("building the programs of {image}: {reason}")]
    Build {
        /// The image that they are for.
        image: &'static str,
        /// What happened.
        reason: String,
    },
    /// A Debian package could not be fetched or unpacked.
    #[error("`{command}` failed: {output}")]
    Package {
        /// The command with its arguments.
        command: String,
        /// What it wrote to its standard error.
        output: String,
    },
    /// A file operation failed.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The archive could not be written.
    #[error("writing {image}")]
    Write {
        /// The image.
        image: &'static str,
        /// Why.
        #[source]
        source: oci::Error,
    },
}

impl Error {
    fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }
}

/// An image of this workspace.
#[derive(Debug)]
pub struct Recipe {
    /// Name with tag, as manifests say it; also of its archive.
    pub name: &'static str,
    /// Another name for the same.
    also: Option<&'static str>,
    /// Of those that `cargo programs` builds.
    programs: &'static [&'static str],
    /// As Cargo takes them.
    features: &'static [&'static str],
    /// The revision that its programs show of their build, where it is not what the environment says.
    pub revision: Option<&'static str>,
    go: Option<GoProgram>,
    /// Debian packages beyond those of the base layer.
    debian: &'static [&'static str],
    /// Where in the image a file of this workspace goes.
    files: &'static [(&'static str, &'static str)],
    /// What the image runs by default; empty for the first program.
    entrypoint: &'static [&'static str],
    stop_signal: Option<&'static str>,
}

/// A program of others, built from a Go module that pins it.
#[derive(Debug)]
struct GoProgram {
    /// The module's folder, from this crate's own.
    module: &'static str,
    package: &'static str,
    name: &'static str,
}

/// Nothing above the base layer.
const EMPTY: Recipe = Recipe {
    name: "catnap-base:dev",
    also: None,
    programs: &[],
    features: &[],
    revision: None,
    go: None,
    debian: &[],
    files: &[],
    entrypoint: &[],
    stop_signal: None,
};

/// Catnap's programs.
pub const CATNAP: Recipe = Recipe {
    name: "catnap:dev",
    // What the chart asks for without values.
    also: Some(concat!("catnap:", env!("CARGO_PKG_VERSION"))),
    programs: &["catnap", "catnap-operator", "catnap-activator", "catnap-autoscaler"],
    ..EMPTY
};

/// Catnap's programs with the points where a test can hold them.
pub const CATNAP_WITH_FAIL_POINTS: Recipe = Recipe {
    name: "catnap:failpoints",
    also: None,
    features: &["catnap-activator/failpoints", "catnap-autoscaler/failpoints"],
    // By which a test tells the two apart while they run.
    revision: Some("failpoints"),
    ..CATNAP
};

/// The example functions.
pub const EXAMPLES: Recipe =
    Recipe { name: "catnap-examples:dev", programs: &["hello", "grpc", "slow-start"], ..EMPTY };

/// nginx as Debian packages it, a function that nobody wrote for Catnap. As `examples/nginx/Containerfile`.
pub const NGINX: Recipe = Recipe {
    name: "catnap-example-nginx:dev",
    debian: &["nginx", "nginx-common", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"],
    files: &[("etc/nginx/function.conf", "examples/nginx/nginx.conf")],
    entrypoint: &["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx/function.conf", "-g", "daemon off;"],
    // On SIGTERM it ends at once.
    stop_signal: Some("SIGQUIT"),
    ..EMPTY
};

/// The program by which Knative's conformance tests see what a platform gives to a container.
pub const KNATIVE: Recipe = Recipe {
    name: "catnap-knative-runtime:dev",
    go: Some(GoProgram {
        module: "knative",
        package: "knative.dev/serving/test/test_images/runtime",
        name: "runtime",
    }),
    ..EMPTY
};

/// The programs of Knative Serving, which benchmarks put beside Catnap. Each has an image of its own, as its manifests want it:
/// that of `queue` goes into every pod.
pub const KNATIVE_SERVING: [&Recipe; 5] = [
    &serving("catnap-knative-activator:dev", "knative.dev/serving/cmd/activator", "activator"),
    &serving("catnap-knative-autoscaler:dev", "knative.dev/serving/cmd/autoscaler", "autoscaler"),
    &serving("catnap-knative-controller:dev", "knative.dev/serving/cmd/controller", "controller"),
    &serving("catnap-knative-queue:dev", "knative.dev/serving/cmd/queue", "queue"),
    &serving("catnap-knative-webhook:dev", "knative.dev/serving/cmd/webhook", "webhook"),
];

const fn serving(image: &'static str, package: &'static str, name: &'static str) -> Recipe {
    Recipe {
        name: image,
        go: Some(GoProgram { module: "../bench/peers/knative/serving", package, name }),
        ..EMPTY
    }
}

/// Every image that tests and charts name.
pub const ALL: [&Recipe; 5] = [&NGINX, &KNATIVE, &EXAMPLES, &CATNAP_WITH_FAIL_POINTS, &CATNAP];

impl Recipe {
    /// Where the archive of this image is, once built.
    pub fn archive(&self) -> PathBuf {
        target_directory().join("images").join(format!("{}.tar", self.name.replace(':', "-")))
    }

    /// Builds the programs and writes the archive; its path.
    pub fn build(&self) -> Result<PathBuf, Error> {
        if !self.programs.is_empty() {
            self.compile()?;
        }
        let mut layers = vec![base::layer()?];
        let written = |source| Error::Write { image: self.name, source };
        if !self.debian.is_empty() {
            layers.push(debian::layer(&self.debian.join("-"), self.debian)?);
        }
        let mut layer = Layer::new().map_err(written)?;
        for (path, source) in self.files {
            layer.add_file(path, &workspace().join(source), 0o644).map_err(written)?;
        }
        for program in self.programs {
            let source = target_directory().join("image").join(program);
            layer.add_file(&format!("{PROGRAM_DIRECTORY}/{program}"), &source, 0o755).map_err(written)?;
        }
        if let Some(program) = &self.go {
            let path = format!("{PROGRAM_DIRECTORY}/{}", program.name);
            layer.add_file(&path, &self.compile_go(program)?, 0o755).map_err(written)?;
        }
        layers.push(layer.finish().map_err(written)?);
        self.write(layers)
    }

    fn compile(&self) -> Result<(), Error> {
        let failed = |reason| Error::Build { image: self.name, reason };
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(workspace()).arg("programs");
        if !self.features.is_empty() {
            cargo.args(["--features", &self.features.join(",")]);
        }
        if let Some(revision) = self.revision {
            cargo.env("CATNAP_BUILD_REVISION", revision);
        }
        let status = cargo.status().map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
    }

    fn compile_go(&self, program: &GoProgram) -> Result<PathBuf, Error> {
        let failed = |reason| Error::Build { image: self.name, reason };
        let path = std::path::absolute(target_directory().join("go").join(program.name))
            .map_err(Error::file("finding", target_directory()))?;
        let mut go = Command::new("go");
        go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(program.module)).env("CGO_ENABLED", "0");
        go.args(["build", "-trimpath", "-ldflags", "-s -w", "-o"]).arg(&path).arg(program.package);
        let status = go.status().map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(path) } else { Err(failed(status.to_string())) }
    }

    fn entrypoint(&self) -> Vec<String> {
        if self.entrypoint.is_empty() {
            let program = self.programs.first().copied().or(self.go.as_ref().map(|it| it.name));
            return program.iter().map(|it| format!("/{PROGRAM_DIRECTORY}/{it}")).collect();
        }
        self.entrypoint.iter().map(|&word| word.to_owned()).collect()
    }

    fn write(&self, layers: Vec<FinishedLayer>) -> Result<PathBuf, Error> {
        let path = self.archive();
        let directory = target_directory().join("images");
        fs::create_dir_all(&directory).map_err(Error::file("creating", &directory))?;
        let image = Image {
            names: [self.name]
                .into_iter()
                .chain(self.also)
                .map(|it| format!("docker.io/library/{it}"))
                .collect(),
            entrypoint: self.entrypoint(),
            environment: vec![format!("PATH=/{PROGRAM_DIRECTORY}:/usr/bin:/bin")],
            user: USER.into(),
            stop_signal: self.stop_signal.map(str::to_owned),
            layers,
        };
        // Whoever imports it sees a whole archive.
        let part = path.with_extension("part");
        image.write(&part).map_err(|source| Error::Write { image: self.name, source })?;
        fs::rename(&part, &path).map_err(Error::file("renaming", &part))?;
        Ok(path)
    }
}

/// Writes the base layer as an image of its own, for `BASE` of `deploy/Containerfile`; its path.
pub fn build_base() -> Result<PathBuf, Error> {
    EMPTY.write(vec![base::layer()?])
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// The workspace's target directory.
pub fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(path: &str) -> String {
        fs::read_to_string(workspace().join(path)).unwrap()
    }

    /// The words that follow `--package`.
    fn packages<'text>(words: &[&'text str]) -> BTreeSet<&'text str> {
        words.windows(2).filter(|pair| pair[0] == "--package").map(|pair| pair[1]).collect()
    }

    #[test]
    fn containerfiles_build_the_same_programs() {
        let (catnap, examples) = (read("deploy/Containerfile"), read("examples/Containerfile"));
        let mut built = BTreeSet::new();
        for (file, recipe) in [(&catnap, &CATNAP), (&examples, &EXAMPLES)] {
            let words: Vec<_> = file.split_whitespace().collect();
            built.extend(packages(&words));
            let (_, copied) = file.split_once("&& cp ").unwrap();
            let (copied, _) = copied.split_once(" /out/").unwrap();
            assert_eq!(copied.split(' ').collect::<Vec<_>>(), recipe.programs, "{}", recipe.name);
        }
        let alias = read(".cargo/config.toml");
        let words: Vec<_> = alias.split('"').skip(1).step_by(2).collect();
        assert_eq!(built, packages(&words));
    }
}
