//! The names that Functions have besides their own: tags, and hosts outside the cluster.
//!
//! What each Function claims is kept where it changes; requests read a table that is made of all claims at once, so that it
//! never depends on the order in which they came.

use crate::authority::Host;
use crate::destination::Destination;
use crate::function::Function;
use crate::reason::FunctionName;
use crate::route::{FunctionRoute, HostRoute, TagRoute};
use foldhash::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

/// What the Functions claim. Most claim nothing.
#[derive(Debug, Default)]
pub(crate) struct Claims(HashMap<FunctionName, Claim>);

/// What one Function claims.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    function: Arc<Function>,
    created: i64,
    tags: Box<[Arc<str>]>,
    hosts: Box<[HostRoute]>,
}

impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        let Self { function, created, tags, hosts } = self;
        Arc::ptr_eq(function, &other.function)
            && *created == other.created
            && *tags == other.tags
            && *hosts == other.hosts
    }
}

impl Claim {
    /// Its hosts, in the form in which they are compared.
    pub(crate) fn hosts(&self) -> Vec<HostRoute> {
        self.hosts.to_vec()
    }
}

impl Claims {
    /// Takes over what the Function claims now.
    pub(crate) fn set(&mut self, function: &Arc<Function>, route: &FunctionRoute) {
        let tags: Box<[_]> = route.tags.iter().map(|TagRoute { tag, .. }| Arc::clone(tag)).collect();
        let hosts: Box<[_]> = route.hosts.iter().filter_map(normalised).collect();
        if tags.is_empty() && hosts.is_empty() {
            self.0.remove(&route.name);
        } else {
            let claim = Claim { function: Arc::clone(function), created: route.created, tags, hosts };
            self.0.insert(route.name.clone(), claim);
        }
    }

    /// Forgets the Function. False: it claimed nothing.
    pub(crate) fn remove(&mut self, name: &FunctionName) -> bool {
        self.0.remove(name).is_some()
    }

    /// Forgets all Functions but these.
    pub(crate) fn retain(&mut self, named: &HashSet<FunctionName>) {
        self.0.retain(|name, _| named.contains(name));
    }

    pub(crate) fn of(&self, name: &FunctionName) -> Option<&Claim> {
        self.0.get(name)
    }

    /// The table of all claims. Of several claims of one name the oldest Function's holds, and of equally old ones that of the
    /// first by namespace and name: every activator decides alike.
    pub(crate) fn aliases(&self) -> Aliases {
        let mut claims: Vec<_> = self.0.iter().collect();
        claims.sort_unstable_by_key(|(name, claim)| (claim.created, *name));
        let mut aliases = Aliases::default();
        for (name, claim) in claims {
            aliases.add(name, claim);
        }
        aliases
    }
}

/// As names of requests are compared. `None`: no request could have it.
fn normalised(claimed: &HostRoute) -> Option<HostRoute> {
    let (wildcard, base) = match claimed.host.strip_prefix("*.") {
        Some(base) => ("*.", base),
        None => ("", &*claimed.host),
    };
    let host = Host::parse(base)?;
    let host = format!("{wildcard}{}", host.as_str());
    // Usually it is written like that, and need not be stored twice.
    let host = if *host == *claimed.host { Arc::clone(&claimed.host) } else { host.into() };
    Some(HostRoute { host, tag: claimed.tag.clone() })
}

/// Names besides those of Functions: an immutable table.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    /// By namespace, then by `<tag>-<function>`.
    tags: HashMap<Arc<str>, HashMap<String, Destination>>,
    hosts: HashMap<Arc<str>, Destination>,
    /// By what follows the `*.`.
    wildcards: HashMap<String, Destination>,
}

impl Aliases {
    fn add(&mut self, FunctionName { namespace, name }: &FunctionName, claim: &Claim) {
        for tag in &claim.tags {
            let names = self.tags.entry(Arc::clone(namespace)).or_default();
            names
                .entry(format!("{tag}-{name}"))
                .or_insert_with(|| Destination::new(&claim.function, Some(tag)));
        }
        for HostRoute { host, tag } in &claim.hosts {
            let destination = || Destination::new(&claim.function, tag.as_ref());
            match host.strip_prefix("*.") {
                Some(base) => self.wildcards.entry(base.to_owned()).or_insert_with(destination),
                None => self.hosts.entry(Arc::clone(host)).or_insert_with(destination),
            };
        }
    }

    /// What `name` is in the namespace, if it is `<tag>-<function>`.
    pub(crate) fn tag(&self, namespace: &str, name: &str) -> Option<Destination> {
        self.tags.get(namespace)?.get(name).cloned()
    }

    /// Who has the host: itself, or else the longest wildcard above it, which stands for one label or more.
    pub(crate) fn host(&self, host: &str) -> Option<Destination> {
        if let Some(exact) = self.hosts.get(host) {
            return Some(exact.clone());
        }
        if self.wildcards.is_empty() {
            return None;
        }
        let mut below = host;
        while let Some((label, base)) = below.split_once('.') {
            // An empty label is none: `.example.com` is no name.
            if let Some(found) = self.wildcards.get(base).filter(|_| !label.is_empty()) {
                return Some(found.clone());
            }
            below = base;
        }
        None
    }
}
