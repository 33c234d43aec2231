//! `catnap-images`: builds Catnap's programs and the examples into OCI archives under `target/images`.

use std::{io::Write as _, process::ExitCode};

use catnap_e2e::images::{
    self, ALL, CATNAP, CATNAP_WITH_FAIL_POINTS, EXAMPLES, KNATIVE, KNATIVE_SERVING, NGINX,
};
use clap::{Parser, ValueEnum};

#[derive(Parser)]
#[command(about = "Builds Catnap's images as OCI archives under target/images", version)]
struct Arguments {
    /// What to build; without any, `examples` and `catnap`.
    #[arg(value_enum)]
    images: Vec<Name>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// All of Catnap's programs, `catnap:dev`.
    Catnap,
    /// The same with fail points, for tests: `catnap:failpoints`.
    Failpoints,
    /// The example functions, `catnap-examples:dev`.
    Examples,
    /// nginx out of Debian packages, `catnap-example-nginx:dev`.
    Nginx,
    /// Knative's own program, built with Go, `catnap-knative-runtime:dev`.
    Knative,
    /// Knative Serving for benchmarks, built with Go, an image for each program: `catnap-knative-activator:dev` and so on.
    KnativeServing,
    /// Only what is below the programs, `catnap-base:dev`.
    Base,
    /// Everything but the base and Knative Serving.
    All,
}

fn main() -> ExitCode {
    let Arguments { mut images } = Arguments::parse();
    if images.is_empty() {
        images = vec![Name::Examples, Name::Catnap];
    }
    for name in images {
        let recipes: &[&images::Recipe] = match name {
            Name::Catnap => &[&CATNAP],
            Name::Failpoints => &[&CATNAP_WITH_FAIL_POINTS],
            Name::Examples => &[&EXAMPLES],
            Name::Nginx => &[&NGINX],
            Name::Knative => &[&KNATIVE],
            Name::KnativeServing => &KNATIVE_SERVING,
            Name::All => &ALL,
            Name::Base => &[],
        };
        let base = matches!(name, Name::Base).then(images::build_base);
        let built = recipes.iter().map(|recipe| recipe.build()).chain(base);
        for result in built {
            match result {
                Ok(path) => say(&path.display().to_string()),
                Err(error) => {
                    say(&format!("{:#}", anyhow::Error::new(error)));
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    ExitCode::SUCCESS
}

/// To standard error, which may be closed.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
