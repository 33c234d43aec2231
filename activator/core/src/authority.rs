//! What a host name means, found without an allocation.
//!
//! A Function is `<name>.<namespace>`, `<name>.<namespace>.svc` or `<name>.<namespace>.svc.<cluster domain>`, in any case, with
//! or without port and trailing dot. Names that the cluster's resolver could answer are never anything else.

/// Longest host name (RFC 1035 2.3.4), which bounds the buffer.
const LONGEST: usize = 255;

/// A host name in lower case, without port and trailing dot.
#[derive(Debug)]
pub(crate) struct Host {
    bytes: [u8; LONGEST],
    length: usize,
}

/// What a host name means on the in-cluster listener.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// The Function of this name in this namespace.
    Function { namespace: &'a str, name: &'a str },
    /// A name without a namespace.
    Bare,
    /// Another name of the cluster's own.
    Local,
    /// A name of the world outside.
    Other,
}

impl Host {
    /// `None` when it is too long, empty, not ASCII, or an address in brackets.
    pub(crate) fn parse(authority: &str) -> Option<Self> {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) => return None,
            None => authority,
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() || !host.is_ascii() || host.starts_with('[') {
            return None;
        }
        let mut bytes = [0; LONGEST];
        let lower = bytes.get_mut(..host.len())?;
        lower.copy_from_slice(host.as_bytes());
        lower.make_ascii_lowercase();
        Some(Self { bytes, length: host.len() })
    }

    /// The name itself.
    pub(crate) fn as_str(&self) -> &str {
        // It is ASCII.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    pub(crate) fn meaning(&self, cluster_domain: &str) -> Meaning<'_> {
        let host = self.as_str();
        let Some((name, rest)) = host.split_once('.') else { return Meaning::Bare };
        let (namespace, suffix) = rest.split_once('.').unwrap_or((rest, ""));
        let local = match suffix.strip_prefix("svc") {
            None => suffix.is_empty(),
            Some("") => true,
            Some(domain) => {
                domain.strip_prefix('.').is_some_and(|domain| domain.eq_ignore_ascii_case(cluster_domain))
            }
        };
        match local && !namespace.is_empty() {
            true => Meaning::Function { namespace, name },
            false if self.is_local(cluster_domain) => Meaning::Local,
            false => Meaning::Other,
        }
    }

    /// Whether only the cluster's own resolver may have an answer: it ends in `svc`, or in the cluster's domain.
    pub(crate) fn is_local(&self, cluster_domain: &str) -> bool {
        let ends_in = |suffix: &str| {
            let bytes = self.as_str().as_bytes();
            let Some(front) = bytes.len().checked_sub(suffix.len()) else { return false };
            bytes[front..].eq_ignore_ascii_case(suffix.as_bytes()) && (front == 0 || bytes[front - 1] == b'.')
        };
        ends_in("svc") || ends_in(cluster_domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("hello.default", Some(("default", "hello")))]
    #[case("Hello.DEFAULT:80", Some(("default", "hello")))]
    #[case("hello.default.", Some(("default", "hello")))]
    #[case("hello.default.svc", Some(("default", "hello")))]
    #[case("hello.default.svc.:8080", Some(("default", "hello")))]
    #[case("hello.default.svc.cluster.local", Some(("default", "hello")))]
    #[case("hello.default.svc.Cluster.Local.:80", Some(("default", "hello")))]
    #[case("hello.default.svc.cluster.org", None)]
    #[case("hello.default.svcs", None)]
    #[case("hello.example.com", None)]
    #[case("hello.", None)]
    #[case("hello..svc", None)]
    #[case("hello.default:http", None)]
    #[case("[::1]:80", None)]
    #[case("10.0.0.1", None)]
    #[case("", None)]
    #[case(":80", None)]
    #[case("héllo.default", None)]
    fn host_names(#[case] authority: &str, #[case] expected: Option<(&str, &str)>) {
        let host = Host::parse(authority);
        let found = host.as_ref().and_then(|host| match host.meaning("cluster.local") {
            Meaning::Function { namespace, name } => Some((namespace, name)),
            Meaning::Bare | Meaning::Local | Meaning::Other => None,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_without_a_namespace_is_told_apart() {
        let host = Host::parse("Hello:80").expect("a host");
        assert_eq!(host.meaning("cluster.local"), Meaning::Bare);
    }

    #[rstest]
    #[case("hello.example.com", Meaning::Other)]
    #[case("a.b.svc.example.com", Meaning::Other)]
    #[case("a.notcluster.local", Meaning::Other)]
    #[case("a.b.c.svc", Meaning::Local)]
    #[case("a.b.c.SVC:80", Meaning::Local)]
    #[case("10-0-0-1.default.pod.Cluster.Local.", Meaning::Local)]
    #[case("a.b.c.svc.cluster.local", Meaning::Local)]
    fn names_of_the_cluster_are_told_apart(#[case] authority: &str, #[case] expected: Meaning<'_>) {
        let host = Host::parse(authority).expect("a host");
        assert_eq!(host.meaning("cluster.local"), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_a_host_or_none(text in prop_oneof![".{0,300}", "[a-zA-Z0-9.:\\[\\]-]{0,40}"]) {
            let Some(host) = Host::parse(&text) else { return Ok(()) };
            let bytes = &host.bytes[..host.length];
            prop_assert!(bytes.is_ascii() && !bytes.iter().any(u8::is_ascii_uppercase));
            if let Meaning::Function { namespace, name } = host.meaning("cluster.local") {
                prop_assert!(!namespace.is_empty() && !namespace.contains('.') && !name.contains('.'));
            }
        }

        #[test]
        fn a_function_has_many_names(
            name in "[a-z0-9-]{1,20}",
            namespace in "[a-z0-9-]{1,20}",
            suffix in prop::sample::select(vec!["", ".svc", ".svc.cluster.local"]),
            dot in prop::sample::select(vec!["", "."]),
            port in prop_oneof![Just(String::new()), "[0-9]{1,5}".prop_map(|port| format!(":{port}"))],
        ) {
            let text = format!("{name}.{namespace}{suffix}{dot}{port}");
            for text in [text.to_uppercase(), text] {
                let host = Host::parse(&text).expect("a host");
                let meaning = Meaning::Function { namespace: &namespace, name: &name };
                prop_assert_eq!(host.meaning("cluster.local"), meaning);
            }
        }
    }

    #[test]
    fn too_long_is_no_host() {
        assert!(Host::parse(&"a".repeat(256)).is_none());
        assert!(Host::parse(&"a".repeat(255)).is_some());
    }
}
