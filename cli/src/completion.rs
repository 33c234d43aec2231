//! `catnap completion`: what makes a shell complete the words of a command line.
//!
//! The shells' own scripts are clap's. kubectl asks a program of the name `kubectl_complete-catnap` instead, with the words so far,
//! and reads candidates as programs made with Go's cobra print them; `catnap complete-words` answers it.

use clap::Command;

use crate::terminal::{Terminal, WriteError};

/// What kubectl runs; in a folder of PATH.
const KUBECTL: &str = "#!/bin/sh
# kubectl_complete-catnap: kubectl asks this for the words that may follow `kubectl catnap`.
exec kubectl-catnap complete-words -- \"$@\"
";
/// Behind cobra's candidates: that files are none.
const NO_FILES: &str = ":4\n";

/// Flags of `catnap completion`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell to complete in, or kubectl for `kubectl catnap`.
    #[arg(value_enum)]
    shell: Shell,
}

/// Who can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
    /// The script that kubectl runs, whatever the shell.
    Kubectl,
}

/// Prints the script; `command` is the whole command line.
pub(crate) fn run(
    arguments: Arguments,
    mut command: Command,
    terminal: &mut Terminal,
) -> Result<(), WriteError> {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Powershell => clap_complete::Shell::PowerShell,
        Shell::Kubectl => return terminal.write(KUBECTL),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "catnap", &mut script);
    terminal.write_bytes(&script)
}

/// Prints what may follow these words, the last of which is not written to its end, as cobra does.
pub(crate) fn answer(words: &[String], command: Command, terminal: &mut Terminal) -> Result<(), WriteError> {
    let mut lines = String::new();
    for (word, about) in candidates(words, command) {
        lines.extend([word.as_str(), "\t", about.as_str(), "\n"]);
    }
    lines += NO_FILES;
    terminal.write(&lines)
}

/// Words with what they mean: subcommands, flags, or the values that a flag or an argument may have.
fn candidates(words: &[String], mut command: Command) -> Vec<(String, String)> {
    command.build();
    let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let mut command = &command;
    let mut awaited = None;
    for word in before {
        if awaited.take().is_some() {
            continue;
        }
        awaited = flag(command, word);
        command = command.find_subcommand(word).filter(|it| !it.is_hide_set()).unwrap_or(command);
    }
    let found = if let Some(flag) = awaited {
        values(flag)
    } else if last.starts_with('-') {
        let shown = command.get_arguments().filter(|it| !it.is_hide_set());
        let long = shown.filter_map(|it| Some((format!("--{}", it.get_long()?), it.get_help())));
        long.map(|(word, help)| (word, first_line(help))).collect()
    } else if command.has_subcommands() {
        let shown = command.get_subcommands().filter(|it| !it.is_hide_set());
        shown.map(|it| (it.get_name().to_owned(), first_line(it.get_about()))).collect()
    } else {
        command.get_positionals().flat_map(values).collect()
    };
    found.into_iter().filter(|(word, _)| word.starts_with(last)).collect()
}

/// The flag that a word is, if a value has to follow it.
fn flag<'command>(command: &'command Command, word: &str) -> Option<&'command clap::Arg> {
    command.get_arguments().find(|it| {
        let long = word.strip_prefix("--").is_some_and(|name| it.get_long() == Some(name));
        let short = word.strip_prefix('-').is_some_and(|name| {
            it.get_short().is_some_and(|short| name.strip_prefix(short).is_some_and(str::is_empty))
        });
        (long || short) && it.get_action().takes_values()
    })
}

fn values(argument: &clap::Arg) -> Vec<(String, String)> {
    let values = argument.get_possible_values();
    let shown = values.iter().filter(|value| !value.is_hide_set());
    shown.map(|value| (value.get_name().to_owned(), first_line(value.get_help()))).collect()
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::Arguments as All;
    use crate::terminal::fake::FakeTerminal;

    fn completed(words: &[&str]) -> Vec<String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        candidates(&words, All::command()).into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn kubectl_gets_subcommands_flags_and_values() {
        let commands = completed(&[""]);
        for name in ["get", "invoke", "install", "completion"] {
            assert!(commands.iter().any(|it| it == name), "{commands:?}");
        }
        assert!(!commands.iter().any(|it| it == "reap" || it == "complete-words"), "{commands:?}");
        assert_eq!(completed(&["tr"]), ["traffic"]);
        assert_eq!(completed(&["install", ""]).first().map(String::as_str), Some("check"));
        assert_eq!(completed(&["get", "--all"]), ["--all-namespaces"]);
        assert_eq!(completed(&["get", "-o", "j"]), ["json"]);
        assert_eq!(completed(&["get", "--output", "y"]), ["yaml"]);
        assert_eq!(completed(&["completion", "z"]), ["zsh"]);
        // The value of a flag is no subcommand.
        assert!(completed(&["get", "--namespace", "logs", "--foll"]).is_empty());
        assert_eq!(completed(&["logs", "--foll"]), ["--follow"]);
        assert!(completed(&["get", "no-such-word-"]).is_empty());
        assert_eq!(completed(&[]), commands);
    }

    #[test]
    fn candidates_are_lines_as_cobra_prints_them() {
        let mut fake = FakeTerminal::piped();
        let words = ["get", "-o", "j"].map(str::to_owned);
        answer(&words, All::command(), &mut fake.terminal).unwrap();
        assert_eq!(fake.out.take(), "json\tThe API's own objects\n:4\n");
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in ["bash", "zsh", "fish", "powershell"] {
            let mut fake = FakeTerminal::piped();
            let script = script(shell, &mut fake);
            assert!(script.contains("invoke") && script.contains("system-namespace"), "{shell}: {script}");
        }
        let script = script("kubectl", &mut FakeTerminal::piped());
        assert!(script.starts_with("#!/bin/sh\n"), "{script}");
        let asked = script.lines().last().unwrap().strip_prefix("exec kubectl-catnap ").unwrap();
        let words = asked.replace("\"$@\"", "get -o j");
        let parsed = All::try_parse_from(["catnap"].into_iter().chain(words.split(' ')));
        assert!(parsed.is_ok(), "the script asks for what there is: {parsed:?}");
    }

    fn script(shell: &str, fake: &mut FakeTerminal) -> String {
        let shell = <Shell as clap::ValueEnum>::from_str(shell, false).unwrap();
        run(Arguments { shell }, All::command(), &mut fake.terminal).unwrap();
        fake.out.take()
    }
}
