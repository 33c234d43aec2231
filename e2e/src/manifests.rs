//! The table of good and bad manifests, which the definition's own tests, those of `catnap` and a real API server share.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

const TABLE: &str = include_str!("../../crds/tests/manifests.yaml");

/// A manifest and what the API server says of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is tried.
    pub name: String,
    /// Name of the Function.
    #[serde(default = "hello")]
    pub function: String,
    /// Its spec.
    pub spec: Value,
    /// Words of the refusal; none where it is accepted.
    #[serde(default)]
    pub refused: Vec<String>,
}

fn hello() -> String {
    "hello".to_owned()
}

impl Case {
    /// The whole manifest.
    pub fn manifest(&self) -> Value {
        json!({
            "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": self.function},
            "spec": self.spec,
        })
    }

    /// Holds what was said about it against what is expected; the complaint, where they differ.
    pub fn complaint<T>(&self, said: &anyhow::Result<T>) -> Option<String> {
        let name = &self.name;
        match said {
            Ok(_) if self.refused.is_empty() => None,
            Ok(_) => Some(format!("{name}: accepted")),
            Err(error) if self.refused.is_empty() => Some(format!("{name}: refused: {error:#}")),
            Err(error) => {
                let refusal = format!("{error:#}");
                let missing = self.refused.iter().find(|words| !refusal.contains(words.as_str()))?;
                Some(format!("{name}: no `{missing}` in: {refusal}"))
            }
        }
    }
}

/// All cases.
pub fn cases() -> anyhow::Result<Vec<Case>> {
    serde_saphyr::from_str(TABLE).context("the table of manifests")
}
