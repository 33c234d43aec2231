//! The control loop: everything that is not a request. One task that feeds the core what the watches, the stream and the clock
//! say, and has carried out what the core asks for.
//!
//! It never waits for anything in particular, so nothing that is slow or gone holds up the rest.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;

use catnap_activator_core::{Activator, Command, Connection};
use catnap_runtime::CancellationToken;
use catnap_runtime::watch::Change;
use catnap_wire::{ActivatorFrame, LeaderFrame};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::catalog::{Catalog, Update};
use crate::commands::{self, Answer};
use crate::members::{Activator as Member, Members};
use crate::outcomes::Outcomes;
use crate::peers::PeerEvent;
use crate::peers::directory::Directory;
use crate::peers::lease::Advertisement;
use crate::peers::links::PeerLinks;
use crate::pods::FunctionPod;
use crate::routes::Seen;
use crate::scale::ScaleClient;
use crate::stream::StreamEvent;

/// Commands, and messages of other activators, taken before the clock is looked at again.
const BATCH: usize = 256;

/// What the loop listens to. Every source goes on for ever; one that ends is never asked again.
pub(crate) struct Sources {
    /// What the core asks for.
    pub(crate) commands: UnboundedReceiver<Command>,
    /// The watch of Functions.
    pub(crate) functions: BoxStream<'static, Change<Seen>>,
    /// The watch of function pods.
    pub(crate) pods: BoxStream<'static, Change<FunctionPod>>,
    /// The watch of activators.
    pub(crate) members: BoxStream<'static, Change<Member>>,
    /// The watch of their Leases.
    pub(crate) leases: BoxStream<'static, Change<Advertisement>>,
    /// The streams to them.
    pub(crate) peers: mpsc::Receiver<PeerEvent>,
    /// The stream to the leading autoscaler.
    pub(crate) stream: mpsc::Receiver<StreamEvent>,
}

/// The state of the loop.
pub(crate) struct Control {
    activator: Arc<Activator>,
    scale: ScaleClient,
    catalog: Catalog,
    members: Members,
    peers: PeerLinks,
    outcomes: Outcomes,
    stream: Option<(Connection, mpsc::Sender<ActivatorFrame>)>,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    first_lists: FirstLists,
}

impl Control {
    /// A loop that has seen nothing yet; `synced` is told when each watch has given its first list.
    pub(crate) fn new(
        activator: Arc<Activator>,
        scale: ScaleClient,
        directory: Directory,
        outcomes: Outcomes,
        synced: oneshot::Sender<()>,
    ) -> Self {
        Self {
            peers: PeerLinks::new(Arc::clone(&activator), directory),
            outcomes,
            activator,
            scale,
            catalog: Catalog::default(),
            members: Members::default(),
            stream: None,
            answers: FuturesUnordered::new(),
            first_lists: FirstLists {
                missing: HashSet::from(["functions", "pods", "members", "leases"]),
                synced: Some(synced),
            },
        }
    }

    /// Runs until `end` is cancelled and the other activators have heard good-bye.
    pub(crate) async fn run(mut self, sources: Sources, end: CancellationToken) {
        let Sources { mut commands, functions, pods, members, leases, mut peers, mut stream } = sources;
        let (mut functions, mut pods, mut members) = (unending(functions), unending(pods), unending(members));
        let mut leases = unending(leases);
        let mut ending = false;
        let mut next_tick = Instant::now();
        loop {
            tokio::select! {
                Some(command) = commands.recv() => self.perform(command),
                Some(answer) = self.answers.next(), if !self.answers.is_empty() => answer.tell(&self.activator),
                Some(change) = functions.next() => self.functions_changed(change),
                Some(change) = pods.next() => {
                    self.first_lists.saw("pods", &change);
                    let updates = self.catalog.pods_changed(change);
                    self.tell(updates);
                }
                Some(change) = members.next() => {
                    self.first_lists.saw("members", &change);
                    self.activator.set_members(self.members.apply(change));
                    self.peers.pods_changed(&self.members);
                }
                Some(change) = leases.next() => {
                    self.first_lists.saw("leases", &change);
                    self.peers.leases_changed(change, &self.members);
                }
                Some(event) = peers.recv() => self.peers.stream_changed(event),
                Some(event) = stream.recv() => self.stream_changed(event),
                () = end.cancelled(), if !ending => {
                    ending = true;
                    self.peers.end();
                }
                () = until(self.outcomes.due()) => self.tell_outcomes(),
                () = sleep_until(next_tick) => {}
            }
            for _ in 0..BATCH {
                let Ok(command) = commands.try_recv() else { break };
                self.perform(command);
            }
            // A tick looks at everything: there are as many of these as requests.
            for _ in 0..BATCH {
                let Ok(event) = peers.try_recv() else { break };
                self.peers.stream_changed(event);
            }
            if self.peers.is_over() {
                return;
            }
            next_tick = Instant::now() + self.activator.tick();
        }
    }

