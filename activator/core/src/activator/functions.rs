//! Functions and members come, change and go.

use super::{Activator, Control};
use crate::function::Function;
use crate::members::is_first;
use crate::reason::FunctionName;
use crate::route::FunctionRoute;
use catnap_wire::message::{PodUid, RevisionId};
use std::collections::HashSet;
use std::sync::Arc;

impl Activator {
    /// All Functions there are, after a (re)list of the watch. Those not among them are deleted.
    pub fn set_functions(&self, routes: Vec<FunctionRoute>) {
        let mut control = self.control.lock();
        let named: HashSet<FunctionName> = routes.iter().map(|route| route.name.clone()).collect();
        let gone: Vec<FunctionName> =
            control.functions.keys().filter(|name| !named.contains(*name)).cloned().collect();
        for name in &gone {
            delete(&mut control, name);
        }
        for route in routes {
            self.put(&mut control, route);
        }
        self.routes.replace(control.functions.values());
    }

    /// A Function is new or has changed.
    pub fn upsert_function(&self, route: FunctionRoute) {
        let mut control = self.control.lock();
        if let Some(function) = self.put(&mut control, route) {
            self.routes.insert(&function);
        }
    }

    /// A Function is deleted, or being deleted.
    pub fn remove_function(&self, name: &FunctionName) {
        let mut control = self.control.lock();
        self.routes.remove(name);
        delete(&mut control, name);
    }

    /// UIDs of the live activator pods, this one included: they decide who is first to act for a revision.
    pub fn set_members(&self, members: Vec<PodUid>) {
        let mut control = self.control.lock();
        control.members = members;
        for (id, known) in &control.revisions {
            let first = is_first(id, &self.process.settings.pod_uid, &control.members);
            known.shared.set_first(first);
        }
    }

    /// Returns the Function when it has to be entered into the routes.
    fn put(&self, control: &mut Control, route: FunctionRoute) -> Option<Arc<Function>> {
        let known = control.functions.get(&route.name);
        // The same name with another UID is another Function: what the old one held fails.
        let same = known.filter(|function| *function.uid() == route.uid).cloned();
        if same.is_none() {
            delete(control, &route.name);
        }
        let function =
            same.clone().unwrap_or_else(|| Function::new(route.clone(), Arc::clone(&self.process)));
        control.functions.insert(route.name.clone(), Arc::clone(&function));
        let ids: Vec<RevisionId> =
            route.revisions.iter().map(|revision| identity(&route, &revision.name)).collect();
        let revisions = ids
            .iter()
            .map(|id| {
                let shared = self.revision(control, id);
                if let Some(known) = control.revisions.get_mut(id) {
                    known.claimed = true;
                }
                shared
            })
            .collect();
        let given_up = function.update(route, revisions);
        disown(control, &given_up);
        same.is_none().then_some(function)
    }
}

fn identity(route: &FunctionRoute, revision: &Arc<str>) -> RevisionId {
    RevisionId {
        namespace: Arc::clone(&route.name.namespace),
        name: Arc::clone(revision),
        function_uid: Arc::clone(&route.uid),
    }
}

fn delete(control: &mut Control, name: &FunctionName) {
    if let Some(function) = control.functions.remove(name) {
        disown(control, &function.delete());
    }
}

/// No Function has them any more. They go once nothing is left in them: their pods may be there for a while.
fn disown(control: &mut Control, ids: &[RevisionId]) {
    for id in ids {
        if let Some(known) = control.revisions.get_mut(id) {
            known.claimed = false;
        }
    }
}
