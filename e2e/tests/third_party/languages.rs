//! HTTP and WebSocket clients that come with languages. Each is a script that ends badly at the first surprise.

use super::function::Function;
use super::programs::{go, run, script};

/// Debian's Python, for that is whose packages are installed.
const PYTHON: &str = "/usr/bin/python3";

fn check(program: &str, arguments: &[&str], answered: u64) {
    let said = run(program, arguments);
    assert_eq!(said.trim(), format!("answered {answered}"));
}

#[test]
fn go_net_http() {
    let client = go().join("http-client");
    for (version, protocol) in [("http1", "HTTP1"), ("http1", "H2C"), ("http2", "HTTP1"), ("http2", "H2C")] {
        let function = Function::hello(protocol);
        check(client.to_str().unwrap(), &[version, &function.url("")], 405);
    }
}

#[test]
fn a_gibibyte_passes_both_ways_in_flat_memory() {
    let client = go().join("http-client");
    for (version, protocol) in [("http1", "HTTP1"), ("http2", "H2C")] {
        let function = Function::hello(protocol);
        check(client.to_str().unwrap(), &[version, &function.url(""), "1000000"], 1);
        let before = function.most_resident();
        check(client.to_str().unwrap(), &[version, &function.url(""), "1073741824"], 1);
        let growth = function.most_resident() - before;
        assert!(growth < 16 << 20, "{version} to {protocol}: memory grew by {growth} bytes");
    }
}

#[test]
fn python_requests() {
    let script = script("requests_client.py");
    for protocol in ["HTTP1", "H2C"] {
        let function = Function::hello(protocol);
        check(PYTHON, &[script.to_str().unwrap(), &function.url("")], 106);
    }
}

#[test]
fn python_httpx() {
    let script = script("httpx_client.py");
    for (version, protocol) in [("http1", "H2C"), ("http2", "HTTP1"), ("http2", "H2C")] {
        let function = Function::hello(protocol);
        check(PYTHON, &[script.to_str().unwrap(), version, &function.url("")], 204);
    }
}

#[test]
fn python_websockets() {
    let (server, client) = (script("websocket_server.py"), script("websocket_client.py"));
    let function = Function::start("echo", "HTTP1", &[PYTHON, server.to_str().unwrap()]);
    check(PYTHON, &[client.to_str().unwrap(), &function.url("").replace("http", "ws")], 124);
}

#[test]
fn node() {
    let script = script("node_client.mjs");
    for protocol in ["HTTP1", "H2C"] {
        let function = Function::hello(protocol);
        check("node", &[script.to_str().unwrap(), &function.url("")], 405);
    }
}
