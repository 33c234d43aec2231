//! A running `catnap dev`, its output line by line, requests to it, and a look at which replicas exist. Every wait is bounded.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Longest that anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A manifest in a folder of its own, of a function with a name that no other test uses, nor another run of this one.
pub(crate) struct Manifest {
    name: String,
    path: PathBuf,
    _folder: TempDir,
}

/// Writes one; `spec` is YAML, indented by two.
pub(crate) fn manifest(prefix: &str, spec: &str) -> Manifest {
    let name = format!("{prefix}-{}", std::process::id());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("function.yaml");
    let head = format!(
        "apiVersion: catnap.dev/v1alpha1\nkind: Function\nmetadata: {{name: {name}}}\nspec:\n  image: hello\n"
    );
    std::fs::write(&path, head + spec).unwrap();
    Manifest { name, path, _folder: folder }
}

impl Manifest {
    /// The function's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Writes a file beside it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path.with_file_name(name), text).unwrap();
    }
}

/// The folder of the example's program, which is built when it is not there.
fn programs() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_catnap")).parent().unwrap();
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "catnap-example-hello"])
            .status();
        assert!(built.unwrap().success());
        assert!(folder.join("hello").exists());
        folder.to_owned()
    })
}

/// `catnap dev` of a manifest on a free port.
pub(crate) fn catnap(manifest: &Manifest) -> Command {
    let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_catnap"));
    command.args(["dev", "--listen", "127.0.0.1:0", "-f"]).arg(&manifest.path).env("PATH", path);
    command
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// Status line and headers, as they came.
    pub(crate) head: String,
    /// All of the body.
    pub(crate) body: String,
}

/// A running `catnap dev`; killed when dropped.
pub(crate) struct Run {
    process: Child,
    address: String,
    admin: String,
    lines: Receiver<String>,
    seen: Vec<String>,
    manifest: Manifest,
}

impl Run {
    /// Starts one and waits until it listens.
    pub(crate) fn start(manifest: Manifest) -> Self {
        Self::start_with(manifest, &[])
    }

    /// The same with more flags.
    pub(crate) fn start_with(manifest: Manifest, flags: &[&str]) -> Self {
        let mut command = catnap(&manifest);
        command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            // Ends, and closes the pipe, when nobody wants to know any more.
            let _ = output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line));
        });
        let mut run =
            Self { process, address: String::new(), admin: String::new(), lines, seen: Vec::new(), manifest };
        let greeting = run.await_line(|line| line.contains(" listens on http://"));
        let address = greeting.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
        address.unwrap().clone_into(&mut run.address);
        let explained = run.await_line(|line| line.starts_with("why it has its replicas: catnap explain "));
        explained.rsplit(' ').next().unwrap().clone_into(&mut run.admin);
        run
    }

    /// The next line that is looked for; those before it are gone.
    pub(crate) fn await_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("the line did not come; these did:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Closes the pipe that its output goes to; gives what it says on standard error until its end.
    pub(crate) fn stop_reading(&mut self) -> impl FnOnce() -> String + use<> {
        let (_, closed) = channel();
        self.lines = closed;
        let mut errors = self.process.stderr.take().unwrap();
        move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        }
    }

    /// What `catnap explain` prints of it.
    pub(crate) fn explain(&self) -> String {
        let function = format!("function/{}", self.name());
        let explained = Command::new(env!("CARGO_BIN_EXE_catnap"))
            .args(["explain", &function, "--autoscaler", &self.admin])
            .output()
            .unwrap();
        assert!(explained.status.success(), "{explained:?}");
        String::from_utf8(explained.stdout).unwrap()
    }

    /// What `explain` says once it says this too.
    pub(crate) fn await_explained(&self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let explained = self.explain();
            if explained.contains(wanted) {
                return explained;
            }
            assert!(Instant::now() < deadline, "no `{wanted}` in:\n{explained}");
            // What is waited for needs the processor, too.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// GET with the listening address as host.
    pub(crate) fn get(&self, path: &str) -> Answer {
        get(&self.address, &self.address, path)
    }

    /// GET with another host.
    pub(crate) fn get_from(&self, host: &str, path: &str) -> Answer {
        get(&self.address, host, path)
    }

    /// As many GETs at once, each on a connection of its own.
    pub(crate) fn get_at_once(&self, path: &str, count: usize) -> Vec<Answer> {
        let address = self.address.as_str();
        std::thread::scope(|scope| {
            let requests: Vec<_> =
                (0..count).map(|_| scope.spawn(move || get(address, address, path))).collect();
            requests.into_iter().map(|request| request.join().unwrap()).collect()
        })
    }

    /// Sends a signal to it, not to its replicas.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }

    /// Its exit code; `None` when a signal ended it.
    pub(crate) fn await_exit(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end; it said:\n{}", self.seen.join("\n"));
            std::thread::yield_now();
        }
    }

    /// Writes a file beside the manifest.
    pub(crate) fn write(&self, name: &str, text: &str) {
        self.manifest.write(name, text);
    }

    /// The function's name.
    pub(crate) fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Processes of the function's replicas.
    pub(crate) fn processes(&self) -> usize {
        let own = format!("CATNAP_FUNCTION={}", self.name());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let is_own = |folder: &Path| {
            // A process that ended meanwhile, or a zombie, has nothing to read.
            let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == own.as_bytes())
        };
        processes.filter(|process| is_own(&process.path())).count()
    }

    /// Waits until no replica of the function exists.
    pub(crate) fn await_no_processes(&self) {
        self.await_processes(0);
    }

    /// Waits until so many replicas of the function exist.
    pub(crate) fn await_processes(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.processes() != count {
            let said = self.seen.join("\n");
            assert!(Instant::now() < deadline, "there are {}; catnap said:\n{said}", self.processes());
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both fail only when it ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(address: &str, host: &str, path: &str) -> Answer {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
