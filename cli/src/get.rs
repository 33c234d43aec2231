//! `catnap get`: Functions, a row each, and their revisions.

mod rows;
mod watch;

use catnap_crds::guarded::LEVELS;

use crate::cluster::{self, ClusterError};
use crate::connection::call::CallError;
use crate::connection::{Connection, ConnectionArguments};
use crate::functions::{Found, Functions};
use crate::output::{self, Format};
use crate::table::Table;
use crate::terminal::Terminal;
use crate::{name, revisions};

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

/// Shows what is there.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), ClusterError> {
    let connection = cluster::connect(&arguments.connection).await?;
    show(&arguments, &connection, terminal).await
}

async fn show(
    arguments: &Arguments,
    connection: &Connection,
    terminal: &mut Terminal,
) -> Result<(), ClusterError> {
    let functions =
        if arguments.all_namespaces { Functions::everywhere(connection) } else { Functions::new(connection) };
    let (found, missing) = find(arguments, &functions).await?;
    if arguments.watch {
        if let Some(source) = missing {
            return Err(ClusterError::Call { source });
        }
        return watch::run(arguments, &functions, found, terminal).await;
    }
    let text = if arguments.revisions {
        revisions_of(arguments, connection, &found, terminal).await?
    } else {
        text(arguments, &found, terminal)?
    };
    cluster::write(terminal, &text)?;
    if found.is_empty() && missing.is_none() {
        terminal.note(&nothing(arguments, connection));
    }
    if arguments.output.notation().is_some() && !arguments.revisions {
        for one in found.iter().filter(|one| one.is_too_deep()) {
            terminal.note(&incomplete(one));
        }
    }
    missing.map_or(Ok(()), |source| Err(ClusterError::Call { source }))
}

/// What was named; with the first name that does not exist, if one does not.
async fn find(
    arguments: &Arguments,
    functions: &Functions,
) -> Result<(Vec<Found>, Option<CallError>), ClusterError> {
    if arguments.names.is_empty() {
        let listed = functions.list(arguments.selector.as_deref()).await;
        return Ok((listed.map_err(|source| ClusterError::Call { source })?, None));
    }
    let (mut found, mut missing) = (Vec::new(), None);
    for name in &arguments.names {
        match functions.get(name).await {
            Ok(one) => found.push(one),
            Err(error) if error.is_not_found() => missing = missing.or(Some(error)),
            Err(source) => return Err(ClusterError::Call { source }),
        }
    }
    Ok((found, missing))
}

fn text(arguments: &Arguments, found: &[Found], terminal: &Terminal) -> Result<String, ClusterError> {
    let format = arguments.output;
    if let Some(notation) = format.notation() {
        let mut values: Vec<_> = found.iter().map(Found::value).collect();
        let only = arguments.names.len() == 1 && values.len() == 1;
        let value = if only { values.remove(0) } else { output::list(&values) };
        return notation.text(&value).map_err(|source| ClusterError::Notation { source });
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
) -> Result<String, ClusterError> {
    let mut all = Vec::new();
    for one in found {
        let function = one.understood().map_err(|source| ClusterError::Unreadable { source })?;
        let read = revisions::read(connection, function).await;
        all.extend(read.map_err(|source| ClusterError::Call { source })?);
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
            notation.text(&all).map_err(|source| ClusterError::Notation { source })
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

/// Said of an object that is printed without what is too deep in it: nobody should apply that.
fn incomplete(found: &Found) -> String {
    format!("function/{} is printed without what is more than {LEVELS} levels deep in it.", found.name())
}

#[cfg(test)]
mod tests;
