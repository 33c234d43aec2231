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
        let Some(fields) = root.and_then(|root| root.properties.as_mut()) else { continue };
        // Kubernetes' own documentation of these would be most of the file.
        for (part, names) in [("spec", &["env", "envFrom", "resources"][..]), ("status", &["conditions"][..])]
        {
            let Some(part) = fields.get_mut(part).and_then(|part| part.properties.as_mut()) else { continue };
            part.iter_mut()
                .filter(|(name, _)| names.contains(&name.as_str()))
                .for_each(|(_, field)| strip_inner_descriptions(field));
            // Claims refer to a pod's `resourceClaims`, which a Function cannot have.
            if let Some(resources) = part.get_mut("resources").and_then(|field| field.properties.as_mut()) {
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
