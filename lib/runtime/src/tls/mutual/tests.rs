use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::tls::pinning_client_config;

/// Shakes hands, and says a byte each way: in TLS 1.3 a client hears of its refusal only then.
async fn talk(
    server: &SelfMade,
    known: Vec<Fingerprint>,
    client: Arc<ClientConfig>,
) -> (io::Result<Option<Fingerprint>>, io::Result<u8>) {
    let (near, far) = duplex(16 * 1024);
    let known: Known = Arc::new(move |fingerprint| known.contains(&fingerprint));
    let acceptor = TlsAcceptor::from(server.mutual_server_config(known, &[b"h2"]).unwrap());
    let accepting = async {
        let mut accepted = acceptor.accept(far).await?;
        accepted.write_u8(7).await?;
        Ok(shown(accepted.get_ref().1))
    };
    let connecting = async {
        let name = ServerName::try_from("whoever").unwrap();
        TlsConnector::from(client).connect(name, near).await?.read_u8().await
    };
    tokio::join!(accepting, connecting)
}

#[tokio::test]
async fn two_that_know_each_other_talk() {
    let (server, client) = (SelfMade::generate("a").unwrap(), SelfMade::generate("b").unwrap());
    let config = client.mutual_client_config(server.fingerprint(), &[b"h2"]).unwrap();
    let (accepted, heard) = talk(&server, vec![client.fingerprint()], config).await;
    assert_eq!(accepted.unwrap(), Some(client.fingerprint()));
    assert_eq!(heard.unwrap(), 7);
}

#[tokio::test]
async fn a_client_that_is_not_known_is_refused() {
    let (server, client) = (SelfMade::generate("a").unwrap(), SelfMade::generate("b").unwrap());
    let known = SelfMade::generate("b").unwrap().fingerprint();
    let config = client.mutual_client_config(server.fingerprint(), &[b"h2"]).unwrap();
    let (accepted, heard) = talk(&server, vec![known], config).await;
    accepted.unwrap_err();
    heard.unwrap_err();
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let server = SelfMade::generate("a").unwrap();
    let config = pinning_client_config(server.fingerprint(), &[b"h2"]).unwrap();
    let (accepted, heard) = talk(&server, vec![server.fingerprint()], config).await;
    accepted.unwrap_err();
    heard.unwrap_err();
}

#[tokio::test]
async fn a_server_that_is_not_the_pinned_one_is_refused() {
    let (server, client) = (SelfMade::generate("a").unwrap(), SelfMade::generate("b").unwrap());
    let pinned = SelfMade::generate("a").unwrap().fingerprint();
    let config = client.mutual_client_config(pinned, &[b"h2"]).unwrap();
    let (accepted, heard) = talk(&server, vec![client.fingerprint()], config).await;
    accepted.unwrap_err();
    heard.unwrap_err();
}

#[tokio::test]
async fn a_known_certificate_without_its_key_is_refused() {
    let server = SelfMade::generate("a").unwrap();
    let (owner, thief) = (SelfMade::generate("b").unwrap(), SelfMade::generate("b").unwrap());
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&thief.key()).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![owner.certificate.clone()], key);
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(pinned_verifier(server.fingerprint()))
        // rustls itself refuses a pair that does not match, so the thief brings a resolver that does not look.
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    let (accepted, heard) = talk(&server, vec![owner.fingerprint()], Arc::new(config)).await;
    let refused = accepted.unwrap_err();
    assert!(refused.to_string().contains("BadSignature"), "{refused}");
    heard.unwrap_err();
}
