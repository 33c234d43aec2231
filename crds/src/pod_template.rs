//! `spec.podTemplate`: what a Pod can have and a Function has no field for. Only its outline is in the schema: the rest is
//! kept as it is, so that fields of newer clusters work and a namespace's API server has the last word.

use schemars::{Schema, SchemaGenerator, json_schema};

/// An object, with two more in it where there are any.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    let part = |description: &str| {
        json_schema!({
            "description": description,
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
        })
    };
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "metadata": part("Labels and annotations of the pods."),
            "spec": part("As in a Pod. The container named function is merged with the Function's own fields."),
        },
    })
}
