//! Waiting until a Function is what its spec says, and telling meanwhile what it waits for.

use std::pin::pin;

use catnap_crds::{Duration, Function};
use futures::{Stream, TryStreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};

use crate::connection::call::{Act, CallError};
use crate::exit::{Exit, Failure};
use crate::functions::{Found, Functions, GuardedObject, UnreadableError};
use crate::readiness::{NOT_OBSERVED, Readiness, condition};
use crate::terminal::Terminal;

/// Flags of every command that waits for a Function.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct SettleArguments {
    /// Whether to wait until the Function is what was asked for.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) wait: bool,
    /// Longest wait for that.
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    pub(crate) timeout: Duration,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The latest revision serves, as far as `spec.traffic` lets it.
    Ready,
    /// Requests go where `spec.traffic` says.
    Routed,
}

/// Why it is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettleError {
    /// It cannot become so.
    #[error("function/{name} is stalled: {reason}")]
    Stalled {
        /// Its name.
        name: String,
        /// Where it is.
        namespace: String,
        /// In one word.
        reason: String,
        /// What is wrong, and what goes on serving.
        #[source]
        source: Message,
    },
    /// It has not become so.
    #[error("function/{name} is not what was asked for after {timeout}")]
    TimeOver {
        /// Its name.
        name: String,
        /// Where it is.
        namespace: String,
        /// How long it had.
        timeout: Duration,
        /// What it waits for.
        #[source]
        source: Message,
    },
    /// Somebody deleted it.
    #[error("function/{name} was deleted meanwhile")]
    Deleted {
        /// Its name.
        name: String,
    },
    /// It is there, but what it says cannot be read.
    #[error(transparent)]
    Unreadable {
        /// Why.
        source: UnreadableError,
    },
    /// It cannot be watched.
    #[error(transparent)]
    Watch {
        /// Why.
        source: CallError,
    },
}

/// A condition's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Message(String);

/// The Function, once it is what its spec, as `written` or later, says.
pub(crate) async fn settle(
    functions: &Functions,
    written: &Found,
    goal: Goal,
    timeout: Duration,
    terminal: &mut Terminal,
) -> Result<Found, SettleError> {
    let name = written.name();
    let changes = watch_object(functions.api(), name).default_backoff();
    let mut awaited = "nothing was seen of it yet".to_owned();
    let following = follow(functions, written, goal, changes, &mut awaited, terminal);
    if let Ok(settled) = tokio::time::timeout(timeout.get(), following).await {
        return settled;
    }
    let (name, namespace) = (name.to_owned(), place(functions));
    Err(SettleError::TimeOver { name, namespace, timeout, source: Message(awaited) })
}

fn place(functions: &Functions) -> String {
    functions.namespace().unwrap_or_default().to_owned()
}

async fn follow(
    functions: &Functions,
    written: &Found,
    goal: Goal,
    changes: impl Stream<Item = watcher::Result<Option<GuardedObject>>>,
    awaited: &mut String,
    terminal: &mut Terminal,
) -> Result<Found, SettleError> {
    let name = written.name();
    let mut changes = pin!(changes);
    loop {
        let object = match changes.try_next().await {
            Ok(Some(Some(object))) => object,
            Ok(_) => return Err(SettleError::Deleted { name: name.to_owned() }),
            Err(error) => {
                let act = Act::on_function("watch", functions.namespace().unwrap_or_default(), name);
                if let Some(source) = functions.refused(act, &error) {
                    return Err(SettleError::Watch { source });
                }
                *awaited = format!("the watch was interrupted: {error}");
                terminal.progress(awaited);
                continue;
            }
        };
        let found = Found::from(object);
        if found.object.metadata.generation < written.object.metadata.generation {
            continue;
        }
        let function = found.understood().map_err(|source| SettleError::Unreadable { source })?;
        match goal.of(function) {
            Readiness::Ready => return Ok(found),
            Readiness::Stalled(reason) => {
                let source = Message(stalled(function, goal));
                let (name, namespace) = (name.to_owned(), place(functions));
                return Err(SettleError::Stalled { name, namespace, reason, source });
            }
            Readiness::Waiting(reason) => {
                *awaited = waiting(function, goal, &reason);
                terminal.progress(&format!("{name}: {awaited}"));
            }
        }
    }
}

impl Goal {
    fn of(self, function: &Function) -> Readiness {
        match self {
            Self::Ready => Readiness::of(function),
            Self::Routed => Readiness::of_routes(function),
        }
    }

    /// What the condition that tells of it says.
    fn message(self, function: &Function) -> String {
        let type_ = match self {
            Self::Ready => "Ready",
            Self::Routed => "RoutesReady",
        };
        condition(function, type_).map(|condition| condition.message.clone()).unwrap_or_default()
    }
}

/// What a Function waits for.
fn waiting(function: &Function, goal: Goal, reason: &str) -> String {
    if reason == NOT_OBSERVED {
        return "waiting for Catnap's operator to look at it".to_owned();
    }
    let message = goal.message(function);
    if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") }
}

/// What is wrong with it, and who answers meanwhile.
fn stalled(function: &Function, goal: Goal) -> String {
    let message = goal.message(function);
    let status = function.status.as_ref();
    let latest = status.and_then(|status| status.latest_created_revision.as_ref());
    let serving = status.into_iter().flat_map(|status| &status.traffic);
    let serving: Vec<_> = serving
        .filter(|share| share.percent > 0 && Some(&share.revision) != latest)
        .map(|share| share.revision.as_str())
        .collect();
    if serving.is_empty() { message } else { format!("{message}; {} goes on serving", serving.join(", ")) }
}

impl Failure for SettleError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Unreadable { source } => Some(source),
            Self::Watch { source } => Some(source),
            Self::Stalled { .. } | Self::TimeOver { .. } | Self::Deleted { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Stalled { .. } => Exit::Stalled,
            Self::TimeOver { .. } => Exit::TimeOver,
            Self::Deleted { .. } => Exit::NotFound,
            other => other.inner().map_or(Exit::Failed, Failure::exit),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Stalled { name, namespace, reason, .. } => Some(format!(
                "`catnap describe {name} --namespace {namespace}`; docs/troubleshooting.md#{} says what to do",
                reason.to_lowercase()
            )),
            Self::TimeOver { name, namespace, .. } => {
                Some(format!("`catnap describe {name} --namespace {namespace}`; a longer --timeout"))
            }
            other => other.inner().and_then(Failure::advice),
        }
    }
}
