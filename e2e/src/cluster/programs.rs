//! The programs of the cluster: built once from the pinned Go modules beside this crate, kept in the user's cache.
//!
//! A module's directory in the cache is named after the hash of its go.mod, go.sum and sources, so a fresh clone finds
//! what another has built, and a new version is built beside the old one.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Error;

const KUBERNETES_VERSION: &str = "v1.36.3";

struct Module {
    name: &'static str,
    /// Package and program name.
    programs: &'static [(&'static str, &'static str)],
}

const MODULES: [Module; 3] = [
    Module {
        name: "containerd",
        programs: &[
            ("github.com/containerd/containerd/v2/cmd/containerd", "containerd"),
            ("github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
            ("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
        ],
    },
    Module {
        name: "kubernetes",
        programs: &[
            ("go.etcd.io/etcd/server/v3", "etcd"),
            ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
            ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
            ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
            ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
            ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ],
    },
    Module {
        name: "extras",
        programs: &[
            ("catnap.dev/e2e/cluster/extras/pause", "pause"),
            ("helm.sh/helm/v4/cmd/helm", "helm"),
            ("github.com/coredns/coredns", "coredns"),
            ("sigs.k8s.io/kwok/cmd/kwok", "kwok"),
        ],
    },
];

/// Where the built programs of each module are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Programs {
    /// containerd, its shim and ctr.
    pub containerd: PathBuf,
    /// etcd, the Kubernetes components and kubectl.
    pub kubernetes: PathBuf,
    /// pause, helm, coredns, kwok.
    pub extras: PathBuf,
}

impl Programs {
    /// Finds the programs in the cache, building what is missing; says so on standard error, a line for each.
    ///
    /// Safe to call from several processes at once: one builds, the others wait.
    pub fn build() -> Result<Self, Error> {
        let cache = cache_directory().join("cluster");
        fs::create_dir_all(&cache).map_err(Error::file("creating", &cache))?;
        let lock_path = cache.join("build.lock");
        let lock = fs::File::create(&lock_path).map_err(Error::file("creating", &lock_path))?;
        let total: usize = MODULES.iter().map(|module| module.programs.len()).sum();
        let mut number = 0;
        let mut directories = Vec::new();
        for module in &MODULES {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(module.name);
            let directory = cache.join(hash(&source)?);
            fs::create_dir_all(&directory).map_err(Error::file("creating", &directory))?;
            for (package, program) in module.programs {
                number += 1;
                let path = directory.join(program);
                if path.is_file() {
                    continue;
                }
                lock.lock().map_err(Error::file("locking", &lock_path))?;
                if !path.is_file() {
                    let _ = writeln!(std::io::stderr(), "building {program} ({number} of {total})");
                    build_program(&source, package, program, &path)?;
                }
            }
            directories.push(directory);
        }
        let [containerd, kubernetes, extras] = <[PathBuf; 3]>::try_from(directories).unwrap_or_default();
        Ok(Self { containerd, kubernetes, extras })
    }
}

/// `$XDG_CACHE_HOME/catnap`, or `~/.cache/catnap`.
pub fn cache_directory() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("XDG_CACHE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("catnap")
}

/// First 16 hexadecimal digits of the SHA-256 of go.mod, go.sum and the module's own sources.
fn hash(source: &Path) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    for (name, in_every_module) in [("go.mod", true), ("go.sum", true), ("pause/main.go", false)] {
        let path = source.join(name);
        if !in_every_module && !path.exists() {
            continue;
        }
        hasher.update(fs::read(&path).map_err(Error::file("reading", &path))?);
    }
    Ok(format!("{:x}", hasher.finalize())[..16].to_owned())
}

fn build_program(source: &Path, package: &str, program: &'static str, path: &Path) -> Result<(), Error> {
    // A build that is interrupted must not look like a program.
    let part = path.with_extension("part");
    let output = Command::new("go")
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-ldflags", &linker_flags(), "-o"])
        .arg(&part)
        .arg(package)
        .output()
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::MissingProgram { program: "go", package: "golang" },
            _ => Error::Build { program, output: source.to_string() },
        })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Build { program, output: super::last_lines(&text, 20) });
    }
    fs::rename(&part, path).map_err(Error::file("renaming", &part))
}

fn linker_flags() -> String {
    // Symbols that a program does not have are ignored by the linker.
    let version = "k8s.io/component-base/version";
    format!(
        "-s -w -X {version}.gitVersion={KUBERNETES_VERSION} -X {version}.gitMajor=1 -X {version}.gitMinor=36"
    )
}
