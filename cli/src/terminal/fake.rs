//! A terminal whose screen can be read.

use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::Terminal;

/// What was written; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    /// All of it since the last time.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl Screen {
    /// Until it shows this; whoever calls bounds the wait.
    pub(crate) async fn shows(&self, wanted: &str) {
        let mut seen = String::new();
        while !seen.contains(wanted) {
            seen += &self.take();
            tokio::task::yield_now().await;
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal at a fixed time, with what it shows on standard output and on standard error.
pub(crate) struct FakeTerminal {
    pub(crate) terminal: Terminal,
    pub(crate) out: Screen,
    pub(crate) err: Screen,
}

impl FakeTerminal {
    /// Output into files.
    pub(crate) fn piped() -> Self {
        Self::new(None, false, "")
    }

    /// A screen with so many columns and with colours, and somebody who types this.
    pub(crate) fn of_person(width: usize, types: &str) -> Self {
        Self::new(Some(width), true, types)
    }

    fn new(width: Option<usize>, person: bool, types: &str) -> Self {
        let (out, err) = (Screen::default(), Screen::default());
        let terminal = Terminal {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            input: Box::new(Cursor::new(types.to_owned())),
            width,
            colours: person,
            live: person,
            asks: person,
            clock: noon,
            progress: String::new(),
        };
        Self { terminal, out, err }
    }
}

/// Twelve hours after everything that a scripted API server was given.
fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}
