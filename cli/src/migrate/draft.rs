//! A Function in the making. What is put into it is noted in the same call, so that neither can be forgotten.

use std::iter;

use serde_json::{Value, json};

use super::notes::Notes;
use super::place::Place;

/// The fields of a Function that were said so far, and what was noted on the way.
#[derive(Debug)]
pub(super) struct Draft {
    function: Value,
    pub(super) notes: Notes,
}

impl Draft {
    /// A Function that says nothing.
    pub(super) fn new() -> Self {
        let function = json!({"apiVersion": "catnap.dev/v1alpha1", "kind": "Function"});
        Self { function, notes: Notes::default() }
    }

    /// Sets the field at `to`, and notes that it comes from `from`.
    pub(super) fn put(&mut self, from: &Place<'_>, to: &str, value: impl Into<Value>) {
        self.set(to, value);
        self.notes.converted(from, to);
    }

    /// Sets the field at `to` to the value as it is.
    pub(super) fn copy(&mut self, from: &Place<'_>, to: &str) {
        self.put(from, to, from.value.clone());
    }

    /// Sets an entry of the map at `to`; its key may have dots in it.
    pub(super) fn copy_entry(&mut self, from: &Place<'_>, to: &str, key: &str) {
        let map = entry(&mut self.function, to.split('.'));
        *entry(map, iter::once(key)) = from.value.clone();
        self.notes.converted(from, format!("{to}[{key:?}]"));
    }

    /// Sets the field at `to`; the caller notes why.
    pub(super) fn set(&mut self, to: &str, value: impl Into<Value>) {
        *entry(&mut self.function, to.split('.')) = value.into();
    }

    /// What was said at `path`.
    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.function, |value, name| value.get(name))
    }

    /// The whole number that was said at `path`.
    pub(super) fn number(&self, path: &str) -> Option<i64> {
        self.get(path).and_then(Value::as_i64)
    }

    /// The object, and what was noted.
    pub(super) fn finish(self) -> (Value, Notes) {
        (self.function, self.notes)
    }
}

/// What the names lead to, made where it is not there.
fn entry<'a, 'n>(value: &'a mut Value, names: impl Iterator<Item = &'n str>) -> &'a mut Value {
    names.fold(value, |value, name| {
        // Anything else has no fields, and indexing it would panic.
        if !value.is_object() {
            *value = json!({});
        }
        &mut value[name]
    })
}
