//! Containers of a template: the one that serves becomes the Function, the others stay beside it in `spec.podTemplate`.
//!
//! What a container may have: `ContainerMask` in knative/serving `pkg/apis/serving/fieldmask.go`; which one serves and on which
//! port: `validateContainersPorts` in `k8s_validation.go` beside it.

use catnap_crds::names;
use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::place::Place;
use super::probes;
use super::volumes::Volumes;

/// Where containers that stand beside the Function's own are.
const BESIDE: &str = "spec.podTemplate.spec.containers";
/// Where init containers are.
const FIRST: &str = "spec.podTemplate.spec.initContainers";
/// Where the Function is, beyond what has a field of its own.
pub(super) const FUNCTION: &str = "spec.podTemplate.spec.containers[function]";
/// What a container beside it is called that has its name.
const BESIDE_FUNCTION: &str = "function-beside";
/// Fields of a container that are taken as they are.
const PLAIN: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeMounts",
    "workingDir",
    // Only of an init container: it stays, as a sidecar does.
    "restartPolicy",
];

/// The container that serves, or why nobody can tell which one it is.
pub(super) fn serving<'a>(containers: &[Place<'a>]) -> Result<Place<'a>, &'static str> {
    let has_ports = |place: &&Place<'a>| place.field("ports").is_some_and(|ports| !ports.is_empty());
    let with_ports: Vec<_> = containers.iter().filter(has_ports).collect();
    match (containers, with_ports.as_slice()) {
        ([], _) => {
            Err("spec.template.spec.containers is missing: it is no Service of serving.knative.dev/v1")
        }
        (_, [one]) => Ok((*one).clone()),
        ([only], []) => Ok(only.clone()),
        (_, []) => Err(
            "of several containers in spec.template.spec.containers none has ports: one must, for requests go there",
        ),
        _ => Err(
            "more than one container in spec.template.spec.containers has ports: only one can take requests",
        ),
    }
}

/// Converts the container that serves into fields of the Function, and gives what of it needs the pod template.
pub(super) fn function(container: &Place<'_>, volumes: &Volumes, draft: &mut Draft) -> Map<String, Value> {
    if let Some(name) = container.field("name") {
        let text = name.text().unwrap_or_default();
        draft
            .notes
            .changed(&name, format!("the container `{text}` is called `function`, as for kubectl logs"));
    }
    for name in ["image", "imagePullPolicy", "command", "args", "envFrom"] {
        if let Some(place) = container.field(name) {
            draft.copy(&place, &format!("spec.{name}"));
        }
    }
    environment(container, draft);
    if let Some(place) = container.field("resources") {
        draft.put(&place, "spec.resources", with_texts(place.value));
    }
    let port = port(container, draft);
    let mut fields = Map::new();
    probes::readiness(container, port, &mut fields, draft);
    for name in ["livenessProbe", "startupProbe"] {
        probes::of_kubelet(container, name, port, &mut fields, draft);
    }
    for name in ["securityContext", "workingDir", "terminationMessagePath", "terminationMessagePolicy"] {
        if let Some(place) = container.field(name) {
            fields.insert(name.to_owned(), place.value.clone());
            draft.notes.converted(&place, format!("{FUNCTION}.{name}"));
        }
    }
    if let Some(place) = container.field("volumeMounts") {
        fields.insert("volumeMounts".to_owned(), volumes.mounts(place.value));
        draft.notes.converted(&place, format!("{FUNCTION}.volumeMounts"));
    }
    fields
}

/// A container beside the one that serves, or an init container; `to` is the list that it goes to, and `unnamed` what it is called
/// where it has no name, as Knative calls it.
fn beside(container: &Place<'_>, to: &str, unnamed: &str, volumes: &Volumes, draft: &mut Draft) -> Value {
    let mut fields = Map::new();
    fields.insert("name".to_owned(), json!(unnamed));
    let name = container.field_text("name");
    for (field, place) in PLAIN.iter().filter_map(|field| Some((*field, container.field(field)?))) {
        let at = format!("{to}[{name}].{field}");
        let (value, changed) = match field {
            "volumeMounts" => (volumes.mounts(place.value), None),
            "resources" => (with_texts(place.value), None),
            "readinessProbe" => (probes::each_second(place.value), Some(probes::REQUIRES_READY)),
            "startupProbe" => (place.value.clone(), Some(probes::REQUIRES_READY)),
            "name" if name == names::CONTAINER => {
                (json!(BESIDE_FUNCTION), Some("another name, for `function` is the container that serves"))
            }
            _ => (place.value.clone(), None),
        };
        fields.insert(field.to_owned(), value);
        match changed {
            Some(text) => draft.notes.changed(&place, format!("{at}: {text}")),
            None => draft.notes.converted(&place, at),
        }
    }
    Value::Object(fields)
}

