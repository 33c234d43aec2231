//! Functions and members come, change and go.

use super::{Activator, Control};
use crate::function::Function;
use crate::members::is_first;
use crate::reason::FunctionName;
use crate::route::FunctionRoute;
use crate::shared::ByName;
use catnap_wire::message::{PodUid, RevisionId};
use std::collections::HashSet;
use std::sync::Arc;

impl Activator {
    /// All Functions there are, after a (re)list of the watch. Those not among them are deleted.
    pub fn set_functions(&self, routes: Vec<FunctionRoute>) {
        let mut control = self.control.lock();
        let named: HashSet<FunctionName> = routes.iter().map(|route| route.name.clone()).collect();
        let before = self.routes.all();
        let functions: Vec<Arc<Function>> =
            routes.into_iter().map(|route| self.put(&mut control, route)).collect();
        self.routes.replace(functions.iter());
        control.claims.retain(&named);
        self.routes.rename(&control.claims);
        for function in before.iter().filter(|function| !named.contains(function.name())) {
            delete(&control, function);
        }
    }

    /// A Function is new or has changed.
    pub fn upsert_function(&self, route: FunctionRoute) {
        let mut control = self.control.lock();
        let known = self.routes.get(&route.name);
        let before = control.claims.of(&route.name).cloned();
        let function = self.put(&mut control, route);
        if known.is_none_or(|known| !Arc::ptr_eq(&known, &function)) {
            self.routes.insert(&function);
        }
        if control.claims.of(function.name()) != before.as_ref() {
            self.routes.rename(&control.claims);
        }
    }

    /// A Function is deleted, or being deleted.
    pub fn remove_function(&self, name: &FunctionName) {
        let mut control = self.control.lock();
        if let Some(function) = self.routes.get(name) {
            self.routes.remove(name);
            if control.claims.remove(name) {
                self.routes.rename(&control.claims);
            }
            delete(&control, &function);
        }
    }

    /// UIDs of the live activator pods, this one included: they decide who is first to act for a revision.
    pub fn set_members(&self, members: Vec<PodUid>) {
        let mut control = self.control.lock();
        control.members = members;
        for ByName(shared) in &control.revisions {
            shared.set_first(is_first(shared.id(), &self.process.settings.pod_uid, &control.members));
        }
    }

    /// The Function of this route, brought up to it; a new one when there was none.
    fn put(&self, control: &mut Control, route: FunctionRoute) -> Arc<Function> {
        // The same name with another UID is another Function: what the old one held fails.
        let known = self.routes.get(&route.name);
        let (same, other) = match known {
            Some(function) if *function.uid() == route.uid => (Some(function), None),
            other => (None, other),
        };
        if let Some(other) = other {
            delete(control, &other);
        }
        let function = same.unwrap_or_else(|| Function::new(&route, Arc::clone(&self.process)));
        let revisions = route.revisions.iter().map(|revision| {
            let shared = self.revision(control, &identity(&route, &revision.name));
            shared.set_claimed(true);
            shared
        });
        let revisions = revisions.collect();
        control.claims.set(&function, &route);
        disown(control, &function.update(route, revisions));
        function
    }
}

fn identity(route: &FunctionRoute, revision: &Arc<str>) -> RevisionId {
    RevisionId {
        namespace: Arc::clone(&route.name.namespace),
        name: Arc::clone(revision),
        function_uid: Arc::clone(&route.uid),
    }
}

fn delete(control: &Control, function: &Function) {
    disown(control, &function.delete());
}

/// No Function has them any more. They go once nothing is left in them: their pods may be there for a while.
fn disown(control: &Control, ids: &[RevisionId]) {
    for ByName(shared) in ids.iter().filter_map(|id| control.revisions.get(id)) {
        shared.set_claimed(false);
    }
}