    fn perform(&mut self, command: Command) {
        match command {
            // The loop ticks after everything.
            Command::Tick => {}
            Command::Send { connection, frame } => self.send(connection, frame),
            Command::Disconnect { connection } => {
                if self.stream.take_if(|(current, _)| *current == connection).is_some() {
                    warn!("the autoscaler was replaced by one that spoke before: giving the stream up");
                }
            }
            Command::ReadScale { revision, attempt } => {
                self.answers.push(Box::pin(commands::read_scale(self.scale.clone(), revision, attempt)));
            }
            Command::RaiseScale { revision, attempt, replicas, resource_version } => {
                let scale = self.scale.clone();
                self.answers.push(Box::pin(commands::raise_scale(
                    scale,
                    revision,
                    attempt,
                    replicas,
                    resource_version,
                )));
            }
            Command::SendPeer { link, frame } => self.peers.send(link, frame),
            Command::ClosePeer { link } => self.peers.close(link),
            Command::Probe { revision, probe } => {
                self.answers.push(Box::pin(commands::probe(revision, probe)));
            }
        }
    }

    fn tell_outcomes(&mut self) {
        let news = self.outcomes.news(Instant::now());
        if let (Some(frame), Some((connection, _))) = (news, &self.stream) {
            self.send(*connection, frame);
        }
    }

    fn send(&mut self, connection: Connection, frame: ActivatorFrame) {
        let Some((current, outgoing)) = &self.stream else { return };
        if *current != connection {
            return;
        }
        // A leader that does not read is as good as gone, and must not make this process keep frames without bound.
        if outgoing.try_send(frame).is_err() {
            warn!("the autoscaler does not take what is sent: giving the stream up");
            self.stream = None;
            self.outcomes.forget();
            self.activator.leader_lost(connection);
        }
    }

    fn stream_changed(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Connected { lease, outgoing } => {
                self.outcomes.forget();
                self.stream = Some((self.activator.leader_connected_by(lease), outgoing));
            }
            // Always behind the welcome: what is told comes behind the hello.
            StreamEvent::Frame(LeaderFrame::Count { revisions }) => {
                if self.stream.is_some() {
                    self.outcomes.wanted(revisions);
                }
            }
            StreamEvent::Frame(frame) => {
                if let Some((connection, _)) = self.stream {
                    self.activator.leader_frame(connection, frame);
                }
            }
            StreamEvent::Lost => {
                self.outcomes.forget();
                if let Some((connection, _)) = self.stream.take() {
                    self.activator.leader_lost(connection);
                }
            }
        }
    }

    fn functions_changed(&mut self, change: Change<Seen>) {
        self.first_lists.saw("functions", &change);
        let updates = self.catalog.functions_changed(change);
        self.tell(updates);
    }

    fn tell(&self, updates: Vec<Update>) {
        for update in updates {
            match update {
                Update::Functions(routes) => self.activator.set_functions(routes),
                Update::Upsert(route) => self.activator.upsert_function(route),
                Update::Remove(name) => self.activator.remove_function(&name),
                Update::Pods(revision, pods) => self.activator.set_pods(&revision, pods),
            }
        }
    }
}

/// Never, when there is no such time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// A stream that is over stays silent.
fn unending<T: Send + 'static>(stream: BoxStream<'static, T>) -> Pin<Box<dyn Stream<Item = T> + Send>> {
    Box::pin(stream.chain(futures::stream::pending()))
}

/// Which watches have not given their first list, and whom to tell when all have.
struct FirstLists {
    missing: HashSet<&'static str>,
    synced: Option<oneshot::Sender<()>>,
}

impl FirstLists {
    fn saw<T>(&mut self, watch: &'static str, change: &Change<T>) {
        if matches!(change, Change::Listed(_)) && self.missing.remove(watch) && self.missing.is_empty() {
            info!("functions, pods and activators are known");
            if let Some(synced) = self.synced.take() {
                // Nobody waits any more when the process is already on its way out.
                let _ = synced.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
