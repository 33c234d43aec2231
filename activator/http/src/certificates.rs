//! Certificates of the listeners under TLS: read from directories, chosen by the name that a client asks for, and replaced
//! while the server runs when their files change.
//!
//! What cannot be used is logged and leaves what was there before, so that a bad renewal costs nobody a connection.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::MissedTickBehavior;

/// Names of the files as in a Secret of type `kubernetes.io/tls`.
const CERTIFICATE_FILE: &str = "tls.crt";
const KEY_FILE: &str = "tls.key";

/// Why a directory has no certificate to use.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} has no valid PEM", path.display())]
    Pem {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("certificate and key in {} cannot be used together", directory.display())]
    Pair {
        directory: PathBuf,
        #[source]
        source: rustls::Error,
    },
}

/// The certificates of some directories, each with `tls.crt` (the chain, leaf first) and `tls.key`.
///
/// A client gets the first one that is good for the name it asks for (SNI), wildcards included. One that asks for no name,
/// or for one that nobody has, gets that of the first directory.
#[derive(Debug)]
pub struct Certificates {
    sources: Mutex<Vec<Source>>,
    current: ArcSwap<Vec<Arc<CertifiedKey>>>,
}

/// One directory.
#[derive(Debug)]
struct Source {
    directory: PathBuf,
    /// What is in use.
    used: Option<(Files, Arc<CertifiedKey>)>,
    /// What was said of the files that cannot be used, so that it is said once.
    complaint: Option<String>,
}

/// The files of a directory as they are, without a trace of the key in any output.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Reads the directories for the first time. One without a usable certificate may get one later. Blocks on files.
    pub fn load(directories: Vec<PathBuf>) -> Self {
        let source = |directory| Source { directory, used: None, complaint: None };
        let sources = directories.into_iter().map(source).collect();
        let certificates = Self { sources: Mutex::new(sources), current: ArcSwap::default() };
        certificates.reload();
        certificates
    }

    /// Reads the directories again; handshakes from now on use what is new and good there. Blocks on files.
    pub fn reload(&self) {
        let mut sources = self.sources.lock();
        let mut changed = false;
        for source in sources.iter_mut() {
            changed |= source.reload();
        }
        if changed {
            let keys = sources.iter().filter_map(|source| source.used.as_ref());
            self.current.store(Arc::new(keys.map(|(_, key)| Arc::clone(key)).collect()));
        }
    }

    /// Reads the directories again and again, for ever. Contents are compared, not times: a mounted Secret is replaced by
    /// turning a symbolic link.
    pub async fn follow(self: Arc<Self>, interval: Duration) {
        let mut looks = tokio::time::interval(interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let certificates = Arc::clone(&self);
            // It fails only when the runtime ends.
            let _ = tokio::task::spawn_blocking(move || certificates.reload()).await;
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        let asked = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let good = asked.and_then(|name| current.iter().find(|key| is_for(key, &name)));
        good.or_else(|| current.first()).cloned()
    }
}

/// True when a client that asked for the name accepts the certificate's names.
fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    key.end_entity_cert()
        .and_then(ParsedCertificate::try_from)
        .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

impl Source {
    /// True when another certificate is in use now.
    fn reload(&mut self) -> bool {
        match self.read() {
            Ok(None) => {
                self.complaint = None;
                false
            }
            Ok(Some((files, key))) => {
                tracing::info!(directory = %self.directory.display(), "certificate loaded");
                self.used = Some((files, Arc::new(key)));
                self.complaint = None;
                true
            }
            Err(error) => {
                let complaint = with_causes(&error);
                if self.complaint.as_ref() != Some(&complaint) {
                    let kept = self.used.is_some();
                    tracing::error!(error = complaint, kept, "a certificate cannot be used");
                    self.complaint = Some(complaint);
                }
                false
            }
        }
    }

    /// `None`: the files are those in use. A pair that is read while somebody replaces it does not match; the next look
    /// finds it whole.
    fn read(&self) -> Result<Option<(Files, CertifiedKey)>, CertificateError> {
        let files = Files::read(&self.directory)?;
        if self.used.as_ref().is_some_and(|(used, _)| *used == files) {
            return Ok(None);
        }
        let key = files.certified_key(&self.directory)?;
        Ok(Some((files, key)))
    }
}

impl Files {
    fn read(directory: &Path) -> Result<Self, CertificateError> {
        let read = |name| {
            let path = directory.join(name);
            fs::read(&path).map_err(|source| CertificateError::Read { path, source })
        };
        Ok(Self { certificate: read(CERTIFICATE_FILE)?, key: read(KEY_FILE)? })
    }

    fn certified_key(&self, directory: &Path) -> Result<CertifiedKey, CertificateError> {
        let pem = |name| move |source| CertificateError::Pem { path: directory.join(name), source };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(pem(CERTIFICATE_FILE))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(pem(KEY_FILE))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|source| CertificateError::Pair { directory: directory.to_owned(), source })
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Files").finish_non_exhaustive()
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
