//! nginx and `HAProxy` as a careful person configures them: connections to the backend kept, one worker, no access log, and the
//! same header fields written as Catnap writes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::process::Process;
use super::{Subject, answers, free_address};

/// nginx in front of the backend.
pub(crate) async fn nginx(core: usize, upstream: SocketAddr, directory: &Path) -> anyhow::Result<Subject> {
    let address = free_address()?;
    let own = directory.display();
    let configuration = format!(
        "daemon off; master_process off; worker_processes 1; pid {own}/nginx.pid; error_log {own}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; server_tokens off; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 620s;
    client_body_temp_path {own}/nginx-body; proxy_temp_path {own}/nginx-proxy; fastcgi_temp_path {own}/nginx-f;
    uwsgi_temp_path {own}/nginx-u; scgi_temp_path {own}/nginx-s;
    upstream backend {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://backend; proxy_http_version 1.1; proxy_buffering off;
            proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
            proxy_set_header Forwarded \"for=$remote_addr;proto=http;host=\\\"$http_host\\\"\";
            proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Request-Id $request_id;
            proxy_set_header traceparent \"00-$request_id-0123456789abcdef-00\";
        }}
    }}
}}
"
    );
    let path = directory.join("nginx.conf");
    std::fs::write(&path, configuration).context("cannot write nginx's configuration")?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-e").arg(directory.join("nginx.log")).arg("-c").arg(&path);
    let process = Process::start(core, &command)?;
    answers(address).await?;
    Ok(Subject { name: "nginx", address, process })
}

/// `HAProxy` in front of the backend.
pub(crate) async fn haproxy(core: usize, upstream: SocketAddr, directory: &Path) -> anyhow::Result<Subject> {
    let address = free_address()?;
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
    bind {address}
    unique-id-format %{{+X}}o%rt%Ts%pid%ci%cp
    http-request set-header X-Request-Id %[unique-id]
    http-request set-header Forwarded for=%[src];proto=http;host=\"%[req.hdr(host)]\"
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header traceparent 00-0123456789abcdef%[rand(1000000)]-0123456789abcdef-00
    default_backend pods
backend pods
    server pod {upstream} pool-max-conn 64
"
    );
    let path = directory.join("haproxy.cfg");
    std::fs::write(&path, configuration).context("cannot write `HAProxy`'s configuration")?;
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-q").arg("-f").arg(&path);
    let process = Process::start(core, &command)?;
    answers(address).await?;
    Ok(Subject { name: "haproxy", address, process })
}
