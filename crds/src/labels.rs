//! Labels and annotations that Catnap's parts know each other's objects by.

/// Standard label that says who keeps an object; [`MANAGED_BY_CATNAP`] on every child of a Function.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGED_BY_CATNAP: &str = "catnap";
/// Name of the Function: on every child and every function pod. Watches of pods select by its presence.
pub const FUNCTION: &str = "catnap.dev/function";
/// Name of the revision: on what belongs to one, its pods included.
pub const REVISION: &str = "catnap.dev/revision";
/// UID of the Function, on its pods: a Function that was deleted and made again does not adopt the old one's.
pub const FUNCTION_UID: &str = "catnap.dev/function-uid";
/// Annotation of a ControllerRevision: the whole SHA-256, in hex, of the content that its name abbreviates.
pub const CONTENT_DIGEST: &str = "catnap.dev/content-digest";
/// Namespace label of Pod Security admission, with the level that it enforces.
pub const POD_SECURITY_ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// Annotation of a Function: a new value has a revision tried again that failed its proof or its rollout.
pub const RETRY: &str = "catnap.dev/retry";
/// Label of what belongs to a tag in `spec.traffic`, with the tag.
pub const TAG: &str = "catnap.dev/tag";
/// Kubernetes' own label of an EndpointSlice: the Service whose addresses it holds.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Annotation of a Namespace: the suffixes, with commas between them, that its Functions may claim hosts under.
pub const HOST_SUFFIXES: &str = "catnap.dev/host-suffixes";
