//! A port of this machine that kubectl forwards to the leading autoscaler, as long as this lives.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Port of the admin server in the pod.
const ADMIN_PORT: u16 = 9090;
/// Longest that kubectl may take for one thing.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why no port is forwarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// There is no kubectl.
    #[error("cannot run kubectl")]
    Run {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// It says no.
    #[error("kubectl: {said}")]
    Refused {
        /// What it said.
        said: String,
    },
    /// It says nothing.
    #[error("kubectl has not answered within {} s", PATIENCE.as_secs())]
    Timeout,
    /// Nobody holds the Lease.
    #[error("no autoscaler holds the Lease {lease} in namespace {namespace}")]
    NoLeader {
        /// Its name.
        lease: String,
        /// Its namespace.
        namespace: String,
    },
}

/// A forwarded port; dropping it ends kubectl.
#[derive(Debug)]
pub(super) struct Forward {
    authority: String,
    /// kubectl says a word for each connection, and ends when nobody could read it.
    _output: Lines<BufReader<ChildStdout>>,
    _kubectl: Child,
}

impl Forward {
    /// Forwards to the pod that holds the Lease.
    pub(super) async fn to_leader(namespace: &str, lease: &str) -> Result<Self, ForwardError> {
        let pod = leader(namespace, lease).await?;
        let mut kubectl = kubectl(namespace)
            .args(["port-forward", &format!("pod/{pod}"), &format!(":{ADMIN_PORT}")])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| ForwardError::Run { source })?;
        let refused = || ForwardError::Refused { said: "port-forward ended; see above".to_owned() };
        let mut lines = BufReader::new(kubectl.stdout.take().ok_or_else(refused)?).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.map_err(|_| ForwardError::Timeout)?;
        let line = line.map_err(|source| ForwardError::Run { source })?.ok_or_else(refused)?;
        let authority = forwarded(&line).ok_or(ForwardError::Refused { said: line.clone() })?;
        Ok(Self { authority: authority.to_owned(), _output: lines, _kubectl: kubectl })
    }

    /// Host and port.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

/// The pod whose process holds the Lease.
async fn leader(namespace: &str, lease: &str) -> Result<String, ForwardError> {
    let asked =
        kubectl(namespace).args(["get", "lease", lease, "--output=jsonpath={.spec.holderIdentity}"]).output();
    let answer = timeout(PATIENCE, asked).await.map_err(|_| ForwardError::Timeout)?;
    let answer = answer.map_err(|source| ForwardError::Run { source })?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        return Err(ForwardError::Refused { said });
    }
    // `<pod>_<boot>`
    let holder = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    match holder.rsplit_once('_') {
        Some((pod, _)) if !pod.is_empty() => Ok(pod.to_owned()),
        _ => Err(ForwardError::NoLeader { lease: lease.to_owned(), namespace: namespace.to_owned() }),
    }
}

fn kubectl(namespace: &str) -> Command {
    let mut command = Command::new("kubectl");
    command.args(["--namespace", namespace]).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// `127.0.0.1:41234` of `Forwarding from 127.0.0.1:41234 -> 9090`.
pub(super) fn forwarded(line: &str) -> Option<&str> {
    line.strip_prefix("Forwarding from ")?.split_once(" -> ").map(|(authority, _)| authority)
}
