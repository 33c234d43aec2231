//! Paths of the API: which object, or which list of objects, a request is about.

/// `/api/v1/namespaces/<ns>/<plural>/<name>/<subresource>` and its like, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Everything up to the plural: the key of the collection.
    pub(crate) collection: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Route {
    /// `None` for paths that are no resource's.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).peekable();
        let mut collection = match parts.next()?.as_str() {
            "api" => format!("/api/{}", parts.next()?),
            "apis" => format!("/apis/{}/{}", parts.next()?, parts.next()?),
            _ => return None,
        };
        let mut plural = parts.next()?;
        let mut namespace = None;
        if plural == "namespaces" && parts.clone().count() >= 2 {
            let name = parts.next()?;
            collection = format!("{collection}/namespaces/{name}");
            namespace = Some(name);
            plural = parts.next()?;
        }
        let collection = format!("{collection}/{plural}");
        Some(Self { collection, plural, namespace, name: parts.next(), subresource: parts.next() })
    }

    /// Whether a list of this is about that collection: without a namespace about those of all, and about what is in none.
    pub(crate) fn covers(&self, collection: &str) -> bool {
        let (base, plural) = self.collection.rsplit_once('/').unwrap_or_default();
        let in_any = || {
            collection
                .strip_prefix(base)
                .and_then(|rest| rest.strip_prefix("/namespaces/")?.rsplit_once('/'))
                .is_some_and(|(_, its)| its == plural)
        };
        collection == self.collection || (self.namespace.is_none() && in_any())
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn paths_are_taken_apart() {
        let route = Route::parse("/apis/apps/v1/namespaces/default/deployments/hello/scale").unwrap();
        assert_eq!(route.collection, "/apis/apps/v1/namespaces/default/deployments");
        assert_eq!((route.name.as_deref(), route.subresource.as_deref()), (Some("hello"), Some("scale")));
        let route = Route::parse("/api/v1/namespaces/default").unwrap();
        assert_eq!((route.plural.as_str(), route.name.as_deref()), ("namespaces", Some("default")));
        assert_eq!(Route::parse("/healthz"), None);
    }
}
