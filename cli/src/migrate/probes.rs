//! Probes of the container that serves. <https://knative.dev/docs/serving/services/configure-probing/>
//!
//! Knative runs readiness probes itself: one without a port is meant for the port that serves, and one without a period is
//! tried as often as it takes (`validateReadinessProbe` in knative/serving `pkg/apis/serving/k8s_validation.go`). The other
//! two are kubelet's there and here.

use serde_json::{Map, Value, json};

use super::containers::FUNCTION;
use super::draft::Draft;
use super::place::Place;

/// What a probe costs that only kubelet runs.
pub(super) const REQUIRES_READY: &str = "run by kubelet, and a pod takes requests only while kubelet calls it Ready, which makes cold starts longer";
/// Handlers with a port.
const HANDLERS: [&str; 3] = ["httpGet", "tcpSocket", "grpc"];
/// What the smallest readiness probe may say besides its handler: what holds without it.
const DEFAULTS: [(&str, i64); 3] =
    [("successThreshold", 1), ("periodSeconds", 0), ("initialDelaySeconds", 0)];

/// Converts the readiness probe: to `spec.readiness` where that can say it, else into the container's `fields`.
pub(super) fn readiness(
    container: &Place<'_>,
    port: i64,
    fields: &mut Map<String, Value>,
    draft: &mut Draft,
) {
    let probe = container.field("readinessProbe").filter(|probe| probe.value.is_object());
    let Some(probe) = probe else { return };
    if let Some(path) = only_path(&probe, port) {
        match path {
            "" => draft.notes.converted(&probe, "the port accepts a connection, as without it"),
            path => draft.put(&probe, "spec.readiness.path", path),
        }
        return;
    }
    let value = each_second(&with_port(probe.value, port));
    fields.insert("readinessProbe".to_owned(), value);
    let instead = "spec.readiness.path, where it can say the same, does not";
    draft.notes.changed(&probe, format!("{FUNCTION}.readinessProbe: {REQUIRES_READY}; {instead}"));
}

/// A readiness probe as often as kubelet can, where Knative tries it all the time.
pub(super) fn each_second(probe: &Value) -> Value {
    let mut probe = probe.clone();
    if probe.get("periodSeconds").is_none_or(|period| period.is_null() || period == &json!(0)) {
        set(&mut probe, "periodSeconds", json!(1));
    }
    probe
}

/// Converts a probe that is kubelet's there and here.
pub(super) fn of_kubelet(
    container: &Place<'_>,
    name: &str,
    port: i64,
    fields: &mut Map<String, Value>,
    draft: &mut Draft,
) {
    let Some(probe) = container.field(name) else { return };
    fields.insert(name.to_owned(), with_port(probe.value, port));
    let to = format!("{FUNCTION}.{name}");
    if name == "startupProbe" {
        draft.notes.changed(&probe, format!("{to}: {REQUIRES_READY}"));
    } else {
        draft.notes.converted(&probe, to);
    }
}

/// The path of a probe that says nothing else: empty for a connection to the port that serves.
fn only_path<'a>(probe: &Place<'a>, port: i64) -> Option<&'a str> {
    let mut path = "";
    for (name, place) in probe.fields() {
        let fine = match name {
            "tcpSocket" => serves(&place, port) && place.fields().keys().all(|name| *name == "port"),
            "httpGet" => {
                path = place.field("path").map_or(Some("/"), |path| path.string())?;
                let known = place.fields().into_iter().all(|(name, field)| match name {
                    "path" | "port" => true,
                    "scheme" => field.string() == Some("HTTP"),
                    _ => false,
                });
                known && serves(&place, port) && is_path(path)
            }
            _ => DEFAULTS.iter().any(|(known, value)| *known == name && place.value == &json!(value)),
        };
        if !fine {
            return None;
        }
    }
    Some(path)
}

/// What `spec.readiness.path` can be.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 1024 && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a handler is for the port that serves.
fn serves(handler: &Place<'_>, port: i64) -> bool {
    handler.field("port").is_none_or(|place| is_unset(place.value) || place.value == &json!(port))
}

/// A port that Knative takes for the one that serves: 0, or the name that it may have.
fn is_unset(port: &Value) -> bool {
    port == &json!(0) || ["", "http", "http1", "h2c"].iter().any(|name| port == name)
}

/// The probe with the port that serves written out, for kubelet does not know which that is.
fn with_port(probe: &Value, port: i64) -> Value {
    let mut probe = probe.clone();
    for handler in HANDLERS {
        let Some(handler) = probe.get_mut(handler).filter(|handler| handler.is_object()) else { continue };
        if handler.get("port").is_none_or(|port| port.is_null() || is_unset(port)) {
            set(handler, "port", json!(port));
        }
    }
    let handled = [HANDLERS.as_slice(), &["exec"]].concat();
    if probe.is_object() && !handled.iter().any(|handler| probe.get(handler).is_some()) {
        set(&mut probe, "tcpSocket", json!({"port": port}));
    }
    probe
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}
