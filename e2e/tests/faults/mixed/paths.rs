//! Which pod a connection through a Service leads to, as the first node's connection tracking has it: the requests of tests
//! pass there (see `e2e/src/cluster/network.rs`).

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use tokio::process::Command;

/// Of each connection to a Service the port that its client has, and the address of its pod. Connections that ended are known for
/// ten seconds more, or longer.
pub(crate) async fn connections_of(service: SocketAddr) -> anyhow::Result<Vec<(u16, IpAddr)>> {
    let mut command = Command::new("nsenter");
    command.args(["--net=/run/netns/catnap-node1", "conntrack", "-L", "-p", "tcp"]);
    command.args(["--orig-dst", &service.ip().to_string(), "--orig-port-dst", &service.port().to_string()]);
    let output = command.output().await.context("starting nsenter")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "conntrack: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(connection).collect())
}

/// `tcp 6 86399 ESTABLISHED src=CLIENT dst=SERVICE sport=A dport=80 src=POD dst=… sport=8080 dport=… [ASSURED] …`
fn connection(line: &str) -> Option<(u16, IpAddr)> {
    let value = |word: &'static str| line.split_whitespace().filter_map(move |it| it.strip_prefix(word));
    let port = value("sport=").next()?.parse().ok()?;
    let pod = value("src=").nth(1)?.parse().ok()?;
    Some((port, pod))
}
