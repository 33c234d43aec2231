//! The CustomResourceDefinition as users install it, and as it is checked in under `crds/generated/`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

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
        let spec = root.and_then(|root| root.properties.as_mut()).and_then(|fields| fields.get_mut("spec"));
        if let Some(fields) = spec.and_then(|spec| spec.properties.as_mut()) {
            // Kubernetes' own documentation of these would be most of the file.
            for name in ["env", "envFrom", "resources"] {
                if let Some(field) = fields.get_mut(name) {
                    strip_inner_descriptions(field);
                }
            }
            // Claims refer to a pod's `resourceClaims`, which a Function cannot have.
            if let Some(resources) = fields.get_mut("resources").and_then(|field| field.properties.as_mut()) {
                resources.remove("claims");
            }
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

fn strip_inner_descriptions(schema: &mut JSONSchemaProps) {
    let strip = |inner: &mut JSONSchemaProps| {
        inner.description = None;
        strip_inner_descriptions(inner);
    };
    schema.properties.iter_mut().flat_map(|fields| fields.values_mut()).for_each(strip);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => strip(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(strip),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        strip(values);
    }
}
