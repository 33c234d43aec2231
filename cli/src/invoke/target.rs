//! Where the request goes: which host it is for, and which activator is near enough to ask.

use serde_json::Value;

use crate::activators;
use crate::connection::Connection;
use crate::connection::call::CallError;
use crate::functions::Found;

/// Host of the address inside the cluster; `None` until the operator has given it one.
pub(super) fn host(found: &Found) -> Option<String> {
    let url = found.object.data.pointer("/status/url").and_then(Value::as_str)?;
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().filter(|host| !host.is_empty()).map(str::to_owned)
}

/// An activator that is ready, the youngest; `system` is the namespace that Catnap is in.
pub(super) async fn activator(connection: &Connection, system: &str) -> Result<Option<String>, CallError> {
    Ok(activators::ready(connection, system).await?.into_iter().next())
}
