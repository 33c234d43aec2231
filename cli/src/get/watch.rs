//! `catnap get --watch`: a row for each change that the columns show, an object for each that the API server tells.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures::{Stream, TryStreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};

use super::{Arguments, rows};
use crate::cluster::{self, ClusterError};
use crate::connection::call::{Act, FUNCTIONS};
use crate::functions::{Found, Functions, GuardedObject};
use crate::output::Format;
use crate::table::{Cell, Columns};
use crate::terminal::{Look, Terminal, Tone};

/// Seconds after which the watch is asked for anew, which bounds how long a silently dropped connection goes unnoticed.
const WATCH_SECONDS: u32 = 60;

/// Prints what was found and then each change, until Ctrl-C.
pub(super) async fn run(
    arguments: &Arguments,
    functions: &Functions,
    found: Vec<Found>,
    terminal: &mut Terminal,
) -> Result<(), ClusterError> {
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
    config.label_selector.clone_from(&arguments.selector);
    if let [name] = arguments.names.as_slice() {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let changes = watcher::watcher(functions.api(), config).default_backoff();
    tokio::select! {
        followed = follow(arguments, functions, found, changes, terminal) => followed,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// The same for any stream of changes, until it ends.
pub(super) async fn follow(
    arguments: &Arguments,
    functions: &Functions,
    found: Vec<Found>,
    changes: impl Stream<Item = watcher::Result<Event<GuardedObject>>>,
    terminal: &mut Terminal,
) -> Result<(), ClusterError> {
    let mut printer = Printer::new(arguments, &found, terminal);
    let head = printer.head(terminal.look());
    cluster::write(terminal, &head)?;
    for one in found {
        printer.changed(&one, terminal)?;
    }
    let mut listed = BTreeSet::new();
    let mut changes = pin!(changes);
    loop {
        match changes.try_next().await {
            Ok(None) => return Ok(()),
            Ok(Some(event)) => printer.event(event, &mut listed, terminal)?,
            Err(error) => {
                let act = Act::on_all("watch", FUNCTIONS, functions.namespace());
                if let Some(source) = functions.refused(act, &error) {
                    return Err(ClusterError::Call { source });
                }
                // It is tried again; whoever waits for a change should know that none can come.
                terminal.note(&format!("the watch was interrupted: {error}"));
            }
        }
    }
}

/// What was printed last of each Function.
struct Printer<'arguments> {
    arguments: &'arguments Arguments,
    shape: rows::Shape,
    columns: Columns,
    known: BTreeMap<Key, Printed>,
}

/// Namespace and name.
type Key = (String, String);

struct Printed {
    version: String,
    row: Vec<Cell>,
    found: Found,
}

impl<'arguments> Printer<'arguments> {
    fn new(arguments: &'arguments Arguments, found: &[Found], terminal: &Terminal) -> Self {
        let shape = rows::Shape::of(arguments);
        let rows: Vec<_> = found.iter().map(|one| shape.row(one, terminal.look())).collect();
        Self { arguments, shape, columns: Columns::fit(&shape.head(), &rows), known: BTreeMap::new() }
    }

    fn head(&mut self, look: Look) -> String {
        match self.arguments.output {
            Format::Table | Format::Wide => self.columns.head(&self.shape.head(), look),
            Format::Json | Format::Yaml | Format::Name => String::new(),
        }
    }

    fn event(
        &mut self,
        event: Event<GuardedObject>,
        listed: &mut BTreeSet<Key>,
        terminal: &mut Terminal,
    ) -> Result<(), ClusterError> {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                let found = Found::from(object);
                listed.insert(key(&found));
                self.changed(&found, terminal)?;
            }
            Event::Apply(object) => self.changed(&Found::from(object), terminal)?,
            Event::Delete(object) => self.gone(&key(&Found::from(object)), terminal)?,
            // What is not listed any more was deleted while nobody watched.
            Event::InitDone => {
                let gone: Vec<_> = self.known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                gone.iter().try_for_each(|key| self.gone(key, terminal))?;
            }
        }
        Ok(())
    }

    fn changed(&mut self, found: &Found, terminal: &mut Terminal) -> Result<(), ClusterError> {
        if !self.arguments.names.is_empty() && !self.arguments.names.iter().any(|name| name == found.name()) {
            return Ok(());
        }
        // At a fixed age, which alone is no change.
        let created = found.object.metadata.creation_timestamp.as_ref();
        let look = terminal.look();
        let still = Look { now: created.map_or(look.now, |created| created.0), ..look };
        let row = self.shape.row(found, still);
        let version = found.object.metadata.resource_version.clone().unwrap_or_default();
        let seen = self.known.get(&key(found)).is_some_and(|known| match self.arguments.output {
            Format::Json | Format::Yaml => known.version == version,
            Format::Table | Format::Wide | Format::Name => known.row == row,
        });
        if !seen {
            let cells = self.shape.row(found, look);
            self.print(found, &cells, terminal)?;
        }
        self.known.insert(key(found), Printed { version, row, found: found.clone() });
        Ok(())
    }

    fn gone(&mut self, key: &Key, terminal: &mut Terminal) -> Result<(), ClusterError> {
        let Some(Printed { found, .. }) = self.known.remove(key) else { return Ok(()) };
        let mut row = self.shape.row(&found, terminal.look());
        let ready = self.shape.head().iter().position(|name| *name == "READY");
        if let Some(cell) = ready.and_then(|column| row.get_mut(column)) {
            *cell = Cell::new(Tone::Faint, "deleted");
        }
        self.print(&found, &row, terminal)
    }

    fn print(&mut self, found: &Found, row: &[Cell], terminal: &mut Terminal) -> Result<(), ClusterError> {
        let text = match self.arguments.output.notation() {
            Some(notation) => {
                notation.line(&found.value()).map_err(|source| ClusterError::Notation { source })?
            }
            None if self.arguments.output == Format::Name => rows::named(found),
            None => self.columns.line(row, terminal.look(), 0),
        };
        cluster::write(terminal, &text)
    }
}

fn key(found: &Found) -> Key {
    (found.namespace().to_owned(), found.name().to_owned())
}
