//! Why Catnap itself answers a request, and what it answers with.
//!
//! The table of reasons with their status codes is part of the interface: callers and dashboards rely on it.

use catnap_wire::message::RevisionId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Reason of an answer that the function did not give. Its name is the `Catnap-Reason` header and the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// No function has this host.
    UnknownHost,
    /// The function's own queue is full.
    QueueFull,
    /// The process holds as much as it may, has no descriptor or port left, or too much to do.
    ProcessOverloaded,
    /// The process is shutting down and gave up waiting.
    Draining,
    /// No capacity came within `timeouts.activation`.
    ActivationTimeout,
    /// The image cannot be pulled.
    ImagePullFailed,
    /// The container keeps exiting.
    CrashLoop,
    /// No node takes the pod.
    Unschedulable,
    /// A quota forbids the pod.
    QuotaExceeded,
    /// The Function or its namespace is being deleted.
    Deleted,
    /// Kubernetes says the pod is ready, but its port does not answer here.
    PodUnreachable,
    /// The pod refused the connection until there was no time left.
    ConnectFailed,
    /// The pod closed or reset the exchange before its response head.
    UpstreamReset,
    /// No response head within `timeouts.firstByte`.
    FirstByteTimeout,
    /// No end of the response within `timeouts.request`.
    RequestTimeout,
    /// The request cannot be understood.
    BadRequest,
    /// CONNECT and TRACE are not served.
    MethodNotAllowed,
    /// The request head is larger than allowed.
    HeadTooLarge,
    /// The URI is longer than allowed.
    UriTooLong,
    /// The Function cannot be started for a reason of its own that the detail gives.
    Stalled,
}

impl Reason {
    /// All reasons, in the order of the documentation.
    pub const ALL: [Self; 20] = [
        Self::UnknownHost,
        Self::QueueFull,
        Self::ProcessOverloaded,
        Self::Draining,
        Self::ActivationTimeout,
        Self::ImagePullFailed,
        Self::CrashLoop,
        Self::Unschedulable,
        Self::QuotaExceeded,
        Self::Deleted,
        Self::PodUnreachable,
        Self::ConnectFailed,
        Self::UpstreamReset,
        Self::FirstByteTimeout,
        Self::RequestTimeout,
        Self::BadRequest,
        Self::MethodNotAllowed,
        Self::HeadTooLarge,
        Self::UriTooLong,
        Self::Stalled,
    ];

    /// Name as it stands in the `Catnap-Reason` header, in problem documents and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownHost => "UnknownHost",
            Self::QueueFull => "QueueFull",
            Self::ProcessOverloaded => "ProcessOverloaded",
            Self::Draining => "Draining",
            Self::ActivationTimeout => "ActivationTimeout",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::CrashLoop => "CrashLoop",
            Self::Unschedulable => "Unschedulable",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::Deleted => "Deleted",
            Self::PodUnreachable => "PodUnreachable",
            Self::ConnectFailed => "ConnectFailed",
            Self::UpstreamReset => "UpstreamReset",
            Self::FirstByteTimeout => "FirstByteTimeout",
            Self::RequestTimeout => "RequestTimeout",
            Self::BadRequest => "BadRequest",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::HeadTooLarge => "HeadTooLarge",
            Self::UriTooLong => "UriTooLong",
            Self::Stalled => "Stalled",
        }
    }

    /// The reason of this name, as Kubernetes conditions carry it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// HTTP status code (RFC 9110 15).
    pub const fn status(self) -> u16 {
        match self {
            Self::UnknownHost => 404,
            Self::ConnectFailed | Self::UpstreamReset => 502,
            Self::FirstByteTimeout | Self::RequestTimeout => 504,
            Self::BadRequest => 400,
            Self::MethodNotAllowed => 405,
            Self::HeadTooLarge => 431,
            Self::UriTooLong => 414,
            Self::QueueFull
            | Self::ProcessOverloaded
            | Self::Draining
            | Self::ActivationTimeout
            | Self::ImagePullFailed
            | Self::CrashLoop
            | Self::Unschedulable
            | Self::QuotaExceeded
            | Self::Deleted
            | Self::PodUnreachable
            | Self::Stalled => 503,
        }
    }

    /// gRPC status code: 4 `DEADLINE_EXCEEDED`, 12 `UNIMPLEMENTED`, 13 `INTERNAL`, 14 `UNAVAILABLE`.
    pub const fn grpc_status(self) -> u8 {
        match self {
            Self::UnknownHost => 12,
            Self::FirstByteTimeout | Self::RequestTimeout => 4,
            Self::BadRequest | Self::MethodNotAllowed | Self::HeadTooLarge | Self::UriTooLong => 13,
            _ => 14,
        }
    }

    /// One line for a person, without anything about the particular request.
    pub const fn title(self) -> &'static str {
        match self {
            Self::UnknownHost => "No function has this host",
            Self::QueueFull => "Too many requests are waiting for this function",
            Self::ProcessOverloaded => "The activator has no room for this request",
            Self::Draining => "This activator is shutting down",
            Self::ActivationTimeout => "The function did not get capacity in time",
            Self::ImagePullFailed => "The function's image cannot be pulled",
            Self::CrashLoop => "The function's container keeps exiting",
            Self::Unschedulable => "No node has room for the function",
            Self::QuotaExceeded => "A quota keeps the function from starting",
            Self::Deleted => "The function is being deleted",
            Self::PodUnreachable => "The function's pods cannot be reached",
            Self::ConnectFailed => "The function refused the connection",
            Self::UpstreamReset => "The function closed the connection",
            Self::FirstByteTimeout => "The function did not begin to answer in time",
            Self::RequestTimeout => "The function did not finish its answer in time",
            Self::BadRequest => "The request cannot be understood",
            Self::MethodNotAllowed => "The method is not allowed",
            Self::HeadTooLarge => "The request head is too large",
            Self::UriTooLong => "The URI is too long",
            Self::Stalled => "The function cannot be started",
        }
    }

    /// Value of `Retry-After`, where waiting helps.
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::QueueFull | Self::ProcessOverloaded | Self::Draining => Some(Duration::from_secs(1)),
            Self::ActivationTimeout | Self::PodUnreachable => Some(Duration::from_secs(5)),
            Self::CrashLoop | Self::Unschedulable => Some(Duration::from_secs(10)),
            Self::ImagePullFailed | Self::QuotaExceeded | Self::Stalled => Some(Duration::from_secs(30)),
            _ => None,
        }
    }

    /// True when waiting longer cannot help: held requests fail at once. Clusters grow and quotas are raised, so
    /// `Unschedulable` and `QuotaExceeded` only name the reason once the activation timed out.
    pub const fn ends_wait(self) -> bool {
        !matches!(self, Self::Unschedulable | Self::QuotaExceeded)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is known to be wrong with a pod, a revision or a Function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Reason to answer with.
    pub reason: Reason,
    /// What Kubernetes said, for a person.
    pub detail: Arc<str>,
}

