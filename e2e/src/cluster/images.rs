//! Images on the nodes: imported from archives, for there is no registry.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Error, command,
    configuration::{PAUSE_IMAGE, containerd_socket},
    programs::Programs,
};
use crate::oci::{Image, Layer};

/// The image of the cluster's DNS server.
pub(super) const COREDNS_IMAGE: &str = "catnap.dev/coredns:1";

/// Imports an OCI archive into one node's containerd.
pub(super) fn import(programs: &Programs, number: usize, archive: &Path) -> Result<(), Error> {
    // A relative address would be read as a host name.
    let socket = containerd_socket(number).display().to_string();
    let archive = archive.display().to_string();
    let arguments = ["-a", &socket, "-n", "k8s.io", "images", "import", "--local", &archive];
    command::run(programs.containerd.join("ctr"), &arguments)?;
    Ok(())
}

/// Archives of the images that the cluster itself runs, written beside their programs the first time.
pub(super) fn own_archives(programs: &Programs, coredns: bool) -> Result<Vec<PathBuf>, Error> {
    let mut archives = vec![archive_of(programs, "pause", PAUSE_IMAGE)?];
    if coredns {
        archives.push(archive_of(programs, "coredns", COREDNS_IMAGE)?);
    }
    Ok(archives)
}

/// The archive of an image that holds one static program.
fn archive_of(programs: &Programs, program: &str, name: &str) -> Result<PathBuf, Error> {
    let path = programs.extras.join(format!("{program}.tar"));
    if path.is_file() {
        return Ok(path);
    }
    let failed = |source| Error::Image { name: name.to_owned(), source };
    let mut layer = Layer::new().map_err(failed)?;
    layer.add_file(program, &programs.extras.join(program), 0o755).map_err(failed)?;
    let image = Image {
        names: vec![name.to_owned()],
        entrypoint: vec![format!("/{program}")],
        environment: Vec::new(),
        user: "65532:65532".into(),
        stop_signal: None,
        layers: vec![layer.finish().map_err(failed)?],
    };
    let part = programs.extras.join(format!("{program}.tar.{}", std::process::id()));
    image.write(&part).map_err(failed)?;
    fs::rename(&part, &path).map_err(Error::file("renaming", &part))?;
    Ok(path)
}
