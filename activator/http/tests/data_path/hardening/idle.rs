//! Connections that nobody uses, and those that wait, cost next to nothing.

use super::alone::{alone, resident_mebibytes};
use crate::bed::{Bed, Setup};
use crate::client::Raw;

const CONNECTIONS: usize = 1_500;

#[test]
fn a_connection_between_requests_has_no_buffers() {
    alone("hardening::idle::a_connection_between_requests_has_no_buffers", async {
        let bed = Bed::configured(|config| config.max_connections = Some(2 * CONNECTIONS));
        let mut first = Raw::connect(bed.address()).await;
        first.get("nobody.default", "/").await;
        first.answer().await;
        let before = resident_mebibytes();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut client = Raw::connect(bed.address()).await;
            client.get("nobody.default", "/").await;
            assert_eq!(client.answer().await.status, 404);
            clients.push(client.stream);
        }
        let each = (resident_mebibytes() - before) * 1_024 / CONNECTIONS;
        // Both sides of a connection are here; a buffer for a read alone would be 8.
        assert!(each < 8, "{each} KiB for a connection");
    });
}

#[test]
fn what_came_before_a_held_request_is_not_kept() {
    const HELD: usize = 500;
    alone("hardening::idle::what_came_before_a_held_request_is_not_kept", async {
        let bed = Bed::configured(|config| config.max_connections = Some(2 * HELD));
        bed.function("cold", Setup::default());
        let mut large = vec![b'x'; 60_000];
        large.extend_from_slice(b"GET / HTTP/1.1\r\nHost: cold.default\r\n\r\n");
        let mut clients = Vec::new();
        let mut before = 0;
        for number in 0..=HELD {
            let mut client = Raw::connect(bed.address()).await;
            client.send("POST / HTTP/1.1\r\nHost: nobody.default\r\nContent-Length: 60000\r\n\r\n").await;
            assert_eq!(client.answer().await.status, 404);
            client.send(&large).await;
            clients.push(client.stream);
            if number == 0 {
                bed.until_held("cold", 1).await;
                before = resident_mebibytes();
            }
        }
        bed.until_held("cold", HELD as u64 + 1).await;
        let each = (resident_mebibytes() - before) * 1_024 / HELD;
        assert!(each < 24, "{each} KiB for a held request");
    });
}
