//! A leader that says nothing: one that lives keeps its streams, one that is gone without a word loses them.

use catnap_testkit::Relay;

use catnap_runtime::channel::{PING_INTERVAL, PING_TIMEOUT};

use super::*;

/// Longer than both settings together, with some time for a busy machine.
const NOTICED: Duration = Duration::from_secs(2).saturating_add(PING_INTERVAL).saturating_add(PING_TIMEOUT);

#[tokio::test]
async fn a_quiet_leader_stays_and_a_mute_one_is_given_up() {
    let (leader, mut streams) = start_leader("leader_1").await;
    let relay = Relay::to(leader.address).await.unwrap();
    let mut client = start_client(Some(Leader { address: relay.address, ..leader }), "the-token");
    let _outgoing = client.connected().await;
    let _accepted = accept(&mut streams).await;
    let event = timeout(PING_INTERVAL + PING_TIMEOUT + PING_INTERVAL, client.events.recv()).await;
    assert!(event.is_err(), "it answers pings, and still: {event:?}");
    relay.cut();
    let event = timeout(NOTICED, client.events.recv()).await.expect("nobody noticed");
    assert!(matches!(event, Some(StreamEvent::Lost)), "{event:?}");
}
