//! A handle to one component: stop, kill, pause, resume, start and restart it, from any process.
//!
//! The handle holds only a name: what runs is read from the record each time, so two processes that use handles of the
//! same component see each other's changes.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{
    Error, cgroup,
    process::{Process, wait},
    ready,
    record::{ComponentRecord, Record},
};

/// How long a component may take to end on SIGTERM: the API server would take a minute to say goodbye to its watchers.
const GRACE: Duration = Duration::from_secs(3);
/// A killed process ends at once, except in the middle of disk writes.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// One of the programs that make up the cluster.
#[derive(Clone, Debug)]
pub struct Component {
    pub(super) cluster: String,
    pub(super) name: String,
}

impl Component {
    /// `etcd`, `kube-apiserver`, …, `node1/kubelet`, ….
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process that runs it now, if one does.
    pub fn process(&self) -> Result<Option<Process>, Error> {
        Ok(self.record()?.process.filter(|process| process.is_running()))
    }

    /// The file with everything that it has written.
    pub fn log(&self) -> Result<PathBuf, Error> {
        Ok(self.record()?.log)
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&self) -> Result<(), Error> {
        let Some(process) = self.process()? else { return Ok(()) };
        process.signal(Signal::SIGKILL);
        self.gone(process.wait_until_gone(KILL_TIMEOUT))
    }

    /// SIGTERM, and SIGKILL three seconds later; returns when the process is gone.
    pub fn stop(&self) -> Result<(), Error> {
        let Some(process) = self.process()? else { return Ok(()) };
        process.signal(Signal::SIGTERM);
        // A paused process takes the signal when it goes on.
        process.signal(Signal::SIGCONT);
        if process.wait_until_gone(GRACE) {
            return Ok(());
        }
        self.kill()
    }

    /// SIGSTOP: it keeps its connections and does nothing.
    pub fn pause(&self) -> Result<(), Error> {
        let Some(process) = self.process()? else { return Ok(()) };
        process.signal(Signal::SIGSTOP);
        self.gone(wait(KILL_TIMEOUT, || process.is_paused()))
    }

    /// Lets it go on after [`Component::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        if let Some(process) = self.process()? {
            process.signal(Signal::SIGCONT);
        }
        Ok(())
    }

    /// Starts it if it does not run, and waits until it answers.
    pub async fn start(&self) -> Result<(), Error> {
        if self.process()?.is_none() {
            self.spawn()?;
        }
        self.wait_until_ready().await
    }

    /// [`Component::stop`], then [`Component::start`].
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop()?;
        self.start().await
    }

    /// Waits until it answers, at most 30 seconds.
    pub async fn wait_until_ready(&self) -> Result<(), Error> {
        ready::wait_for_component(&self.name, &self.record()?).await
    }

    /// Starts its process and notes it in the record.
    pub(super) fn spawn(&self) -> Result<(), Error> {
        let process = spawn(&self.name, &self.record()?)?;
        Record::change(&self.cluster, |record| {
            if let Some(component) = record.components.get_mut(&self.name) {
                component.process = Some(process);
            }
        })
    }

    fn record(&self) -> Result<ComponentRecord, Error> {
        let mut record = Record::read()?.filter(|record| record.id == self.cluster).ok_or(Error::NotThere)?;
        record.components.remove(&self.name).ok_or_else(|| Error::Unknown { name: self.name.clone() })
    }

    fn gone(&self, done: bool) -> Result<(), Error> {
        if done { Ok(()) } else { Err(Error::LeftBehind { what: vec![self.name.clone()] }) }
    }
}

/// Runs the program in its cgroup and network namespace, its output appended to its log.
fn spawn(name: &str, record: &ComponentRecord) -> Result<Process, Error> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&record.log)
        .map_err(Error::file("opening", &record.log))?;
    let errors = log.try_clone().map_err(Error::file("opening", &record.log))?;
    // The shell enters the cgroup before anything can fork, then becomes the program: same process, same id.
    let enter = [r#"echo $$ > "$0" && exec "$@""#];
    let mut command = match &record.network_namespace {
        Some(namespace) => {
            // Not `ip netns exec`: that makes a mount namespace too, and kubelet's mounts would not reach containerd.
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/run/netns/{namespace}")).args(["--", "sh"]);
            command
        }
        None => Command::new("sh"),
    };
    command
        .arg("-c")
        .args(enter)
        .arg(cgroup::processes_file(&record.cgroup)?)
        .arg(&record.program)
        .args(&record.arguments)
        .envs(record.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // Ctrl-C at a terminal goes to the terminal's group; the launcher ends the cluster in its own order.
        .process_group(0);
    let mut child = command.spawn().map_err(Error::file("starting", &record.program))?;
    let id = i32::try_from(child.id()).unwrap_or_default();
    let found = Process::find(id);
    // Somebody has to take the exit status, or the process stays as a zombie for as long as we run.
    std::thread::spawn(move || child.wait());
    found.ok_or_else(|| Error::Ended { component: name.to_owned(), log: super::log_end(&record.log) })
}
