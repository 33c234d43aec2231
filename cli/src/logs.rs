//! `catnap logs`: what the containers of a Function have written, of all its pods at once.

mod follow;

use std::time::Duration as StdDuration;

use catnap_crds::{Duration, Function, names};
use futures::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};

use crate::cluster::{self, ClusterError};
use crate::connection::call::{Act, CallError};
use crate::connection::{Connection, ConnectionArguments};
use crate::exit::{Exit, Failure};
use crate::terminal::{Look, Terminal, Tone};
use crate::{name, pods};

/// Flags of `catnap logs`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Function, as NAME or function/NAME.
    #[arg(value_name = "NAME", value_parser = name::function)]
    pub(crate) name: String,
    /// Only pods of this revision.
    #[arg(long)]
    pub(crate) revision: Option<String>,
    /// Only this pod.
    #[arg(long)]
    pub(crate) pod: Option<String>,
    /// Container of the pods.
    #[arg(short, long, default_value = names::CONTAINER)]
    pub(crate) container: String,
    /// Go on with what is written from now on, also by pods that come later, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// What the containers wrote before they were last started anew.
    #[arg(short, long, conflicts_with = "follow")]
    pub(crate) previous: bool,
    /// Only what is younger, such as 5m.
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<Duration>,
    /// Last lines of each pod; `all` for every line.
    #[arg(long, value_name = "LINES", default_value = "100", value_parser = tail)]
    pub(crate) tail: Tail,
    /// Begin each line with its time.
    #[arg(long)]
    pub(crate) timestamps: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Bytes of a line that are kept before they are written; a longer one is broken.
const LONGEST_LINE: u64 = 1 << 20;

/// How many lines from the end; `None` for every line.
type Tail = Option<i64>;

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogsError {
    /// The cluster does not give or take it.
    #[error(transparent)]
    Cluster {
        /// Why.
        source: ClusterError,
    },
    /// What was read breaks off.
    #[error("the log of pod {pod} breaks off")]
    BreaksOff {
        /// Whose.
        pod: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing more comes of a log that is not followed.
    #[error("the log of pod {pod} has not gone on for {} s", patience.as_secs_f64())]
    Late {
        /// Whose.
        pod: String,
        /// How long it had.
        patience: StdDuration,
    },
}

/// Shows what was written.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), LogsError> {
    let connection = cluster::connect(&arguments.connection).await.map_err(in_cluster)?;
    show(&arguments, &connection, terminal).await
}

async fn show(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), LogsError> {
    let (_, function) = cluster::read(connection, &arguments.name).await.map_err(in_cluster)?;
    let source = Source { arguments: arguments.clone(), connection: connection.clone(), function };
    let mut pods = pods::list(connection, &source.function).await.map_err(refused)?;
    pods.retain(|pod| source.takes(pod));
    if pods.is_empty() {
        terminal.note(&source.nobody());
    }
    if arguments.follow {
        return follow::run(source, &pods, terminal).await;
    }
    source.show_all(&pods, terminal).await
}

fn in_cluster(source: ClusterError) -> LogsError {
    LogsError::Cluster { source }
}

fn refused(source: CallError) -> LogsError {
    in_cluster(ClusterError::Call { source })
}

/// Where lines come from.
#[derive(Clone)]
struct Source {
    arguments: Arguments,
    connection: Connection,
    function: Function,
}

impl Source {
    /// Whether the log of a pod is asked for.
    fn takes(&self, pod: &Pod) -> bool {
        let Some(revision) = pods::revision(pod, &self.function) else { return false };
        let Arguments { revision: wanted, pod: wanted_pod, .. } = &self.arguments;
        wanted.as_deref().is_none_or(|wanted| wanted == revision)
            && wanted_pod.as_ref().is_none_or(|wanted| Some(wanted) == pod.metadata.name.as_ref())
    }

    /// Said where there is no pod to read from.
    fn nobody(&self) -> String {
        let Arguments { name, revision, pod, follow, .. } = &self.arguments;
        let wanted = revision.as_ref().map(|revision| format!("pod of revision {revision}"));
        let wanted = pod.as_ref().map(|pod| format!("pod {pod}")).or(wanted);
        let wanted = wanted.unwrap_or_else(|| "pod".to_owned());
        let wait = if *follow { "waiting for one" } else { "--follow waits for one" };
        format!("{name} has no {wanted} now; {wait}.")
    }

