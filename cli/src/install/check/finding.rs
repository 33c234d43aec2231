//! One thing that was looked at, and the page of all of them.

use serde::Serialize;

use crate::connection::call::CallError;
use crate::exit::Failure;
use crate::table::{Cell, Table};
use crate::terminal::{Look, Tone};

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Works, and could be better; or nobody could tell.
    Warning,
    /// Not there, and Catnap does not work without.
    Missing,
    /// There, and does not work.
    Failing,
    /// Not there because Catnap is not installed yet: no fault of the cluster.
    Absent,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: String,
    pub(super) state: State,
    pub(super) message: String,
    /// What to do; best a command.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

/// All rows.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Page {
    pub(super) installed: bool,
    pub(super) checks: Vec<Finding>,
}

impl Finding {
    pub(super) fn new(check: impl Into<String>, state: State, message: impl Into<String>) -> Self {
        Self { check: check.into(), state, message: message.into(), advice: None }
    }

    pub(super) fn ok(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(check, State::Ok, message)
    }

    /// Something that could not be read.
    pub(super) fn unknown(check: impl Into<String>, why: &CallError) -> Self {
        let finding = Self::new(check, State::Warning, format!("not known: {why}"));
        Self { advice: why.advice(), ..finding }
    }

    pub(super) fn advised(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

impl State {
    fn cell(self) -> Cell {
        match self {
            Self::Ok => Cell::new(Tone::Good, "OK"),
            Self::Warning => Cell::new(Tone::Waiting, "warning"),
            Self::Absent => Cell::new(Tone::Waiting, "absent"),
            Self::Missing => Cell::new(Tone::Bad, "missing"),
            Self::Failing => Cell::new(Tone::Bad, "failing"),
        }
    }
}

impl Page {
    /// How many keep Catnap from working.
    pub(super) fn failed(&self) -> usize {
        let fails = |finding: &&Finding| matches!(finding.state, State::Missing | State::Failing);
        self.checks.iter().filter(fails).count()
    }

    /// For a person: the rows, and then what to do.
    pub(super) fn text(&self, look: Look) -> String {
        let mut table = Table::new(&["CHECK", "STATE", "MESSAGE"]);
        for finding in &self.checks {
            table.row(vec![Cell::plain(&finding.check), finding.state.cell(), Cell::plain(&finding.message)]);
        }
        let mut text = table.text(look, 0);
        let mut advice = Table::new(&["CHECK", "TRY"]);
        let mut any = false;
        for finding in &self.checks {
            if let Some(what) = &finding.advice {
                any = true;
                advice.row(vec![Cell::plain(&finding.check), Cell::plain(what)]);
            }
        }
        if any {
            text.push('\n');
            text += &advice.text(look, 0);
        }
        text
    }
}
