//! The arbiter of hosts and tags in this process: fed by the watches, asked by reconciliations, and used only while this
//! process leads.
//!
//! Whoever a decision concerns besides is looked at again. Taking over reads every Function once more when any asks for a
//! host: what the leader before wrote last may not have come with the watch yet, and it decides who keeps what.

use std::{collections::BTreeSet, time::Duration};

use catnap_crds::{Function, Visibility};
use catnap_operator_core::{Arbiter, Claimant, HostSettings, HostVerdicts};
use catnap_runtime::{Causes, watch::Change};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::ListParams,
    runtime::reflector::{ObjectRef, Store},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{
    touches::{Touch, When},
    watch::GuardedFunction,
};

/// Functions that are read at once on taking over.
const PAGE: u32 = 500;
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The arbiter and whom it tells.
pub(crate) struct HostClaims {
    arbiter: Mutex<Arbiter>,
    functions: Store<GuardedFunction>,
    touch: mpsc::UnboundedSender<Touch<ObjectRef<GuardedFunction>>>,
}

/// What matters of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceClaims {
    pub(crate) name: String,
    /// The annotation with the suffixes that may be claimed in it.
    pub(crate) suffixes: Option<String>,
}

/// Why the Functions could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the API server did not list the Functions")]
    List {
        #[source]
        source: kube::Error,
    },
    #[error("the API server did not list the Functions in time")]
    Timeout,
}

impl HostClaims {
    pub(crate) fn new(
        settings: HostSettings,
        functions: Store<GuardedFunction>,
        touch: mpsc::UnboundedSender<Touch<ObjectRef<GuardedFunction>>>,
    ) -> Self {
        Self { arbiter: Mutex::new(Arbiter::new(settings)), functions, touch }
    }

    /// What `function` has. Nothing for one that is gone already.
    pub(crate) fn judge(&self, function: &Function) -> HostVerdicts {
        let (verdicts, concerned) = {
            let mut arbiter = self.arbiter.lock();
            // Under the lock, so that one whose end is told in this moment does not come back into the book.
            if !self.is_stored(function) {
                return HostVerdicts::default();
            }
            let namespace = function.metadata.namespace.as_deref().unwrap_or_default();
            arbiter.judge(function, |name| self.exists(namespace, name)).unwrap_or_default()
        };
        self.touch(concerned);
        verdicts
    }

    /// A Function is gone.
    pub(crate) fn forget(&self, function: &GuardedFunction) {
        let who = Claimant {
            namespace: function.meta().namespace.clone().unwrap_or_default(),
            name: function.meta().name.clone().unwrap_or_default(),
        };
        let concerned = self.arbiter.lock().forget(&who);
        self.touch(concerned);
    }

    /// The watch has a complete list: what is not in it is gone.
    pub(crate) fn relisted(&self) {
        let concerned = self.arbiter.lock().retain(|who| self.exists(&who.namespace, &who.name));
        self.touch(concerned);
    }

    /// Takes in what the watch of namespaces saw, and has looked at whom it concerns.
    pub(crate) fn observe_namespaces(&self, change: Change<NamespaceClaims>) {
        let mut changed = BTreeSet::new();
        {
            let mut arbiter = self.arbiter.lock();
            let mut observe = |name: String, annotation: Option<Option<&str>>| {
                if arbiter.observe_namespace(&name, annotation) {
                    changed.insert(name);
                }
            };
            match change {
                Change::Applied(NamespaceClaims { name, suffixes }) => {
                    observe(name, Some(suffixes.as_deref()));
                }
                Change::Deleted(NamespaceClaims { name, .. }) => observe(name, None),
                Change::Listed(all) => {
                    let listed: BTreeSet<_> = all.iter().map(|namespace| namespace.name.clone()).collect();
                    for NamespaceClaims { name, suffixes } in all {
                        observe(name, Some(suffixes.as_deref()));
                    }
                    let gone: Vec<_> =
                        arbiter.namespaces().filter(|it| !listed.contains(*it)).cloned().collect();
                    for name in gone {
                        if arbiter.observe_namespace(&name, None) {
                            changed.insert(name);
                        }
                    }
                }
            }
        }
        if changed.is_empty() {
            return;
        }
        for guarded in self.functions.state() {
            if guarded.0.as_ref().is_ok_and(|function| is_concerned(function, &changed)) {
                self.touch_one(ObjectRef::from_obj(guarded.as_ref()));
            }
        }
    }

