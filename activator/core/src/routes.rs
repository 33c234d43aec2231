//! Which Function a request is for: an immutable table that is replaced as a whole, so that readers never wait.

use crate::aliases::{Aliases, Claims};
use crate::authority::{Host, Meaning};
use crate::destination::Destination;
use crate::function::Function;
use crate::reason::{FunctionName, Reason, Refusal};
use arc_swap::ArcSwap;
use foldhash::HashMap;
use std::sync::Arc;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The cluster's own clients: cluster-local names.
    InCluster,
    /// The world: accepted external hosts only, never a cluster-local name.
    Edge,
}

type Names = HashMap<Arc<str>, Arc<Function>>;

/// Functions by namespace, then by name. A change copies one namespace's part.
#[derive(Clone, Debug, Default)]
struct Table(HashMap<Arc<str>, Arc<Names>>);

/// The routes of the process.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    table: ArcSwap<Table>,
    /// Looked at only for what the table has not: a Function comes before every tag of its name.
    aliases: ArcSwap<Aliases>,
}

impl Routes {
    /// Replaces everything.
    pub(crate) fn replace<'a>(&self, functions: impl Iterator<Item = &'a Arc<Function>>) {
        let mut names: HashMap<Arc<str>, Names> = HashMap::default();
        for function in functions {
            let FunctionName { namespace, name } = function.name().clone();
            names.entry(namespace).or_default().insert(name, Arc::clone(function));
        }
        let table = names.into_iter().map(|(namespace, names)| (namespace, Arc::new(names))).collect();
        self.table.store(Arc::new(Table(table)));
    }

    pub(crate) fn insert(&self, function: &Arc<Function>) {
        let mut table = Table::clone(&self.table.load());
        let FunctionName { namespace, name } = function.name().clone();
        Arc::make_mut(table.0.entry(namespace).or_default()).insert(name, Arc::clone(function));
        self.table.store(Arc::new(table));
    }

    pub(crate) fn remove(&self, name: &FunctionName) {
        let mut table = Table::clone(&self.table.load());
        if let Some(names) = table.0.get_mut(&name.namespace) {
            let left = Arc::make_mut(names);
            left.remove(&name.name);
            if left.is_empty() {
                table.0.remove(&name.namespace);
            }
        }
        self.table.store(Arc::new(table));
    }

    /// Replaces the names that Functions have besides their own.
    pub(crate) fn rename(&self, claims: &Claims) {
        self.aliases.store(Arc::new(claims.aliases()));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Function>> {
        self.table.load().0.values().flat_map(|names| names.values()).map(Arc::clone).collect()
    }

    pub(crate) fn get(&self, name: &FunctionName) -> Option<Arc<Function>> {
        self.table.load().0.get(&name.namespace)?.get(&name.name).map(Arc::clone)
    }

    pub(crate) fn find(
        &self,
        listener: Listener,
        authority: &str,
        cluster_domain: &str,
    ) -> Result<Destination, Refusal> {
        let host = Host::parse(authority).ok_or_else(|| unknown("this is no host name of a function"))?;
        if listener == Listener::Edge {
            // What has the form of `<name>.<namespace>` may be a domain of the world's as well; there is no Function here.
            let found =
                if host.is_local(cluster_domain) { None } else { self.aliases.load().host(host.as_str()) };
            return found.ok_or_else(|| unknown("no function is exposed here"));
        }
        match host.meaning(cluster_domain) {
            Meaning::Function { namespace, name } => {
                let table = self.table.load();
                let function = table.0.get(namespace).and_then(|names| names.get(name));
                let found = function.map(|function| Destination::new(function, None));
                // Never an outer host: whoever claims one could take the name of a Function that is just not there.
                found.or_else(|| self.aliases.load().tag(namespace, name)).ok_or_else(|| {
                    unknown(&format!("there is no function {name} in the namespace {namespace}"))
                })
            }
            Meaning::Bare => {
                let name = authority.split([':', '.']).next().unwrap_or_default();
                Err(unknown(&format!("a host name needs a namespace: use {name}.<namespace>")))
            }
            Meaning::Local => Err(unknown("this is no host name of a function")),
            Meaning::Other => {
                let found = self.aliases.load().host(host.as_str());
                found.ok_or_else(|| unknown("this is no host name of a function"))
            }
        }
    }
}

fn unknown(detail: &str) -> Refusal {
    Refusal::new(Reason::UnknownHost, detail)
}
