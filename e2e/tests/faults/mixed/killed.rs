//! An activator is killed under mixed traffic: that loses what was in flight there and nothing else.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use catnap_e2e::fixture::{Context, eventually};
use catnap_e2e::functions::{PATIENCE, catnap_pods};
use catnap_e2e::lateness::{Missed, less_than};
use nix::sys::signal::{Signal, kill};
use tokio::time::interval;

use super::journal::{Event, Journal, Kind};
use super::paths::connections_of;
use super::throughput::Throughput;
use super::traffic::{COLD, Shared};
use super::{LEAST_RATE, beside_traffic, say};
use crate::activators::{back, process_of, restarts};

/// A caller whose activator was killed has an answer over another connection after this long.
const GOES_ON: Duration = Duration::from_secs(1);
/// Between two looks at what connections there are.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An activator that was killed.
struct Killed {
    at: Instant,
    /// All is as before.
    over: Instant,
    address: IpAddr,
    /// Of every connection the port that its client had, and where it led.
    connections: BTreeSet<(u16, IpAddr)>,
}

/// What "others go on within 1 s" means here. A killed activator's address refuses connections at once, for its pod stays; the
/// Service leads new connections there until kubelet, the API server and kube-proxy have all noticed, which is seconds. So a
/// caller that was refused a connection opens another one at once, as HTTP clients do, and each that lost a request or a
/// connection, or was refused one, must have an answer to something that it asked after the kill within a second of the kill.
/// Requests to functions at zero are left out of that: a cold start has a time of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_activator_loses_only_what_was_in_flight_there() {
    beside_traffic("mixed_kill", async |test, traffic, sink| {
        let shared = &traffic.shared;
        let mut kills = Vec::new();
        shared
            .lateness
            .measured("going on after a kill", async |_| {
                let killed = Killed::one(test, shared).await?;
                let went_on = killed.others_went_on(&shared.journal);
                kills.push(killed);
                Ok(went_on)
            })
            .await?;
        let ended = Instant::now();
        let shared = traffic.stop().await?;
        let journal = &shared.journal;
        let first = kills.first().context("nothing was killed")?.at;
        // Nobody has noticed since that it was interrupted.
        let judged = kills.last().map(|killed| killed.others_went_on(journal));
        anyhow::ensure!(matches!(judged, Some(Ok(()))), "{judged:?}");
        let through = Throughput::between(&shared, first, ended);

        journal.nothing_bad_but(|at, event| kills.iter().any(|killed| killed.explains(at, event)))?;
        let lost = journal.count(|_, _, event| matches!(event, Event::Lost { .. }));
        anyhow::ensure!(lost > 0, "nobody noticed the kill");
        // What was lost may have been served once, or not.
        let reports = sink.reports().await;
        let answered = shared.recorded.lock();
        let missing: Vec<_> = answered.iter().filter(|id| !reports.contains_key(*id)).collect();
        let doubled: Vec<_> = reports.iter().filter(|(_, times)| **times > 1).collect();
        anyhow::ensure!(missing.is_empty() && doubled.is_empty(), "missing {missing:?}, doubled {doubled:?}");
        through.ensure(LEAST_RATE, 0)
    })
    .await;
}

impl Killed {
    /// Kills one and waits until all is as before.
    async fn one(test: &Context, shared: &Shared) -> anyhow::Result<Self> {
        // One that was killed before is started later, the oftener the later.
        let victim = catnap_pods(test, "activator").await?.into_iter().min_by_key(restarts);
        let victim = victim.context("no activator")?;
        let address = victim.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let address = address.context("an activator without an address")?.parse()?;
        let process = process_of(&victim)?;
        let at = Instant::now();
        kill(process, Signal::SIGKILL)?;
        // At once and again: of connections that broke it is not known for long, and until the process is gone the kernel takes
        // further ones for it.
        let mut connections = BTreeSet::new();
        let mut looks = interval(LOOK_EVERY);
        loop {
            let is_last = at.elapsed() >= GOES_ON && kill(process, None).is_err();
            anyhow::ensure!(at.elapsed() < PATIENCE, "a killed process is still there");
            looks.tick().await;
            connections.extend(connections_of(shared.activator).await?);
            if is_last {
                break;
            }
        }
        back(test, &victim).await?;
        let restarted = Instant::now();
        eventually("functions at zero wake again", PATIENCE, async || {
            let is_woken = |at, _, event: &Event| at > restarted && matches!(event, Event::Cold);
            Ok((shared.journal.callers(is_woken).len() == COLD.len()).then_some(()))
        })
        .await?;
        Ok(Self { at, over: Instant::now(), address, connections })
    }

    /// Whether a connection led to it.
    fn led_here(&self, local: &SocketAddr) -> bool {
        self.connections.contains(&(local.port(), self.address))
    }

    /// Whether something bad came of the kill. When it was read says nothing of that: connection tracking knows whose it was.
    fn explains(&self, at: Instant, event: &Event) -> bool {
        at >= self.at
            && match event {
                Event::Refused => at < self.over,
                Event::Lost { local, .. } | Event::Fin { local } => self.led_here(local),
                _ => false,
            }
    }

    /// Whether all whom it interrupted went on in time, unless another one was killed since.
    fn others_went_on(&self, journal: &Journal) -> Result<(), Missed> {
        let interrupted = journal.callers(|at, _, event| {
            let ended = matches!(event, Event::Fin { local } if self.led_here(local));
            at >= self.at && (event.interrupts() || ended)
        });
        let went_on = journal.first_answers_after(self.at);
        let slowest = interrupted
            .iter()
            .filter(|caller| caller.kind != Kind::Cold)
            .map(|caller| (went_on.get(caller).copied().unwrap_or(Duration::MAX), *caller))
            .max();
        let refused = journal.last(|event| matches!(event, Event::Refused));
        let refused = refused.and_then(|at| at.checked_duration_since(self.at));
        say(&format!("slowest to go on: {slowest:?}; last refused after {refused:?}"));
        let Some((after, caller)) = slowest else {
            return Err(Missed::new(self.at..self.at + GOES_ON, "nobody was interrupted"));
        };
        less_than(GOES_ON, self.at, after, format!("the slowest to go on, {caller}"))
    }
}
