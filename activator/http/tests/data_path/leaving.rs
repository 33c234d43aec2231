//! Clients that go away while a pod works for them: with a limit the slot stays taken for as long as the pod is at it.

use crate::bed::{Bed, Setup, until, within};
use crate::client::{empty, http2, request};
use crate::pod::{Pod, reply};
use catnap_activator_core::Protocol;
use std::sync::Arc;

#[tokio::test]
async fn with_a_limit_a_stream_whose_client_left_keeps_its_slot_until_the_pod_ends_it() {
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let bed = Bed::start();
        let finish = Arc::new(tokio::sync::Notify::new());
        let waiting = Arc::clone(&finish);
        let handler = move |_| {
            let finish = Arc::clone(&waiting);
            async move {
                finish.notified().await;
                reply("ok")
            }
        };
        let pod = match protocol {
            Protocol::Http1 => Pod::http1(handler).await,
            Protocol::H2c => Pod::h2c(handler).await,
        };
        bed.function_with("hello", Setup { protocol, limit: 1, ..Setup::default() }, &[pod.address]);
        let mut client = http2(bed.address()).await;
        let leaves = tokio::spawn(client.send_request(request("GET", "http://hello.default/", empty())));
        until("the pod has it", || pod.requests() == 1).await;
        leaves.abort();
        bed.until_ended(1).await;
        let stays = tokio::spawn(client.send_request(request("GET", "http://hello.default/", empty())));
        bed.until_held("hello", 1).await;
        assert_eq!((bed.state("hello").in_flight, pod.requests()), (1, 1));
        finish.notify_one();
        until("the next one is there", || pod.requests() == 2).await;
        finish.notify_one();
        assert_eq!(within("the next one", stays).await.unwrap().unwrap().status(), 200);
        assert_eq!(pod.connections(), 1, "nothing was reset");
        until("the slot is free", || bed.state("hello").in_flight == 0).await;
    }
}
