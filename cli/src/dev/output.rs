//! Standard output, shared by everything that has something to say: plain lines, and on a terminal one line below them that
//! is redrawn in place.
//!
//! A pipe that was closed (`catnap dev | head`) is no error: whoever listened has seen enough.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio_util::sync::CancellationToken;

/// Bytes of a line of a process that are kept before they are written; a longer one is broken.
const LONGEST_LINE: u64 = 1 << 20;
/// Back to the first column, and clear to the end of the line.
const REDRAW: &str = "\r\x1b[K";

/// Where lines go.
pub(crate) struct Output {
    state: Mutex<State>,
    /// Cancelled when nobody listens any more.
    closed: CancellationToken,
}

struct State {
    to: Box<dyn Write + Send>,
    terminal: bool,
    status: String,
}

impl Output {
    /// Standard output; `closed` is cancelled when it is closed at the other end.
    pub(crate) fn standard(closed: CancellationToken) -> Self {
        let to = std::io::stdout();
        let terminal = to.is_terminal();
        Self::new(Box::new(to), terminal, closed)
    }

    fn new(to: Box<dyn Write + Send>, terminal: bool, closed: CancellationToken) -> Self {
        Self { state: Mutex::new(State { to, terminal, status: String::new() }), closed }
    }

    /// True when the status line is redrawn in place.
    pub(crate) fn is_terminal(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).terminal
    }

    /// Writes a whole line, above the status line.
    pub(crate) fn line(&self, line: &str) {
        self.write(|state| {
            if state.terminal {
                write!(state.to, "{REDRAW}{line}\n{}", state.status)
            } else {
                writeln!(state.to, "{line}")
            }
        });
    }

    /// Writes what a process says, each line with its name before it, until it says nothing more.
    pub(crate) async fn forward(&self, name: &str, stream: impl AsyncRead + Unpin) {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            let read = (&mut stream).take(LONGEST_LINE).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(1..)) {
                return;
            }
            let said = line.strip_suffix(b"\n").unwrap_or(&line);
            self.line(&format!("{name} | {}", String::from_utf8_lossy(said)));
            line.clear();
        }
    }

    /// Redraws the status line on a terminal; elsewhere it is a line like others.
    pub(crate) fn status(&self, status: &str) {
        self.write(|state| {
            if !state.terminal {
                return writeln!(state.to, "{status}");
            }
            if state.status == status {
                return Ok(());
            }
            status.clone_into(&mut state.status);
            write!(state.to, "{REDRAW}{status}")
        });
    }

    /// Leaves the status line where it is; what comes next begins below it.
    pub(crate) fn end_status(&self) {
        self.write(|state| {
            let ended = !std::mem::take(&mut state.status).is_empty();
            if ended { writeln!(state.to) } else { Ok(()) }
        });
    }

    fn write(&self, write: impl FnOnce(&mut State) -> std::io::Result<()>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if write(&mut state).and_then(|()| state.to.flush()).is_err() {
            self.closed.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn on_a_terminal_lines_go_above_the_status() {
        let screen = Screen::default();
        let output = Output::new(Box::new(screen.clone()), true, CancellationToken::new());
        output.status("zero");
        output.status("zero");
        output.line("woken");
        output.status("ready 1");
        output.end_status();
        assert_eq!(screen.text(), "\r\x1b[Kzero\r\x1b[Kwoken\nzero\r\x1b[Kready 1\n");
    }

    #[test]
    fn elsewhere_everything_is_a_line() {
        let screen = Screen::default();
        let output = Output::new(Box::new(screen.clone()), false, CancellationToken::new());
        output.status("zero");
        output.line("woken");
        output.end_status();
        assert_eq!(screen.text(), "zero\nwoken\n");
    }

    #[tokio::test]
    async fn what_a_process_says_is_lines_and_one_that_does_not_end_is_broken() {
        let screen = Screen::default();
        let output = Output::new(Box::new(screen.clone()), false, CancellationToken::new());
        output.forward("hello", &b"one\n\ntwo\xff"[..]).await;
        assert_eq!(screen.text(), "hello | one\nhello | \nhello | two\u{fffd}\n");

        let screen = Screen::default();
        let output = Output::new(Box::new(screen.clone()), false, CancellationToken::new());
        let endless = tokio::io::repeat(b'x').take(LONGEST_LINE * 2 + 1);
        output.forward("hello", endless).await;
        let longest = usize::try_from(LONGEST_LINE).unwrap();
        let lengths: Vec<_> = screen.text().lines().map(|line| line.len() - "hello | ".len()).collect();
        assert_eq!(lengths, [longest, longest, 1]);
    }

    #[test]
    fn a_closed_pipe_is_told_and_does_not_panic() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let closed = CancellationToken::new();
        let output = Output::new(Box::new(Closed), false, closed.clone());
        output.line("anybody there?");
        assert!(closed.is_cancelled());
    }
}
