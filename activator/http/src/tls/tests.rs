use std::pin::pin;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;

/// A server, a client that trusts it alone, and its name.
pub(crate) fn pair() -> (Arc<ServerConfig>, TlsConnector, ServerName<'static>) {
    let made = rcgen::generate_simple_self_signed(["hello.default".to_owned()]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("hello.default").unwrap();
    (Arc::new(server.unwrap()), TlsConnector::from(Arc::new(client)), name)
}

#[tokio::test]
async fn so_many_handshakes_are_computed_between_two_turns_of_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let socket = Arc::new(Socket::new(stream, peer).unwrap());
    let (server, connector, name) = pair();
    let acceptor = Acceptor::new(server);
    let others = acceptor.places.acquire_many(u32::try_from(HANDSHAKES).unwrap()).await.unwrap();
    let both = async {
        tokio::join!(
            connector.connect(name, client),
            acceptor.accept(Io::upstream(Arc::clone(&socket)), &socket)
        )
    };
    let mut both = pin!(both);
    let mut turns_since = 0;
    while turns_since < 100 {
        assert!(futures::poll!(both.as_mut()).is_pending());
        turns_since += usize::from(socket.received() > 0);
        tokio::task::yield_now().await;
    }
    assert_eq!(socket.sent(), 0, "it was answered out of turn");
    drop(others);
    let (client, server) = tokio::time::timeout(std::time::Duration::from_secs(10), both).await.unwrap();
    assert!(client.is_ok() && server.is_ok());
    assert_eq!(acceptor.places.available_permits(), HANDSHAKES);
}