impl Trouble {
    pub(crate) fn queue_full(held: usize) -> Self {
        Self {
            reason: Reason::QueueFull,
            detail: format!("{held} requests are waiting, and no more may").into(),
        }
    }

    pub(crate) fn overloaded() -> Self {
        Self {
            reason: Reason::ProcessOverloaded,
            detail: "this process holds as many requests as it may".into(),
        }
    }

    /// The process has places left, but not for a namespace that holds this many requests.
    pub(crate) fn share_used(held: usize, free: usize) -> Self {
        let detail =
            format!("{held} requests of this namespace are waiting; the last {free} places are for others");
        Self { reason: Reason::ProcessOverloaded, detail: detail.into() }
    }

    /// Its namespace may have more, but not a function that holds this many requests.
    pub(crate) fn function_share_used(held: usize, free: usize) -> Self {
        let detail =
            format!("{held} requests of this function are waiting; the last {free} places are for others");
        Self { reason: Reason::ProcessOverloaded, detail: detail.into() }
    }

    /// A function and its namespace that hold this many bytes want more than they may have.
    pub(crate) fn bytes_used(held: usize, of_all: usize, free: usize) -> Self {
        let detail = format!(
            "waiting requests of this function have {held} bytes, of this namespace {of_all}; for this one not enough of the \
             free {free} is left"
        );
        Self { reason: Reason::ProcessOverloaded, detail: detail.into() }
    }

    pub(crate) fn unknown_tag(tag: &str) -> Self {
        Self { reason: Reason::UnknownHost, detail: format!("the function has no tag {tag} any more").into() }
    }

    pub(crate) fn deleted() -> Self {
        Self { reason: Reason::Deleted, detail: "the Function was deleted".into() }
    }
}

/// Namespace and name of a Function, for problem documents and labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl fmt::Display for FunctionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// An answer that Catnap gives itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why; gives status codes, title and `Retry-After`.
    pub reason: Reason,
    /// What this one was about.
    pub detail: Arc<str>,
    /// The function, when the host was known.
    pub function: Option<FunctionName>,
    /// The revision that would have had the request, when one had been chosen.
    pub revision: Option<RevisionId>,
}

impl Refusal {
    /// A refusal that belongs to no function.
    pub fn new(reason: Reason, detail: impl Into<Arc<str>>) -> Self {
        Self { reason, detail: detail.into(), function: None, revision: None }
    }
}

#[cfg(test)]
mod tests;
