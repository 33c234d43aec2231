//! Where a command writes: what was asked for on standard output, everything else on standard error.
//!
//! Colours, a line that is redrawn and questions are for a person at a terminal. A pipe that was closed
//! (`catnap get | head`) is no error: whoever listened has seen enough.

#[cfg(test)]
pub(crate) mod fake;

use std::io::{self, BufRead, IsTerminal, Write};

pub(crate) use catnap_cli::printable::printable;
use jiff::Timestamp;

use crate::exit::{Exit, Failure};

/// Back to the first column, and clear to the end of the line.
const REDRAW: &str = "\r\x1b[K";

/// How text is to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Columns of the terminal; none where lines may have any length.
    pub(crate) width: Option<usize>,
    /// Whether escape sequences for colours are understood and wanted.
    pub(crate) colours: bool,
    /// What ages are told from.
    pub(crate) now: Timestamp,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// May still come right.
    Waiting,
    /// Somebody must act.
    Bad,
    /// A heading.
    Strong,
    /// Of less weight than the rest.
    Faint,
}

/// Nobody can be told.
#[derive(Debug, thiserror::Error)]
#[error("cannot write")]
pub(crate) struct WriteError {
    source: io::Error,
}

/// The streams of a command.
pub(crate) struct Terminal {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    input: Box<dyn BufRead + Send>,
    width: Option<usize>,
    colours: bool,
    /// Standard error is looked at as it is written.
    live: bool,
    /// Somebody can answer.
    asks: bool,
    clock: fn() -> Timestamp,
    progress: String,
}

impl Terminal {
    /// That of the process.
    pub(crate) fn of_process() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let shown = out.is_terminal();
        let width = terminal_size::terminal_size_of(&out).map(|(width, _)| width.0.into());
        Self {
            // https://no-color.org
            colours: shown && !dumb && !set("NO_COLOR"),
            width: width.filter(|_| shown),
            live: err.is_terminal() && !dumb,
            asks: err.is_terminal() && io::stdin().is_terminal(),
            out: Box::new(out),
            err: Box::new(err),
            input: Box::new(io::BufReader::new(io::stdin())),
            clock: Timestamp::now,
            progress: String::new(),
        }
    }

    /// How text for standard output is to look now.
    pub(crate) fn look(&self) -> Look {
        Look { width: self.width, colours: self.colours, now: (self.clock)() }
    }

    /// Whether standard error is looked at as it is written.
    pub(crate) fn is_watched(&self) -> bool {
        self.live
    }

    /// Writes to standard output.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), WriteError> {
        self.write_bytes(text.as_bytes())
    }

    /// Writes to standard output what may be no text.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.clear_progress();
        let written = self.out.write_all(bytes).and_then(|()| self.out.flush());
        written.map_err(|source| WriteError { source })
    }

    /// A line on standard error.
    pub(crate) fn note(&mut self, line: &str) {
        self.clear_progress();
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(self.err, "{}", printable(line));
    }

    /// What is waited for: one line that is redrawn on a terminal, elsewhere a line for each change.
    pub(crate) fn progress(&mut self, text: &str) {
        if self.progress == text {
            return;
        }
        text.clone_into(&mut self.progress);
        // Only one line can be redrawn.
        let text = printable(text).replace('\n', " ");
        let _ = if self.live {
            let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(1));
            let text: String = text.chars().take(room).collect();
            write!(self.err, "{REDRAW}{text}").and_then(|()| self.err.flush())
        } else {
            writeln!(self.err, "{text}")
        };
    }

    /// Whether there is somebody to [`confirm`](Self::confirm).
    pub(crate) fn asks(&self) -> bool {
        self.asks
    }

    /// Asks; everything but a yes is a no.
    pub(crate) fn confirm(&mut self, question: &str) -> bool {
        self.clear_progress();
        let asked = write!(self.err, "{} [y/N] ", printable(question)).and_then(|()| self.err.flush());
        let mut answer = String::new();
        let answered = asked.and_then(|()| self.input.read_line(&mut answer));
        answered.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }

    /// Takes away what was waited for.
    pub(crate) fn clear_progress(&mut self) {
        if !std::mem::take(&mut self.progress).is_empty() && self.live {
            let _ = write!(self.err, "{REDRAW}");
        }
    }
}

impl Look {
    /// The text in the colour of its meaning.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Waiting => "33",
            Tone::Bad => "31",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Failure for WriteError {
    fn exit(&self) -> Exit {
        if self.source.kind() == io::ErrorKind::BrokenPipe { Exit::Done } else { Exit::Failed }
    }
}

#[cfg(test)]
mod tests;
