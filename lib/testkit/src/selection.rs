//! What a list or a watch asks for: a collection, and selectors by label and by field.

use serde_json::Value;

/// The objects that a query is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

/// A key, and the value that it must have; without one any.
type Requirement = (String, Option<String>);

impl Selection {
    /// From `labelSelector` and `fieldSelector`. Of the operators there are `=`, `==` and the mere presence.
    pub(crate) fn parse(query: &str) -> Self {
        let selector = |name: &str| {
            let text = parameter(query, name).unwrap_or_default();
            text.split(',').filter(|it| !it.is_empty()).map(requirement).collect()
        };
        Self { labels: selector("labelSelector"), fields: selector("fieldSelector") }
    }

    pub(crate) fn takes(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let labelled = self.labels.iter().all(|(name, value)| holds(labels.get(name), value.as_deref()));
        let field = |path: &str| path.split('.').try_fold(object, |inner, part| inner.get(part));
        labelled && self.fields.iter().all(|(path, value)| holds(field(path), value.as_deref()))
    }
}

/// A parameter of a query, decoded.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).next()
}

fn requirement(text: &str) -> Requirement {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.trim_start_matches('=').to_owned())),
        None => (text.to_owned(), None),
    }
}

fn holds(found: Option<&Value>, wanted: Option<&str>) -> bool {
    found.is_some_and(|found| wanted.is_none_or(|wanted| found.as_str() == Some(wanted)))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |rest: &mut std::str::Bytes<'_>| {
            let digits = [rest.next()?, rest.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
        };
        match byte {
            b'%' => bytes.extend(hex(&mut rest)),
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_fields_select() {
        let object = json!({"metadata": {"name": "hello", "labels": {"catnap.dev/function": "hello"}}});
        for (query, taken) in [
            ("", true),
            ("&labelSelector=catnap.dev%2Ffunction%3Dhello", true),
            ("labelSelector=catnap.dev%2Ffunction", true),
            ("labelSelector=catnap.dev%2Ffunction%3D%3Dother", false),
            ("labelSelector=catnap.dev%2Ffunction%3Dhello%2Cmore", false),
            ("fieldSelector=metadata.name%3Dhello&limit=5", true),
            ("fieldSelector=metadata.name%3Dother", false),
            ("fieldSelector=involvedObject.uid%3D1", false),
        ] {
            assert_eq!(Selection::parse(query).takes(&object), taken, "{query}");
        }
    }
}
