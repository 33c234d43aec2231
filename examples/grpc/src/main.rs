//! A gRPC function to try Catnap with: the greeter of `proto/greeter.proto` on `$PORT`.
//!
//! On SIGTERM it finishes the calls that are open and exits.

use std::env;
use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr};

use catnap_example_grpc::Greetings;
use catnap_example_grpc::proto::greeter_server::GreeterServer;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // One socket for both families; where IPv6 is off, IPv4 alone.
    let listener = match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await?,
    };
    let greetings = Greetings::new(env::var("K_REVISION").unwrap_or_default());
    Server::builder()
        .add_service(GreeterServer::new(greetings))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await?;
    Ok(())
}
