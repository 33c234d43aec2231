//! The requests of the step, each timed, and the moment from which none waits.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::{Target, wire};

/// How long the function takes.
pub(crate) const TAKES: Duration = Duration::from_millis(200);
/// Longest wait for one answer.
const LIMIT: Duration = Duration::from_secs(60);
/// Until a client tries again whose request failed.
const PAUSE: Duration = Duration::from_millis(100);
/// A request that takes as long has waited for another one: with fewer pods than two thirds of the requests, all do. The half is
/// for a machine that starts pods at the same time.
const WAITED: Duration = Duration::from_millis(300);
/// The time for which none may wait.
const QUIET: Duration = Duration::from_secs(1);
/// Share of the requests that may take longer for a reason of their own.
const OUTLIERS: f64 = 0.01;

/// When the load changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// From here one request is under way.
    pub(crate) start: Instant,
    /// From here all are.
    pub(crate) step: Instant,
    /// From here no more are sent.
    pub(crate) end: Instant,
}

/// A request of the step that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    /// Since the step.
    sent: Duration,
    took: Duration,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) answered: Vec<Answered>,
    /// When each request of the step was sent, since it, that had no 200.
    unanswered: Vec<Duration>,
    /// Requests without a 200, also those before the step.
    pub(crate) failed: usize,
}

/// One request, to a function that may have no pod yet.
pub(crate) async fn wake(target: &Target) -> anyhow::Result<()> {
    let asked = async { ask(&mut connect(target.address).await?, &target.host).await };
    timeout(LIMIT, asked).await.context("no pod in time")?
}

/// Keeps as many requests under way as the schedule says, each on a connection of its own that is there before.
pub(crate) async fn run(target: &Target, requests: usize, schedule: Schedule) -> Load {
    let clients = (0..requests).map(|number| {
        let begin = if number == 0 { schedule.start } else { schedule.step };
        client(target, begin, schedule)
    });
    let mut all = Load::default();
    for Load { answered, unanswered, failed } in join_all(clients).await {
        all.answered.extend(answered);
        all.unanswered.extend(unanswered);
        all.failed += failed;
    }
    all
}

async fn client(target: &Target, begin: Instant, schedule: Schedule) -> Load {
    let mut load = Load::default();
    let mut connection = connect(target.address).await.ok();
    sleep_until(begin).await;
    loop {
        let sent = Instant::now();
        if sent >= schedule.end {
            return load;
        }
        let asked = async {
            let mut sender = match connection.take() {
                Some(sender) => sender,
                None => connect(target.address).await?,
            };
            ask(&mut sender, &target.host).await?;
            anyhow::Ok(sender)
        };
        let of_step = sent.checked_duration_since(schedule.step);
        let Ok(Ok(sender)) = timeout(LIMIT, asked).await else {
            load.failed += 1;
            load.unanswered.extend(of_step);
            sleep(PAUSE).await;
            continue;
        };
        connection = Some(sender);
        if let Some(since) = of_step {
            load.answered.push(Answered { sent: since, took: sent.elapsed() });
        }
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    let stream = wire::connect(address, Duration::from_secs(5)).await.context("cannot connect")?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with the sender; what goes wrong on it, the request says.
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, host: &str) -> anyhow::Result<()> {
    sender.ready().await?;
    let path = format!("/sleep?ms={}", TAKES.as_millis());
    let request = Request::get(path).header("host", host).body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    if status != StatusCode::OK {
        bail!("the response is {status}");
    }
    Ok(())
}

/// Since the step, the beginning of the first time of [`QUIET`] in which no request was sent that waited, or had no answer at all;
/// `None` where there were such requests until the end.
pub(crate) fn settled(load: &Load, length: Duration) -> Option<Duration> {
    const STEP: Duration = Duration::from_millis(100);
    let Load { answered, unanswered, failed: _ } = load;
    let mut begin = Duration::ZERO;
    while begin + QUIET <= length {
        let within = &(begin..begin + QUIET);
        let sent = || answered.iter().filter(move |it| within.contains(&it.sent));
        let lost = unanswered.iter().filter(|at| within.contains(*at)).count();
        let all = sent().count() + lost;
        let waited = sent().filter(|it| it.took >= WAITED).count() + lost;
        if all > 0 && waited as f64 <= OUTLIERS * all as f64 {
            return Some(begin);
        }
        begin += STEP;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request every 10 ms, of which those sent before this moment took this long and the others what the function takes.
    fn requests(until: Duration, took: Duration) -> Load {
        let answered = (0..500)
            .map(|number| Duration::from_millis(number * 10))
            .map(|sent| Answered { sent, took: if sent < until { took } else { TAKES } })
            .collect();
        Load { answered, ..Load::default() }
    }

    #[test]
    fn none_waits_from_the_moment_on_at_which_the_last_was_sent_that_did() {
        let length = Duration::from_secs(5);
        let waiting = requests(Duration::from_secs(2), Duration::from_secs(1));
        assert_eq!(settled(&waiting, length), Some(Duration::from_secs(2)));
        assert_eq!(settled(&requests(Duration::ZERO, TAKES), length), Some(Duration::ZERO));
    }

    #[test]
    fn one_of_a_hundred_may_take_longer() {
        let mut load = requests(Duration::ZERO, TAKES);
        load.answered[50].took = Duration::from_secs(1);
        assert_eq!(settled(&load, Duration::from_secs(5)), Some(Duration::ZERO));
        load.answered[60].took = Duration::from_secs(1);
        assert_eq!(settled(&load, Duration::from_secs(5)), Some(Duration::from_millis(600)));
    }

    #[test]
    fn who_sends_others_away_has_not_settled() {
        let length = Duration::from_secs(5);
        let mut load = requests(Duration::ZERO, TAKES);
        load.unanswered = (0..200).map(|number| Duration::from_millis(number * 10)).collect();
        assert_eq!(settled(&load, length), Some(Duration::from_secs(2)));
        load.answered.clear();
        assert_eq!(settled(&load, length), None);
    }

    #[test]
    fn requests_that_wait_to_the_end_are_told() {
        let length = Duration::from_secs(5);
        assert_eq!(settled(&requests(length, Duration::from_secs(1)), length), None);
        assert_eq!(settled(&Load::default(), length), None);
    }
}
