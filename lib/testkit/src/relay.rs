//! A stretch of network between a client and a server, which can be cut so that neither end hears of it.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// Passes one connection on until it is cut. The sockets stay open then, so that only silence tells the ends.
#[derive(Debug)]
pub struct Relay {
    /// Where to connect in place of the server.
    pub address: SocketAddr,
    cut: Arc<Notify>,
}

impl Relay {
    /// Passes the first connection on to a server.
    ///
    /// # Errors
    /// When no port of the loopback interface can be listened on.
    pub async fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let relay = Self { address: listener.local_addr()?, cut: Arc::new(Notify::new()) };
        let cut = Arc::clone(&relay.cut);
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await?;
            let mut server = TcpStream::connect(server).await?;
            tokio::select! {
                ended = copy_bidirectional(&mut client, &mut server) => ended.map(drop),
                () = cut.notified() => std::future::pending().await,
            }
        });
        Ok(relay)
    }

    /// From now on nothing arrives at either end.
    pub fn cut(&self) {
        self.cut.notify_one();
    }
}
