//! The reference page of flags: a section for each program. A test of the program checks its section; `cargo xtask generate` has
//! the test write it.

use crate::page::Page;

const PAGE: Page = Page {
    name: "flags.md",
    variable: "CATNAP_WRITE_FLAGS_PAGE",
    introduction: "# Flags of the programs\n\n\
        Made from the programs by `cargo xtask generate`. The chart sets what it has [values](values.md) for; others are set as\n\
        environment variables with `operator.extraEnv`, `activator.extraEnv` and `autoscaler.extraEnv`. A flag comes before its\n\
        variable. Those of `catnap` are in [cli.md](cli.md).\n",
};

/// Checks the section of `program` against the table of its flags, or writes it. Says what to do when the page is stale.
pub fn check(program: &str, table: &str) -> Result<(), String> {
    PAGE.check(program, &format!("{program}\n\n{table}"))
}
