//! What every program shows of itself: which build it is, and what it has of its machine.
//!
//! What is not Catnap's own has the names of Prometheus' client libraries, so that pages made for any process show ours as well.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// All programs have the version of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, where whoever built the program told it.
const REVISION: Option<&str> = option_env!("CATNAP_BUILD_REVISION");
/// The kernel tells times in these, on every architecture and whatever its own clock does (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Registers the metrics, which are read at each scrape.
pub fn register(registry: &mut Registry) {
    // Once: the kernel works out anew when it booted, and a clock that was set would look like a restart.
    let booted = read("/proc/stat").as_deref().and_then(boot_time);
    let started = booted.zip(Stat::now()).map(|(booted, stat)| booted + stat.seconds_after_boot);
    registry.register_collector(Box::new(Process { started }));
}

#[derive(Debug)]
struct Process {
    /// As a Unix time.
    started: Option<f64>,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let help = "Which build this is; the revision is empty where it was not told at the build";
        let build = Info::new(vec![("version", VERSION), ("revision", REVISION.unwrap_or_default())]);
        build.encode(encoder.encode_descriptor("catnap_build", help, None, MetricType::Info)?)?;
        let help = "CPU time of the process";
        let unit = Some(&Unit::Seconds);
        let cpu = encoder.encode_descriptor("process_cpu", help, unit, MetricType::Counter)?;
        Stat::now().map_or(Ok(()), |stat| ConstCounter::new(stat.cpu_seconds).encode(cpu))?;
        let help = "Memory of the process that is in RAM, that of mapped files included";
        let resident = read("/proc/self/status").as_deref().and_then(resident_bytes);
        gauge(encoder, "process_resident_memory", help, Some(&Unit::Bytes), resident)?;
        let help = "Memory that the container may have; absent without a limit";
        let most = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
        gauge(encoder, "catnap_process_memory_limit", help, Some(&Unit::Bytes), most)?;
        gauge(encoder, "process_open_fds", "Open file descriptors", None, open_descriptors())?;
        let help = "File descriptors that may be open";
        let most = read("/proc/self/limits").as_deref().and_then(most_descriptors);
        gauge(encoder, "process_max_fds", help, None, most)?;
        let help = "When the process started, as a Unix time";
        gauge(encoder, "process_start_time", help, Some(&Unit::Seconds), self.started)
    }
}

/// What is not known here (there is no `/proc`, say) is described and has no sample.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: Option<f64>,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    value.map_or(Ok(()), |value| ConstGauge::new(value).encode(metric))
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    seconds_after_boot: f64,
}

impl Stat {
    fn now() -> Option<Self> {
        read("/proc/self/stat").as_deref().and_then(Self::of)
    }

    fn of(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may have anything in it.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // Counted from 1, and the first one here is the third (proc(5)).
        let seconds = |number: usize| Some(fields.get(number - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        Some(Self { cpu_seconds: seconds(14)? + seconds(15)?, seconds_after_boot: seconds(22)? })
    }
}

/// Of `/proc/self/status`.
fn resident_bytes(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// The soft limit, of `/proc/self/limits`.
fn most_descriptors(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Of `/proc/stat`, as a Unix time.
fn boot_time(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn open_descriptors() -> Option<f64> {
    const FOLDER: &str = "/proc/self/fd";
    // Their number, since Linux 6.2. Before, nothing but counting them helps, and one is there for that.
    let told = fs::metadata(FOLDER).ok()?.len();
    let open = if told > 0 { told } else { (fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1) };
    Some(open as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape() -> String {
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    fn value(text: &str, name: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    #[test]
    fn the_build_is_told_with_its_version() {
        let text = scrape();
        assert!(text.contains(&format!("\ncatnap_build_info{{version=\"{VERSION}\",revision=\"")), "{text}");
    }

    #[test]
    fn what_the_process_has_is_what_the_kernel_says() {
        let before = scrape();
        let files: Vec<_> = (0..200).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let memory = vec![1_u8; 64 << 20];
        let after = scrape();
        let more = |name| value(&after, name) - value(&before, name);
        // Other tests run in the same process and may have closed some, and given some back.
        assert!(more("process_open_fds") >= 100.0, "{before}\n{after}");
        assert!(more("process_resident_memory_bytes") > f64::from(32 << 20), "{before}\n{after}");
        assert!(value(&after, "process_max_fds") >= value(&after, "process_open_fds"));
        assert!(value(&after, "process_cpu_seconds_total") < 1e6);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value(&after, "process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
        drop((files, memory));
    }

    #[test]
    fn a_program_may_have_any_name() {
        let fields: Vec<String> = (3..=30).map(|number| (number * 100).to_string()).collect();
        let stat = Stat::of(&format!("7 (a) b (c) {}\n", fields.join(" ")));
        assert_eq!(stat, Some(Stat { cpu_seconds: 29.0, seconds_after_boot: 22.0 }));
        assert_eq!(Stat::of("7 (a) S 1 2"), None, "a short line tells nothing");
    }

    #[test]
    fn what_has_no_limit_has_no_number() {
        let limits =
            |soft: &str| format!("Limit    Soft   Hard   Units\nMax open files    {soft}   4096   files\n");
        assert_eq!(most_descriptors(&limits("1024")), Some(1024.0));
        assert_eq!(most_descriptors(&limits("unlimited")), None);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12_288.0));
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 1\n"), Some(1.7e9));
    }
}
