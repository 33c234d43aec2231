//! Flags of the process; each has an environment variable.

use std::path::PathBuf;

use catnap_operator_core::{Claims, Host, HostError, HostRules, HostSettings, TemplateError};
use catnap_runtime::{admin::AdminArgs, identity::Pod, telemetry::TelemetryArgs};

/// Turns each Function into Kubernetes objects and reports what became of it.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "catnap-operator", version)]
pub struct Args {
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Metrics, health and debugging.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Who this process is.
    #[command(flatten)]
    pub pod: Pod,
    /// Name of the Lease that the acting operator holds.
    #[arg(long, env = "CATNAP_LEASE", default_value = "catnap-operator")]
    pub lease: String,
    /// Service in front of the activators, in the namespace of this process: where functions' names lead to.
    #[arg(long, env = "CATNAP_ACTIVATOR_SERVICE", default_value = catnap_crds::names::ACTIVATOR_SERVICE)]
    pub activator_service: String,
    /// File with the ServiceAccount token, of audience `catnap-rates`, that is shown to the autoscaler, which tells how requests
    /// end: without it revisions take over at once or not at all.
    #[arg(long, env = "CATNAP_TOKEN_FILE", default_value = "/var/run/secrets/catnap.dev/token")]
    pub token_file: PathBuf,
    /// Functions that are worked on at once.
    #[arg(long, env = "CATNAP_CONCURRENCY", default_value_t = 32)]
    pub concurrency: u16,
    /// New revisions that prove themselves at once in the whole cluster; the others wait for their turn.
    #[arg(long, env = "CATNAP_MAX_PROOFS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_proofs: u32,
    /// Hosts.
    #[command(flatten)]
    pub hosts: HostArgs,
}

/// What hosts Functions may have.
#[derive(Clone, Debug, clap::Args)]
pub struct HostArgs {
    /// DNS domain of the cluster, under which nobody claims a host.
    #[arg(long, env = "CATNAP_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Domain under which Functions that are visible outside get a host [default: none, and they get none].
    #[arg(long, env = "CATNAP_DOMAIN", default_value = "")]
    pub domain: String,
    /// How such a host is made: one label with both names in it, before the domain.
    #[arg(long, env = "CATNAP_DOMAIN_TEMPLATE", default_value = "{{name}}-{{namespace}}.{{domain}}")]
    pub domain_template: String,
    /// Who may claim other hosts: namespaces what their annotation allows, or everybody everything.
    #[arg(long, env = "CATNAP_HOST_CLAIMS", value_enum, ignore_case = true, default_value_t = HostClaimsArg::Restricted)]
    pub host_claims: HostClaimsArg,
    /// How clients outside speak to the edge, or to what is in front of it, for the URLs in statuses.
    #[arg(long, env = "CATNAP_URL_SCHEME", value_enum, default_value_t = UrlScheme::Https)]
    pub url_scheme: UrlScheme,
}

/// Who may claim hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)] // Said at the flag.
pub enum HostClaimsArg {
    Restricted,
    Open,
}

/// The scheme of URLs outside the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs)] // The schemes.
pub enum UrlScheme {
    Http,
    Https,
}

/// What is wrong with a flag on hosts.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // Said in the messages.
pub enum HostArgsError {
    #[error("`{domain}` is no domain")]
    Domain {
        domain: String,
        #[source]
        source: HostError,
    },
    #[error("`{domain}` is a wildcard and no domain")]
    Wildcard { domain: String },
    #[error("`{template}` is no template for hosts")]
    Template {
        template: String,
        #[source]
        source: TemplateError,
    },
}

impl HostArgs {
    /// As the arbiter takes them.
    pub fn settings(self) -> Result<HostSettings, HostArgsError> {
        let Self { cluster_domain, domain, domain_template, host_claims, url_scheme } = self;
        let claims = match host_claims {
            HostClaimsArg::Restricted => Claims::Restricted,
            HostClaimsArg::Open => Claims::Open,
        };
        let domain = (!domain.is_empty()).then(|| read_domain(domain)).transpose()?;
        let template = match domain_template.parse() {
            Ok(template) => template,
            Err(source) => return Err(HostArgsError::Template { template: domain_template, source }),
        };
        let rules = HostRules { cluster_domain: read_domain(cluster_domain)?, domain, claims };
        let scheme = match url_scheme {
            UrlScheme::Http => "http",
            UrlScheme::Https => "https",
        };
        Ok(HostSettings { rules, template, scheme })
    }
}

fn read_domain(domain: String) -> Result<Host, HostArgsError> {
    match Host::suffix(&domain) {
        Ok(host) if host.is_wildcard() => Err(HostArgsError::Wildcard { domain }),
        Ok(host) => Ok(host),
        Err(source) => Err(HostArgsError::Domain { domain, source }),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use rstest::rstest;

    use super::*;

    const POD: [&str; 9] = [
        "catnap-operator",
        "--pod-name",
        "a",
        "--pod-namespace",
        "b",
        "--pod-uid",
        "c",
        "--pod-ip",
        "10.0.0.1",
    ];

    fn settings(flags: &[&str]) -> Result<HostSettings, String> {
        let args = Args::try_parse_from(POD.iter().chain(flags)).map_err(|error| error.to_string())?;
        args.hosts.settings().map_err(|error| error.to_string())
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_a_doc() {
        let undocumented = catnap_testkit::flags::undocumented(&Args::command());
        assert!(undocumented.is_empty(), "{undocumented:?}");
    }

    #[test]
    fn the_flags_page_is_fresh() {
        let table = catnap_runtime::flags::table(&Args::command());
        catnap_testkit::flags_page::check("catnap-operator", &table).unwrap();
    }

    #[test]
    fn what_nobody_sets_is_as_documented() {
        let HostSettings { rules, template, scheme } = settings(&[]).unwrap();
        assert_eq!((rules.cluster_domain.as_str(), rules.domain), ("cluster.local", None));
        assert_eq!((rules.claims, scheme), (Claims::Restricted, "https"));
        assert_eq!(Ok(template), "{{name}}-{{namespace}}.{{domain}}".parse());
    }

    #[test]
    fn flags_are_read_as_the_chart_writes_them() {
        let flags = ["--domain", "Apps.Example.com.", "--host-claims", "Open", "--url-scheme", "http"];
        let HostSettings { rules, scheme, .. } = settings(&flags).unwrap();
        assert_eq!(rules.domain.unwrap().as_str(), "apps.example.com");
        assert_eq!((rules.claims, scheme), (Claims::Open, "http"));
    }

    #[rstest]
    #[case(&["--domain", "*.example.com"], "is a wildcard")]
    #[case(&["--domain", "https://example.com"], "is no domain")]
    #[case(&["--domain", "apps.example.0x1f"], "is no domain")]
    #[case(&["--cluster-domain", ""], "is no domain")]
    #[case(&["--cluster-domain", "cluster.10"], "is no domain")]
    #[case(&["--domain-template=-{{name}}-{{namespace}}.{{domain}}"], "is no template")]
    #[case(&["--domain-template=xn--{{name}}-{{namespace}}.{{domain}}"], "is no template")]
    #[case(&["--domain-template", "{{name}}.{{domain}}"], "is no template")]
    #[case(&["--host-claims", "all"], "possible values")]
    fn what_makes_no_sense_is_refused(#[case] flags: &[&str], #[case] words: &str) {
        let error = settings(flags).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
