//! The base layer: C library, certificates and time zones out of Debian packages, for machines without a registry.
//!
//! It is what `gcr.io/distroless/cc` holds. The packages are those of this machine's release, so that the C library is
//! the one that the programs were linked with.

use std::{collections::BTreeMap, path::Path};

use super::{
    Error,
    debian::{self, Entry},
};
use crate::oci::{self, FinishedLayer, Layer};

const PACKAGES: [&str; 4] = ["libc6", "libgcc-s1", "ca-certificates", "tzdata"];
/// What of the packages is left out: nothing that a program opens.
const LEFT_OUT: [&str; 4] =
    ["usr/sbin/", "usr/lib/x86_64-linux-gnu/gconv/", "usr/lib/aarch64-linux-gnu/gconv/", "etc/ld.so.conf.d/"];
const USERS: &str = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n";
/// Names in /etc/hosts before the name server's (nsswitch.conf(5)); the C library's own order is the other one.
const NAME_SERVICES: &str = "passwd: files\ngroup: files\nhosts: files dns\n";
const GROUPS: &str = "root:x:0:\nnonroot:x:65532:\n";

/// The layer.
pub(super) fn layer() -> Result<FinishedLayer, Error> {
    debian::cached("base", || assemble(contents()?).map_err(debian::written))
}

fn contents() -> Result<BTreeMap<String, Entry>, Error> {
    let mut entries = debian::read(&PACKAGES)?;
    entries.retain(|path, _| !LEFT_OUT.iter().any(|left_out| path.starts_with(left_out)));
    Ok(entries)
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
        entry.add_to(&mut layer, &path)?;
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
