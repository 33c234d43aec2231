//! The few query parameters that routes take. Values are used as they are, without percent-decoding.

use std::time::Duration;

use hyper::Uri;

/// The query of one request.
pub(crate) struct Query<'request>(&'request str);

/// A parameter that is not what its route needs.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{name}={value} is not a whole number")]
pub(crate) struct QueryError {
    name: &'static str,
    value: String,
}

impl<'request> Query<'request> {
    pub(crate) fn of(uri: &'request Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The first value of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&'request str> {
        self.0.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn number(&self, name: &'static str, default: u64) -> Result<u64, QueryError> {
        self.text(name).map_or(Ok(default), |value| {
            value.parse().map_err(|_| QueryError { name, value: value.to_owned() })
        })
    }

    pub(crate) fn milliseconds(&self, name: &'static str, default: u64) -> Result<Duration, QueryError> {
        self.number(name, default).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_by_their_whole_name() {
        let uri: Uri = "/stream?interval_ms=20&chunks=3&id=a-1".parse().unwrap();
        let query = Query::of(&uri);
        assert_eq!(query.number("chunks", 5), Ok(3));
        assert_eq!(query.milliseconds("interval_ms", 100), Ok(Duration::from_millis(20)));
        assert_eq!(query.text("id"), Some("a-1"));
        assert_eq!(query.text("i"), None);
        assert_eq!(query.number("ms", 7), Ok(7));
    }

    #[test]
    fn a_word_where_a_number_is_needed_is_named() {
        let uri: Uri = "/sleep?ms=long".parse().unwrap();
        let error = Query::of(&uri).milliseconds("ms", 0).unwrap_err();
        assert_eq!(error.to_string(), "ms=long is not a whole number");
    }
}
