//! `spec.http`: under which names a Function answers besides those that the cluster gives it. Never forms a revision.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Most hosts of one Function.
const MOST_HOSTS: usize = 16;
/// Longest host name: RFC 1035 section 2.3.4, without the length bytes of its first label and of the root.
const LONGEST_HOST: usize = 253;

/// Under which names the function answers besides those that the cluster gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// Hosts that requests from outside the cluster may name, such as shop.example.com, or *.example.com for every name below
    /// it. The namespace must be allowed to have them, and status.hosts says whether this Function got them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "hosts")]
    pub hosts: Vec<String>,
    /// Cluster: only the hosts above are served outside the cluster. External: also the name that the installation gives
    /// each Function.
    #[serde(default)]
    pub visibility: Visibility,
}

/// Who can reach the function without a host of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)] // Said at the field.
pub enum Visibility {
    #[default]
    Cluster,
    External,
}

/// A list whose every item has its own rule, so that a refusal names the one that is meant.
fn hosts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST_HOSTS,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": LONGEST_HOST,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^([*][.])?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])+[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$') && !self.matches('[.][0-9]+$')",
                "message": "http.hosts[] must be host names such as shop.example.com or *.example.com: at least two labels of lower-case letters, digits and '-' (other letters in their xn-- form), no port, no dot at the end, no IP address",
            }],
        },
    })
}
