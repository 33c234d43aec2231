//! Names that are part of what the processes agree on.

/// Name of the one container that Catnap renders into a function pod.
pub const CONTAINER: &str = "function";
/// Port of a Function's own Service, and of the activators' Service behind it.
pub const SERVICE_PORT: i32 = 80;
/// Service in front of the activators; a Function's EndpointSlices hold its ClusterIPs.
pub const ACTIVATOR_SERVICE: &str = "catnap-activator";
/// Field manager of the operator's server-side applies.
pub const FIELD_MANAGER: &str = "catnap-operator";
/// Field manager of a Deployment's first write, which alone says `spec.replicas`.
pub const INITIAL_SCALE_FIELD_MANAGER: &str = "catnap-initial-scale";
/// Most characters of a Function's name: what is left of a label's 63 after a revision's `-` and hash, and a tag.
pub const MAX_FUNCTION_NAME: usize = 50;
/// Seconds that a function pod keeps serving after it was deleted (`preStop`), before SIGTERM.
pub const LAME_DUCK_SECONDS: i64 = 3;
/// Label below a namespace's in cluster-local names: `<name>.<namespace>.svc` and what may follow it.
pub const LOCAL_LABEL: &str = "svc";

/// Name of the Service, and first label of the hosts, of a tag of `function`; a Function of that name comes first.
pub fn tag_service(tag: &str, function: &str) -> String {
    format!("{tag}-{function}")
}
