use std::io;

use rustls::pki_types::ServerName;
use tokio::io::duplex;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Fingerprint, SelfMade, TlsError, pinning_client_config};

async fn shake_hands(server: &SelfMade, pinned: Fingerprint) -> io::Result<()> {
    let (near, far) = duplex(16 * 1024);
    let acceptor = TlsAcceptor::from(server.server_config(&[b"h2"]).unwrap());
    let connector = TlsConnector::from(pinning_client_config(pinned, &[b"h2"]).unwrap());
    let name = ServerName::try_from("whoever").unwrap();
    let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    connected.and(accepted.map(drop))
}

#[tokio::test]
async fn the_pinned_certificate_is_accepted_under_any_name() {
    let server = SelfMade::generate("catnap-autoscaler").unwrap();
    shake_hands(&server, server.fingerprint()).await.unwrap();
}

#[tokio::test]
async fn another_certificate_of_the_same_name_is_refused() {
    let server = SelfMade::generate("catnap-autoscaler").unwrap();
    let pinned = SelfMade::generate("catnap-autoscaler").unwrap().fingerprint();
    shake_hands(&server, pinned).await.unwrap_err();
}

#[tokio::test]
async fn the_pinned_certificate_is_refused_from_someone_without_its_key() {
    let owner = SelfMade::generate("catnap-autoscaler").unwrap();
    let thief = SelfMade::generate("catnap-autoscaler").unwrap();
    // rustls itself refuses a pair that does not match, so the thief brings a resolver that does not look.
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&rustls::pki_types::PrivateKeyDer::Pkcs8(
        thief.key.clone_key(),
    ));
    let certified = rustls::sign::CertifiedKey::new(vec![owner.certificate.clone()], key.unwrap());
    let resolver = std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let config = rustls::ServerConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    let (near, far) = duplex(16 * 1024);
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let connector = TlsConnector::from(pinning_client_config(owner.fingerprint(), &[]).unwrap());
    let name = ServerName::try_from("whoever").unwrap();
    let (_, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    let refused = connected.unwrap_err();
    assert!(refused.to_string().contains("BadSignature"), "{refused}");
}

#[test]
fn a_fingerprint_is_read_as_it_is_shown() {
    let fingerprint = SelfMade::generate("x").unwrap().fingerprint();
    assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
}

#[test]
fn what_is_no_fingerprint_is_refused() {
    for text in ["", "00", &"0g".repeat(32), &"é".repeat(32)] {
        let refused = text.parse::<Fingerprint>();
        assert!(matches!(refused, Err(TlsError::Fingerprint { .. })), "{text}");
    }
}
