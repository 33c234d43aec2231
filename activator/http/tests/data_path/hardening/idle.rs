//! Connections that nobody uses cost next to nothing.

use super::alone::{alone, resident_mebibytes};
use crate::bed::Bed;
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
