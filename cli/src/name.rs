//! How a Function is named on the command line.

use catnap_cli::manifest::is_namespace;
use catnap_crds::names::MAX_FUNCTION_NAME;

/// `NAME`, `function/NAME`, `functions/NAME` or `catfn/NAME`.
pub(crate) fn function(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        Some(("function" | "functions" | "catfn" | "function.catnap.dev" | "functions.catnap.dev", name)) => {
            name
        }
        Some((kind, _)) => return Err(format!("`{kind}` is not a Function: write NAME or function/NAME")),
        None => text,
    };
    let allowed =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    if (1..=MAX_FUNCTION_NAME).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "a Function's name has at most {MAX_FUNCTION_NAME} characters: lower-case letters, digits and '-'"
    ))
}

/// The name of a namespace: it becomes part of the path that is asked for.
pub(crate) fn namespace(text: &str) -> Result<String, String> {
    if is_namespace(text) {
        return Ok(text.to_owned());
    }
    Err("a namespace's name has at most 63 characters: lower-case letters, digits and '-', which neither begins nor ends it".to_owned())
}

/// Of `names` those that may have been meant by `wanted`, the likeliest first.
pub(crate) fn similar(wanted: &str, names: impl IntoIterator<Item = String>) -> Vec<String> {
    let likeness = |name: String| (strsim::damerau_levenshtein(wanted, &name), name);
    let close = |(distance, name): &(usize, String)| {
        *distance <= 1 + wanted.len() / 4 || name.starts_with(wanted) || wanted.starts_with(name.as_str())
    };
    let mut close: Vec<_> = names.into_iter().map(likeness).filter(close).collect();
    close.sort();
    close.into_iter().map(|(_, name)| name).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectls_ways_to_name_it_are_understood() {
        for text in ["hello", "function/hello", "functions/hello", "catfn/hello", "function.catnap.dev/hello"]
        {
            assert_eq!(function(text).as_deref(), Ok("hello"), "{text}");
        }
        for text in ["", "function/", "pod/hello", "../hello", "Hello", "a.b", &"a".repeat(51)] {
            assert!(function(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_namespace_is_one_part_of_a_path() {
        for text in ["default", "0-team", &"a".repeat(63)] {
            assert_eq!(namespace(text).as_deref(), Ok(text));
        }
        for text in ["", "a/b", "..", "-a", "a-", "A", "a.b", "a?x", &"a".repeat(64)] {
            assert!(namespace(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_meant_is_found() {
        let names = || ["hello", "help", "shop", "shop-cart"].map(str::to_owned);
        assert_eq!(similar("helo", names()), ["hello", "help"]);
        assert_eq!(similar("shop-", names()), ["shop", "shop-cart"]);
        assert!(similar("billing", names()).is_empty());
    }
}
