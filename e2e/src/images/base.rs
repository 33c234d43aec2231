//! The base layer: C library, certificates and time zones out of Debian packages, for machines without a registry.
//!
//! It is what `gcr.io/distroless/cc` holds. The packages are those of this machine's release, so that the C library is
//! the one that the programs were linked with. Kept in the user's cache.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::Error;
use crate::{
    cluster::cache_directory,
    oci::{self, FinishedLayer, Layer},
};

const PACKAGES: [&str; 4] = ["libc6", "libgcc-s1", "ca-certificates", "tzdata"];
/// What of the packages is left out: nothing that a program opens.
const LEFT_OUT: [&str; 7] = [
    "usr/share/doc/",
    "usr/share/lintian/",
    "usr/share/man/",
    "usr/sbin/",
    "usr/lib/x86_64-linux-gnu/gconv/",
    "usr/lib/aarch64-linux-gnu/gconv/",
    "etc/ld.so.conf.d/",
];
const USERS: &str = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n";
/// Names in /etc/hosts before the name server's (nsswitch.conf(5)); the C library's own order is the other one.
const NAME_SERVICES: &str = "passwd: files\ngroup: files\nhosts: files dns\n";
const GROUPS: &str = "root:x:0:\nnonroot:x:65532:\n";

enum Entry {
    File { contents: Vec<u8>, mode: u32 },
    Link { target: PathBuf },
}

/// The layer, made now if the cache does not have it.
pub(super) fn layer() -> Result<FinishedLayer, Error> {
    let directory = cache_directory().join("base");
    let path = directory.join(format!("{}-{}.tar", release()?, std::env::consts::ARCH));
    if !path.is_file() {
        fs::create_dir_all(&directory).map_err(Error::file("creating", &directory))?;
        let part = path.with_extension(format!("part-{}", std::process::id()));
        assemble(read_packages()?).and_then(|layer| layer.save(&part)).map_err(written)?;
        fs::rename(&part, &path).map_err(Error::file("renaming", &part))?;
    }
    FinishedLayer::from_archive(&path).map_err(written)
}

fn written(source: oci::Error) -> Error {
    Error::Write { image: "the base layer", source }
}

/// `debian-12` (os-release(5)).
fn release() -> Result<String, Error> {
    let path = "/etc/os-release";
    let text = fs::read_to_string(path).map_err(Error::file("reading", path))?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or("unknown").trim_matches('"').to_owned()
    };
    Ok(format!("{}-{}", value("ID="), value("VERSION_ID=")))
}

fn read_packages() -> Result<BTreeMap<String, Entry>, Error> {
    let directory = tempfile::tempdir().map_err(Error::file("creating", "a temporary directory"))?;
    let mut arguments = vec!["download"];
    arguments.extend(PACKAGES);
    run("apt-get", &arguments, directory.path())?;
    let mut entries = BTreeMap::new();
    let listed = fs::read_dir(directory.path()).map_err(Error::file("reading", directory.path()))?;
    for package in listed.flatten() {
        let archive =
            run("dpkg-deb", &[OsStr::new("--fsys-tarfile"), package.path().as_os_str()], directory.path())?;
        let reading = || Error::file("reading", package.path());
        for entry in tar::Archive::new(archive.as_slice()).entries().map_err(reading())? {
            let mut entry = entry.map_err(reading())?;
            let path = merged(&entry.path().map_err(reading())?);
            if LEFT_OUT.iter().any(|left_out| path.starts_with(left_out)) {
                continue;
            }
            let header = entry.header().clone();
            if header.entry_type().is_file() {
                let mut contents = Vec::new();
                entry.read_to_end(&mut contents).map_err(reading())?;
                let mode = header.mode().map_err(reading())?;
                entries.insert(path, Entry::File { contents, mode });
            } else if let Some(target) = entry.link_name().map_err(reading())? {
                let target = target.into_owned();
                // A hard link names a path of the package; as a symbolic one it has to be absolute.
                let target = if header.entry_type().is_hard_link() {
                    Path::new("/").join(merged(&target))
                } else {
                    target
                };
                entries.insert(path, Entry::Link { target });
            }
        }
    }
    Ok(entries)
}

/// The path without `./`, and below `usr`, where Debian keeps `lib` and `lib64` since release 12.
fn merged(path: &Path) -> String {
    let path = path.to_string_lossy();
    let path = path.trim_start_matches("./").trim_start_matches('/');
    if path.starts_with("lib/") || path.starts_with("lib64/") {
        format!("usr/{path}")
    } else {
        path.to_owned()
    }
}

fn assemble(mut entries: BTreeMap<String, Entry>) -> Result<FinishedLayer, oci::Error> {
    let bundle = certificate_bundle(&entries);
    let file = |contents: Vec<u8>| Entry::File { contents, mode: 0o644 };
    entries.insert("etc/ssl/certs/ca-certificates.crt".into(), file(bundle));
    entries.insert("etc/passwd".into(), file(USERS.into()));
    entries.insert("etc/group".into(), file(GROUPS.into()));
    entries.insert("etc/nsswitch.conf".into(), file(NAME_SERVICES.into()));
    for name in ["lib", "lib64"] {
        entries.insert(name.into(), Entry::Link { target: Path::new("usr").join(name) });
    }
    let mut layer = Layer::new()?;
    for (path, entry) in entries {
        match entry {
            Entry::File { contents, mode } => layer.add_bytes(&path, &contents, mode)?,
            Entry::Link { target } => layer.add_link(&path, &target)?,
        }
    }
    layer.add_directory("tmp/", 0o1777)?;
    layer.finish()
}

/// What the package's `update-ca-certificates` makes of its certificates.
fn certificate_bundle(entries: &BTreeMap<String, Entry>) -> Vec<u8> {
    let mut bundle = Vec::new();
    for (path, entry) in entries {
        if let (true, Entry::File { contents, .. }) = (path.starts_with("usr/share/ca-certificates/"), entry)
        {
            bundle.extend(contents);
        }
    }
    bundle
}

fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A], directory: &Path) -> Result<Vec<u8>, Error> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    let described = format!("{command:?}");
    let failed = |output| Error::Package { command: described, output };
    match command.output() {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}
