//! The flags of a program as people read about them: one table, for the reference page.

use std::fmt::Write;

/// A row for each flag of a command in Markdown, in their order, without `--help` and `--version`.
pub fn table(command: &clap::Command) -> String {
    let mut table = "| flag | variable | default | meaning |\n|---|---|---|---|\n".to_owned();
    for argument in command.get_arguments() {
        let Some(flag) = argument.get_long().filter(|flag| !matches!(*flag, "help" | "version")) else {
            continue;
        };
        let variable = argument.get_env().map(|variable| variable.to_string_lossy()).unwrap_or_default();
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match defaults.join(",") {
            nothing if nothing.is_empty() => nothing,
            default => format!("`{default}`"),
        };
        let meaning = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let meaning = meaning.replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(table, "| `--{flag}` | `{variable}` | {default} | {meaning} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn a_flag_is_a_row() {
        let command = Command::new("program")
            .version("1")
            .arg(Arg::new("most").long("most").env("MOST").default_value("3").help("How many | at most"))
            .arg(Arg::new("place").long("where-to").env("WHERE_TO").help("Where [default: nowhere]"));
        let rows = "| flag | variable | default | meaning |\n|---|---|---|---|\n\
            | `--most` | `MOST` | `3` | How many \\| at most |\n\
            | `--where-to` | `WHERE_TO` |  | Where [default: nowhere] |\n";
        assert_eq!(table(&command), rows);
    }
}
