//! A Function's manifest read from a file and held against the API's own schema, as the API server would.
//!
//! What the API server checks with CEL is checked here by hand for the rules that matter to a local run.

pub mod input;
mod rules;
mod schema;

use std::path::{Path, PathBuf};

use catnap_crds::Function;
use catnap_crds::guarded::LEVELS;
use serde_json::Value;

pub use rules::is_namespace;
pub(crate) use rules::{is_host, is_label};

/// Why a file is not a manifest that can be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML, or holds more than one object.
    #[error("{} is not one YAML object", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// The file is not YAML.
    #[error("{} is no YAML", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// The object is not a Function of a version that is known here.
    #[error(
        "{}; a manifest for Catnap says `kind: Function` and `apiVersion: catnap.dev/v1alpha1`",
        said(kind, api_version)
    )]
    Kind {
        /// What it says; empty when it does not.
        kind: String,
        /// What it says; empty when it does not.
        api_version: String,
    },
    /// Something in the place of an object.
    #[error(
        "{} holds {what} where an object should be; a manifest for Catnap says `kind: Function` and `apiVersion: catnap.dev/v1alpha1`",
        path.display()
    )]
    NoObject {
        /// The file.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// Fields that do not exist, or values that are not allowed.
    #[error("{} cannot be used:\n  {}", path.display(), problems.join("\n  "))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// One line for each, naming the field.
        problems: Vec<String>,
    },
    /// The schema let something through that the types refuse.
    #[error("{} cannot be read as a Function", path.display())]
    Convert {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// What an object calls itself.
fn said(kind: &str, api_version: &str) -> String {
    match (kind, api_version) {
        ("", "") => "this says neither `kind` nor `apiVersion`".to_owned(),
        ("", version) => format!("this is of `{version}` and says no `kind`"),
        (kind, "") => format!("this is `{kind}` and says no `apiVersion`"),
        (kind, version) => format!("this is `{kind}` of `{version}`"),
    }
}

/// Reads and checks the manifest in `path`; all that is wrong with it comes together.
pub fn read(path: &Path) -> Result<Function, ManifestError> {
    parse(path, &text(path)?)
}

/// The text of a file; `-` is standard input.
pub fn text(path: &Path) -> Result<String, ManifestError> {
    input::read(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })
}

/// The one object in a text. Numbers such as 0644 are octal, as kubectl reads them.
pub fn object(path: &Path, text: &str) -> Result<Value, ManifestError> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|source| ManifestError::Parse { path: path.to_owned(), source: Box::new(source) })
}

/// The objects in a text, which may be documents, and lists as a cluster prints several objects. A document of comments alone is
/// none.
pub fn objects(path: &Path, text: &str) -> Result<Vec<Value>, ManifestError> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|source| ManifestError::Yaml { path: path.to_owned(), source: Box::new(source) })?;
    let documents = documents.into_iter().filter(|document| !document.is_null());
    let items = documents.flat_map(|document| match document {
        Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
            match list.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        other => vec![other],
    });
    Ok(items.collect())
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<Function, ManifestError> {
    function(path, object(path, text)?)
}

/// The Function that an object is, checked.
pub fn function(path: &Path, object: Value) -> Result<Function, ManifestError> {
    let path = || path.to_owned();
    let what = match object {
        Value::Object(_) => None,
        Value::Null => Some("nothing"),
        Value::Bool(_) => Some("a yes or no"),
        Value::Number(_) => Some("a number"),
        Value::String(_) => Some("only text"),
        Value::Array(_) => Some("a list"),
    };
    if let Some(what) = what {
        return Err(ManifestError::NoObject { path: path(), what });
    }
    let field = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, api_version) = (field("kind"), field("apiVersion"));
    if (kind.as_str(), api_version.as_str()) != ("Function", "catnap.dev/v1alpha1") {
        return Err(ManifestError::Kind { kind, api_version });
    }
    let problems = if is_deeper(&object, LEVELS) {
        // What reads it in a cluster would leave out what is deeper.
        vec![format!("it has more than {LEVELS} objects and lists inside each other")]
    } else {
        schema::problems(&object)
    };
    if !problems.is_empty() {
        return Err(ManifestError::Invalid { path: path(), problems });
    }
    let function: Function =
        serde_json::from_value(object).map_err(|source| ManifestError::Convert { path: path(), source })?;
    let problems = rules::problems(&function);
    if problems.is_empty() { Ok(function) } else { Err(ManifestError::Invalid { path: path(), problems }) }
}

/// Whether more than so many objects and lists are inside each other; no deeper is looked.
fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = |value: &Value| is_deeper(value, levels - 1);
    match value {
        Value::Object(fields) => levels == 0 || fields.values().any(inner),
        Value::Array(items) => levels == 0 || items.iter().any(inner),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests;
