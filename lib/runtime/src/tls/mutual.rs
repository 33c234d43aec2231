//! TLS in which both sides show a self-made certificate, and each knows the other by its fingerprint.
//!
//! Sessions are never resumed: a certificate that is known no more must not come in by an earlier handshake.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme,
};

use super::{Fingerprint, SelfMade, TlsError, pinned_verifier, provider, tls12_is_not_offered};

/// Says whether a certificate is known now; asked at each handshake.
pub type Known = Arc<dyn Fn(Fingerprint) -> bool + Send + Sync>;

impl SelfMade {
    /// A server's configuration that lets in only who shows a `known` certificate.
    pub fn mutual_server_config(&self, known: Known, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = provider();
        let verifier = Arc::new(KnownCertificates { known, provider: Arc::clone(&provider) });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                let builder = builder.with_client_cert_verifier(verifier);
                builder.with_single_cert(vec![self.certificate.clone()], self.key())
            })
            .map_err(|source| TlsError::Configure { source })?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// A client's configuration that shows this certificate and accepts exactly the one with the fingerprint `pinned`.
    pub fn mutual_client_config(
        &self,
        pinned: Fingerprint,
        alpn: &[&[u8]],
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                let builder = builder.dangerous().with_custom_certificate_verifier(pinned_verifier(pinned));
                builder.with_client_auth_cert(vec![self.certificate.clone()], self.key())
            })
            .map_err(|source| TlsError::Configure { source })?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// Which certificate the other side showed in a handshake that is done.
pub fn shown(connection: &CommonState) -> Option<Fingerprint> {
    connection.peer_certificates()?.first().map(|certificate| Fingerprint::of(certificate))
}

/// Accepts those that are known, and has each prove in the handshake that it owns the key.
struct KnownCertificates {
    known: Known,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for KnownCertificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KnownCertificates").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for KnownCertificates {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if (self.known)(Fingerprint::of(end_entity)) {
            Ok(ClientCertVerified::assertion())
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
