//! Benchmarks: Catnap against the least that the platform needs, and against its peers, in one interleaved run.
//!
//! Each prints a table for people and writes `target/bench/<name>.json`. A benchmark never fails because a bar is missed.

mod cold;
mod page;
mod proxy;
mod report;
mod statistics;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Measures Catnap: what needs a cluster, on the one that KUBECONFIG names.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench", global = true)]
    output: PathBuf,
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// A cold request against a bare Deployment scaled by hand.
    Cold(cold::ColdArgs),
    /// CPU a proxied request, against nginx and `HAProxy`; needs no cluster.
    Proxy(proxy::ProxyArgs),
    /// The backend of `proxy`, in a process of its own.
    #[command(hide = true)]
    Backend(proxy::BackendArgs),
    /// Writes docs/performance.md from the results; needs no cluster.
    Page(page::PageArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { output, benchmark } = Arguments::parse();
    let report = match benchmark {
        Benchmark::Cold(arguments) => {
            let client = kube::Client::try_default().await.context("cannot make a Kubernetes client")?;
            cold::run(client, arguments).await?
        }
        Benchmark::Proxy(arguments) => proxy::run(arguments).await?,
        Benchmark::Backend(arguments) => return proxy::serve_backend(&arguments),
        Benchmark::Page(arguments) => return page::write(&arguments, &output),
    };
    println!("{}", report.table());
    report.write(&output)
}
