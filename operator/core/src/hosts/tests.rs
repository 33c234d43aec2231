use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

#[rstest]
#[case("shop.example.com", "shop.example.com")]
#[case("Shop.EXAMPLE.com", "shop.example.com")]
#[case("shop.example.com.", "shop.example.com")]
#[case("*.example.com", "*.example.com")]
#[case("*.Example.com.", "*.example.com")]
#[case("a.b", "a.b")]
#[case("1.example.com", "1.example.com")]
#[case("a--b.example.com", "a--b.example.com")]
#[case("XN--Bcher-kva.example", "xn--bcher-kva.example")]
#[case("*.xn--mnchen-3ya.de", "*.xn--mnchen-3ya.de")]
fn what_means_the_same_is_the_same_host(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(host(text).as_str(), expected);
}

fn label(label: &str) -> HostError {
    HostError::Label { label: label.to_owned() }
}

fn punycode(label: &str) -> HostError {
    HostError::Punycode { label: label.to_owned() }
}

#[rstest]
#[case("", label(""))]
#[case(".", label(""))]
#[case("example.com..", label(""))]
#[case(".example.com", label(""))]
#[case("a..example.com", label(""))]
#[case("-a.example.com", label("-a"))]
#[case("a-.example.com", label("a-"))]
#[case("a_b.example.com", label("a_b"))]
#[case("a b.example.com", label("a b"))]
#[case("a/b.example.com", label("a/b"))]
#[case("a.*.example.com", label("*"))]
#[case("*.*.example.com", label("*"))]
#[case("*a.example.com", label("*a"))]
#[case("*", label("*"))]
#[case("*.", label("*"))]
#[case("example", HostError::OneLabel)]
#[case("*.com", HostError::OneLabel)]
#[case("example.com:443", HostError::Port)]
#[case("example.com:", HostError::Port)]
#[case("10.0.0.1", HostError::Address)]
#[case("10.0.0.1.", HostError::Address)]
#[case("*.0.0.1", HostError::Address)]
#[case("example.0x7f", HostError::Address)]
#[case("example.0x", HostError::Address)]
#[case("[::1]", HostError::Address)]
#[case("::1", HostError::Address)]
#[case("bücher.example", HostError::NotAscii)]
#[case("example。com", HostError::NotAscii)]
#[case("xn--.example.com", label("xn--"))]
#[case("xn--a.example.com", punycode("xn--a"))]
#[case("xn--abc-.example.com", label("xn--abc-"))]
fn what_is_no_host_is_told_apart(#[case] text: &str, #[case] expected: HostError) {
    assert_eq!(Host::parse(text), Err(expected), "{text}");
}

#[test]
fn lengths_are_bounded() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(Host::parse(&longest).is_ok());
    assert!(Host::parse(&format!("{longest}.")).is_ok(), "the dot at the end is none of the characters");
    assert_eq!(Host::parse(&format!("{longest}a")), Err(HostError::TooLong));
    assert!(matches!(Host::parse(&format!("{label}a.example.com")), Err(HostError::Label { .. })));
}

#[test]
fn a_suffix_may_be_one_label() {
    assert_eq!(Host::suffix("Corp.").unwrap().as_str(), "corp");
    assert_eq!(Host::parse("corp"), Err(HostError::OneLabel));
}

#[rstest]
#[case("a.example.com", "example.com", true)]
#[case("example.com", "example.com", true)]
#[case("*.example.com", "example.com", true)]
#[case("a.b.example.com", "*.example.com", true)]
#[case("*.b.example.com", "*.example.com", true)]
#[case("*.example.com", "*.example.com", true)]
#[case("example.com", "*.example.com", false)]
#[case("badexample.com", "example.com", false)]
#[case("example.com", "a.example.com", false)]
#[case("example.com.evil.org", "example.com", false)]
fn what_is_within_what(#[case] inner: &str, #[case] outer: &str, #[case] expected: bool) {
    assert_eq!(host(inner).is_within(&host(outer)), expected);
}

#[test]
fn the_wildcards_around_a_host() {
    let around = |text| host(text).wildcards_around().map(|it| it.to_string()).collect::<Vec<_>>();
    assert_eq!(around("a.b.example.com"), ["*.b.example.com", "*.example.com", "*.com"]);
    assert_eq!(around("*.b.example.com"), ["*.example.com", "*.com"]);
}

fn hosts() -> impl Strategy<Value = Host> {
    "([*][.])?([abc][.]){1,3}(com|com-a|a)".prop_map(|text| host(&text))
}

fn wildcards() -> impl Strategy<Value = Host> {
    "[*][.]([abc][.]){1,3}(com|com-a|a)".prop_map(|text| host(&text))
}

