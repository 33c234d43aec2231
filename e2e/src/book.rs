//! Follows a page of `docs/` as a reader would, so that what it says to type works.
//!
//! The info string of a block says what is done with it:
//!
//! | block | what is done |
//! |---|---|
//! | `sh` | run by bash; it must end with 0, or with N where it says `exit=N` |
//! | `sh background` | goes on beside the blocks after it, and must still run at the end of the page |
//! | `text` | what the commands before it print: `...` stands for anything, alone in its line for any lines; widths do not count |
//! | any language, `file=NAME` | written to this file |
//! | `yaml apply` | given to `kubectl apply` |
//! | any language, `skip: REASON` | not run; the reason is shown |
//! | anything else | only read |
//!
//! Blocks share a folder, which looks like a checkout of this repository, and the variables that they set. The namespace of
//! the kubeconfig is the test's. Some things are replaced before anything is done, in files too: `REGISTRY/hello:1.0` by the
//! image of the examples; the namespace in `NAME.default` and `namespace default` by the test's; and ports of this machine
//! (8080 and 9080 at `localhost`, where ports of the cluster are forwarded to, and 8080 at `127.0.0.1`, where `catnap dev`
//! listens) by free ones, so that pages can be followed side by side.

mod output;
mod page;
mod shell;

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::Instant,
};

use anyhow::Context as _;

use self::{
    page::{What, blocks},
    shell::Shell,
};
use crate::{
    fixture::{Context, note},
    functions::examples_image,
};

/// What pages call an image that answers as the example `hello`.
const IMAGE: &str = "REGISTRY/hello:1.0";

/// Follows a page, named from `docs/` on; `replaced` are texts of it that mean something else here. Says how long each block took.
///
/// # Errors
/// With the line of the first block that does not do what the page says, and with what it printed.
pub async fn follow(test: &Context, page: &str, replaced: &[(&str, &str)]) -> anyhow::Result<()> {
    let (behind_dot, named) = (format!(".{}", test.namespace), format!("namespace {}", test.namespace));
    let image = examples_image();
    let (forwarded, dev) = (free_port()?, free_port()?);
    let (local, mapped) = (format!("localhost:{forwarded}"), format!(" {forwarded}:80"));
    let dev_address = format!("127.0.0.1:{dev}");
    let mut all = vec![
        (IMAGE, image.as_str()),
        (".default", behind_dot.as_str()),
        ("namespace default", named.as_str()),
        ("localhost:8080", local.as_str()),
        ("localhost:9080", local.as_str()),
        ("127.0.0.1:8080", dev_address.as_str()),
        (" 8080:80", mapped.as_str()),
        (" 9080:80", mapped.as_str()),
    ];
    all.extend(replaced);
    let path = workspace().join("docs").join(page);
    let markdown = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let blocks = blocks(&replace(&markdown, &all)).with_context(|| format!("docs/{page}"))?;
    let mut shell = Shell::open(test.surroundings().await?, dev, &all)?;
    let since = Instant::now();
    for block in blocks {
        let begun = Instant::now();
        let line = block.line;
        let done = perform(&mut shell, line, block.what).await;
        let done = done.with_context(|| format!("docs/{page}, line {line}{}", shell.heard()))?;
        note(&format!("{page}:{line}: {done} ({:.1} s)", begun.elapsed().as_secs_f64()));
    }
    shell.close().await.with_context(|| format!("docs/{page}, at its end"))?;
    note(&format!("{page}: followed in {:.1} s", since.elapsed().as_secs_f64()));
    Ok(())
}

/// Does what one block says; a word on what it was.
async fn perform(shell: &mut Shell, line: usize, what: What) -> anyhow::Result<String> {
    match what {
        What::Run { script, code, prints } => {
            let (ended, printed) = shell.run(&script).await?;
            anyhow::ensure!(ended == code, "ended with {ended}, not with {code}:\n{script}\n{printed}");
            if let Some(expected) = prints {
                let fits = output::fits(&expected, &printed);
                anyhow::ensure!(fits, "expected:\n{expected}\nprinted:\n{printed}");
            }
            Ok("done".to_owned())
        }
        What::Background { script } => shell.begin(line, &script).map(|()| "begun".to_owned()),
        What::File { name, content } => shell.write(&name, &content).map(|()| format!("{name} written")),
        What::Apply { manifest } => {
            shell.write("applied.yaml", &manifest)?;
            let (ended, printed) = shell.run("kubectl apply --filename applied.yaml").await?;
            anyhow::ensure!(ended == 0, "kubectl apply ended with {ended}:\n{manifest}\n{printed}");
            Ok("applied".to_owned())
        }
        What::Skipped { reason } => Ok(format!("skipped: {reason}")),
    }
}

fn replace(text: &str, replaced: &[(&str, &str)]) -> String {
    replaced.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// A port of this machine that nobody listens at.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr().context("looking for a free port")?.port())
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}
