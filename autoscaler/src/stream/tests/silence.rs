//! Activators that say nothing: those that live keep their stream, those that are gone without a word lose it.

use catnap_testkit::Relay;
use tokio::time::{Instant, timeout};

use super::*;

/// An interval of pings, the time for an answer, and some for a busy machine.
const NOTICED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_quiet_activator_stays_and_a_mute_one_is_dropped() {
    let mut server = start().await;
    let relay = Relay::to(server.address).await.unwrap();
    server.address = relay.address;
    let ((_frames, stream), _outgoing) = connect_as_driver(&mut server, Ok(StreamId(1))).await;
    let _stream = stream.unwrap();
    let input = timeout(Duration::from_secs(4), server.inputs.recv()).await;
    assert!(input.is_err(), "it answers pings, and still: {input:?}");
    let begin = Instant::now();
    relay.cut();
    let input = timeout(NOTICED, server.inputs.recv()).await.expect("nobody noticed");
    assert!(matches!(input, Some(Input::Closed(StreamId(1)))), "{input:?}");
    assert!(begin.elapsed() >= Duration::from_secs(1), "that was no silence: {:?}", begin.elapsed());
}
