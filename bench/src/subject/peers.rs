//! nginx and `HAProxy` as a careful person configures them: connections to the backend kept, one worker, no access log, and the
//! same header fields written as Catnap writes.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::process::Process;
use super::{Subject, Wire, answers, free_address};

/// What a proxy speaks on both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wires {
    pub(crate) callers: Wire,
    pub(crate) pod: Wire,
}

/// HTTP/1.1 on both.
pub(crate) const PLAIN: Wires = Wires { callers: Wire::Http1, pod: Wire::Http1 };

/// What is behind one host name.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    pub(crate) host: String,
    pub(crate) upstream: SocketAddr,
    /// Most requests under way, if that is bounded; more are answered 503.
    pub(crate) at_once: Option<u32>,
}

/// nginx in front of one backend.
pub(crate) async fn nginx(
    core: usize,
    wires: Wires,
    upstream: SocketAddr,
    directory: &Path,
) -> anyhow::Result<Subject> {
    nginx_of(core, wires, &[Behind { host: "bench.default".to_owned(), upstream, at_once: None }], directory)
        .await
}

/// nginx in front of several, chosen by host name.
pub(crate) async fn nginx_of(
    core: usize,
    wires: Wires,
    behind: &[Behind],
    directory: &Path,
) -> anyhow::Result<Subject> {
    let address = free_address()?;
    // Several may run at once.
    let directory = directory.join(format!("nginx-{}", address.port()));
    std::fs::create_dir_all(&directory).context("no directory for nginx")?;
    let own = directory.display();
    let (pass, set, scheme) = match wires.pod {
        Wire::Http1 => ("proxy_pass", "proxy_set_header", "http"),
        Wire::Http2 => ("grpc_pass", "grpc_set_header", "grpc"),
    };
    let how = match wires.pod {
        Wire::Http1 => "proxy_http_version 1.1; proxy_buffering off; proxy_set_header Connection \"\";",
        Wire::Http2 => "",
    };
    let http2 = if wires.callers == Wire::Http2 { " http2" } else { "" };
    let mut servers = String::new();
    for (number, Behind { host, upstream, at_once }) in behind.iter().enumerate() {
        let (zone, limit) = match at_once {
            Some(most) => (
                format!("limit_conn_zone $server_name zone=zone{number}:1m;"),
                format!("limit_conn zone{number} {most}; limit_conn_status 503;"),
            ),
            None => (String::new(), String::new()),
        };
        writeln!(
            servers,
            "    {zone}
    upstream backend{number} {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}
    server {{
        listen {address}{http2}; server_name {host};
        location / {{
            {limit} {pass} {scheme}://backend{number}; {how}
            {set} Host $http_host;
            {set} Forwarded \"for=$remote_addr;proto=http;host=\\\"$http_host\\\"\";
            {set} X-Forwarded-For $remote_addr; {set} X-Forwarded-Proto $scheme;
            {set} X-Forwarded-Host $http_host; {set} X-Request-Id $request_id;
            {set} traceparent \"00-$request_id-0123456789abcdef-00\";
        }}
    }}"
        )?;
    }
    let configuration = format!(
        "daemon off; master_process off; worker_processes 1; pid {own}/nginx.pid; error_log {own}/nginx.log crit;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off; server_tokens off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 620s;
    client_body_temp_path {own}/nginx-body; proxy_temp_path {own}/nginx-proxy; fastcgi_temp_path {own}/nginx-f;
    uwsgi_temp_path {own}/nginx-u; scgi_temp_path {own}/nginx-s; client_max_body_size 0;
{servers}}}
"
    );
    let path = directory.join("nginx.conf");
    std::fs::write(&path, configuration).context("cannot write nginx's configuration")?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-e").arg(directory.join("nginx.log")).arg("-c").arg(&path);
    let process = Process::start(core, &command)?;
    answers(address).await?;
    Ok(Subject { name: "nginx", address, processes: vec![process] })
}

/// Two of nginx, one behind the other, as a service mesh or an ingress in front of a gateway has them.
pub(crate) async fn nginx_twice(
    core: usize,
    upstream: SocketAddr,
    directory: &Path,
) -> anyhow::Result<Subject> {
    let Subject { address, mut processes, .. } = nginx(core, PLAIN, upstream, directory).await?;
    let first = nginx(core, PLAIN, address, directory).await?;
    processes.extend(first.processes);
    Ok(Subject { name: "nginx twice", address: first.address, processes })
}

/// `HAProxy` in front of the backend.
pub(crate) async fn haproxy(
    core: usize,
    wires: Wires,
    upstream: SocketAddr,
    directory: &Path,
) -> anyhow::Result<Subject> {
    let address = free_address()?;
    let protocol = |wire| if wire == Wire::Http2 { " proto h2" } else { "" };
    let (callers, pod) = (protocol(wires.callers), protocol(wires.pod));
    let configuration = format!(
        "global
    nbthread 1
    maxconn 1024
defaults
    mode http
    timeout connect 2s
    timeout client 620s
    timeout server 620s
    timeout http-keep-alive 620s
    http-reuse always
frontend callers
    bind {address}{callers}
    unique-id-format %{{+X}}o%rt%Ts%pid%ci%cp
    http-request set-header X-Request-Id %[unique-id]
    http-request set-header Forwarded for=%[src];proto=http;host=\"%[req.hdr(host)]\"
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header traceparent 00-0123456789abcdef%[rand(1000000)]-0123456789abcdef-00
    default_backend pods
backend pods
    server pod {upstream} pool-max-conn 64{pod}
"
    );
    let path = directory.join(format!("haproxy-{}.cfg", address.port()));
    std::fs::write(&path, configuration).context("cannot write `HAProxy`'s configuration")?;
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-q").arg("-f").arg(&path);
    let process = Process::start(core, &command)?;
    answers(address).await?;
    Ok(Subject { name: "haproxy", address, processes: vec![process] })
}
