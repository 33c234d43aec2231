//! Fuzzing of everything that reads what others wrote: libFuzzer makes inputs, and lets those live that go new ways through the
//! code. One program for all parsers; `PARSER` names the one to try, `PARSER=list` prints the names.
//!
//! The parsers and what they promise are listed in the crates that they belong to.

#![no_main]

use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

type Parser = fn(&[u8]);

static PARSER: OnceLock<Parser> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| PARSER.get_or_init(chosen)(bytes));

fn parsers() -> impl Iterator<Item = (&'static str, Parser)> {
    let parsers = [
        catnap_activator_http::parsers::PARSERS,
        catnap_wire::codec::parsers::PARSERS,
        catnap_crds::parsers::PARSERS,
        catnap_operator_core::parsers::PARSERS,
        catnap_cli::parsers::PARSERS,
        catnap_cli::parsers::AUTOSCALER,
    ];
    parsers.into_iter().flatten().copied()
}

fn chosen() -> Parser {
    let name = std::env::var("PARSER").unwrap_or_default();
    if name == "list" {
        parsers().for_each(|(name, _)| println!("{name}"));
        exit(0);
    }
    match parsers().find(|(known, _)| *known == name) {
        Some((_, parser)) => parser,
        None => {
            eprintln!("PARSER=`{name}` is no parser; PARSER=list names them");
            exit(2);
        }
    }
}
