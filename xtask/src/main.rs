//! The repository's own checks and generated files: `cargo xtask COMMAND`.
//!
//! The checks also run as tests, so that whoever runs `cargo test` sees them.

mod generated;
mod layers;
mod reference;
mod tidy;
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
        Task::Generate => {
            generated::write(root)?;
            let written = generated::pages(root, true)?;
            if written { Vec::new() } else { vec!["pages of docs/reference could not be written".to_owned()] }
        }
        Task::Verify => {
            let mut findings = generated::stale(root)?;
            if !generated::pages(root, false)? {
                findings.push(
                    "docs/reference/metrics.md, reasons.md or commands.md is stale: run `cargo xtask generate`"
                        .to_owned(),
                );
            }
            findings
        }
    };
    for finding in &findings {
        eprintln!("{finding}");
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
