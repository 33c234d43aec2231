//! Runs of the benchmarks that need no program but this one, too short to measure anything: do they notice what goes wrong?

use std::net::SocketAddr;
use std::time::Duration;

use crate::held::streams::{EACH, Streams, overtakers};
use crate::latency;
use crate::load::tests::{Reaction, serve};
use crate::load::{Call, Http2ClosedLoop};
use crate::report::Row;
use crate::subject::tests::{bare_here, listening};
use crate::subject::{Subject, backend, bare, grpc};

/// A server in this process.
fn here(name: &'static str, address: SocketAddr) -> Subject {
    Subject { name, address, processes: Vec::new() }
}

async fn backend_here() -> SocketAddr {
    listening(|listen| backend::serve(&backend::BackendArgs { listen, body_bytes: 100 }).unwrap()).await
}

fn row<'rows>(rows: &'rows [Row], what: &str) -> &'rows Row {
    rows.iter().find(|row| row.what.contains(what)).unwrap()
}

/// `latency` with this in the place of Catnap.
async fn latency_of(catnap: SocketAddr) -> Vec<Row> {
    let good = backend_here().await;
    let [direct, nginx, haproxy] = ["direct", "nginx", "haproxy"].map(|name| here(name, good));
    let catnap = here("catnap", catnap);
    let subjects = [&direct, &nginx, &catnap, &haproxy];
    let slot = Duration::from_millis(60);
    latency::measure(&subjects, &nginx, 1, slot, 16).await.unwrap().rows().unwrap()
}

#[tokio::test]
async fn latency_counts_what_is_lost() {
    let rows = latency_of(backend_here().await).await;
    let lost = row(&rows, "not answered with 200");
    assert!(lost.ours < 1.0 && lost.holds == Some(true), "{lost:?}");
    let median = row(&rows, "50 % of the knee: p50");
    assert!(median.ours > 0.0 && median.ratio.is_some() && median.bar == Some(1.2), "{median:?}");

    let forgetful = |number| if number % 50 == 49 { Reaction::Close } else { Reaction::Answer(200) };
    let rows = latency_of(serve(forgetful)).await;
    let lost = row(&rows, "not answered with 200");
    assert!(lost.ours > 0.0 && lost.holds == Some(false), "{lost:?}");
}

#[tokio::test]
async fn calls_over_http2_are_answered_by_the_yardstick() {
    let address = listening(|listen| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(grpc::serve(&grpc::GrpcArgs { listen, message_bytes: 100 })).unwrap();
    })
    .await;
    let calls = move |call| {
        let mut load = Http2ClosedLoop::connect(address, 2, 4, "bench.default", call).unwrap();
        load.run(Duration::from_millis(50))
    };
    tokio::task::spawn_blocking(move || {
        assert!(calls(Call::Unary(100)).unwrap().0 >= 8);
        // A message of another length is none that was asked for.
        assert!(calls(Call::Unary(99)).is_err());
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn streams_tell_their_order_and_which_were_lost() {
    let address = bare_here().await;
    let mut streams = Streams::default();
    streams.send(address, bare::TURN, EACH).await.unwrap();
    let answers = streams.answers().await;
    assert_eq!((answers.len(), answers.iter().flatten().count(), overtakers(&answers)), (EACH, EACH, 0));

    let mut streams = Streams::default();
    streams.send(address, "/nowhere", 3).await.unwrap();
    streams.send(address, bare::TURN, 1).await.unwrap();
    assert_eq!(streams.answers().await.iter().flatten().count(), 1);
}
