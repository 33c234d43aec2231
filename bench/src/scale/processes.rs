//! Memory and CPU of Catnap's programs, which have to run on this machine (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep};

const PROGRAMS: [&str; 3] = ["catnap-operator", "catnap-activator", "catnap-autoscaler"];

/// One program; the largest where several run.
pub(super) struct Process {
    pub(super) name: &'static str,
    /// MiB.
    pub(super) resident: f64,
    /// Thousandths of a core.
    pub(super) millicores: f64,
}

/// An error: one of the programs does not run on this machine, so that its bars could not be held.
pub(super) fn check() -> anyhow::Result<()> {
    all_among(running()?.iter().map(|running| running.name))
}

fn all_among(found: impl Iterator<Item = &'static str>) -> anyhow::Result<()> {
    let found: Vec<_> = found.collect();
    for program in PROGRAMS {
        ensure!(
            found.contains(&program),
            "{program} does not run on this machine: memory and CPU are measured where Catnap runs"
        );
    }
    Ok(())
}

/// What they took in this time.
pub(super) async fn over(length: Duration) -> anyhow::Result<Vec<Process>> {
    let before = running()?;
    let start = Instant::now();
    sleep(length).await;
    let seconds = start.elapsed().as_secs_f64();
    let mut processes: Vec<Process> = Vec::new();
    for (name, id) in before.iter().map(|running| (running.name, running.id)) {
        let (Some(first), Some(last)) = (before.iter().find(|it| it.id == id), Running::of(id, name)) else {
            continue;
        };
        let millicores = (last.seconds - first.seconds) / seconds * 1_000.0;
        match processes.iter_mut().find(|process| process.name == name) {
            Some(known) => {
                known.resident = known.resident.max(last.resident);
                known.millicores = known.millicores.max(millicores);
            }
            None => processes.push(Process { name, resident: last.resident, millicores }),
        }
    }
    all_among(processes.iter().map(|process| process.name)).context("while nothing happened")?;
    Ok(processes)
}

struct Running {
    id: u32,
    name: &'static str,
    resident: f64,
    /// CPU so far.
    seconds: f64,
}

fn running() -> anyhow::Result<Vec<Running>> {
    let mut running = Vec::new();
    for entry in fs::read_dir("/proc").context("there is no /proc")? {
        let Some(id) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse().ok()) else {
            continue;
        };
        let Ok(program) = fs::read(format!("/proc/{id}/cmdline")) else { continue };
        let program =
            String::from_utf8_lossy(program.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        let name = PROGRAMS.into_iter().find(|name| program.rsplit('/').next() == Some(name));
        running.extend(name.and_then(|name| Running::of(id, name)));
    }
    Ok(running)
}

impl Running {
    fn of(id: u32, name: &'static str) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident: f64 = resident.trim().trim_end_matches("kB").trim().parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // After the name, which may contain spaces: state is field 3, user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Some(Self { id, name, resident: resident / 1_024.0, seconds: (user + system) / ticks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_named() {
        all_among(PROGRAMS.into_iter().rev()).unwrap();
        for missing in PROGRAMS {
            let error = all_among(PROGRAMS.into_iter().filter(|program| *program != missing)).unwrap_err();
            assert!(error.to_string().starts_with(missing), "{error}");
        }
    }
}
