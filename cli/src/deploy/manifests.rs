//! Manifests to apply: read, and held against the API's schema before anything is sent.

use std::path::Path;

use catnap_cli::manifest;
use kube::api::DynamicObject;
use kube::core::ObjectMeta;
use serde_json::Value;

use super::{Arguments, DeployError};
use crate::connection::Connection;
use crate::functions::resource;

/// The Functions in a file, `-` for standard input. All are checked before the first is returned.
pub(super) fn read(path: &Path) -> Result<Vec<Value>, DeployError> {
    let failed = |source| DeployError::Manifest { source };
    let text = manifest::text(path).map_err(failed)?;
    let objects = manifest::objects(path, &text).map_err(failed)?.into_iter();
    let manifests: Vec<_> = objects.map(|object| checked(path, object)).collect::<Result<_, _>>()?;
    if manifests.is_empty() {
        return Err(DeployError::Empty { path: path.to_owned() });
    }
    Ok(manifests)
}

/// The object itself, if it is a Function that can be used.
pub(super) fn checked(path: &Path, object: Value) -> Result<Value, DeployError> {
    let checked = manifest::function(path, object.clone());
    checked.map(|_| object).map_err(|source| DeployError::Manifest { source })
}

/// The connection to the namespace that a manifest says, if that is the one that was asked for.
pub(super) fn place(
    arguments: &Arguments,
    manifest: &Value,
    connection: &Connection,
) -> Result<Connection, DeployError> {
    let metadata = &manifest["metadata"];
    let its = metadata["namespace"].as_str().filter(|its| !its.is_empty());
    let Some(its) = its else { return Ok(connection.clone()) };
    match &arguments.connection.namespace {
        Some(asked) if asked != its => Err(DeployError::Namespace {
            name: metadata["name"].as_str().unwrap_or_default().to_owned(),
            its: its.to_owned(),
            asked: asked.clone(),
        }),
        _ => Ok(Connection { namespace: its.to_owned(), ..connection.clone() }),
    }
}

/// As the client takes it.
pub(super) fn dynamic(mut object: Value) -> DynamicObject {
    let metadata: ObjectMeta = serde_json::from_value(object["metadata"].take()).unwrap_or_default();
    let mut made = DynamicObject::new(metadata.name.as_deref().unwrap_or_default(), &resource());
    made.metadata = metadata;
    made.data = serde_json::json!({"spec": object["spec"].take()});
    made
}
