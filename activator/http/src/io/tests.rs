use super::*;
use crate::connections::Connections;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn detect(chunks: &[&[u8]]) -> (Option<Protocol>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let socket = Arc::new(Socket::new(stream, peer).unwrap());
    let connections = Arc::new(Connections::default());
    let mut io = Io::downstream(Arc::clone(&socket), Arc::new(connections.reserve()));
    let send = async {
        for (index, chunk) in chunks.iter().enumerate() {
            let before: usize = chunks[..index].iter().map(|chunk| chunk.len()).sum();
            // One segment at a time, so that every cut is met.
            while socket.received() < before as u64 {
                tokio::task::yield_now().await;
            }
            client.write_all(chunk).await.unwrap();
        }
        client.shutdown().await.unwrap();
    };
    let receive = async {
        let protocol = io.detect().await.unwrap();
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.unwrap();
        (protocol, all)
    };
    let (received, ()) =
        tokio::time::timeout(Duration::from_secs(5), async { tokio::join!(receive, send) }).await.unwrap();
    drop(io);
    assert_eq!(connections.open(), 0, "the connection is forgotten with its bytes");
    received
}

#[tokio::test]
async fn protocols_are_told_apart_and_no_byte_is_lost() {
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04";
    assert_eq!(detect(&[http2]).await, (Some(Protocol::Http2), http2.to_vec()));
    assert_eq!(detect(&[&http2[..7], &http2[7..]]).await, (Some(Protocol::Http2), http2.to_vec()));
    let patch = b"PATCH / HTTP/1.1\r\n\r\n";
    assert_eq!(detect(&[patch]).await, (Some(Protocol::Http1), patch.to_vec()));
    let unusual = b"PRI * HTTP/1.1\r\n\r\n";
    assert_eq!(detect(&[&unusual[..2], &unusual[2..]]).await, (Some(Protocol::Http1), unusual.to_vec()));
    assert_eq!(detect(&[]).await, (None, Vec::new()));
}
