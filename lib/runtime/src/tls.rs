//! TLS between Catnap's own processes: a self-made certificate on one side, its SHA-256 fingerprint pinned on the other.
//!
//! The fingerprint travels through an object that only the API server's authorization protects (a Lease), so there is no
//! certificate authority, no Secret and no name to check. TLS 1.3 only.

mod mutual;

pub use mutual::{Known, shown};

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use sha2::{Digest, Sha256};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No key or certificate could be made.
    #[error("cannot make a certificate")]
    Generate {
        /// What rcgen said.
        #[source]
        source: rcgen::Error,
    },
    /// rustls refused the configuration.
    #[error("cannot configure TLS")]
    Configure {
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// A fingerprint is not 64 hexadecimal digits.
    #[error("{text:?} is no SHA-256 fingerprint")]
    Fingerprint {
        /// What was given.
        text: String,
    },
}

/// SHA-256 of a certificate in DER; shown and read as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        let refused = || TlsError::Fingerprint { text: text.to_owned() };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return Err(refused());
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0]).ok_or_else(refused)? << 4 | digit(pair[1]).ok_or_else(refused)?;
        }
        Ok(Self(bytes))
    }
}

/// A certificate that this process made for itself, with its key. Lives as long as the process.
pub struct SelfMade {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl SelfMade {
    /// A fresh key and certificate for `name`, which nobody checks.
    pub fn generate(name: &str) -> Result<Self, TlsError> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()])
            .map_err(|source| TlsError::Generate { source })?;
        Ok(Self {
            certificate: made.cert.der().clone(),
            key: PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()),
        })
    }

    /// What a client pins.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone_key())
    }

    /// A server's configuration that offers the protocols of `alpn`, such as `h2`.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let key = self.key();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![self.certificate.clone()], key)
            })
            .map_err(|source| TlsError::Configure { source })?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// A client's configuration that accepts exactly the certificate with the fingerprint `pinned`, whatever its name.
pub fn pinning_client_config(pinned: Fingerprint, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = pinned_verifier(pinned);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TlsError::Configure { source })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Makes aws-lc-rs the provider of the process; first thing in every `main` and in tests that use TLS. Again is harmless.
pub fn install_crypto_provider() {
    // An error only says that there is one already.
    let _ = aws_lc_rs::default_provider().install_default();
}

fn pinned_verifier(pinned: Fingerprint) -> Arc<PinnedCertificate> {
    Arc::new(PinnedCertificate { pinned, provider: provider() })
}

fn tls12_is_not_offered() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not offered".to_owned())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Accepts one certificate by its SHA-256, and has the peer prove in the handshake that it owns the key.
#[derive(Debug)]
struct PinnedCertificate {
    pinned: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Fingerprint::of(end_entity) == self.pinned {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(tls12_is_not_offered())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
