//! What here reads a text that a person wrote, for the property tests and for fuzzing.
//!
//! A new parser is added to [`PARSERS`], and both try it.

use crate::{
    Host,
    quantity::{amount, same_amount},
};

/// What reads bytes of any kind.
pub type Parser = fn(&[u8]);

/// The parsers by name.
pub const PARSERS: &[(&str, Parser)] = &[("host", host), ("quantity", quantity)];

/// What is a host is written as itself, is among what it stands for, and is below the wildcards around it.
fn host(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(host) = Host::parse(&text) else { return };
    assert_eq!(Host::parse(host.as_str()).as_ref(), Ok(&host), "{text}");
    assert!(
        host.as_str().len() <= 253 && !host.as_str().contains(|it: char| it.is_ascii_uppercase()),
        "{text}"
    );
    assert!(host.overlaps(&host) && host.is_within(&host), "{text}");
    for wildcard in host.wildcards_around() {
        assert!(
            host.is_within(&wildcard) && wildcard.overlaps(&host) && wildcard < host,
            "{text} {wildcard}"
        );
    }
}

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
        fn names_of_any_kind_keep_the_promise(text in "([*][.])?([a-zA-Z0-9-]{1,6}|xn--[a-z0-9]{1,8})([.:][a-zA-Z0-9-]{0,4}){0,4}") {
            for (_, parser) in PARSERS {
                parser(text.as_bytes());
            }
        }

        #[test]
        fn numbers_of_any_kind_keep_the_promise(text in "[-+]?[0-9.]{0,9}([a-zA-Z]{0,2}|e[-+]?[0-9]{0,12})") {
            for (_, parser) in PARSERS {
                parser(text.as_bytes());
            }
        }
    }
}
