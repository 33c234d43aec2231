//! A test in a process of its own: for what it measures or uses up of a process.

use std::process::Command;

const ALONE: &str = "CATNAP_TEST_ALONE";

/// Runs `body` in a process that runs nothing but the test of this name, and in no other.
pub(super) fn alone(name: &str, body: impl Future<Output = ()>) {
    run(Command::new(std::env::current_exe().unwrap()), name, body);
}

/// As [`alone`], in a network namespace whose sockets have only these ephemeral ports. It needs `unshare` and `ip`.
pub(super) fn alone_with_ports(first: u16, last: u16, name: &str, body: impl Future<Output = ()>) {
    let mut command = Command::new("unshare");
    let ports = format!("echo {first} {last} > /proc/sys/net/ipv4/ip_local_port_range");
    let script = format!("ip link set lo up && {ports} && exec \"$@\"");
    command
        .args(["--map-root-user", "--net", "sh", "-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap());
    run(command, name, body);
}

fn run(mut command: Command, name: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(ALONE).is_some() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body);
        return;
    }
    let output = command.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "there is no test of this name: {text}");
}

/// Memory of this process, in MiB.
pub(super) fn resident_mebibytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kibibytes / 1024
}
