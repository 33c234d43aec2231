//! That the flags of a program say what they are.

/// The flags of a command that have no environment variable or no doc, without `--help` and `--version`.
pub fn undocumented(command: &clap::Command) -> Vec<String> {
    command
        .get_arguments()
        .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        .filter(|argument| argument.get_env().is_none() || argument.get_help().is_none())
        .map(|argument| format!("{argument:?}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn a_flag_without_a_variable_or_a_doc_is_found() {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let mut command = Command::new("program")
            .version("1")
            .arg(flag("all").env("ALL").help("Has both"))
            .arg(flag("unset").help("Has no variable"))
            .arg(flag("silent").env("SILENT"));
        command.build();
        let found = undocumented(&command);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("\"unset\"") && found[1].contains("\"silent\""), "{found:?}");
    }
}
