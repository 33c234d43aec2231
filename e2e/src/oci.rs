//! OCI image archives, written without a registry, a daemon or a build tool.
//!
//! A layer is an uncompressed tar whose digest is both blob digest and diff id; times are zero, so that equal contents
//! give equal digests. Layout: <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek as _, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source file could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer or an archive could not be written.
    #[error("writing {what}")]
    Write {
        /// The layer's entry or the archive.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn writing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Write { what, source }
}

/// An image to be written.
pub struct Image {
    /// Each with registry and tag: `docker.io/library/catnap:dev`.
    pub names: Vec<String>,
    /// Program and its first arguments.
    pub entrypoint: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// `uid:gid`.
    pub user: String,
    /// What asks the program to end, when it is not SIGTERM: `SIGQUIT`.
    pub stop_signal: Option<String>,
    /// Lowest first.
    pub layers: Vec<FinishedLayer>,
}

/// A layer that is being filled.
pub struct Layer {
    archive: tar::Builder<Hashing<BufWriter<File>>>,
}

/// A layer whose digest is known; a temporary file without a name, shared by its clones.
pub struct FinishedLayer {
    file: File,
    digest: String,
    size: u64,
}

impl Layer {
    /// An empty one.
    pub fn new() -> Result<Self, Error> {
        let file = tempfile::tempfile().map_err(writing("a layer"))?;
        Ok(Self { archive: tar::Builder::new(Hashing::new(BufWriter::new(file))) })
    }

    /// Adds a file of this machine at `path` (without a leading slash), owned by root.
    pub fn add_file(&mut self, path: &str, source: &Path, mode: u32) -> Result<(), Error> {
        let reading = |error| Error::Read { path: source.into(), source: error };
        let file = File::open(source).map_err(reading)?;
        let size = file.metadata().map_err(reading)?.len();
        self.add(path, mode, size, file)
    }

    /// Adds a file with these contents.
    pub fn add_bytes(&mut self, path: &str, contents: &[u8], mode: u32) -> Result<(), Error> {
        self.add(path, mode, contents.len() as u64, contents)
    }

    /// Adds a directory.
    pub fn add_directory(&mut self, path: &str, mode: u32) -> Result<(), Error> {
        let mut header = header(mode, 0);
        header.set_entry_type(tar::EntryType::Directory);
        self.archive.append_data(&mut header, path, io::empty()).map_err(writing(path))
    }

    /// Adds a symbolic link.
    pub fn add_link(&mut self, path: &str, target: &Path) -> Result<(), Error> {
        let mut header = header(0o777, 0);
        header.set_entry_type(tar::EntryType::Symlink);
        self.archive.append_link(&mut header, path, target).map_err(writing(path))
    }

    fn add(&mut self, path: &str, mode: u32, size: u64, contents: impl Read) -> Result<(), Error> {
        self.archive.append_data(&mut header(mode, size), path, contents).map_err(writing(path))
    }

    /// Ends it.
    pub fn finish(self) -> Result<FinishedLayer, Error> {
        let hashing = self.archive.into_inner().map_err(writing("a layer"))?;
        let digest = digest_of(hashing.hasher);
        let file = hashing
            .inner
            .into_inner()
            .map_err(|error| Error::Write { what: "a layer".into(), source: error.into_error() })?;
        let size = file.metadata().map_err(writing("a layer"))?.len();
        Ok(FinishedLayer { file, digest, size })
    }
}

impl FinishedLayer {
    /// A layer out of a tar archive that is there already.
    pub fn from_archive(path: &Path) -> Result<Self, Error> {
        let reading = |error| Error::Read { path: path.into(), source: error };
        let mut file = File::open(path).map_err(reading)?;
        let mut hashing = Hashing::new(io::sink());
        let size = io::copy(&mut file, &mut hashing).map_err(reading)?;
        Ok(Self { file, digest: digest_of(hashing.hasher), size })
    }

    /// Writes it to a file, to be read by [`FinishedLayer::from_archive`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let mut target = File::create(path).map_err(writing(path.to_string_lossy()))?;
        io::copy(&mut self.reader()?, &mut target).map_err(writing(path.to_string_lossy()))?;
        Ok(())
    }

    /// The same layer, for another image.
    pub fn share(&self) -> Result<Self, Error> {
        let file = self.file.try_clone().map_err(writing("a layer"))?;
        Ok(Self { file, digest: self.digest.clone(), size: self.size })
    }

    fn reader(&self) -> Result<&File, Error> {
        let mut file = &self.file;
        file.rewind().map_err(writing("a layer"))?;
        Ok(file)
    }
}

impl Image {
    /// Writes the archive, which `ctr images import`, `podman load` and `skopeo` read.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let what = path.display().to_string();
        let file = File::create(path).map_err(writing(what.as_str()))?;
        let mut archive = tar::Builder::new(BufWriter::new(file));
        let mut layers = Vec::new();
        for layer in &self.layers {
            let mut header = header(0o644, layer.size);
            archive
                .append_data(&mut header, blob_path(&layer.digest), layer.reader()?)
                .map_err(writing(what.as_str()))?;
            layers.push(descriptor("application/vnd.oci.image.layer.v1.tar", &layer.digest, layer.size));
        }
        let mut add_json = |value: &Value, media_type: &str, path: Option<&str>| {
            let bytes = value.to_string().into_bytes();
            let digest = digest_of(Sha256::new_with_prefix(&bytes));
            let target = path.map_or_else(|| blob_path(&digest), str::to_owned);
            archive
                .append_data(&mut header(0o644, bytes.len() as u64), target, bytes.as_slice())
                .map_err(writing(what.as_str()))?;
            Ok(descriptor(media_type, &digest, bytes.len() as u64))
        };
        let config = add_json(&self.configuration(), "application/vnd.oci.image.config.v1+json", None)?;
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers,
        });
        let manifest = add_json(&manifest, manifest_type, None)?;
        let named = |name: &String| {
            let mut manifest = manifest.clone();
            let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
            manifest["annotations"] = json!({
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": tag,
            });
            manifest
        };
        let manifests: Vec<Value> = self.names.iter().map(named).collect();
        let index_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": index_type, "manifests": manifests});
        add_json(&index, index_type, Some("index.json"))?;
        add_json(&json!({"imageLayoutVersion": "1.0.0"}), "", Some("oci-layout"))?;
        let mut writer = archive.into_inner().map_err(writing(what.as_str()))?;
        writer.flush().map_err(writing(what.as_str()))
    }

    fn configuration(&self) -> Value {
        let diff_ids: Vec<&str> = self.layers.iter().map(|layer| layer.digest.as_str()).collect();
        let mut config = json!({"User": self.user, "Entrypoint": self.entrypoint, "Env": self.environment});
        if let Some(signal) = &self.stop_signal {
            config["StopSignal"] = json!(signal);
        }
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
    }
}

/// Go's name of the processor, which OCI uses.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest_of(hasher: Sha256) -> String {
    format!("sha256:{:x}", hasher.finalize())
}

/// Hashes what is written through it.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new() }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
