//! What here reads a text that a person wrote, for the property tests and for fuzzing.
//!
//! A new parser is added to [`PARSERS`], and both try it.

use crate::quantity::{amount, same_amount};

/// What reads bytes of any kind.
pub type Parser = fn(&[u8]);

/// The parsers by name.
pub const PARSERS: &[(&str, Parser)] = &[("quantity", quantity)];

/// What is a quantity is a finite amount, and the same as itself.
fn quantity(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(amount) = amount(&text) {
        assert!(amount.is_finite(), "{text}");
        assert!(same_amount(&text, &text), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_of_any_kind_keep_the_promise(text in "[-+]?[0-9.]{0,9}([a-zA-Z]{0,2}|e[-+]?[0-9]{0,12})") {
            for (_, parser) in PARSERS {
                parser(text.as_bytes());
            }
        }
    }
}
