//! The simulated world: it owns everything, lets events happen in order, and checks what must hold.

use std::collections::BTreeMap;
use std::time::Duration;

use catnap_wire::RevisionId;

use crate::activator::Activator;
use crate::agenda::Agenda;
use crate::cluster::Cluster;
use crate::event::{Event, Message, Process};
use crate::leader::{LeaderProcess, Lease};
use crate::network::Link;
use crate::options::{Faults, Load, Options, Rule};
use crate::random::Random;
use crate::request::{Request, Stage};

/// Faults and requests end here.
pub(crate) const QUIET: Duration = Duration::from_secs(30);
/// From then on everything must have ended, and the function rests.
const RESTED: Duration = Duration::from_secs(30);
/// A request on the resting function is answered within this time.
const LAST: Duration = Duration::from_secs(12);

pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) random: Random,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) cluster: Cluster,
    pub(crate) activators: Vec<Activator>,
    pub(crate) leaders: Vec<LeaderProcess>,
    pub(crate) lease: Lease,
    pub(crate) links: Vec<Link>,
    pub(crate) requests: Vec<Request>,
    /// Which request a ticket belongs to.
    pub(crate) tickets: Vec<usize>,
    /// Views of one watcher arrive in order.
    pub(crate) last_seen: BTreeMap<(Process, &'static str), Duration>,
    pub(crate) revision: RevisionId,
    pub(crate) quiet: bool,
    /// The last write did not arrive.
    pub(crate) losing: bool,
    /// Writes of a leader that arrived when the lease was another's.
    pub(crate) after_term: usize,
    violation: Option<String>,
    /// What happened, for people; kept only when asked for.
    trace: Option<Vec<String>>,
}

/// What one run came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) runs: usize,
    pub(crate) requests: usize,
    /// How often the count became zero by a write.
    pub(crate) zeros: usize,
    /// Writes of a leader that arrived when the lease was another's.
    pub(crate) after_term: usize,
    /// How often some replicas were removed, and some stayed.
    pub(crate) fewer: usize,
}

impl World {
    pub(crate) fn new(options: Options, traced: bool) -> Self {
        let revision = RevisionId {
            namespace: "default".into(),
            name: "hello-1".into(),
            function_uid: "function-uid".into(),
        };
        Self {
            options,
            random: Random::new(options.seed),
            agenda: Agenda::new(),
            cluster: Cluster::new(),
            activators: Vec::new(),
            leaders: Vec::new(),
            lease: Lease::default(),
            links: Vec::new(),
            requests: Vec::new(),
            tickets: Vec::new(),
            last_seen: BTreeMap::new(),
            revision,
            quiet: false,
            losing: false,
            after_term: 0,
            violation: None,
            trace: traced.then(Vec::new),
        }
    }

    /// Lets everything happen; an error is what must not have happened, and how it came to it.
    pub(crate) fn run(mut self) -> Result<Summary, (String, Vec<String>)> {
        self.begin();
        let mut ended = false;
        while !ended && self.violation.is_none() {
            let Some(event) = self.agenda.next() else { break };
            ended = matches!(event, Event::End);
            self.happen(event);
        }
        if let Some(violation) = self.violation {
            return Err((violation, self.trace.unwrap_or_default()));
        }
        Ok(Summary {
            runs: 1,
            requests: self.requests.len(),
            zeros: self.leaders.iter().map(|leader| leader.zeros).sum(),
            after_term: self.after_term,
            fewer: self.leaders.iter().map(|leader| leader.fewer).sum(),
        })
    }

