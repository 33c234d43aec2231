//! What the function finds around itself, for tests of what a platform promises to containers.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// What is at its end says so at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// A line for each: `stdin` is at its `end`, has `data` or is `open`; `terminal` and `tmp`, which can be written, are `yes` or
/// `no`; `user` is the number of the effective one. Standard output and standard error get a line, too.
pub(crate) async fn look() -> String {
    let stdin = stdin().await;
    let terminal = yes(io::stdin().is_terminal() || io::stdout().is_terminal());
    let tmp = yes(can_write_to_tmp().is_ok());
    let user = user().unwrap_or_default();
    // Nobody may be reading them.
    let _ = writeln!(io::stdout(), "looked around, on standard output");
    let _ = writeln!(io::stderr(), "looked around, on standard error");
    format!("stdin={stdin}\nterminal={terminal}\ntmp={tmp}\nuser={user}\n")
}

async fn stdin() -> &'static str {
    let (sender, receiver) = oneshot::channel();
    // No task of the runtime, which would wait at the end for one that never reads anything.
    std::thread::spawn(move || sender.send(io::stdin().lock().read(&mut [0])));
    match timeout(PATIENCE, receiver).await {
        Ok(Ok(Ok(0))) => "end",
        Ok(Ok(Ok(_))) => "data",
        Ok(Ok(Err(_)) | Err(_)) => "error",
        Err(_) => "open",
    }
}

fn can_write_to_tmp() -> io::Result<()> {
    let path = format!("/tmp/hello-{}", std::process::id());
    fs::write(&path, "hello")?;
    fs::remove_file(path)
}

/// Of the four numbers in proc(5) the second one is the effective user's.
fn user() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}
