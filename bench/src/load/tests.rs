use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::*;

/// What a server does with a request.
#[derive(Clone, Copy)]
pub(crate) enum Reaction {
    Answer(u16),
    Close,
    Silence,
    /// Answers, after a time in which it does nothing else.
    Stall(Duration),
}

/// A server that reacts to its n-th request, counted from 0, as it is told.
pub(crate) fn serve(reaction: impl Fn(usize) -> Reaction + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (reaction, count) = (Arc::new(reaction), Arc::new(AtomicUsize::new(0)));
    let one_at_a_time = Arc::new(std::sync::Mutex::new(()));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (reaction, count) = (Arc::clone(&reaction), Arc::clone(&count));
            let one_at_a_time = Arc::clone(&one_at_a_time);
            // Callers leave when they are done.
            std::thread::spawn(move || {
                let _ = connection(stream, &*reaction, &count, &one_at_a_time);
            });
        }
    });
    address
}

fn connection(
    stream: TcpStream,
    reaction: &dyn Fn(usize) -> Reaction,
    count: &AtomicUsize,
    one_at_a_time: &std::sync::Mutex<()>,
) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        if !line?.is_empty() {
            continue;
        }
        let reaction = reaction(count.fetch_add(1, Relaxed));
        let turn = one_at_a_time.lock().unwrap();
        let status = match reaction {
            Reaction::Answer(status) => status,
            Reaction::Close => return Ok(()),
            Reaction::Silence => continue,
            Reaction::Stall(time) => {
                std::thread::sleep(time);
                200
            }
        };
        drop(turn);
        // In one piece: more of them would wait for acknowledgements.
        let response = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
        writer.write_all(response.as_bytes())?;
    }
    Ok(())
}

/// Some hundred requests on eight connections.
fn open_loop(address: SocketAddr, rate: f64) -> Outcome {
    let mut load = OpenLoop::connect(address, 8, get("bench.default", "/")).unwrap();
    let (length, patience) = (Duration::from_millis(500), Duration::from_secs(3));
    load.run(Arrivals { rate, length, patience, seed: 1 }).unwrap()
}

#[test]
fn an_open_loop_sends_what_falls_due_and_loses_nothing_of_its_own() {
    let outcome = open_loop(serve(|_| Reaction::Answer(200)), 400.0);
    assert_eq!((outcome.refused, outcome.lost), (0, 0));
    assert_eq!(outcome.latencies.len(), outcome.lags.len());
    // 200 on the average; the seed makes it the same number every time.
    assert!((150..250).contains(&outcome.latencies.len()), "{}", outcome.latencies.len());
}

#[test]
fn requests_that_are_not_answered_are_counted_as_lost() {
    let closing = open_loop(
        serve(|number| if number % 10 == 9 { Reaction::Close } else { Reaction::Answer(200) }),
        400.0,
    );
    assert_eq!(closing.lost, closing.lags.len() / 10);
    assert_eq!(closing.latencies.len() + closing.lost, closing.lags.len());

    let silent =
        open_loop(serve(|number| if number == 3 { Reaction::Silence } else { Reaction::Answer(200) }), 400.0);
    assert_eq!(silent.lost, 1);
    assert_eq!(silent.latencies.len() + 1, silent.lags.len());
}

#[test]
fn a_refusal_is_no_success() {
    let outcome = open_loop(serve(|number| Reaction::Answer(if number % 2 == 0 { 200 } else { 503 })), 400.0);
    assert_eq!(outcome.lost, 0);
    assert!(outcome.refused.abs_diff(outcome.latencies.len()) <= 1, "{outcome:?}");
}

#[test]
fn the_wait_behind_a_slow_answer_is_part_of_a_latency() {
    let stall = Duration::from_millis(200);
    let outcome = open_loop(
        serve(move |number| if number == 50 { Reaction::Stall(stall) } else { Reaction::Answer(200) }),
        400.0,
    );
    // 80 fell due meanwhile. Callers that wait for each other would have seen a single slow answer on each connection.
    let slow = outcome.latencies.iter().filter(|latency| **latency > 50_000.0).count();
    assert!(slow > 40, "{slow}");
}

#[test]
fn a_closed_loop_goes_on_with_nothing_but_successes() {
    let run = |address, time| ClosedLoop::connect(address, 4, get("bench.default", "/"))?.run(time);
    let (answered, _) = run(serve(|_| Reaction::Answer(200)), Duration::from_millis(50)).unwrap();
    assert!(answered >= 4);
    for wrong in [Reaction::Answer(500), Reaction::Close] {
        let server = serve(move |number| if number == 10 { wrong } else { Reaction::Answer(200) });
        assert!(run(server, Duration::from_secs(20)).is_err());
    }
}

#[test]
fn a_call_of_grpc_succeeds_by_its_status() {
    let trailers = |status: &'static str| [("grpc-status", status)];
    let check = |received, trailers: &[(&'static str, &str)]| {
        let trailers = trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        http2::check_unary(received, 100, Some(&trailers.collect()))
    };
    assert!(check(105, &trailers("0")).is_ok());
    assert!(check(105, &trailers("14")).is_err());
    assert!(check(105, &[]).is_err());
    assert!(check(100, &trailers("0")).is_err());
}
