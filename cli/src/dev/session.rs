//! A local run from start to end: the two cores with each other, the HTTP listeners, and the replicas.
//!
//! One task owns all of it. What goes over the stream, the API server and kubelet in a cluster is a call or a channel here.

mod function;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{
    Activator, Clock, Command, Connection, Listener, Scale as ActivatorScale, ScaleError, Settings,
    SystemClock,
};
use catnap_activator_http::{Config, Drained, Handle, Server};
use catnap_autoscaler_api::state::{Explained, LeadingTerm, State as ToldState};
use catnap_autoscaler_core::{
    Effect, Leader, ReadOutcome, Scale, StreamId, WriteOutcome, leader::Explanation,
};
use catnap_crds::Function;
use catnap_wire::{PodUid, RevisionId, Term};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::admin::Admin;
use super::fleet::Fleet;
use super::output::Output;
use super::program::Program;
use super::reaper::Reaper;
use super::replica::{Event, Replica};
use super::view::{State, describe};
use function::Local;

/// UID of the only activator.
const ACTIVATOR: &str = "local";
/// How often the autoscaler looks at the clock.
const LEADER_TICK: Duration = Duration::from_millis(25);
/// What is in flight when the session ends gets this long.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// How the session is asked to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// Orderly: requests end, replicas get SIGTERM and their grace.
    pub(crate) stop: CancellationToken,
    /// At once.
    pub(crate) kill: CancellationToken,
}

/// A local run that listens already.
pub(crate) struct Session {
    local: Local,
    clock: Arc<SystemClock>,
    activator: Arc<Activator>,
    commands: UnboundedReceiver<Command>,
    leader: Leader,
    connection: Connection,
    stream: StreamId,
    fleet: Fleet,
    events: UnboundedReceiver<(PodUid, Event)>,
    reaper: Arc<Reaper>,
    server: Option<Handle>,
    address: SocketAddr,
    probes: FuturesUnordered<BoxFuture<'static, (RevisionId, PodUid, bool)>>,
    output: Arc<Output>,
    state: watch::Sender<State>,
    ending: Ending,
}

