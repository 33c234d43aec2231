//! Clients that mean harm: what they send is refused or harmless, what they hold on to is taken away, and what others send
//! meanwhile is answered.

mod alone;
mod floods;
pub(crate) mod frames;
mod idle;
mod limits;
mod overload;
mod recorder;
mod room;
mod slow;
mod smuggling;
mod smuggling_http2;
mod under_tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::task::JoinHandle;

use crate::bed::within;
use crate::client::Raw;

/// A client like any other, next to those of a test: each of its requests must be answered.
struct Good {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Good {
    /// Calls the function `host` until it is stopped, on one connection and on new ones.
    fn start(address: SocketAddr, host: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut kept = Raw::connect(address).await;
            let mut answered = 0;
            while !stopped.load(SeqCst) {
                kept.get(host, "/").await;
                assert_eq!(kept.answer().await.status, 200);
                let mut new = Raw::connect(address).await;
                new.post(host, b"body").await;
                assert_eq!(new.answer().await.status, 200);
                answered += 2;
                tokio::task::yield_now().await;
            }
            answered
        });
        Self { stop, task }
    }

    /// Every request was answered.
    async fn stop(self) {
        self.stop.store(true, SeqCst);
        let answered = within("the good client", self.task).await.unwrap();
        assert!(answered > 0, "it had its turn");
    }
}