proptest! {
    #[test]
    fn a_wildcard_is_the_first_of_what_it_stands_for(wildcard in wildcards(), all in proptest::collection::btree_set(hosts(), 0..40)) {
        let within: Vec<_> = all.iter().filter(|it| it.is_within(&wildcard)).collect();
        let after: Vec<_> = all.iter().filter(|it| **it >= wildcard).take_while(|it| it.is_within(&wildcard)).collect();
        prop_assert_eq!(within, after);
    }

    #[test]
    fn overlaps_are_mutual_and_mean_a_common_name(one in hosts(), other in hosts()) {
        prop_assert_eq!(one.overlaps(&other), other.overlaps(&one));
        // A name that is deep enough stands for all that a wildcard stands for.
        let name = |host: &Host| if host.is_wildcard() { format!("z.z.z.z.{}", host.base()) } else { host.base().to_owned() };
        let stands_for = |host: &Host, name: &str| host.as_str() == name || (host.is_wildcard() && name.ends_with(&format!(".{}", host.base())));
        let common = [name(&one), name(&other)].iter().any(|name| stands_for(&one, name) && stands_for(&other, name));
        prop_assert_eq!(one.overlaps(&other), common);
    }
}

mod claims {
    use rstest::rstest;

    use super::host;
    use crate::hosts::{Claims, Host, HostRules, NotAllowed, Suffixes};

    fn rules(claims: Claims) -> HostRules {
        HostRules {
            cluster_domain: Host::suffix("cluster.local").unwrap(),
            domain: Some(host("apps.example.com")),
            claims,
        }
    }

    fn judged(claims: Claims, suffixes: &str, text: &str) -> &'static str {
        let is_namespace = |name: &str| ["default", "shop"].contains(&name);
        match rules(claims).check(&host(text), &Suffixes::parse(suffixes), is_namespace) {
            Ok(()) => "allowed",
            Err(NotAllowed::Reserved { .. }) => "reserved",
            Err(NotAllowed::Local { .. }) => "local",
            Err(NotAllowed::Suffix { .. }) => "suffix",
        }
    }

    #[rstest]
    #[case("shop.example.com", "allowed")]
    #[case("*.shop.example.com", "allowed")]
    #[case("apps.example.com", "reserved")]
    #[case("hello-default.apps.example.com", "reserved")]
    #[case("*.apps.example.com", "reserved")]
    #[case("*.x.apps.example.com", "reserved")]
    #[case("*.example.com", "reserved")]
    #[case("myapps.example.com", "allowed")]
    #[case("cluster.local", "reserved")]
    #[case("hello.default.svc.cluster.local", "reserved")]
    #[case("*.cluster.local", "reserved")]
    #[case("hello.default", "local")]
    #[case("hello.shop", "local")]
    #[case("*.hello.default", "allowed")]
    #[case("hello.default.svc", "local")]
    #[case("hello.svc", "local")]
    #[case("*.default.svc", "local")]
    #[case("hello.elsewhere", "allowed")]
    #[case("svc.example.org", "allowed")]
    fn names_of_the_cluster_are_nobodys(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(judged(Claims::Open, "", text), expected);
    }

    #[rstest]
    #[case("shop.example.org", "shop.example.org", "allowed")]
    #[case("shop.example.org", "*.shop.example.org", "allowed")]
    #[case("shop.example.org", "a.b.shop.example.org", "allowed")]
    #[case("shop.example.org", "example.org", "suffix")]
    #[case("shop.example.org", "*.example.org", "suffix")]
    #[case("shop.example.org", "myshop.example.org", "suffix")]
    #[case("shop.example.org", "shop.example.org.evil.net", "suffix")]
    #[case("*.shop.example.org", "shop.example.org", "suffix")]
    #[case("*.shop.example.org", "a.shop.example.org", "allowed")]
    #[case("example.net, Shop.Example.ORG.", "a.shop.example.org", "allowed")]
    #[case("corp", "a.corp", "allowed")]
    #[case("", "a.example.org", "suffix")]
    #[case("*, ., com:80, bücher.de", "a.example.org", "suffix")]
    #[case("cluster.local", "a.cluster.local", "reserved")]
    fn a_namespace_has_what_an_administrator_wrote(
        #[case] suffixes: &str,
        #[case] text: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(judged(Claims::Restricted, suffixes, text), expected);
    }

    #[test]
    fn a_namespace_that_appears_later_takes_nothing_away() {
        let ends = |text: &str| {
            let refused =
                rules(Claims::Open).check(&host(text), &Suffixes::default(), |name| name == "default");
            refused.unwrap_err().ends_what_was_accepted()
        };
        assert!(!ends("hello.default"));
        assert!(ends("hello.svc") && ends("a.apps.example.com"));
    }
}
