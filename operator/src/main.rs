//! `catnap-operator`: turns each Function into Kubernetes objects and reports what became of it.

use clap::Parser;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    catnap_runtime::tls::install_crypto_provider();
    catnap_operator::run(catnap_operator::Args::parse()).await
}
