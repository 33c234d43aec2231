//! What here reads a text that a person wrote, for the property tests and for fuzzing.
//!
//! A new parser is added to [`PARSERS`], and both try it.

use crate::Duration;

/// What reads bytes of any kind.
pub type Parser = fn(&[u8]);

/// The parsers by name.
pub const PARSERS: &[(&str, Parser)] = &[("duration", duration)];

/// What is a duration is written as something that reads the same, and that the schema's length allows.
fn duration(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(duration) = text.parse::<Duration>() {
        let text = duration.to_string();
        assert!(text.len() <= 28, "{text}");
        assert_eq!(text.parse(), Ok(duration), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn terms_of_any_kind_keep_the_promise(text in "([0-9]{0,6}(h|m|s|ms|us| )){0,5}") {
            for (_, parser) in PARSERS {
                parser(text.as_bytes());
            }
        }
    }
}
