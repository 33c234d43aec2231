//! Everything that happens in the simulated world.

use std::sync::Arc;
use std::time::Duration;

use catnap_activator_core::{Grant, Pod, ScaleError};
use catnap_autoscaler_core::{PodFact, ReadOutcome, ScaleFact, Token, WriteOutcome};
use catnap_wire::{ActivatorFrame, LeaderFrame, PodUid};

/// A process that can be slow, paused or dead when an event reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Process {
    Activator(usize),
    Leader(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Reaches a process, once it runs.
    To(Process, Message),
    /// A PUT reaches the API server. Its answer is sent unless nobody waits for it any more.
    Put {
        from: Process,
        question: Question,
        replicas: u32,
        version: Arc<str>,
        answered: bool,
    },
    Get {
        from: Process,
        question: Question,
    },
    List {
        leader: usize,
        token: Token,
    },
    /// A PATCH of a pod's deletion cost reaches the API server.
    Mark {
        pod: PodUid,
        marked: bool,
    },
    /// The ReplicaSet controller sees the cost of a pod.
    MarkSeen(usize),
    Copy,
    Act,
    /// The ReplicaSet controller sees what it has made and deleted.
    Count,
    PodStarts(usize),
    PodReady(usize),
    /// The lame-duck time of a pod is over.
    PodStops(usize),
    /// A pod is done with a request.
    Served(usize),
    Arrive,
    /// Many requests at once, and one that takes long.
    Surge,
    Elect,
    /// A leader's renewal reaches the API server.
    Renewal {
        leader: usize,
        sent: Duration,
    },
    Fault,
    /// An activator's pod is in the list of the API server, or not.
    Listed {
        activator: usize,
        listed: bool,
    },
    Restart {
        activator: usize,
    },
    Join,
    /// No more faults and requests from here on.
    Quiet,
    /// By now all must have ended and the function must rest.
    Rested,
    End,
}

/// Who asked the API server, and how it recognises the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    Leader(Token),
    Activator(u64),
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// A watch tells.
    Scale(ScaleFact),
    PodFacts(Vec<PodFact>),
    Pods(Vec<Pod>),
    Activators(Vec<PodUid>),
    Lease(Option<usize>),
    /// A stream tells.
    Opened {
        link: usize,
    },
    Up {
        link: usize,
        frame: ActivatorFrame,
    },
    Down {
        link: usize,
        frame: LeaderFrame,
    },
    Lost {
        link: usize,
    },
    /// An answer of the API server, or the time to wait for one is over.
    Read(Token, ReadOutcome),
    Written(Token, WriteOutcome),
    ListedPods(Token, Option<Vec<PodUid>>),
    ReadAlone(u64, Result<catnap_activator_core::Scale, ScaleError>),
    RaisedAlone(u64, Result<(), ScaleError>),
    /// The turn of a write has come.
    StartPut {
        replicas: u32,
        version: Arc<str>,
        not_after: Option<Duration>,
        token: Token,
    },
    /// The turn of the write of a pod's cost has come.
    StartMark {
        pod: PodUid,
        marked: bool,
        not_after: Duration,
    },
    Tick,
    /// Every 100 ms.
    Beat,
    Renew,
    /// The renewal that was sent then is accepted; `None`: the lease is another's.
    Renewed(Option<Duration>),
    Connect,
    Request(usize),
    /// The connection for a granted request reaches its pod.
    Reach {
        request: usize,
        grant: Grant,
    },
    Finished(usize, Grant),
    Probed(PodUid, bool),
}
