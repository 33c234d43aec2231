//! What became of each part of an object. The same notes are the account by which nothing is lost without a word: what no
//! note names at the end is named then.

use std::collections::BTreeSet;
use std::fmt;

use super::place::Place;

/// What became of a part of an object, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is in the Function, and means something else there.
    Changed,
    /// It is not in the Function, and was meant to do something.
    LeftOut,
    /// It is not in the Function, and nothing is missing without it.
    NotNeeded,
    /// It is in the Function, and means the same.
    Converted,
}

/// What became of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What became of it.
    pub outcome: Outcome,
    /// The part, with all that is in it; empty for the object as a whole.
    pub path: String,
    /// Where it is now, or why it is not, and what to do instead.
    pub text: String,
}

/// What became of an object, part by part.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    notes: Vec<Note>,
    paths: BTreeSet<String>,
}

impl Notes {
    pub(super) fn converted(&mut self, place: &Place<'_>, to: impl Into<String>) {
        self.add(Outcome::Converted, &place.path, to.into());
    }

    pub(super) fn changed(&mut self, place: &Place<'_>, text: impl Into<String>) {
        self.add(Outcome::Changed, &place.path, text.into());
    }

    pub(super) fn left_out(&mut self, place: &Place<'_>, text: impl Into<String>) {
        self.add(Outcome::LeftOut, &place.path, text.into());
    }

    pub(super) fn not_needed(&mut self, place: &Place<'_>, text: impl Into<String>) {
        self.add(Outcome::NotNeeded, &place.path, text.into());
    }

    fn add(&mut self, outcome: Outcome, path: &str, text: String) {
        self.paths.insert(path.to_owned());
        self.notes.push(Note { outcome, path: path.to_owned(), text });
    }

    /// The notes in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }

    /// How many parts had that outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.notes.iter().filter(|note| note.outcome == outcome).count()
    }

    /// Names every part of `object` that no note is about.
    pub(super) fn name_the_rest(&mut self, object: &Place<'_>) {
        let mut rest = Vec::new();
        self.find_the_rest(object, &mut rest);
        for place in rest {
            if place.is_empty() {
                self.not_needed(&place, "empty");
            } else {
                self.left_out(&place, "not known to this command: nothing of it is in the Function");
            }
        }
    }

    /// The largest parts that no note is about, nor about anything in them.
    fn find_the_rest<'a>(&self, place: &Place<'a>, rest: &mut Vec<Place<'a>>) {
        if self.paths.contains(&place.path) {
            return;
        }
        if !self.names_inside(&place.path) {
            rest.push(place.clone());
            return;
        }
        for part in place.parts() {
            self.find_the_rest(&part, rest);
        }
    }

    fn names_inside(&self, path: &str) -> bool {
        if path.is_empty() {
            return !self.paths.is_empty();
        }
        ['.', '['].iter().any(|separator| {
            let inside = format!("{path}{separator}");
            self.paths.range(inside.clone()..).next().is_some_and(|next| next.starts_with(&inside))
        })
    }
}

impl fmt::Display for Notes {
    /// A heading for each outcome that there is, and a line for each note below it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = [
            (Outcome::Changed, "changed"),
            (Outcome::LeftOut, "left out"),
            (Outcome::NotNeeded, "not needed"),
            (Outcome::Converted, "converted"),
        ];
        for (outcome, heading) in headings {
            let mut notes = self.notes.iter().filter(|note| note.outcome == outcome).peekable();
            if notes.peek().is_some() {
                writeln!(formatter, "  {heading}")?;
            }
            for Note { path, text, .. } in notes {
                match (outcome, path.is_empty()) {
                    (_, true) => writeln!(formatter, "    {text}")?,
                    (Outcome::Converted, false) => writeln!(formatter, "    {path} -> {text}")?,
                    (_, false) => writeln!(formatter, "    {path}: {text}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_note_is_about_is_named_as_a_whole() {
        let value = json!({"a": {"b": 1, "c": {"d": 2, "e": 3}}, "a-b": [{"f": 4}, {}], "g": null, "h": {}});
        let object = Place::object(&value);
        let mut notes = Notes::default();
        notes.converted(&object.at(&["a", "b"]).unwrap(), "spec.b");
        notes.not_needed(&object.field("a-b").unwrap().items()[0], "");
        notes.name_the_rest(&object);
        let rest: Vec<_> = notes.iter().skip(2).map(|note| (note.outcome, note.path.as_str())).collect();
        let expected =
            [(Outcome::LeftOut, "a.c"), (Outcome::NotNeeded, r#"["a-b"][1]"#), (Outcome::NotNeeded, "h")];
        assert_eq!(rest, expected);
    }

    #[test]
    fn an_object_without_a_note_is_named() {
        let value = json!({"a": 1});
        let mut notes = Notes::default();
        notes.name_the_rest(&Place::object(&value));
        assert_eq!(notes.count(Outcome::LeftOut), 1);
    }
}
