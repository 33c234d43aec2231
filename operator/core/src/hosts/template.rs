//! The name that the installation gives a Function outside the cluster: one label before its domain, so that one wildcard
//! certificate is good for all of them.

use std::str::FromStr;

use super::{Claimant, Host, HostError};

const NAME: &str = "{{name}}";
const NAMESPACE: &str = "{{namespace}}";
const DOMAIN: &str = ".{{domain}}";

/// `{{name}}-{{namespace}}.{{domain}}`, or another label with both in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainTemplate {
    label: Box<str>,
    /// What stands before, between and behind the two names.
    around: [Box<str>; 3],
    name_is_first: bool,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // Said in the messages.
pub enum TemplateError {
    #[error("a domain template ends in {DOMAIN}")]
    Domain,
    #[error("a domain template has {NAME} and {NAMESPACE} in it, each once")]
    Parts,
    #[error("a domain template is one label before {DOMAIN}")]
    Label {
        #[source]
        source: HostError,
    },
}

impl FromStr for DomainTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label = text.strip_suffix(DOMAIN).ok_or(TemplateError::Domain)?;
        if [NAME, NAMESPACE].iter().any(|part| label.matches(part).count() != 1) {
            return Err(TemplateError::Parts);
        }
        let name_is_first = label.find(NAME) < label.find(NAMESPACE);
        let (first, second) = if name_is_first { (NAME, NAMESPACE) } else { (NAMESPACE, NAME) };
        let (before, rest) = label.split_once(first).ok_or(TemplateError::Parts)?;
        let (between, behind) = rest.split_once(second).ok_or(TemplateError::Parts)?;
        let around = [before, between, behind].map(Into::into);
        let template = Self { label: label.into(), around, name_is_first };
        let example = template.render("a", "a", None);
        match Host::suffix(&example) {
            Ok(host) if host.base() == example && !example.contains('.') => Ok(template),
            Ok(_) => Err(TemplateError::Label { source: HostError::Label { label: example } }),
            Err(source) => Err(TemplateError::Label { source }),
        }
    }
}

impl DomainTemplate {
    /// The name of a Function under `domain`, or of one of its tags: its tag, `-` and the Function's own. As a text, because
    /// two long names make no label.
    pub fn host(&self, function: &Claimant, tag: Option<&str>, domain: &Host) -> String {
        format!("{}.{domain}", self.render(&function.name, &function.namespace, tag))
    }

    /// The namespaces that a Function or a tag with this label could be in: several, where the names leave open which part is
    /// whose.
    pub fn possible_namespaces<'label>(&self, label: &'label str) -> impl Iterator<Item = &'label str> {
        let [before, between, behind] = &self.around;
        // Where the first of the two names may begin: at once, or behind a tag.
        let tagged = format!("-{before}");
        let behind_tags = label.match_indices(&tagged).map(|(at, tagged)| at + tagged.len());
        let starts = label.starts_with(&**before).then_some(before.len()).into_iter();
        let starts: Vec<_> = starts.chain(behind_tags.filter(|start| *start > tagged.len())).collect();
        let parts = starts.into_iter().filter_map(move |start| label.get(start..)?.strip_suffix(&**behind));
        parts.flat_map(move |both| {
            (1..both.len()).filter_map(move |at| {
                let (first, rest) = both.split_at_checked(at)?;
                let second = rest.strip_prefix(&**between).filter(|second| !second.is_empty())?;
                Some(if self.name_is_first { second } else { first })
            })
        })
    }

    fn render(&self, name: &str, namespace: &str, tag: Option<&str>) -> String {
        let label = self.label.replace(NAMESPACE, namespace).replace(NAME, name);
        tag.map_or_else(|| label.clone(), |tag| format!("{tag}-{label}"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn label(label: &str) -> TemplateError {
        TemplateError::Label { source: HostError::Label { label: label.into() } }
    }

    #[rstest]
    #[case("{{name}}-{{namespace}}.{{domain}}", "hello-default.apps.example.com")]
    #[case("{{namespace}}--{{name}}.{{domain}}", "default--hello.apps.example.com")]
    #[case("fn-{{name}}-in-{{namespace}}.{{domain}}", "fn-hello-in-default.apps.example.com")]
    #[case("{{name}}{{namespace}}.{{domain}}", "hellodefault.apps.example.com")]
    fn a_function_has_one_label(#[case] text: &str, #[case] expected: &str) {
        let template: DomainTemplate = text.parse().unwrap();
        let function = Claimant { namespace: "default".into(), name: "hello".into() };
        let domain = Host::parse("apps.example.com").unwrap();
        assert_eq!(template.host(&function, None, &domain), expected);
        assert_eq!(template.host(&function, Some("next"), &domain), format!("next-{expected}"));
    }

    #[rstest]
    #[case("{{name}}-{{namespace}}.{{domain}}", "a-b-c", &["b-c", "c"])]
    #[case("{{name}}-{{namespace}}.{{domain}}", "hello-default", &["default"])]
    #[case("{{name}}-{{namespace}}.{{domain}}", "hello", &[])]
    #[case("{{name}}--{{namespace}}.{{domain}}", "a-b--c-d", &["c-d"])]
    #[case("{{namespace}}-{{name}}.{{domain}}", "a-b-c", &["a", "a-b", "b"])]
    #[case("fn-{{namespace}}-{{name}}-x.{{domain}}", "fn-a-b-x", &["a"])]
    #[case("fn-{{namespace}}-{{name}}-x.{{domain}}", "next-fn-a-b-x", &["a"])]
    #[case("fn-{{namespace}}-{{name}}-x.{{domain}}", "-fn-a-b-x", &[])]
    #[case("{{name}}{{namespace}}.{{domain}}", "abc", &["bc", "c"])]
    fn a_label_may_be_of_several_namespaces(
        #[case] text: &str,
        #[case] label: &str,
        #[case] expected: &[&str],
    ) {
        let template: DomainTemplate = text.parse().unwrap();
        let possible: std::collections::BTreeSet<_> = template.possible_namespaces(label).collect();
        assert_eq!(possible, expected.iter().copied().collect());
    }

    #[rstest]
    #[case("", TemplateError::Domain)]
    #[case("{{name}}-{{namespace}}", TemplateError::Domain)]
    #[case("{{name}}-{{namespace}}{{domain}}", TemplateError::Domain)]
    #[case("{{name}}-{{namespace}}.{{domain}}.example.com", TemplateError::Domain)]
    #[case("{{name}}.{{domain}}", TemplateError::Parts)]
    #[case("{{namespace}}.{{domain}}", TemplateError::Parts)]
    #[case("{{name}}-{{name}}-{{namespace}}.{{domain}}", TemplateError::Parts)]
    #[case("{{name}}.{{namespace}}.{{domain}}", label("a.a"))]
    #[case("*.{{name}}-{{namespace}}.{{domain}}", label("*.a-a"))]
    #[case("{{name}}-{{namespace}}-.{{domain}}", label("a-a-"))]
    #[case("{{name}}_{{namespace}}.{{domain}}", label("a_a"))]
    #[case("{{name}}-{{ namespace }}-{{namespace}}.{{domain}}", label("a-{{ namespace }}-a"))]
    #[case("{{Name}}-{{name}}-{{namespace}}.{{domain}}", label("{{name}}-a-a"))]
    #[case("FN-{{name}}-{{namespace}}.{{domain}}", label("FN-a-a"))]
    fn what_gives_no_names_is_refused(#[case] text: &str, #[case] expected: TemplateError) {
        assert_eq!(text.parse::<DomainTemplate>(), Err(expected), "{text}");
    }
}
