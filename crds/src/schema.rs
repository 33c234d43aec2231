//! The CustomResourceDefinition as users install it, and as it is checked in under `crds/generated/`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use crate::Function;

/// The definition could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("the CustomResourceDefinition of Function cannot be written as YAML")]
pub struct RenderError {
    #[source]
    source: serde_saphyr::ser::Error,
}

/// The definition of Function.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = Function::crd();
    for version in &mut crd.spec.versions {
        let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let Some(fields) = root.and_then(|root| root.properties.as_mut()) else { continue };
        fields.values_mut().for_each(drop_nulls);
        // The defaults of what is in it. Without a status kstatus takes a Function that nobody has looked at yet for done.
        if let Some(status) = fields.get_mut("status") {
            status.default = Some(JSON(json!({})));
        }
        // Kubernetes' own documentation of these would be most of the file.
        for (part, names) in [("spec", &["env", "envFrom", "resources"][..]), ("status", &["conditions"][..])]
        {
            let Some(part) = fields.get_mut(part).and_then(|part| part.properties.as_mut()) else { continue };
            part.iter_mut()
                .filter(|(name, _)| names.contains(&name.as_str()))
                .for_each(|(_, field)| strip_inner_descriptions(field));
        }
    }
    crd
}

/// The definition of Function as YAML, with a trailing newline.
pub fn crd_yaml() -> Result<String, RenderError> {
    let mut yaml = serde_saphyr::to_string(&crd()).map_err(|source| RenderError { source })?;
    if !yaml.ends_with('\n') {
        yaml.push('\n');
    }
    Ok(yaml)
}

/// A null where none is allowed is dropped by the API server, so that it means absent: no field has to allow it.
fn drop_nulls(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|JSON(value)| !value.is_null());
    }
    for_each_inner(schema, &mut drop_nulls);
}

fn strip_inner_descriptions(schema: &mut JSONSchemaProps) {
    for_each_inner(schema, &mut |inner| {
        inner.description = None;
        strip_inner_descriptions(inner);
    });
}

fn for_each_inner(schema: &mut JSONSchemaProps, change: &mut dyn FnMut(&mut JSONSchemaProps)) {
    schema.properties.iter_mut().flat_map(|fields| fields.values_mut()).for_each(&mut *change);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => change(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(&mut *change),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        change(values);
    }
}
