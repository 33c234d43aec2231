//! Plain types of what activators say to each other: who owns the slots of a revision with a limit, and slots asked for.
//!
//! One stream joins each two activators, and both say the same kinds of frames on it. No request and no body is among them.

use crate::message::{PodUid, RevisionId};

/// Most slots asked for, or taken back, in one frame: the most requests that any queue holds.
pub const MAX_SLOTS: u32 = 1_000_000;

/// What an activator says to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerFrame {
    /// To be answered with a `Pong` at once.
    Ping {
        /// To be given back.
        number: u64,
        /// The sender had a `Pong` of the receiver at some time: it knows when it would have to stop without another.
        met: bool,
    },
    /// Answer to a `Ping`.
    Pong {
        /// Of the `Ping`.
        number: u64,
    },
    /// The sender drains: it must not own slots any more, if anybody else can.
    Leaving,
    /// The sender ends now: it owns nothing and says nothing any more.
    Bye,
    /// About the slots of one revision.
    Slots {
        /// The revision.
        revision: RevisionId,
        /// What about them.
        message: SlotMessage,
    },
}

/// About the slots of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotMessage {
    /// The sender wants to own the slots: whoever does not is to answer `Released`.
    Claim,
    /// A `Claim` is taken back.
    Unclaim,
    /// Answer to a `Claim`: the sender owns the slots, or is about to, and has the better right to.
    Mine,
    /// The sender does not own the slots, and from now on opens exchanges by grants of the receiver only.
    Released {
        /// Told apart by it from earlier ones of the same sender; grants name it.
        turn: u64,
        /// `concurrency.limit` of the revision; 0 when the sender does not know it.
        limit: u32,
        /// Exchanges that the sender has open, per pod.
        open: Vec<OpenExchanges>,
    },
    /// To one that released the slots to the sender: the sender does not own them (any more), so it is free again.
    NotMine {
        /// Of the `Released`.
        turn: u64,
        /// UID of the pod of the activator that the sender takes for the owner.
        instead: Option<PodUid>,
    },
    /// Pods that the sender can use, as changes to what it said since its `Released`.
    Usable {
        /// It can use these, too.
        added: Vec<PodUid>,
        /// It cannot use these any more.
        removed: Vec<PodUid>,
    },
    /// The sender wants more slots, after those that it waits for.
    Acquire {
        /// How many more.
        count: u32,
    },
    /// The sender wants fewer slots: the last ones that it asked for are taken back.
    Withdraw {
        /// How many fewer.
        count: u32,
    },
    /// One more exchange may be opened.
    Grant {
        /// Of the receiver's `Released`.
        turn: u64,
        /// With this pod.
        pod: PodUid,
    },
    /// An exchange ended, or was not opened.
    Release {
        /// With this pod.
        pod: PodUid,
    },
}

/// Exchanges that are open with one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenExchanges {
    /// UID of the pod.
    pub pod: PodUid,
    /// How many.
    pub count: u32,
}