impl Session {
    /// Listens on `listen`; `folder` is the manifest's.
    pub(crate) fn start(
        function: &Function,
        folder: &Path,
        listen: SocketAddr,
        output: Arc<Output>,
        ending: Ending,
    ) -> anyhow::Result<Self> {
        let program = Arc::new(Program::new(function, folder, std::env::var_os("PATH").as_deref())?);
        let local = Local::new(function, &program);
        let clock = Arc::new(SystemClock::start());
        let settings =
            Settings { any_host: Some(local.route.name.clone()), ..Settings::new(rand::random(), ACTIVATOR) };
        let (activator, commands) = Activator::new(settings, Arc::clone(&clock) as Arc<dyn Clock>);
        activator.set_members(vec![ACTIVATOR.into()]);
        activator.set_functions(vec![local.route.clone()]);
        let config = Config::new(vec![(Listener::InCluster, listen)]);
        let server = Server::start(config, Arc::clone(&activator), Arc::new(()))?;
        let address = server.addresses().first().map_or(listen, |(_, address)| *address);

        let reaper = Arc::new(Reaper::start(program.grace)?);
        let (tell, events) = mpsc::unbounded_channel();
        let check = local.readiness_check();
        let (replica_output, replica_reaper, kill) =
            (Arc::clone(&output), Arc::clone(&reaper), ending.kill.clone());
        let prefix = program.function.clone();
        let fleet = Fleet::new(
            &prefix,
            Box::new(move |uid, address, stop| {
                let replica = Replica {
                    uid,
                    address,
                    program: Arc::clone(&program),
                    check: Arc::clone(&check),
                    reaper: Arc::clone(&replica_reaper),
                    output: Arc::clone(&replica_output),
                    events: tell.clone(),
                };
                tokio::spawn(replica.run(stop, kill.clone()));
            }),
        );

        let now = clock.now();
        let mut leader =
            Leader::new(Term { transitions: 1, boot: 1 }, catnap_autoscaler_core::Settings::default(), now);
        leader.upsert_revision(&local.revision, local.policy.clone(), local.stage, now);
        leader.set_scale(&local.revision, Some(fleet.scale_fact()), now);
        leader.set_activators(&[ACTIVATOR.into()], now);
        let stream = StreamId(1);
        leader.stream_opened(stream, ACTIVATOR.into(), now);
        let connection = activator.leader_connected();
        let (state, _) = watch::channel(State::default());
        Ok(Self {
            local,
            clock,
            activator,
            commands,
            leader,
            connection,
            stream,
            fleet,
            events,
            reaper,
            server: Some(server),
            address,
            probes: FuturesUnordered::new(),
            output,
            state,
            ending,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its state, at every moment.
    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Runs until it was asked to end and nothing is left; `renew` tells when what replicas run has changed.
    pub(crate) async fn run(mut self, mut admin: Admin, mut renew: UnboundedReceiver<()>) {
        let mut next_tick = Instant::now();
        let ending = self.ending.clone();
        let mut leader_ticks = tokio::time::interval(LEADER_TICK);
        leader_ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut drained = futures::future::OptionFuture::<BoxFuture<'static, Drained>>::default();
        let mut draining = false;
        let mut stopping = false;
        while !(stopping && self.fleet.is_empty()) {
            tokio::select! {
                Some(command) = self.commands.recv() => self.perform(command),
                Some((uid, event)) = self.events.recv() => self.replica_told(&uid, event),
                Some((revision, pod, answered)) = self.probes.next(), if !self.probes.is_empty() => {
                    self.activator.probed(&revision, &pod, answered);
                }
                Some(()) = renew.recv() => {
                    self.fleet.renew();
                    self.pods_changed();
                    // Only now no request meets what was before.
                    self.output.line("what is new takes over; requests wait for it");
                }
                () = sleep_until(next_tick) => {}
                _ = leader_ticks.tick() => {
                    self.open_schedules(Timestamp::now());
                    self.leader.tick(self.clock.now());
                }
                asked = admin.asked() => {
                    // Who asked may be gone.
                    let _ = asked.send(self.explain());
                }
                () = ending.stop.cancelled(), if !draining => {
                    draining = true;
                    self.output.line("stopping; a second Ctrl-C does not wait for anything");
                    self.activator.give_up_held();
                    drained = self.server.take().map(drain).into();
                }
                Some(_) = &mut drained, if draining && !stopping => {
                    stopping = true;
                    self.stop_replicas();
                }
                () = ending.kill.cancelled(), if draining && !stopping => {
                    stopping = true;
                    self.stop_replicas();
                }
            }
            next_tick = Instant::now() + self.activator.tick();
            self.carry_out();
            self.show();
        }
        self.reaper.finish().await;
    }

    fn perform(&mut self, command: Command) {
        match command {
            // This activator is the only one.
            Command::Tick | Command::SendPeer { .. } | Command::ClosePeer { .. } => {}
            Command::Send { connection, frame } => {
                if connection == self.connection {
                    self.leader.activator_frame(self.stream, frame, self.clock.now());
                }
            }
            Command::Disconnect { connection } => {
                if connection == self.connection {
                    self.connect_again();
                }
            }
            Command::ReadScale { revision, attempt } => {
                let (replicas, resource_version) = self.fleet.scale();
                self.activator.scale_read(
                    &revision,
                    attempt,
                    Ok(ActivatorScale { replicas, pods: replicas, resource_version }),
                );
            }
            Command::RaiseScale { revision, attempt, replicas, resource_version } => {
                let written = self.fleet.write(replicas, &resource_version);
                self.activator.scale_raised(
                    &revision,
                    attempt,
                    written.map(drop).map_err(|_| ScaleError::Conflict),
                );
                self.scale_changed();
            }
            Command::Probe { revision, probe } => self.probes.push(Box::pin(async move {
                let answered = catnap_activator_http::probe(&probe).await.is_ok();
                (revision, probe.uid, answered)
            })),
        }
    }

    /// Takes a new stream for the one that either side has ended.
    fn connect_again(&mut self) {
        let now = self.clock.now();
        self.leader.stream_closed(self.stream, now);
        self.activator.leader_lost(self.connection);
        self.stream = StreamId(self.stream.0 + 1);
        self.leader.stream_opened(self.stream, ACTIVATOR.into(), now);
        self.connection = self.activator.leader_connected();
    }

    /// Carries out what the autoscaler asks for, and what follows from that.
    fn carry_out(&mut self) {
        loop {
            let effects = self.leader.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out_one(effect);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        let now = self.clock.now();
        match effect {
            Effect::Send { stream, frame } => {
                if stream == self.stream {
                    self.activator.leader_frame(self.connection, frame);
                }
            }
            Effect::Disconnect { stream, reason } => {
                self.output.line(&format!("the autoscaler ended the stream: {reason}"));
                if stream == self.stream {
                    self.connect_again();
                }
            }
            Effect::ReadScale { token, .. } => {
                let (replicas, resource_version) = self.fleet.scale();
                self.leader.scale_read(token, ReadOutcome::Read(Scale { replicas, resource_version }), now);
            }
            Effect::PutScale { replicas, resource_version, token, .. } => {
                let outcome = match self.fleet.write(replicas, &resource_version) {
                    Ok(resource_version) => WriteOutcome::Written { resource_version },
                    Err(_) => WriteOutcome::Conflict,
                };
                self.leader.scale_written(token, outcome, now);
                self.scale_changed();
            }
            Effect::MarkPod { pod, marked, .. } => {
                self.fleet.mark(&pod, marked);
                self.pods_changed();
            }
            Effect::ListActivators { token } => {
                self.leader.activators_listed(token, Some(&[ACTIVATOR.into()]), now);
            }
            Effect::Report(event) => self.output.line(&describe(&event)),
        }
    }

    fn replica_told(&mut self, uid: &PodUid, event: Event) {
        self.fleet.told(uid, event);
        self.pods_changed();
    }

    fn scale_changed(&mut self) {
        self.leader.set_scale(&self.local.revision, Some(self.fleet.scale_fact()), self.clock.now());
        self.pods_changed();
    }

    fn stop_replicas(&mut self) {
        self.fleet.stop_all();
        self.pods_changed();
    }

    fn pods_changed(&mut self) {
        self.activator.set_pods(&self.local.revision, self.fleet.pods());
        self.leader.set_pods(&self.local.revision, self.fleet.pod_facts(), self.clock.now());
    }

    /// Which schedule is open, by the wall clock.
    fn open_schedules(&mut self, wall: Timestamp) {
        let Local { windows, policy, revision, stage, .. } = &mut self.local;
        if windows.is_due(wall) {
            policy.schedule = windows.look(wall);
            self.leader.upsert_revision(revision, policy.clone(), *stage, self.clock.now());
        }
    }

    /// What the autoscaler thinks, as `/debug/state` tells it.
    fn explain(&self) -> ToldState {
        let (function, now) = (&self.local.route.name.name, self.clock.now());
        let explanations = self.leader.explain();
        let Term { transitions, boot } = self.leader.term();
        ToldState {
            leading: true,
            synced: None,
            term: Some(LeadingTerm { transitions, boot: format!("{boot:016x}") }),
            streams: 1,
            revisions: explanations.iter().map(|it| Explained::of(it, Some(function), now)).collect(),
            left_out: 0,
        }
    }

    fn show(&self) {
        let explanations = self.leader.explain();
        let decision = explanations.first().and_then(|Explanation { decision, .. }| decision.as_ref());
        let now = State::new(self.fleet.counts(), &self.activator.snapshot(), decision);
        self.state.send_if_modified(|state| {
            let is_news = *state != now;
            if is_news {
                *state = now;
            }
            is_news
        });
    }
}

fn drain(server: Handle) -> BoxFuture<'static, Drained> {
    Box::pin(server.drain(Duration::ZERO, LAST_REQUESTS))
}
