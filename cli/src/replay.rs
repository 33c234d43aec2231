//! `catnap replay`: the autoscaler's decisions over a recorded or made-up series, a line out for each line in.
//!
//! The pure core of the autoscaler decides; a line is written before the next one is read, so that a pipe may go on for ever.

mod line;
#[cfg(any(test, fuzzing))]
pub(crate) mod parsers;
mod policy;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use catnap_autoscaler_core::Decision;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Number;

use line::{LineError, Series};
use policy::{PolicyError, Scaling};

/// Longest line, in bytes: many times what one needs.
const MAX_LINE: u64 = 64 * 1024;

/// Flags of `catnap replay`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Series to replay, one JSON object a line: {"t": 12.0, "stable": 50.0, "panic": 100.0, "ready": 1} for averages, or
    /// {"t": 12.0, "concurrency": 3.5, "requests": 20, "ready": 1} for seconds. `-` is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) series: PathBuf,
    /// YAML with the `scale` and `concurrency` blocks of a Function, or a Function's manifest.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// The time at which t is 0, such as 2026-01-12T06:00:00Z: the schedules of a policy go by it.
    #[arg(long, value_name = "TIME")]
    pub(crate) start: Option<Timestamp>,
}

/// Why a replay ended early. What was decided before is written already.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The policy cannot be used.
    #[error("the policy cannot be used")]
    Policy {
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// Nobody said when the series begins.
    #[error(
        "scale.schedules go by the clock: --start must say at which time t is 0, such as --start 2026-01-12T06:00:00Z"
    )]
    NoStart,
    /// The series cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The series cannot be read on.
    #[error("line {number}: cannot be read")]
    Read {
        /// Counted from 1.
        number: u64,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A line is none of those that are understood.
    #[error("line {number}")]
    Line {
        /// Counted from 1.
        number: u64,
        /// What is wrong, and what is allowed.
        #[source]
        source: LineError,
    },
    /// A decision cannot be written.
    #[error("cannot write a decision")]
    Write {
        /// What standard output said.
        #[source]
        source: io::Error,
    },
}

/// One decision, as a line of JSON.
#[derive(Debug, Serialize)]
struct Decided<'a> {
    t: &'a Number,
    desired: u32,
    panic: bool,
    reasons: Vec<String>,
}

/// Replays the series on standard output.
pub fn run(arguments: &Arguments) -> Result<(), ReplayError> {
    let Arguments { series, policy, start } = arguments;
    let policy = policy::read(policy).map_err(|source| ReplayError::Policy { source })?;
    let series_to_decide = series_of(policy, *start)?;
    let output = io::stdout().lock();
    if series == Path::new("-") {
        return replay(io::stdin().lock(), output, series_to_decide);
    }
    let open = |source| ReplayError::Open { path: series.clone(), source };
    replay(BufReader::new(File::open(series).map_err(open)?), output, series_to_decide)
}

/// A series that nothing was read of; `start` is the time at which its `t` is 0.
fn series_of(scaling: Scaling, start: Option<Timestamp>) -> Result<Series, ReplayError> {
    let Scaling { policy, windows } = scaling;
    match (windows.is_empty(), start) {
        (true, _) => Ok(Series::new(policy, None)),
        (false, Some(start)) => Ok(Series::new(policy, Some((windows, start)))),
        (false, None) => Err(ReplayError::NoStart),
    }
}

fn replay(mut input: impl BufRead, mut output: impl Write, mut series: Series) -> Result<(), ReplayError> {
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let read = input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut text);
        match read.map_err(|source| ReplayError::Read { number, source })? {
            0 => break,
            _ if text.trim_ascii().is_empty() => continue,
            _ => {}
        }
        let at = |source| ReplayError::Line { number, source };
        if text.len() as u64 > MAX_LINE {
            return Err(at(LineError::TooLong));
        }
        let (t, decision) = series.decide(&text).map_err(at)?;
        match write(&mut output, &t, &decision) {
            // Who listened has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            written => written.map_err(|source| ReplayError::Write { source })?,
        }
    }
    Ok(())
}

fn write(output: &mut impl Write, t: &Number, decision: &Decision) -> io::Result<()> {
    let Decision { desired, panic, reasons, .. } = decision;
    let reasons = reasons.iter().map(ToString::to_string).collect();
    serde_json::to_writer(&mut *output, &Decided { t, desired: *desired, panic: *panic, reasons })?;
    output.write_all(b"\n")?;
    output.flush()
}

#[cfg(test)]
mod tests;
