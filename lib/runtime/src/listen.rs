//! Listening for all who come: on both families of addresses at once, where the machine has both; and accepting them until
//! the process ends.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Connections that wait in the kernel to be accepted. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1_024;
/// Between an accept that failed and the next one.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Every address of this machine on `port`: both families, unless IPv6 is off.
pub fn every_address(port: u16) -> SocketAddr {
    let both = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    let address: IpAddr = if both { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    SocketAddr::new(address, port)
}

/// Listens on `address`; `[::]` takes both families, whatever `net.ipv6.bindv6only` says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A process that starts again must not wait for old connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Gives each connection to `each` until `stop`, and listens no more then. `failed` logs why one cannot be accepted: as a line of
/// its own module, which tells the port.
pub async fn accept_until(
    listener: TcpListener,
    stop: &CancellationToken,
    failed: impl Fn(&io::Error),
    mut each: impl FnMut(TcpStream, SocketAddr),
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => each(stream, peer),
            Err(error) => {
                failed(&error);
                // Out of file descriptors, most likely: do not spin until some are free.
                sleep(AFTER_FAILURE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_get_through() {
        let listener = listen(every_address(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_comes_is_accepted_until_the_end() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (accepted, mut come) = tokio::sync::mpsc::unbounded_channel();
        let accepting =
            accept_until(listener, &stop, |error| panic!("{error}"), |_, peer| accepted.send(peer).unwrap());
        let clients = async {
            for _ in 0..3 {
                let client = TcpStream::connect(address).await.unwrap();
                assert_eq!(come.recv().await, client.local_addr().ok());
            }
            stop.cancel();
        };
        let both = async { tokio::join!(accepting, clients) };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("an end");
    }
}
