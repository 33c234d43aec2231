//! From objects of Knative to Functions. Pure: what is read and written is in [`super`].

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use serde_json::Value;

use super::notes::Notes;
use super::objects::{Object, Role};
use super::place::Place;
use super::{domains, metadata, others, service};
use crate::manifest::{self, ManifestError};

/// What became of an object.
#[derive(Clone, Debug)]
pub struct Migrated {
    /// The object.
    pub object: Object,
    /// The Function that it became.
    pub function: Option<Value>,
    /// Why it could not be converted.
    pub refused: Option<String>,
    /// What became of each part.
    pub notes: Notes,
}

impl Migrated {
    /// Whether every part of the object has a note, of its own or of what it is in.
    pub fn is_told(&self) -> bool {
        let mut notes = self.notes.clone();
        notes.name_the_rest(&Place::object(&self.object.value));
        notes.iter().count() == self.notes.iter().count()
    }
}

/// The names that documents gave to revisions, by the namespace and the name of their Service.
type Revisions = BTreeMap<(String, String), BTreeSet<String>>;

/// Converts all of `objects`, which belong together: a `DomainMapping` is looked for its Service, and a traffic split for the
/// documents that name its revisions. One for each object, in their order.
pub fn convert(objects: Vec<Object>) -> Vec<Migrated> {
    let mut revisions = Revisions::new();
    let mut migrated: Vec<_> = objects.into_iter().map(|object| one(object, &mut revisions)).collect();
    for index in 0..migrated.len() {
        if migrated[index].object.role() == Role::DomainMapping {
            attach(index, &mut migrated);
        }
    }
    migrated
}

/// Everything but the hosts that others bring.
fn one(object: Object, revisions: &mut Revisions) -> Migrated {
    let mut migrated = Migrated { object, function: None, refused: None, notes: Notes::default() };
    let (group, kind) = (migrated.object.group(), migrated.object.kind());
    match migrated.object.role() {
        Role::Service => of_service(&mut migrated, revisions),
        Role::DomainMapping => {}
        Role::Other => migrated.refused = Some(others::advice(group, kind).to_owned()),
        Role::Foreign => {
            let place = Place::object(&migrated.object.value);
            migrated.notes.not_needed(&place, "not of Knative: apply it as it is");
        }
        Role::None => {
            migrated.refused = Some("no object of Kubernetes: apiVersion and kind are missing".to_owned());
        }
    }
    migrated
}

/// Only a revision of a Function that was made can be named by a later document.
fn of_service(migrated: &mut Migrated, revisions: &mut Revisions) {
    let object = &migrated.object;
    let place = Place::object(&object.value);
    let known = revisions.entry((object.namespace().to_owned(), object.name().to_owned())).or_default();
    let template = place.at(&["spec", "template"]);
    let named = template.and_then(|template| metadata::revision_name(&template)).and_then(|name| name.text());
    let with_this = known.iter().cloned().chain(named.clone()).collect();
    let converted = service::convert(&place, &with_this);
    match converted.function.and_then(|function| checked(function, object.namespace())) {
        Ok(function) => {
            known.extend(named);
            migrated.function = Some(function);
        }
        Err(why) => migrated.refused = Some(why),
    }
    migrated.notes = converted.notes;
}

/// Gives the host of a `DomainMapping` to each Function that its Service became.
fn attach(index: usize, migrated: &mut [Migrated]) {
    let mapping = migrated[index].object.clone();
    let place = Place::object(&mapping.value);
    let mut notes = Notes::default();
    let attached = domains::service(&place).and_then(|(namespace, name)| {
        let is_it = |other: &&mut Migrated| {
            other.object.role() == Role::Service
                && (other.object.namespace(), other.object.name()) == (namespace, name)
        };
        let functions = migrated.iter_mut().filter(is_it).filter_map(|other| other.function.as_mut());
        let mut found = false;
        for function in functions {
            // One note is enough for a Function that stands there several times.
            let mut ignored = Notes::default();
            domains::attach(&place, name, function, if found { &mut ignored } else { &mut notes })?;
            found = true;
        }
        let missing = || format!("Service {name} is not among the documents, or could not be converted: convert both together, or add the host to spec.http.hosts of the Function");
        if found { Ok(()) } else { Err(missing()) }
    });
    match attached {
        Ok(()) => domains::note_the_rest(&place, &mut notes),
        Err(why) => migrated[index].refused = Some(why),
    }
    migrated[index].notes = notes;
}

/// A Function that the API server would refuse is none; the namespace becomes part of the name of a file.
fn checked(function: Value, namespace: &str) -> Result<Value, String> {
    if !namespace.is_empty() && !manifest::is_label(&format!("n{namespace}")) {
        return Err("metadata.namespace must be lower-case letters, digits and '-'".to_owned());
    }
    match manifest::function(Path::new(""), function.clone()) {
        Ok(_) => Ok(function),
        Err(ManifestError::Invalid { problems, .. }) => Err(problems.join("\n    ")),
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            Err(format!("it would be no Function{cause}"))
        }
    }
}
