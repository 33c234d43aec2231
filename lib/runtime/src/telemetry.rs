//! Logs of the process: text for people or JSON lines for collectors, filtered by directives.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic::PanicHookInfo;

use tracing::field::display;
use tracing::{Dispatch, Level};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
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

/// Lines that may wait for whoever reads standard error; more are dropped.
const LINES: usize = 8_192;

/// The log of the process. Dropping it writes what waits, for a second at most.
#[derive(Debug)]
#[must_use = "lines of a log that is dropped are lost"]
pub struct Log {
    dropped: Dropped,
    _writing: WorkerGuard,
}

/// How many lines nobody took in time.
#[derive(Clone, Debug)]
pub struct Dropped(ErrorCounter);

impl Log {
    /// The count of dropped lines.
    pub fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }
}

impl Dropped {
    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.0.dropped_lines() as u64
    }
}

/// Sets up logging to standard error for the whole process; once, first thing in `main`.
///
/// Nobody who logs waits for the reader: a thread of its own writes, and lines that find too many others are dropped. Nor does
/// who panics, which is logged likewise.
pub fn init(args: &TelemetryArgs) -> Result<Log, TelemetryError> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|source| TelemetryError::Directives { directives: args.log.clone(), source })?;
    let (lines, writing) = unhurried(std::io::stderr());
    let dropped = Dropped(lines.error_counter());
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(lines);
    match args.log_format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    }
    .map_err(|source| TelemetryError::Install { source })?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Log { dropped, _writing: writing })
}

/// What is known of a panic, as one line.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    // Where somebody wants them (RUST_BACKTRACE).
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| display(backtrace));
    let (at, why) = (panic.location().map(display), panic.payload_as_str());
    tracing::error!(at, why, backtrace, "a thread panicked");
}

/// Takes lines at once and writes them on a thread of its own.
fn unhurried(to: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).thread_name("log").finish(to)
}

/// For a thread that writes lines of its own, whatever the process logs: every event goes to `writer`, at once.
pub fn apart(
    format: LogFormat,
    writer: impl for<'writer> fmt::MakeWriter<'writer> + Send + Sync + 'static,
) -> Dispatch {
    let lines = fmt().with_max_level(Level::INFO).with_writer(writer);
    match format {
        LogFormat::Text => lines.with_ansi(false).into(),
        LogFormat::Json => lines.json().flatten_event(true).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;

    use super::{LINES, LogFormat, TelemetryArgs, TelemetryError, fmt, init, unhurried};

    #[test]
    fn directives_that_make_no_sense_are_reported_with_their_text() {
        let args = TelemetryArgs { log: "catnap=loudest".into(), log_format: LogFormat::Text };
        let refused = init(&args);
        assert!(
            matches!(refused, Err(TelemetryError::Directives { directives, .. }) if directives == "catnap=loudest")
        );
    }

    /// Standard error whose reader does nothing until it is told to.
    struct Stuck(mpsc::Receiver<()>);

    impl io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Whoever lets it go drops the other end.
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_that_is_stuck() {
        let (go, gone) = mpsc::channel();
        let (lines, writing) = unhurried(Stuck(gone));
        let dropped = lines.error_counter();
        let subscriber = tracing_subscriber::registry().with(fmt::layer().with_writer(lines));
        tracing::subscriber::with_default(subscriber, || {
            (0..2 * LINES).for_each(|line| tracing::info!(line, "goes on"));
        });
        assert!(dropped.dropped_lines() >= LINES - 2, "{}", dropped.dropped_lines());
        drop(go);
        drop(writing);
    }

    /// Set in a process that runs nothing but one test.
    const ALONE: &str = "CATNAP_TEST_ALONE";

    /// Panics often enough to fill a pipe, which has 64 KiB, and the queue before it.
    fn panic_often() {
        let log = init(&TelemetryArgs { log: "info".into(), log_format: LogFormat::Json }).unwrap();
        let panics = || {
            for number in 0..2 * LINES {
                std::panic::catch_unwind(|| panic!("panic {number}")).unwrap_err();
            }
        };
        std::thread::spawn(panics).join().unwrap();
        assert!(log.dropped().lines() > 0);
    }

    #[test]
    fn who_panics_does_not_wait_for_a_reader_that_is_stuck() {
        if std::env::var_os(ALONE).is_some() {
            return panic_often();
        }
        let name = "telemetry::tests::who_panics_does_not_wait_for_a_reader_that_is_stuck";
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command =
            command.args(["--exact", name, "--nocapture"]).env(ALONE, "1").env("RUST_BACKTRACE", "0");
        let mut alone = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdout, mut stderr) = (alone.stdout.take().unwrap(), alone.stderr.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            tell.send(text).unwrap();
        });
        let text = told.recv_timeout(Duration::from_secs(30));
        alone.kill().unwrap();
        alone.wait().unwrap();
        assert!(text.as_ref().is_ok_and(|text| text.contains("1 passed")), "{text:?}");
        let mut logged = String::new();
        stderr.read_to_string(&mut logged).unwrap();
        let first: serde_json::Value = serde_json::from_str(logged.lines().next().unwrap()).unwrap();
        assert_eq!((&first["level"], &first["why"]), (&"ERROR".into(), &"panic 0".into()), "{first}");
        assert!(first["at"].as_str().unwrap().starts_with(file!()), "{first}");
    }
}
