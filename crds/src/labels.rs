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
