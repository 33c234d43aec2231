//! What here reads a file that a person wrote, for the property tests and for fuzzing.
//!
//! A new parser is added to [`PARSERS`], and both try it.

use std::path::Path;

use crate::manifest;

/// What reads bytes of any kind.
pub type Parser = fn(&[u8]);

/// The parsers by name.
pub const PARSERS: &[(&str, Parser)] = &[("manifest", manifest)];

/// What is accepted as a Function is written as one that is accepted, too.
fn manifest(bytes: &[u8]) {
    let path = Path::new("function.yaml");
    let text = String::from_utf8_lossy(bytes);
    if let Ok(function) = manifest::parse(path, &text) {
        let again = serde_json::to_string(&function).map(|text| manifest::parse(path, &text).is_ok());
        assert!(again.is_ok_and(|accepted| accepted), "{function:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn manifests_of_any_kind_keep_the_promise(
            field in "(scale|timeouts|image|port|env|[a-z]{1,4})",
            value in "(\\{(max|min|request|activation|name): [0-9a-z.-]{1,6}\\}|[-0-9a-z\\[\\]{}:, ]{0,9})",
        ) {
            let text = format!(
                "apiVersion: catnap.dev/v1alpha1\nkind: Function\nmetadata: {{name: a}}\nspec: {{image: b, {field}: {value}}}\n"
            );
            for (_, parser) in PARSERS {
                parser(text.as_bytes());
            }
        }
    }
}
