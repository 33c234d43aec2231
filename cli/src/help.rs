//! What `--help` of every command prints, as the page docs/reference/commands.md: whoever changes a flag sees it there.

use std::fs;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory};

use crate::Arguments;

/// Set by `cargo xtask generate`: the page is written instead of checked.
const WRITE: &str = "CATNAP_WRITE_COMMANDS_PAGE";
/// Columns of the terminal that the page shows.
const WIDTH: usize = 100;

const HEAD: &str = "# Every command and flag

Made from the code by `cargo xtask generate`: what `--help` prints. [The command `catnap`](cli.md) tells what the commands do
and how they end.
";

fn page() -> String {
    let mut command = Arguments::command();
    command.build();
    let mut page = HEAD.to_owned();
    add(&command, &["catnap"], &mut page);
    page
}

/// The command of this name, and then those below it.
fn add(command: &Command, name: &[&str], page: &mut String) {
    let words = name.iter().copied().chain(["--help"]);
    let asked = Arguments::command().term_width(WIDTH).try_get_matches_from(words);
    let help = asked.expect_err("--help is no command line to carry out");
    assert_eq!(help.kind(), ErrorKind::DisplayHelp, "{help}");
    page.extend(["\n## ", &name.join(" "), "\n\n```text\n"]);
    for line in help.to_string().trim_end().lines() {
        page.extend([line.trim_end(), "\n"]);
    }
    *page += "```\n";
    let below = command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help");
    for command in below {
        add(command, &[name, &[command.get_name()]].concat(), page);
    }
}

#[test]
fn the_commands_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/commands.md");
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    let present = fs::read_to_string(&path).unwrap_or_default();
    assert!(present == page, "docs/reference/commands.md is stale: run `cargo xtask generate`");
}

#[test]
fn the_page_holds_every_command_and_hides_what_is_hidden() {
    let page = page();
    for name in ["get", "invoke", "install check", "completion", "migrate knative", "explain"] {
        assert!(page.contains(&format!("\n## catnap {name}\n")), "{name}");
        assert!(page.contains(&format!("Usage: catnap {name} ")), "{name}");
    }
    assert!(!page.contains("catnap reap") && !page.contains("complete-words"));
    assert!(page.lines().all(|line| line.chars().count() <= 130), "a terminal of {WIDTH} columns wraps");
}

#[test]
fn every_flag_says_what_it_is() {
    let mut command = Arguments::command();
    command.build();
    let mut open = vec![&command];
    while let Some(command) = open.pop() {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        assert!(command.get_about().is_some(), "{}", command.get_name());
        open.extend(command.get_subcommands());
    }
}
