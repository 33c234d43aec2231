//! The repository's own checks and generated files: `cargo xtask COMMAND`.
//!
//! The checks also run as tests, so that whoever runs `cargo test` sees them.

mod generated;
mod helm;
mod layers;
mod links;
mod manifests;
mod reference;
mod tidy;
mod values;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Checks of this repository, and its generated files")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Clone, Copy, Subcommand)]
enum Task {
    /// Habits that a program can check: length of files, module documentation, words that must not be.
    Tidy,
    /// Which crate may depend on which.
    Layers,
    /// Links of the documentation that lead nowhere.
    Links,
    /// Writes every generated file.
    Generate,
    /// Fails when a generated file is stale.
    Verify,
}

fn main() -> Result<ExitCode> {
    let root = workspace::root();
    let findings = match Arguments::parse().command {
        Task::Tidy => tidy::findings(root)?,
        Task::Layers => layers::findings(&workspace::packages(root)?),
        Task::Links => links::findings(root)?,
        Task::Generate => {
            generated::write(root)?;
            // After the chart's own copy of the definition, which is in it.
            let mut findings = manifests::write(root)?;
            if !generated::pages(root, true)? {
                findings.push("pages of docs/reference could not be written".to_owned());
            }
            findings
        }
        Task::Verify => {
            let mut findings = generated::stale(root)?;
            findings.extend(manifests::stale(root)?);
            if !generated::pages(root, false)? {
                let stale = "a page of docs/reference is stale: run `cargo xtask generate`";
                findings.push(stale.to_owned());
            }
            findings
        }
    };
    for finding in &findings {
        eprintln!("{finding}");
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