    /// Begins with what the statuses say. Returns when that is known.
    pub(crate) async fn take_over(&self, client: &Client) {
        while let Err(error) = self.try_take_over(client).await {
            tracing::warn!(error = %Causes(&error), "who has which host is not known yet");
            tokio::time::sleep(READ_AGAIN_AFTER).await;
        }
    }

    async fn try_take_over(&self, client: &Client) -> Result<(), ReadError> {
        let mut anew = self.arbiter.lock().anew();
        let mut note = |function: &Function| {
            let namespace = function.metadata.namespace.as_deref().unwrap_or_default();
            anew.note(function, |name| self.exists(namespace, name));
        };
        let known = self.functions.state();
        let mut readable = known.iter().filter_map(|guarded| guarded.0.as_ref().ok());
        if readable.clone().any(asks) {
            let all = Api::<GuardedFunction>::all(client.clone());
            let mut params = ListParams::default().limit(PAGE);
            loop {
                let page = tokio::time::timeout(READ_TIMEOUT, all.list(&params)).await;
                let page =
                    page.map_err(|_| ReadError::Timeout)?.map_err(|source| ReadError::List { source })?;
                page.items.iter().filter_map(|guarded| guarded.0.as_ref().ok()).for_each(&mut note);
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params = params.continue_token(&token),
                    None => break,
                }
            }
        } else {
            readable.by_ref().for_each(note);
        }
        self.arbiter.lock().take_over(anew, |who| self.exists(&who.namespace, &who.name));
        Ok(())
    }

    fn exists(&self, namespace: &str, name: &str) -> bool {
        self.functions.get(&ObjectRef::new(name).within(namespace)).is_some()
    }

    fn is_stored(&self, function: &Function) -> bool {
        let namespace = function.metadata.namespace.as_deref().unwrap_or_default();
        let stored = self.functions.get(&ObjectRef::new(&function.name_any()).within(namespace));
        stored.is_some_and(|stored| stored.meta().uid == function.metadata.uid)
    }

    fn touch(&self, concerned: BTreeSet<Claimant>) {
        for Claimant { namespace, name } in concerned {
            self.touch_one(ObjectRef::new(&name).within(&namespace));
        }
    }

    fn touch_one(&self, what: ObjectRef<GuardedFunction>) {
        // Nobody listens only while the process ends.
        let _ = self.touch.send(Touch { what, when: When::Now });
    }
}

/// Whether it asks for any host.
fn asks(function: &Function) -> bool {
    let http = &function.spec.http;
    !http.hosts.is_empty() || http.visibility == Visibility::External
}

/// It claims hosts, from one of these namespaces or such as could be names in them; or it was not given its name, which may have
/// been a namespace's.
fn is_concerned(function: &Function, namespaces: &BTreeSet<String>) -> bool {
    let hosts = &function.spec.http.hosts;
    let own = function.metadata.namespace.as_ref().is_some_and(|own| namespaces.contains(own));
    let last = |host: &String| host.rsplit('.').next().is_some_and(|last| namespaces.contains(last));
    (own && !hosts.is_empty()) || hosts.iter().any(last) || lacks_its_name(function)
}

fn lacks_its_name(function: &Function) -> bool {
    let mut hosts = function.status.iter().flat_map(|status| &status.hosts);
    function.spec.http.visibility == Visibility::External && hosts.any(|host| !host.accepted)
}
