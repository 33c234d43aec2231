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
        let template = Self { label: label.into() };
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
