//! The wish to stop: SIGTERM or SIGINT cancels a token that the whole process listens to.
//!
//! What has to happen between the token and the exit, and in which order, is each process's own matter.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Why the process cannot listen for signals.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// A handler could not be installed.
    #[error("cannot listen for {name}")]
    Listen {
        /// The signal.
        name: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

/// Starts listening, within a tokio runtime; the token is cancelled by the first SIGTERM or SIGINT.
pub fn on_signal() -> Result<CancellationToken, ShutdownError> {
    let listen = |kind, name| signal(kind).map_err(|source| ShutdownError::Listen { name, source });
    let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "shutting down");
        cancelled.cancel();
    });
    Ok(token)
}
