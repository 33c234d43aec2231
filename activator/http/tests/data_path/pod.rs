//! Servers that stand for a function's pods.

use std::convert::Infallible;
use std::fmt::Write;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::{TcpListener, TcpStream};

pub(crate) type Reply = Response<BoxBody<Bytes, Infallible>>;

/// What a pod saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    pub(crate) open_connections: AtomicUsize,
    /// Of a pod that serves HTTP.
    pub(crate) most_connections: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    pub(crate) open_requests: AtomicUsize,
    pub(crate) most_requests: AtomicUsize,
    ends: Mutex<Vec<Weak<OwnedFd>>>,
}

impl Seen {
    /// Counts this one and the others to which nobody has said their end. Their tasks may not have heard of that yet: the kernel
    /// has.
    fn count_open(&self, stream: &TcpStream) -> Arc<OwnedFd> {
        let end = Arc::new(stream.as_fd().try_clone_to_owned().unwrap());
        let mut ends = self.ends.lock().unwrap();
        ends.push(Arc::downgrade(&end));
        ends.retain(|end| end.upgrade().is_some_and(|end| !hung_up(&end)));
        self.most_connections.fetch_max(ends.len(), SeqCst);
        end
    }
}

fn hung_up(end: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(end, PollFlags::RDHUP)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

/// Counts one more while it lives.
pub(crate) struct Open<'count>(&'count AtomicUsize);

impl<'count> Open<'count> {
    pub(crate) fn count(total: &AtomicUsize, open: &'count AtomicUsize, most: &AtomicUsize) -> Self {
        total.fetch_add(1, SeqCst);
        most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Counts one more connection while it lives.
struct OpenConnection(Arc<Seen>);

impl OpenConnection {
    fn count(seen: &Arc<Seen>) -> Self {
        // Who sees that it was made sees that it is open.
        seen.open_connections.fetch_add(1, SeqCst);
        seen.connections.fetch_add(1, SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open_connections.fetch_sub(1, SeqCst);
    }
}

/// A server of the test. It ends with the test's runtime.
pub(crate) struct Pod {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

impl Pod {
    /// Every connection, by its number from 0, is the script's.
    pub(crate) async fn raw<F: Future<Output = ()> + Send>(
        script: impl Fn(usize, TcpStream) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let counted = Arc::clone(&seen);
        let script = Arc::new(script);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let script = Arc::clone(&script);
                let number = counted.connections.load(SeqCst);
                // Counted before the next one is accepted.
                let open = OpenConnection::count(&counted);
                tokio::spawn(async move {
                    let _open = open;
                    script(number, stream).await;
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) async fn http1<F: Future<Output = Reply> + Send + 'static>(
        handler: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::serve(None, handler).await
    }

    pub(crate) async fn h2c<F: Future<Output = Reply> + Send + 'static>(
        handler: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(http2::Builder::new(TokioExecutor::new())), handler).await
    }

    /// Takes no more than these bytes of a stream that it does not read.
    pub(crate) async fn h2c_with_window<F: Future<Output = Reply> + Send + 'static>(
        bytes: u32,
        handler: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        let mut server = http2::Builder::new(TokioExecutor::new());
        server.initial_stream_window_size(bytes);
        Self::serve(Some(server), handler).await
    }

    async fn serve<F: Future<Output = Reply> + Send + 'static>(
        http2: Option<http2::Builder<TokioExecutor>>,
        handler: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        let seen: Arc<std::sync::OnceLock<Arc<Seen>>> = Arc::default();
        let counted = Arc::clone(&seen);
        let pod = Self::raw(move |_, stream| {
            let (handler, counted, http2) = (handler.clone(), Arc::clone(&counted), http2.clone());
            let open = counted.get().map(|seen| seen.count_open(&stream));
            let service = service_fn(move |request| {
                let (handler, counted) = (handler.clone(), Arc::clone(&counted));
                async move {
                    let seen = counted.get().unwrap();
                    let _open = Open::count(&seen.requests, &seen.open_requests, &seen.most_requests);
                    Ok::<_, Infallible>(handler(request).await)
                }
            });
            async move {
                let _open = open;
                let io = TokioIo::new(stream);
                // Clients that leave are part of the tests.
                if let Some(http2) = http2 {
                    let _ = http2.serve_connection(io, service).await;
                } else {
                    let _ = http1::Builder::new().serve_connection(io, service).with_upgrades().await;
                }
            }
        })
        .await;
        seen.set(Arc::clone(&pod.seen)).unwrap();
        pod
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(SeqCst)
    }
}

/// A whole body.
pub(crate) fn reply(body: impl Into<Bytes>) -> Reply {
    Response::new(Full::new(body.into()).boxed())
}

/// Says what it got: method, path and header fields, then the length of the body.
pub(crate) async fn describe(request: Request<Incoming>) -> Reply {
    let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    let collected = request.into_body().collect().await.unwrap();
    if let Some(trailers) = collected.trailers() {
        for (name, value) in trailers {
            writeln!(text, "trailer {name}: {}", value.to_str().unwrap()).unwrap();
        }
    }
    writeln!(text, "body: {}", collected.to_bytes().len()).unwrap();
    reply(text)
}

/// An address where nothing listens: the kernel gives nobody this port who asks for any.
pub(crate) const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
