//! What readers of `/metrics` cost who do not read: a process of its own, because its memory is what is looked at.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use catnap_runtime::admin::{self, Admin, AdminArgs, DebugEndpoints, Readiness};
use futures::FutureExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const LARGE: usize = 8 << 20;
const READERS: usize = 41;

/// Makes every page large, and counts the pages.
#[derive(Debug)]
struct Large {
    help: String,
    pages: Arc<AtomicUsize>,
}

impl Collector for Large {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.pages.fetch_add(1, SeqCst);
        let counter = ConstCounter::new(0_u64);
        let metric = encoder.encode_descriptor("large", &self.help, None, counter.metric_type())?;
        counter.encode(metric)
    }
}

#[tokio::test]
async fn readers_who_do_not_read_share_one_page() {
    let pages = Arc::new(AtomicUsize::new(0));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Large { help: "x".repeat(LARGE), pages: Arc::clone(&pages) }));
    let admin_address = Some(([127, 0, 0, 1], 0).into());
    let listener =
        admin::bind(&AdminArgs { admin_address, debug_endpoints: DebugEndpoints::default() }).unwrap();
    let address = listener.local_addr().unwrap();
    let debug_state = Arc::new(|_| std::future::pending().boxed());
    let shown = Admin { registry, readiness: Readiness::default(), debug_state };
    tokio::spawn(admin::serve(listener, shown, CancellationToken::new()));
    let ask = || async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: admin\r\n\r\n").await.unwrap();
        // Its page is there; the rest of it is never read.
        stream.read_u8().await.unwrap();
        stream
    };
    let mut readers = vec![ask().await];
    let before = resident_bytes();
    while readers.len() < READERS {
        readers.push(ask().await);
    }
    let grown = resident_bytes().saturating_sub(before);
    // A page is made anew once it is a second old: on a slow machine there are some.
    let pages = pages.load(SeqCst);
    assert!(pages < READERS / 2, "too slow to tell");
    // While one is made there is a second copy of it, and some more goes for the connections, whose clients are here, too.
    assert!(grown < (pages + 6) * LARGE, "{} MiB for {READERS} readers, {pages} pages", grown >> 20);
}

/// Memory of this process.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}