    fn begin(&mut self) {
        self.happen(Event::Elect);
        for _ in 0..self.options.activators {
            self.start_activator(true);
        }
        self.agenda.after(Duration::from_secs(2), Event::Arrive);
        if self.options.load == Load::Steady {
            self.agenda.after(Duration::from_secs(2), Event::Surge);
        }
        if self.options.joiner {
            let at = self.random.milliseconds(3_000, 20_000);
            self.agenda.after(at, Event::Join);
        }
        if self.options.faults != Faults::None {
            self.agenda.after(Duration::from_secs(3), Event::Fault);
        }
        self.agenda.at(QUIET, Event::Quiet);
        self.agenda.at(QUIET + RESTED, Event::Rested);
        self.agenda.at(QUIET + RESTED + LAST, Event::End);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::To(process, message) => self.reach(process, message),
            Event::Put { from, question, replicas, version, answered } => {
                self.put_arrives(from, question, replicas, &version, answered);
            }
            Event::Get { from, question } => self.get_arrives(from, question),
            Event::List { leader, token } => self.list_arrives(leader, token),
            Event::Mark { pod, marked } => self.mark_arrives(&pod, marked),
            Event::MarkSeen(pod) => self.cluster.pods[pod].first = self.cluster.pods[pod].marked,
            Event::Copy => self.deployment_controller(),
            Event::Act => self.replica_set_controller(),
            Event::Count => self.cluster.count(),
            Event::PodStarts(pod) => self.pod_starts(pod),
            Event::PodReady(pod) => self.pod_ready(pod),
            Event::PodStops(pod) => self.pod_stops(pod),
            Event::Served(request) => self.served(request),
            Event::Arrive => self.arrive(),
            Event::Surge => self.surge(),
            Event::Elect => self.elect(),
            Event::Renewal { leader, sent } => self.renewal_arrives(leader, sent),
            Event::Fault => self.fault(),
            Event::Listed { activator, listed } => self.listed(activator, listed),
            Event::Restart { activator } => self.restart_activator(activator),
            Event::Join => self.start_activator(false),
            Event::Quiet => self.quiet = true,
            Event::Rested => self.must_rest(),
            Event::End => self.must_have_ended(),
        }
    }

    /// A message reaches a process: now, when it runs again, or never.
    fn reach(&mut self, process: Process, message: Message) {
        let now = self.agenda.now();
        let (alive, paused_until) = match process {
            Process::Activator(index) => (self.activators[index].alive, self.activators[index].paused_until),
            Process::Leader(index) => {
                (self.leaders[index].leader.is_some(), self.leaders[index].paused_until)
            }
        };
        if !alive {
            self.never_arrives(&message);
        } else if now < paused_until {
            self.agenda.at(paused_until, Event::To(process, message));
        } else {
            match process {
                Process::Activator(index) => self.activator_hears(index, message),
                Process::Leader(index) => self.leader_hears(index, message),
            }
        }
    }

    /// The process is dead: requests on their way through it end with it.
    fn never_arrives(&mut self, message: &Message) {
        if let Message::Request(request) | Message::Reach { request, .. } | Message::Finished(request, _) =
            message
        {
            self.requests[*request].stage = Stage::Orphaned;
        }
    }

    /// Everything has had its time: requests have ended, and the function rests.
    fn must_rest(&mut self) {
        self.must_have_ended();
        if self.cluster.replicas > 0 {
            let explained: Vec<_> =
                self.leaders.iter().filter_map(|process| process.leader.as_ref()).collect();
            let explained =
                format!("{:?}", explained.iter().map(|leader| leader.explain()).collect::<Vec<_>>());
            self.note(|| explained);
            self.violate(format!("still {} replicas long after the last request", self.cluster.replicas));
        }
        for activator in 0..self.activators.len() {
            if self.activators[activator].alive {
                self.new_request(activator);
            }
        }
    }

    fn must_have_ended(&mut self) {
        let waiting = self.requests.iter().position(|request| !request.has_ended());
        if let Some(request) = waiting {
            let stage = self.requests[request].stage;
            self.violate(format!("request {request} waits for ever: {stage:?}"));
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.agenda.now()
    }

    pub(crate) fn without(&self, rule: Rule) -> bool {
        self.options.without == Some(rule)
    }

    /// Remembers the first thing that must not be.
    pub(crate) fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    /// A line of the trace.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.agenda.now();
        if let Some(trace) = &mut self.trace {
            // There is only one revision: its name on every line would hide the rest.
            let line = line().replace(&format!("revision: {:?}, ", self.revision), "");
            trace.push(format!("{:>10.6} {line}", now.as_secs_f64()));
        }
    }
}
