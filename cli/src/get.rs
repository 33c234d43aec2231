//! `catnap get`: Functions, a row each, and their revisions.

mod rows;
mod watch;

use crate::connection::call::CallError;
use crate::connection::{Connection, ConnectionArguments, ConnectionError};
use crate::exit::{Exit, Failure};
use crate::functions::{Found, Functions};
use crate::output::{self, Format, NotationError};
use crate::table::Table;
use crate::terminal::{Terminal, WriteError};
use crate::{name, revisions};
use watch::WatchError;

/// Flags of `catnap get`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Names of Functions, as NAME or function/NAME; all of them when left out.
    #[arg(value_name = "NAME", value_parser = name::function)]
    pub(crate) names: Vec<String>,
    /// Functions of all namespaces.
    #[arg(short = 'A', long, conflicts_with_all = ["names", "namespace"])]
    pub(crate) all_namespaces: bool,
    /// Only Functions with these labels, such as team=shop,tier!=test.
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "names")]
    pub(crate) selector: Option<String>,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// Go on and print a row for each change, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// The revisions of one Function instead.
    #[arg(long, requires = "names", conflicts_with_all = ["watch"])]
    pub(crate) revisions: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Why nothing, or not everything, can be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    /// No cluster.
    #[error(transparent)]
    Connect {
        /// Why.
        source: ConnectionError,
    },
    /// The API server was asked in vain.
    #[error(transparent)]
    Read {
        /// Why.
        source: CallError,
    },
    /// The changes cannot be followed.
    #[error(transparent)]
    Watch {
        /// Why.
        source: WatchError,
    },
    /// A Function that this build does not understand.
    #[error("function/{name} has fields that this catnap cannot read: it is older than the cluster's")]
    Unreadable {
        /// Its name.
        name: String,
    },
    /// Not in that form.
    #[error(transparent)]
    Notation {
        /// Why.
        source: NotationError,
    },
    /// Nobody reads it.
    #[error(transparent)]
    Write {
        /// Why.
        source: WriteError,
    },
}

/// Shows what is there.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), GetError> {
    let connection = arguments.connection.clone().connect().await;
    let connection = connection.map_err(|source| GetError::Connect { source })?;
    show(&arguments, &connection, terminal).await
}

async fn show(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), GetError> {
    let functions =
        if arguments.all_namespaces { Functions::everywhere(connection) } else { Functions::new(connection) };
    let (found, missing) = find(arguments, &functions).await?;
    if arguments.watch {
        if let Some(source) = missing {
            return Err(GetError::Read { source });
        }
        let watched = watch::run(arguments, &functions, found, terminal).await;
        return watched.map_err(|source| GetError::Watch { source });
    }
    let text = if arguments.revisions {
        revisions_of(arguments, connection, &found, terminal).await?
    } else {
        text(arguments, &found, terminal)?
    };
    terminal.write(&text).map_err(|source| GetError::Write { source })?;
    if found.is_empty() && missing.is_none() {
        terminal.note(&nothing(arguments, connection));
    }
    missing.map_or(Ok(()), |source| Err(GetError::Read { source }))
}

/// What was named; with the first name that does not exist, if one does not.
async fn find(
    arguments: &Arguments,
    functions: &Functions,
) -> Result<(Vec<Found>, Option<CallError>), GetError> {
    if arguments.names.is_empty() {
        let listed = functions.list(arguments.selector.as_deref()).await;
        return Ok((listed.map_err(|source| GetError::Read { source })?, None));
    }
    let (mut found, mut missing) = (Vec::new(), None);
    for name in &arguments.names {
        match functions.get(name).await {
            Ok(one) => found.push(one),
            Err(error) if error.is_not_found() => missing = missing.or(Some(error)),
            Err(source) => return Err(GetError::Read { source }),
        }
    }
    Ok((found, missing))
}

fn text(arguments: &Arguments, found: &[Found], terminal: &Terminal) -> Result<String, GetError> {
    let format = arguments.output;
    if let Some(notation) = format.notation() {
        let mut values: Vec<_> = found.iter().map(Found::value).collect();
        let only = arguments.names.len() == 1 && values.len() == 1;
        let value = if only { values.remove(0) } else { output::list(&values) };
        return notation.text(&value).map_err(|source| GetError::Notation { source });
    }
    if found.is_empty() {
        return Ok(String::new());
    }
    if format == Format::Name {
        return Ok(found.iter().map(rows::named).collect());
    }
    let look = terminal.look();
    let shape = rows::Shape::of(arguments);
    let mut table = Table::new(&shape.head());
    for one in found {
        table.row(shape.row(one, look));
    }
    Ok(table.text(look, 0))
}

async fn revisions_of(
    arguments: &Arguments,
    connection: &Connection,
    found: &[Found],
    terminal: &Terminal,
) -> Result<String, GetError> {
    let mut all = Vec::new();
    for one in found {
        let unreadable = || GetError::Unreadable { name: one.name().to_owned() };
        let function = one.function.as_ref().ok_or_else(unreadable)?;
        let read = revisions::read(connection, function).await;
        all.extend(read.map_err(|source| GetError::Read { source })?);
    }
    match arguments.output {
        Format::Name => {
            Ok(all.into_iter().map(|it| "controllerrevision.apps/".to_owned() + &it.name + "\n").collect())
        }
        Format::Table | Format::Wide => {
            let look = terminal.look();
            Ok(revisions::table(&all, look).text(look, 0))
        }
        Format::Json | Format::Yaml => {
            let notation = arguments.output.notation().unwrap_or(output::Notation::Json);
            notation.text(&all).map_err(|source| GetError::Notation { source })
        }
    }
}

/// Said where a table would be empty.
fn nothing(arguments: &Arguments, connection: &Connection) -> String {
    let labels = if arguments.selector.is_some() { " with these labels" } else { "" };
    if arguments.all_namespaces {
        format!("There is no Function{labels} in any namespace.")
    } else {
        format!("There is no Function{labels} in namespace {}.", connection.namespace)
    }
}

impl Failure for GetError {
    fn exit(&self) -> Exit {
        self.inner().map_or(Exit::Failed, Failure::exit)
    }

    fn advice(&self) -> Option<String> {
        self.inner().and_then(Failure::advice)
    }
}

impl GetError {
    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            Self::Connect { source } => Some(source),
            Self::Read { source } => Some(source),
            Self::Watch { source } => Some(source),
            Self::Notation { source } => Some(source),
            Self::Write { source } => Some(source),
            Self::Unreadable { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
