//! Logs of the process: text for people or JSON lines for collectors, filtered by directives.

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged and how.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryArgs {
    /// What to log: a level, or directives such as `info,catnap_autoscaler=debug`.
    #[arg(long = "log", env = "CATNAP_LOG", default_value = "info")]
    pub log: String,
    /// How log lines look.
    #[arg(long = "log-format", env = "CATNAP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The directives make no sense.
    #[error("cannot read the log directives {directives:?}")]
    Directives {
        /// What was given.
        directives: String,
        /// Where it went wrong.
        #[source]
        source: ParseError,
    },
    /// Another subscriber is there already.
    #[error("logging is already set up")]
    Install {
        /// What the subscriber said.
        #[source]
        source: TryInitError,
    },
}

/// Sets up logging to standard error for the whole process; once, first thing in `main`.
pub fn init(args: &TelemetryArgs) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|source| TelemetryError::Directives { directives: args.log.clone(), source })?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|source| TelemetryError::Install { source })
}

#[cfg(test)]
mod tests {
    use super::{LogFormat, TelemetryArgs, TelemetryError, init};

    #[test]
    fn directives_that_make_no_sense_are_reported_with_their_text() {
        let args = TelemetryArgs { log: "catnap=loudest".into(), log_format: LogFormat::Text };
        let refused = init(&args);
        assert!(
            matches!(refused, Err(TelemetryError::Directives { directives, .. }) if directives == "catnap=loudest")
        );
    }
}
