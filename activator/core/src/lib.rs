//! The activator without sockets and without Kubernetes: it routes, holds, wakes, chooses pods, limits and measures.
//!
//! [`Activator`] is what a process uses: the HTTP layer asks it for [`Slot`]s, the driver feeds it what it watches and carries
//! out its [`Command`]s. [`Revision`] is the state machine inside, one per revision, which a simulation drives as it is.
//! Nothing here waits, reads a clock of its own, or does I/O.

mod activator;
mod aliases;
mod authority;
mod budget;
mod capacity;
mod clock;
mod destination;
mod effect;
mod function;
mod gate;
pub mod invariants;
mod measure;
mod members;
mod overload;
mod phases;
mod pod;
mod pressure;
mod probe;
mod process;
mod queue;
mod random;
mod reason;
mod revision;
mod route;
mod routes;
mod routing;
mod settings;
mod shared;
mod slots;
mod split;
mod sync;
mod timeouts;
mod waiting;
mod wake;

pub use activator::{Activator, FunctionState, PeerState, PodSnapshot, RevisionState, Snapshot};
pub use budget::{Budgets, HeldBytes};
pub use clock::{Clock, ManualClock, SystemClock};
pub use destination::Destination;
pub use effect::{Arrival, Effect, Grant, Probe, Scale, ScaleError};
pub use function::Function;
pub use gate::ALONE_AFTER;
pub use measure::through;
pub use members::is_first;
pub use overload::{BUSY_LIMIT, BYTES_OF_WORK, Overload};
pub use phases::Phases;
pub use pod::{Pod, PodKey, Protocol};
pub use process::{Command, Connection};
pub use queue::Ticket;
pub use reason::{FunctionName, Reason, Refusal, Trouble};
pub use revision::{Effects, Revision, Route, Start};
pub use route::{FunctionPolicy, FunctionRoute, HostRoute, RevisionRoute, Share, TagRoute};
pub use routes::Listener;
pub use settings::{Policy, Settings};
pub use slots::{LinkEffect, LinkId, Links, Member, PeerId};
pub use timeouts::Timeouts;
pub use waiting::{Admission, Slot, Waiting};
