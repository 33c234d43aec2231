//! A Function as a row of a table.

use catnap_crds::Function;

use super::Arguments;
use crate::age::age;
use crate::functions::Found;
use crate::output::Format;
use crate::readiness::Readiness;
use crate::table::Cell;
use crate::terminal::{Look, Tone};

/// Which columns there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    namespace: bool,
    wide: bool,
}

impl Shape {
    pub(super) fn of(arguments: &Arguments) -> Self {
        Self { namespace: arguments.all_namespaces, wide: arguments.output == Format::Wide }
    }

    pub(super) fn head(self) -> Vec<&'static str> {
        let front = self.namespace.then_some("NAMESPACE");
        let wide = ["TRAFFIC", "IMAGE"].into_iter().filter(|_| self.wide);
        front.into_iter().chain(["NAME", "READY", "REPLICAS", "REVISION", "URL", "AGE"]).chain(wide).collect()
    }

    pub(super) fn row(self, found: &Found, look: Look) -> Vec<Cell> {
        let created = found.object.metadata.creation_timestamp.as_ref();
        let age = Cell::plain(created.map(|created| age(created.0, look.now)).unwrap_or_default());
        let mut row = Vec::new();
        if self.namespace {
            row.push(Cell::plain(found.namespace()));
        }
        row.push(Cell::plain(found.name()));
        if let Some(function) = &found.function {
            self.fill(&mut row, function, age);
        } else {
            // Nested too deep, or of a newer cluster: the other rows are as good as ever.
            let why = if found.is_too_deep() { "cannot be read (TooDeep)" } else { "cannot be read" };
            row.push(Cell::new(Tone::Bad, why));
            row.extend([Cell::plain(""), Cell::plain(""), Cell::plain(""), age]);
            row.extend((0..2).filter(|_| self.wide).map(|_| Cell::plain("")));
        }
        row
    }

    fn fill(self, row: &mut Vec<Cell>, function: &Function, age: Cell) {
        let status = function.status.clone().unwrap_or_default();
        let readiness = Readiness::of(function);
        let resting = self.wide && status.replicas == 0 && readiness == Readiness::Ready;
        let resting = if resting { " (resting)" } else { "" };
        let revision = status.latest_ready_revision.or(status.latest_created_revision);
        row.extend([
            readiness.cell(),
            Cell::plain(format!("{}{resting}", status.replicas)),
            Cell::plain(revision.unwrap_or_default()),
            Cell::plain(status.url.unwrap_or_default()),
            age,
        ]);
        if self.wide {
            let shares = status.traffic.iter().filter(|share| share.percent > 0);
            let shares: Vec<_> =
                shares.map(|share| format!("{}={}", share.revision, share.percent)).collect();
            row.extend([Cell::plain(shares.join(",")), Cell::plain(&function.spec.image)]);
        }
    }
}

/// What other commands take.
pub(super) fn named(found: &Found) -> String {
    format!("function.catnap.dev/{}\n", found.name())
}
