//! The forms in which objects are printed: tables for people, the API's own objects for programs.

use serde::Serialize;
use serde_json::{Value, json};

/// Forms of what is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns for a person.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// The API's own objects.
    Json,
    /// The same as YAML.
    Yaml,
    /// `function.catnap.dev/NAME`, a line each.
    Name,
}

/// Forms of a page that is made for a person in the first place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PageFormat {
    /// For a person.
    #[default]
    Table,
    /// The same as JSON.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Text for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    Json,
    Yaml,
}

/// It cannot be written in that notation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotationError {
    /// Not as JSON.
    #[error("cannot write JSON")]
    Json {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Not as YAML.
    #[error("cannot write YAML")]
    Yaml {
        /// Why.
        #[source]
        source: serde_saphyr::ser::Error,
    },
}

impl crate::exit::Failure for NotationError {}

impl Format {
    /// The notation of those that are for programs and hold whole objects.
    pub(crate) fn notation(self) -> Option<Notation> {
        match self {
            Self::Json => Some(Notation::Json),
            Self::Yaml => Some(Notation::Yaml),
            Self::Table | Self::Wide | Self::Name => None,
        }
    }
}

impl PageFormat {
    /// The notation of those that are for programs.
    pub(crate) fn notation(self) -> Option<Notation> {
        match self {
            Self::Json => Some(Notation::Json),
            Self::Yaml => Some(Notation::Yaml),
            Self::Table => None,
        }
    }
}

impl Notation {
    /// A value, with a newline at its end.
    pub(crate) fn text(self, value: &impl Serialize) -> Result<String, NotationError> {
        let mut text = match self {
            Self::Json => {
                serde_json::to_string_pretty(value).map_err(|source| NotationError::Json { source })?
            }
            Self::Yaml => serde_saphyr::to_string(value).map_err(|source| NotationError::Yaml { source })?,
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }

    /// One of many values: JSON a line each, YAML a document each.
    pub(crate) fn line(self, value: &impl Serialize) -> Result<String, NotationError> {
        match self {
            Self::Json => {
                let line = serde_json::to_string(value).map_err(|source| NotationError::Json { source })?;
                Ok(line + "\n")
            }
            Self::Yaml => Ok(format!("---\n{}", self.text(value)?)),
        }
    }
}

/// Objects as the one that the API has for many.
pub(crate) fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
}
