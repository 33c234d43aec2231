//! What a run is made of: how many activators, which faults, and which rule is taken away.

/// One run.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of trouble of its own")]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Activators at the start.
    pub(crate) activators: usize,
    /// Another one starts in the middle.
    pub(crate) joiner: bool,
    pub(crate) faults: Faults,
    /// The activators' clocks drift, and stand still for seconds where processes fail; else all show the time of the world.
    pub(crate) clocks: bool,
    pub(crate) load: Load,
    /// The API server refuses every raise by a leader, as an admission policy may: the activators are on their own.
    pub(crate) refused: bool,
    /// The API server answers a part of what it is asked with 429, and has done nothing then.
    pub(crate) throttled: bool,
    /// The rule that this run does without.
    pub(crate) without: Option<Rule>,
}

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// In bursts with pauses around the idle time, which is where zero is dangerous.
    Sparse,
    /// Short ones nearly all the time, surges that take more replicas, and at times one that takes long: here fewer is dangerous.
    Steady,
}

/// Which kinds of faults happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Delays only.
    None,
    /// Streams break, writes are lost or their outcome is unknown, reads and lists fail, somebody else touches the Deployment.
    Network,
    /// Processes are paused, killed and restarted, too.
    Processes,
    /// Renewals of the lease are late or lost, too, and a leader is paused after it looked at its lease and before it writes.
    Leaders,
}

impl Faults {
    pub(crate) fn of_processes(self) -> bool {
        matches!(self, Self::Processes | Self::Leaders)
    }
}

/// A rule of the protocol, or a bound that it relies on, that can be taken away: without it the simulation must find a run
/// that loses a request or leaves one waiting.
///
/// Not here, because this simulation finds nothing without them:
/// - (8), a round needs as many known pods as the count says. Leaders that were told of pods that do not exist, so that the
///   number was right, did no harm in 40,000 runs with a broken network. Probably (2) covers it: a pod that the leader does
///   not name is condemned by the activators that know it when they acknowledge, or hear of the zero. That is no proof.
/// - (2) for some pods: while they are closed only those that stay are used. Activators that used pods made since as well did no
///   harm with a broken network in seeds 0 to 12,235, where another fault that is mended now ended the search: a pod that is
///   replaced moves the version, so the write fails.
/// - The boot in a term (7). The elections here, as those of the Lease, count up with every process, so the boot never decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// (1) The gates of a new activator are closed until its hello is answered.
    ClosedUntilWelcome,
    /// (2) Condemned pods are never used again.
    Condemned,
    /// (3) While the leader talks no gate opens by itself.
    LeaderTalks,
    /// (4) Patience runs on through the answer that a wake is queued.
    Patience,
    /// A write fails unless its resourceVersion is current.
    Precondition,
    /// (5) No write of zero starts late, and none lands later than a gate waits.
    InTime,
    /// (6) A GET opens only the gate that it was sent for.
    ReadForThisGate,
    /// (7) Each leader has a new term: without it neither the transitions nor the boot tell two leaders apart.
    NewTerm,
    /// An activator asked to close counts what is in flight.
    Busy,
    /// A round needs every activator that exists, not only those that are connected.
    Listed,
    /// (9) An unknown outcome is unknown.
    Unknown,
    /// (10, 12) What the controllers have acted on is seen before pods are used or pardoned.
    Observed,
    /// (11) A hello is answered by the state of the gate.
    HelloByState,
    /// (13) What nobody named is not used before the controllers have acted on the zero.
    Acted,
    /// A pod that goes, but not all, is not used once its gate was asked to be closed.
    DrainBusy,
    /// The deletion cost was seen and has had its time before the lower count is written.
    CostSeen,
    /// Every pod that is not Ready is among those that go.
    Unready,
    /// Watches lag less than the lame-duck time.
    WatchLag,
    /// Nobody deletes the lease under a leader, which would act on beside the next one until it renews.
    Lease,
}