/// All containers beside the one that serves, in their order.
pub(super) fn others(
    containers: &[Place<'_>],
    serving: &Place<'_>,
    volumes: &Volumes,
    draft: &mut Draft,
) -> Vec<Value> {
    let others = containers.iter().enumerate().filter(|(_, place)| place.path != serving.path);
    others
        .map(|(index, place)| beside(place, BESIDE, &format!("user-container-{index}"), volumes, draft))
        .collect()
}

/// All init containers.
pub(super) fn first(containers: &[Place<'_>], volumes: &Volumes, draft: &mut Draft) -> Vec<Value> {
    let named = containers.iter().enumerate();
    named
        .map(|(index, place)| beside(place, FIRST, &format!("init-container-{index}"), volumes, draft))
        .collect()
}

/// Converts `env`. Of two variables with one name the later one counts in a pod; a Function may have only one.
fn environment(container: &Place<'_>, draft: &mut Draft) {
    let Some(place) = container.field("env") else { return };
    let items = place.items();
    let mut kept: Vec<&Place<'_>> = Vec::new();
    for item in &items {
        let name = item.field_text("name");
        let earlier = kept.iter().position(|kept| !name.is_empty() && kept.field_text("name") == name);
        if let Some(index) = earlier {
            let earlier = kept.remove(index);
            draft.notes.not_needed(earlier, format!("`{name}` is there again, and the later one counts"));
        }
        kept.push(item);
    }
    for item in &kept {
        draft.notes.converted(item, format!("spec.env[{}]", item.field_text("name")));
    }
    let value = if place.value.is_array() {
        Value::Array(kept.into_iter().map(|item| item.value.clone()).collect())
    } else {
        place.value.clone()
    };
    draft.set("spec.env", value);
}

/// The port that serves. <https://knative.dev/docs/serving/services/http-protocol/>; the names it may have: `validPortNames` in
/// knative/serving `pkg/apis/serving/k8s_validation.go`, 8080 without one: `validateContainersPorts` there.
fn port(container: &Place<'_>, draft: &mut Draft) -> i64 {
    let ports = container.field("ports").map(|ports| ports.items()).unwrap_or_default();
    for more in ports.iter().skip(1) {
        draft.notes.left_out(
            more,
            "one port takes requests; others can be listed by a name of their own in spec.podTemplate",
        );
    }
    let Some(first) = ports.first() else { return 8080 };
    match first.field("name") {
        Some(name) if name.string() == Some("h2c") => draft.put(&name, "spec.protocol", "H2C"),
        Some(name) if matches!(name.string(), Some("http1" | "")) => {
            draft.put(&name, "spec.protocol", "HTTP1");
        }
        Some(name) => draft.notes.left_out(&name, "a port is called http1 or h2c; spec.protocol is HTTP1"),
        None => {}
    }
    if let Some(protocol) = first.field("protocol") {
        if protocol.string() == Some("TCP") {
            draft.notes.not_needed(&protocol, "requests come over TCP");
        } else {
            draft.notes.left_out(&protocol, "requests come over TCP");
        }
    }
    let Some(number) = first.field("containerPort") else { return 8080 };
    if number.value == &json!(0) {
        draft.notes.not_needed(&number, "8080 is meant, as without it");
        return 8080;
    }
    draft.copy(&number, "spec.port");
    number.value.as_i64().unwrap_or(8080)
}

/// Quantities as texts: a fraction that is written as a number is none that the API takes.
fn with_texts(resources: &Value) -> Value {
    match resources {
        Value::Number(number) if number.as_i64().is_none() => Value::String(number.to_string()),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), with_texts(value))).collect()
        }
        _ => resources.clone(),
    }
}
