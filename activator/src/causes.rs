//! An error with all of its causes on one line, for logs: the fields of a JSON line would hold only the outermost.

use std::error::Error;
use std::fmt;

/// Shows an error and what caused it, outermost first.
pub(crate) struct Causes<'error>(pub(crate) &'error (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(shown) = cause {
            write!(formatter, ": {shown}")?;
            cause = shown.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamError;

    #[test]
    fn every_cause_is_shown() {
        let error = StreamError::ReadToken { path: "/token".into(), source: std::io::Error::other("gone") };
        assert_eq!(Causes(&error).to_string(), "cannot read the token in /token: gone");
    }
}
