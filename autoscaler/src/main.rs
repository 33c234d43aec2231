//! `catnap-autoscaler`: decides replicas from what the activators measured, and writes them.

use clap::Parser;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    catnap_runtime::tls::install_crypto_provider();
    catnap_autoscaler::run(catnap_autoscaler::Args::parse()).await
}
