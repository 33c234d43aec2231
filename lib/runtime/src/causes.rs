//! An error with all of its causes on one line, for logs: the fields of a JSON line would hold only the outermost.

use std::error::Error;
use std::fmt;

/// Shows an error and what caused it, outermost first, as `cannot read lease a: connection refused`.
///
/// A cause whose text the one before it has in its own is not repeated. To be given to a log's field as
/// `error = %Causes(&error)`.
#[derive(Clone, Copy, Debug)]
pub struct Causes<'error>(pub &'error (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        formatter.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.contains(&text) {
                write!(formatter, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot renew")]
    struct Silent(#[source] Telling);

    #[derive(Debug, thiserror::Error)]
    #[error("no connection: {0}")]
    struct Telling(#[source] std::io::Error);

    #[test]
    fn every_cause_is_shown_once() {
        let error = Silent(Telling(std::io::Error::other("refused")));
        assert_eq!(Causes(&error).to_string(), "cannot renew: no connection: refused");
    }

    #[test]
    fn an_error_without_a_cause_is_shown_as_it_is() {
        assert_eq!(Causes(&fmt::Error).to_string(), fmt::Error.to_string());
    }
}
