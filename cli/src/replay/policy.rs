//! The policy of a replay: `scale` and `concurrency` as in a Function, held against the same schema and rules.

use std::path::{Path, PathBuf};

use catnap_autoscaler_api::{Windows, policy};
use catnap_autoscaler_core::Policy;
use serde_json::{Value, json};

use crate::manifest::{self, ManifestError};

/// What a policy may say.
const BLOCKS: [&str; 2] = ["concurrency", "scale"];

/// What decides in a replay.
#[derive(Debug)]
pub(super) struct Scaling {
    /// Without a schedule.
    pub(super) policy: Policy,
    /// Its schedules, all of which can be read.
    pub(super) windows: Windows,
}

/// Why a file is not a policy. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read, or is no YAML, or is a manifest that cannot be used.
    #[error(transparent)]
    Manifest {
        /// What is wrong.
        source: ManifestError,
    },
    /// Something else than the two blocks.
    #[error("{}: `{block}` does not exist; a policy has the blocks {}", path.display(), BLOCKS.join(" and "))]
    Block {
        /// The file.
        path: PathBuf,
        /// What it says.
        block: String,
    },
    /// Not a mapping.
    #[error("{} is not a policy: it must have the blocks {}", path.display(), BLOCKS.join(" and "))]
    NoBlocks {
        /// The file.
        path: PathBuf,
    },
}

/// Reads and checks the policy in `path`.
pub(super) fn read(path: &Path) -> Result<Scaling, PolicyError> {
    let manifest = |source| PolicyError::Manifest { source };
    let text = manifest::text(path).map_err(manifest)?;
    parse(path, &text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Scaling, PolicyError> {
    let manifest = |source| PolicyError::Manifest { source };
    let path = || path.to_owned();
    let object = manifest::object(&path(), text).map_err(manifest)?;
    let object = match object {
        Value::Object(fields) if fields.contains_key("kind") => Value::Object(fields),
        Value::Object(fields) => {
            if let Some(block) = fields.keys().find(|block| !BLOCKS.contains(&block.as_str())) {
                return Err(PolicyError::Block { path: path(), block: block.clone() });
            }
            let mut spec = fields;
            // An empty block says as little as none.
            spec.retain(|_, block| !block.is_null());
            spec.insert("image".to_owned(), json!("replay"));
            json!({
                "apiVersion": "catnap.dev/v1alpha1",
                "kind": "Function",
                "metadata": { "name": "replay" },
                "spec": spec,
            })
        }
        // An empty file: all defaults.
        Value::Null => return Ok(Scaling { policy: Policy::default(), windows: Windows::new(&[]) }),
        _ => return Err(PolicyError::NoBlocks { path: path() }),
    };
    let function = manifest::function(&path(), object).map_err(manifest)?;
    let scale = &function.spec.scale;
    Ok(Scaling {
        policy: policy(scale, function.spec.concurrency_limit()),
        windows: Windows::new(&scale.schedules),
    })
}
