//! How a command ends: the number that a script sees, and the words that a person does.

use std::error::Error;
use std::io::Write;

use catnap_cli::printable::printable;

/// What the process ends with; docs/reference/cli.md is the page about it. 2 is missing: with that clap ends a command line that
/// says what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done. Also when whoever read the output has seen enough.
    Done = 0,
    /// An error that is none of those below, or a check that failed.
    Failed = 1,
    /// What was named does not exist.
    NotFound = 3,
    /// The API server does not know or does not let the user.
    NotAllowed = 4,
    /// The API server cannot be reached, or does not answer.
    Unreachable = 5,
    /// What was waited for has not come in time.
    TimeOver = 6,
    /// The Function cannot become what it was asked to be: somebody must act.
    Stalled = 7,
}

/// An error of a command.
pub(crate) trait Failure: Error {
    /// The error that this one passes on, if it does: that one says how it ends and what to do.
    fn inner(&self) -> Option<&dyn Failure> {
        None
    }

    /// How the process ends.
    fn exit(&self) -> Exit {
        self.inner().map_or(Exit::Failed, Failure::exit)
    }

    /// What to do about it: best a command.
    fn advice(&self) -> Option<String> {
        self.inner().and_then(Failure::advice)
    }
}

/// The last words about an error: what, why, and what to do.
pub(crate) fn report(failure: &dyn Failure, to: &mut dyn Write) {
    if failure.exit() == Exit::Done {
        return;
    }
    let mut text = format!("error: {failure}\n");
    let mut said = failure.to_string();
    let mut cause = failure.source();
    while let Some(inner) = cause {
        let inner_said = inner.to_string();
        // Errors of others repeat their cause in their own words.
        if !said.contains(&inner_said) {
            text += "  ";
            // No line of others stands where our own begin.
            text += &inner_said.replace('\n', "\n    ");
            text += "\n";
            said = inner_said;
        }
        cause = inner.source();
    }
    if let Some(advice) = failure.advice() {
        text += "  try: ";
        text += &advice;
        text += "\n";
    }
    // A closed standard error leaves nobody to tell.
    let _ = to.write_all(printable(&text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the door")]
    struct Door {
        #[source]
        source: std::io::Error,
    }

    impl Failure for Door {
        fn advice(&self) -> Option<String> {
            Some("another door".to_owned())
        }
    }

    #[test]
    fn an_error_is_said_with_its_cause_and_what_to_do() {
        let source = std::io::Error::other("it is locked: it is locked");
        let mut said = Vec::new();
        report(&Door { source }, &mut said);
        let expected = "error: cannot open the door\n  it is locked: it is locked\n  try: another door\n";
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    }

    #[test]
    fn words_of_others_are_neither_obeyed_nor_taken_for_ours() {
        let source = std::io::Error::other("locked\x1b[2J\n  try: my door");
        let mut said = Vec::new();
        report(&Door { source }, &mut said);
        let expected = "error: cannot open the door\n  locked [2J\n      try: my door\n  try: another door\n";
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    }
}
