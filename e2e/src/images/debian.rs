//! Contents of Debian packages, without installing them, for machines without a registry.
//!
//! Fetched with `apt-get download`; the layers that are made of them stay in the user's cache.

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

/// What no program opens.
const LEFT_OUT: [&str; 3] = ["usr/share/doc/", "usr/share/lintian/", "usr/share/man/"];
/// What newer releases (Debian 13, Ubuntu 24.04) call a package, since its times have 64 bits on every machine.
const RENAMED: [(&str, &str); 1] = [("libssl3", "libssl3t64")];

/// A file or link of a package, by its path without a leading slash.
pub(super) enum Entry {
    File { contents: Vec<u8>, mode: u32 },
    Link { target: PathBuf },
}

impl Entry {
    pub(super) fn add_to(&self, layer: &mut Layer, path: &str) -> Result<(), oci::Error> {
        match self {
            Self::File { contents, mode } => layer.add_bytes(path, contents, *mode),
            Self::Link { target } => layer.add_link(path, target),
        }
    }
}

/// A layer of these packages' contents.
pub(super) fn layer(name: &str, packages: &[&str]) -> Result<FinishedLayer, Error> {
    cached(name, || {
        let mut layer = Layer::new().map_err(written)?;
        for (path, entry) in read(packages)? {
            entry.add_to(&mut layer, &path).map_err(written)?;
        }
        layer.finish().map_err(written)
    })
}

/// A layer from the user's cache, made now if it is not there.
pub(super) fn cached(
    name: &str,
    make: impl FnOnce() -> Result<FinishedLayer, Error>,
) -> Result<FinishedLayer, Error> {
    let directory = cache_directory().join("layers");
    let path = directory.join(format!("{name}-{}-{}.tar", release()?, std::env::consts::ARCH));
    if !path.is_file() {
        fs::create_dir_all(&directory).map_err(Error::file("creating", &directory))?;
        let part = path.with_extension(format!("part-{}", std::process::id()));
        make().and_then(|layer| layer.save(&part).map_err(written))?;
        fs::rename(&part, &path).map_err(Error::file("renaming", &part))?;
    }
    FinishedLayer::from_archive(&path).map_err(written)
}

pub(super) fn written(source: oci::Error) -> Error {
    Error::Write { image: "a layer of packages", source }
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

/// The contents of packages of this machine's release.
pub(super) fn read(packages: &[&str]) -> Result<BTreeMap<String, Entry>, Error> {
    let directory = tempfile::tempdir().map_err(Error::file("creating", "a temporary directory"))?;
    let mut arguments = vec!["download"];
    for package in packages {
        arguments.push(name_here(package, directory.path())?);
    }
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

/// What this machine's release calls a package.
fn name_here<'name>(package: &'name str, directory: &Path) -> Result<&'name str, Error> {
    let Some((_, renamed)) = RENAMED.iter().find(|(old, _)| *old == package) else { return Ok(package) };
    // Nothing is listed of a name that another package only provides, nor of any where apt has no lists.
    let listed = run("apt-cache", &["madison", *renamed], directory)?;
    Ok(if listed.is_empty() { package } else { *renamed })
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