    async fn show_all(&self, pods: &[Pod], terminal: &mut Terminal) -> Result<(), LogsError> {
        let mut failed = None;
        for (index, pod) in pods.iter().enumerate() {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let lines = match self.open(name, &self.parameters(false)).await {
                Ok(lines) => lines,
                Err(error) => {
                    // One that has not begun to write does not hide the others.
                    terminal.note(&cannot(name, &error));
                    failed = Some(error);
                    continue;
                }
            };
            let prefix = if pods.len() > 1 { prefix(name, index, terminal.look()) } else { String::new() };
            copy(lines, name, &prefix, self.connection.patience, terminal).await?;
        }
        match failed {
            Some(source) if pods.len() == 1 => Err(refused(source)),
            _ => Ok(()),
        }
    }

    /// How to ask for a log; `follow` of a container that has begun while we looked: from its beginning.
    fn parameters(&self, new: bool) -> LogParams {
        let Arguments { container, follow, previous, since, tail, timestamps, .. } = &self.arguments;
        LogParams {
            container: Some(container.clone()),
            follow: *follow,
            previous: *previous,
            since_seconds: since
                .filter(|_| !new)
                .map(|since| i64::try_from(since.get().as_secs()).unwrap_or(i64::MAX)),
            tail_lines: tail.filter(|_| !new),
            timestamps: *timestamps,
            ..LogParams::default()
        }
    }

    async fn open(
        &self,
        pod: &str,
        parameters: &LogParams,
    ) -> Result<impl AsyncBufRead + Send + use<>, CallError> {
        let namespace = &self.connection.namespace;
        let api: Api<Pod> = Api::namespaced(self.connection.client.clone(), namespace);
        let act = Act::on("get", "pods/log", namespace, pod);
        self.connection.call(act, api.log_stream(pod, parameters)).await
    }
}

/// Writes every line, with `prefix` before it; no wait for more of it is longer than `patience`.
async fn copy(
    lines: impl AsyncBufRead,
    pod: &str,
    prefix: &str,
    patience: StdDuration,
    terminal: &mut Terminal,
) -> Result<(), LogsError> {
    let mut lines = std::pin::pin!(lines);
    loop {
        let late = |_| LogsError::Late { pod: pod.to_owned(), patience };
        let read = tokio::time::timeout(patience, line(&mut lines)).await.map_err(late)?;
        match read.map_err(|source| LogsError::BreaksOff { pod: pod.to_owned(), source })? {
            Some(line) => write(prefix, &line, terminal)?,
            None => return Ok(()),
        }
    }
}

/// The next line, or as much of it as a line may have; `None` after the last one.
async fn line(lines: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = lines.take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    Ok((read > 0).then_some(line))
}

/// Containers may write any bytes; a last line without an end gets one.
fn write(prefix: &str, line: &[u8], terminal: &mut Terminal) -> Result<(), LogsError> {
    let mut whole = prefix.as_bytes().to_vec();
    whole.extend_from_slice(line);
    if !whole.ends_with(b"\n") {
        whole.push(b'\n');
    }
    terminal.write_bytes(&whole).map_err(|source| in_cluster(ClusterError::Write { source }))
}

/// `<pod> | `, in a colour that tells neighbours apart.
fn prefix(pod: &str, index: usize, look: Look) -> String {
    let tones = [Tone::Good, Tone::Waiting, Tone::Strong, Tone::Faint];
    look.paint(tones[index % tones.len()], pod) + " | "
}

fn cannot(pod: &str, error: &CallError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("pod {pod}: {error}{cause}")
}

/// Lines from the end.
fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(None),
        number => match number.parse() {
            Ok(lines) if lines >= 0 => Ok(Some(lines)),
            _ => Err("write a number of lines, or all".to_owned()),
        },
    }
}

impl Failure for LogsError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Cluster { source } => Some(source),
            Self::BreaksOff { .. } | Self::Late { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Late { .. } => Exit::Unreachable,
            other => other.inner().map_or(Exit::Failed, Failure::exit),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Late { .. } => Some("a longer --request-timeout, or --follow".to_owned()),
            other => other.inner().and_then(Failure::advice),
        }
    }
}

#[cfg(test)]
mod tests;
