//! `catnap migrate knative`: Functions out of manifests of Knative, and a word about everything that is not the same there.
//!
//! Files are read and written here; what becomes of what is decided in [`knative`]. No cluster is asked.

mod containers;
mod differences;
mod domains;
mod draft;
pub mod knative;
mod metadata;
pub mod notes;
pub mod objects;
mod others;
mod place;
mod pod;
mod probes;
mod render;
mod report;
mod rollout;
mod scaling;
mod service;
mod timeouts;
mod traffic;
mod volumes;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::manifest::input;
use crate::printable::printable;

pub use report::{functions, report};

/// Flags of `catnap migrate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    from: From,
}

/// What can be converted.
#[derive(Debug, clap::Subcommand)]
enum From {
    /// Functions out of Services and `DomainMappings` of Knative: the Functions on standard output, and on standard error what
    /// became of each part. Fails when an object could not be converted.
    Knative(Knative),
}

/// Flags of `catnap migrate knative`.
#[derive(Debug, clap::Args)]
struct Knative {
    /// Manifests in YAML or JSON, with as many documents and lists as there are; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Form of the Functions.
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
    /// Writes a file for each Function into this folder, which is made if it is not there, instead of standard output;
    /// no file that is there already is written over.
    #[arg(long, value_name = "DIRECTORY")]
    output_directory: Option<PathBuf>,
    /// Fails also when a part was left out.
    #[arg(long)]
    strict: bool,
}

/// Form of the Functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Documents with `---` between them.
    Yaml,
    /// One object, or a `List` of several.
    Json,
}

/// Why not everything could be converted. What could be is written already.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A file is not YAML.
    #[error("{} is no YAML", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// There is nothing in the files.
    #[error(
        "there is no object in the files: a Service of Knative says `kind: Service` and `apiVersion: serving.knative.dev/v1`"
    )]
    Nothing,
    /// A Function cannot be written as YAML.
    #[error("cannot write a Function as YAML")]
    Yaml {
        /// Why.
        #[source]
        source: serde_saphyr::ser::Error,
    },
    /// A Function cannot be written as JSON.
    #[error("cannot write a Function as JSON")]
    Json {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Something cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// Objects that became no Function.
    #[error("{count} of the objects could not be converted: the notes above say why")]
    Refused {
        /// How many.
        count: usize,
    },
    /// Parts that are not in a Function, which `--strict` does not allow.
    #[error("{count} parts were left out: the notes above say which, and what to do instead")]
    LeftOut {
        /// How many.
        count: usize,
    },
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), MigrateError> {
    let From::Knative(Knative { files, output, output_directory, strict }) = &arguments.from;
    let mut documents = Vec::new();
    for path in files {
        documents.extend(parse(path, &text(path)?)?);
    }
    if documents.is_empty() {
        return Err(MigrateError::Nothing);
    }
    let migrated = knative::convert(objects::objects(documents, 1));
    match output_directory {
        Some(directory) => write_files(directory, &migrated, *output)?,
        None => print(io::stdout(), "standard output", &functions(&migrated, *output)?)?,
    }
    print(io::stderr(), "standard error", &printable(&report(&migrated)))?;
    judge(&migrated, *strict)
}

/// The documents of a text. Numbers such as 0644 are octal, as kubectl reads them.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Value>, MigrateError> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|source| MigrateError::Parse { path: path.to_owned(), source: Box::new(source) })
}

fn text(path: &Path) -> Result<String, MigrateError> {
    input::read(path).map_err(|source| MigrateError::Read { path: path.to_owned(), source })
}

fn write_files(directory: &Path, migrated: &[knative::Migrated], format: Format) -> Result<(), MigrateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| MigrateError::Write { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    for (name, text) in report::files(migrated, format)? {
        let path = directory.join(name);
        // What is there already may be what was read.
        let file = File::create_new(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed(&path))?;
    }
    Ok(())
}

/// A pipe that was closed is no error: whoever listened has seen enough.
fn print(mut to: impl Write, name: &str, text: &str) -> Result<(), MigrateError> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| MigrateError::Write { path: name.into(), source }),
    }
}

fn judge(migrated: &[knative::Migrated], strict: bool) -> Result<(), MigrateError> {
    let refused = migrated.iter().filter(|one| one.refused.is_some()).count();
    if refused > 0 {
        return Err(MigrateError::Refused { count: refused });
    }
    let left_out = migrated.iter().map(|one| one.notes.count(notes::Outcome::LeftOut)).sum();
    if strict && left_out > 0 { Err(MigrateError::LeftOut { count: left_out }) } else { Ok(()) }
}
