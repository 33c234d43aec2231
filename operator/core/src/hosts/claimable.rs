//! Which hosts a namespace may claim at all, whoever else wants them.

use super::Host;

/// What the installation says about hosts.
#[derive(Clone, Debug)]
pub struct HostRules {
    /// The cluster's own domain, such as `cluster.local`.
    pub cluster_domain: Host,
    /// The domain under which the installation gives every Function a name, where there is one.
    pub domain: Option<Host>,
    /// Who may claim hosts.
    pub claims: Claims,
}

/// Who may claim hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claims {
    /// A namespace may claim what is under its own suffixes.
    #[default]
    Restricted,
    /// Every namespace may claim everything.
    Open,
}

/// The suffixes of a namespace, as its annotation `catnap.dev/host-suffixes` has them: with commas between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suffixes(Vec<Host>);

/// Why a host cannot be claimed. Each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// Names of the cluster, or of all Functions.
    #[error("names at or around {domain} are given out by Catnap and cannot be claimed; choose another host")]
    Reserved {
        /// The domain.
        domain: Host,
    },
    /// It could be the cluster's name of a Service.
    #[error("{host} could be a name inside the cluster; choose a host outside of it")]
    Local {
        /// The host.
        host: Host,
    },
    /// The namespace has no suffix for it.
    #[error(
        "the namespace may not have {host}; an administrator can allow it in the namespace's annotation {}",
        catnap_crds::labels::HOST_SUFFIXES
    )]
    Suffix {
        /// The host.
        host: Host,
    },
}

impl NotAllowed {
    /// Whether a host that was accepted before is taken away for it. A namespace that appears later takes nothing away: the
    /// activators never serve a name of that form as a claimed host inside the cluster, so that nobody can be misled.
    pub fn ends_what_was_accepted(&self) -> bool {
        match self {
            Self::Reserved { .. } | Self::Suffix { .. } => true,
            Self::Local { host } => host.base().rsplit('.').next() == Some(catnap_crds::names::LOCAL_LABEL),
        }
    }
}

impl Suffixes {
    /// Reads the annotation's value. What is no host allows nothing.
    pub fn parse(annotation: &str) -> Self {
        Self(annotation.split(',').filter_map(|suffix| Host::suffix(suffix.trim()).ok()).collect())
    }

    fn allow(&self, host: &Host) -> bool {
        self.0.iter().any(|suffix| host.is_within(suffix))
    }
}

impl HostRules {
    /// Whether a namespace with these suffixes may claim `host`, in a cluster with the namespaces that there are.
    pub fn check(
        &self,
        host: &Host,
        suffixes: &Suffixes,
        is_namespace: impl Fn(&str) -> bool,
    ) -> Result<(), NotAllowed> {
        for domain in [Some(&self.cluster_domain), self.domain.as_ref()].into_iter().flatten() {
            // A wildcard above it would get the names that are not given out yet.
            if host.is_within(domain) || (host.is_wildcard() && domain.is_within(host)) {
                return Err(NotAllowed::Reserved { domain: domain.clone() });
            }
        }
        if is_local(host, is_namespace) {
            return Err(NotAllowed::Local { host: host.clone() });
        }
        if self.claims == Claims::Restricted && !suffixes.allow(host) {
            return Err(NotAllowed::Suffix { host: host.clone() });
        }
        Ok(())
    }
}

/// `name.namespace`, or what ends in `.svc`: resolvers in the cluster complete these to names of Services.
fn is_local(host: &Host, is_namespace: impl Fn(&str) -> bool) -> bool {
    let Some((first, last)) = host.base().rsplit_once('.') else { return true };
    let two_labels = !first.contains('.') && !host.is_wildcard();
    last == catnap_crds::names::LOCAL_LABEL || (two_labels && is_namespace(last))
}
