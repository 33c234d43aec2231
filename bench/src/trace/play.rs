//! The requests of a replay, each sent when it is due whatever became of the others, and what came of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use catnap_autoscaler_core::simulator::Request;
use futures::future::join_all;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::cluster::pods::Looks;
use crate::cluster::{Target, wire};
use crate::statistics::quantile;

/// Longest time to connect; the request has a limit of its own.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the requests go.
pub(crate) enum Way<'subject> {
    /// To what finds a pod for each.
    Door(&'subject Target),
    /// To pods that are known.
    Pods(&'subject WarmPods),
}

/// Pods that are always there, which take a bounded number of requests at once: whoever finds no place waits for one.
pub(crate) struct WarmPods {
    places: Semaphore,
    /// The pod of each place that is free.
    free: Mutex<Vec<SocketAddr>>,
}

/// What became of one request.
#[derive(Debug)]
pub(crate) struct Played {
    request: Request,
    /// From when it was due to the first byte of its answer.
    took: anyhow::Result<Duration>,
}

/// What came of all requests that count.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) median_slowdown: f64,
    pub(crate) tail_slowdown: f64,
    /// Requests that were due while no pod was ready.
    pub(crate) cold: usize,
    /// Requests without a 200, and why the first of them has none.
    pub(crate) failed: usize,
    pub(crate) failure: Option<String>,
    /// All of them.
    pub(crate) requests: usize,
}

impl WarmPods {
    pub(crate) fn new(pods: &[SocketAddr], requests_each: usize) -> Self {
        let free: Vec<SocketAddr> =
            std::iter::repeat_n(pods, requests_each).flat_map(|pods| pods.iter().copied()).collect();
        Self { places: Semaphore::new(free.len()), free: Mutex::new(free) }
    }

    async fn ask(&self, path: &str) -> anyhow::Result<Instant> {
        let _place = self.places.acquire().await.context("there are no places")?;
        let pod = self.free.lock().await.pop().context("a place has no pod")?;
        let answered = ask(pod, "floor", path).await;
        self.free.lock().await.push(pod);
        answered
    }
}

/// One request on a connection of its own; when the first byte of its answer came.
async fn ask(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<Instant> {
    let stream = wire::connect(address, CONNECT).await.context("cannot connect")?;
    Ok(wire::get(stream, host, path).await?.first_byte)
}

/// Sends all requests, and waits until each is answered or given up.
pub(crate) async fn play(way: &Way<'_>, requests: &[Request], start: Instant) -> Vec<Played> {
    let each = requests.iter().map(move |&request| async move {
        let due = start + request.at;
        sleep_until(due).await;
        let path = format!("/sleep?ms={}", request.takes.as_millis());
        let answered = match way {
            Way::Door(target) => ask(target.address, &target.host, &path).await,
            Way::Pods(pods) => pods.ask(&path).await,
        };
        Played { request, took: answered.map(|answered| answered.saturating_duration_since(due)) }
    });
    join_all(each).await
}

impl Outcome {
    /// Of the requests that were due after the lead, at the end of which the looks began. One without an answer has taken as long as
    /// an answer is waited for: whoever sends requests away is no faster for it.
    pub(crate) fn of(played: &[Played], looks: &Looks, lead: Duration) -> anyhow::Result<Self> {
        let (mut slowdowns, mut failures, mut cold, mut requests) = (Vec::new(), Vec::new(), 0, 0);
        for Played { request, took } in played {
            let Some(since) = request.at.checked_sub(lead) else { continue };
            requests += 1;
            cold += usize::from(looks.none_ready(since));
            match took {
                Ok(took) => slowdowns.push(slowdown(*took, request.takes)),
                Err(error) => {
                    slowdowns.push(slowdown(wire::LIMIT, request.takes));
                    failures.push(error);
                }
            }
        }
        if failures.len() == requests {
            bail!("no request was answered");
        }
        let of = |share| quantile(&slowdowns, share).context("no request counts");
        Ok(Self {
            median_slowdown: of(0.5)?,
            tail_slowdown: of(0.99)?,
            cold,
            failed: failures.len(),
            failure: failures.first().map(|error| format!("{error:#}")),
            requests,
        })
    }
}

/// Response time over service time: 1 for a request that nothing delayed.
fn slowdown(took: Duration, takes: Duration) -> f64 {
    took.as_secs_f64() / takes.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const LEAD: Duration = Duration::from_secs(10);

    /// A request due at this second that takes two, and was answered after as many as this, or not at all.
    fn played(at: u64, took: Option<u64>) -> Played {
        let took = took.map(Duration::from_secs).context("refused");
        Played { request: Request { at: Duration::from_secs(at), takes: Duration::from_secs(2) }, took }
    }

    #[test]
    fn a_slowdown_is_the_response_time_over_the_service_time() {
        assert!((slowdown(Duration::from_secs(3), Duration::from_secs(2)) - 1.5).abs() < 1e-9);
    }

    #[test]
    fn what_was_due_in_the_lead_does_not_count() {
        let all = [
            played(0, Some(100)),
            played(9, None),
            played(10, Some(2)),
            played(11, Some(2)),
            played(12, Some(8)),
        ];
        let outcome = Outcome::of(&all, &Looks::default(), LEAD).unwrap();
        assert!((outcome.median_slowdown - 1.0).abs() < 1e-9, "{outcome:?}");
        assert!((outcome.tail_slowdown - 4.0).abs() < 1e-9, "{outcome:?}");
        assert_eq!((outcome.requests, outcome.failed, outcome.failure), (3, 0, None));
    }

    #[test]
    fn what_has_no_answer_is_counted_and_told() {
        let all = [played(10, Some(2)), played(11, None), played(12, None)];
        let outcome = Outcome::of(&all, &Looks::default(), LEAD).unwrap();
        assert_eq!((outcome.requests, outcome.failed, outcome.failure.as_deref()), (3, 2, Some("refused")));
        assert!((outcome.median_slowdown - 30.0).abs() < 1e-9, "a minute over two seconds");
        assert!(Outcome::of(&all[1..], &Looks::default(), LEAD).is_err());
    }

    /// A server that answers one request on each connection with this status.
    async fn server(status: u16) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut head: Vec<u8> = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        assert!(stream.read_buf(&mut head).await.unwrap() > 0, "no whole request");
                    }
                    let response = format!("HTTP/1.1 {status} X\r\n\r\n");
                    stream.write_all(response.as_bytes()).await.unwrap();
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn requests_are_played_in_both_ways_and_none_is_lost() {
        // All at once, more than there are places.
        let requests = [Request { at: Duration::ZERO, takes: Duration::from_millis(1) }; 20];
        let address = server(200).await;
        let warm = WarmPods::new(&[address], 2);
        let target = Target { address, host: "function.default".into() };
        for way in [Way::Door(&target), Way::Pods(&warm)] {
            let played = play(&way, &requests, Instant::now()).await;
            assert!(played.iter().all(|played| played.took.is_ok()), "{played:?}");
            assert_eq!(played.len(), requests.len());
        }
        let busy = Target { address: server(503).await, host: "function.default".into() };
        let played = play(&Way::Door(&busy), &requests, Instant::now()).await;
        assert!(played.iter().all(|played| played.took.is_err()), "{played:?}");
    }
}
