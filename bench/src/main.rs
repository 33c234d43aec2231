//! Benchmarks: Catnap against the least that the platform needs, and against its peers, in one interleaved run.
//!
//! Each prints a table for people and writes `target/bench/<name>.json`. A benchmark never fails because a bar is missed.

mod burst;
mod cluster;
mod cold;
mod counts;
mod decide;
mod fairness;
mod held;
mod latency;
mod load;
mod page;
mod policy;
mod proxy;
mod random;
mod recorded;
mod report;
mod rounds;
mod scale;
#[cfg(test)]
mod smoke;
mod statistics;
mod step;
mod subject;
mod trace;
mod wake;

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
    /// Many cold starts at once against bare Deployments scaled by hand.
    Burst(burst::BurstArgs),
    /// From one request at once to a hundred, on a function that takes one.
    Step(step::StepArgs),
    /// A day's rise and fall, and bursts, of a recorded trace with real pods.
    Trace(trace::TraceArgs),
    /// From requests to accepted writes of `/scale`, where pods are only pretended.
    Wake(wake::WakeArgs),
    /// What ten thousand Functions at rest cost.
    Scale(scale::ScaleArgs),
    /// CPU a proxied request, against nginx and `HAProxy`; needs no cluster.
    Proxy(proxy::ProxyArgs),
    /// Latency of a proxied request at fixed rates, against nginx and `HAProxy`; needs no cluster.
    Latency(latency::LatencyArgs),
    /// What a flood and slow clients do to the callers of another function; needs no cluster.
    Fairness(fairness::FairnessArgs),
    /// Memory of idle connections and held requests, against hyper alone; needs no cluster.
    Held(held::HeldArgs),
    /// The leader's decisions for ten thousand active revisions; needs no cluster.
    Decide(decide::DecideArgs),
    /// Ways to scale to zero on a recorded trace; needs no cluster.
    Policy(policy::PolicyArgs),
    /// What a request costs in system calls, allocations, copies and instructions, held against bounds; needs no cluster.
    Counts(counts::CountsArgs),
    /// A part of `counts`, in a process of its own.
    #[command(hide = true)]
    Piece(counts::pieces::PieceArgs),
    /// The backend of others, in a process of its own.
    #[command(hide = true)]
    Backend(subject::backend::BackendArgs),
    /// The backend of calls of gRPC, in a process of its own.
    #[command(hide = true)]
    Grpc(subject::grpc::GrpcArgs),
    /// The floor of `held`, in a process of its own.
    #[command(hide = true)]
    Bare(subject::bare::BareArgs),
    /// Writes docs/performance.md from the results; needs no cluster.
    Page(page::PageArgs),
}

// On one thread, which some benchmarks keep on one core with all that it starts.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { output, benchmark } = Arguments::parse();
    let report = match benchmark {
        Benchmark::Cold(arguments) => {
            let client = kube::Client::try_default().await.context("cannot make a Kubernetes client")?;
            cold::run(client, arguments).await?
        }
        Benchmark::Burst(arguments) => {
            let client = kube::Client::try_default().await.context("cannot make a Kubernetes client")?;
            burst::run(client, arguments).await?
        }
        Benchmark::Step(arguments) => {
            let client = kube::Client::try_default().await.context("cannot make a Kubernetes client")?;
            step::run(client, arguments).await?
        }
        Benchmark::Trace(arguments) => {
            let client = kube::Client::try_default().await.context("cannot make a Kubernetes client")?;
            trace::run(client, arguments).await?
        }
        Benchmark::Wake(arguments) => {
            let client = kube::Client::try_default().await.context("cannot make a Kubernetes client")?;
            wake::run(client, arguments).await?
        }
        Benchmark::Scale(arguments) => {
            let client = kube::Client::try_default().await.context("cannot make a Kubernetes client")?;
            scale::run(client, arguments).await?
        }
        Benchmark::Proxy(arguments) => proxy::run(arguments).await?,
        Benchmark::Latency(arguments) => latency::run(arguments).await?,
        Benchmark::Fairness(arguments) => fairness::run(arguments).await?,
        Benchmark::Held(arguments) => held::run(arguments).await?,
        Benchmark::Decide(arguments) => decide::run(&arguments)?,
        Benchmark::Policy(arguments) => policy::run(&arguments)?,
        Benchmark::Counts(arguments) => return counts::run(&arguments).await,
        Benchmark::Piece(arguments) => return counts::pieces::run(arguments),
        Benchmark::Backend(arguments) => return subject::backend::serve(&arguments),
        Benchmark::Grpc(arguments) => return subject::grpc::serve(&arguments).await,
        Benchmark::Bare(arguments) => return subject::bare::serve(&arguments).await,
        Benchmark::Page(arguments) => return page::write(&arguments, &output),
    };
    println!("{}", report.table());
    report.write(&output)
}
