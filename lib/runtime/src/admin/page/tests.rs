//! How often a page is made, and how many of them there are.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;

use parking_lot::Mutex as SyncMutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::*;

/// Shows how often it was rendered, on which thread, and waits for a go each time that somebody gives none beforehand.
#[derive(Debug)]
struct Slow {
    renderings: Arc<AtomicUsize>,
    go: SyncMutex<mpsc::Receiver<()>>,
}

impl Collector for Slow {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let count = self.renderings.fetch_add(1, SeqCst) + 1;
        self.go.lock().recv().map_err(|_| fmt::Error)?;
        let encoder = encoder.encode_descriptor("renderings", "So many", None, MetricType::Counter)?;
        ConstCounter::new(count as u64).encode(encoder)
    }
}

fn page() -> (Arc<Page>, Arc<AtomicUsize>, mpsc::Sender<()>) {
    let (go, gone) = mpsc::channel();
    let renderings = Arc::<AtomicUsize>::default();
    let mut registry = Registry::default();
    let slow = Slow { renderings: Arc::clone(&renderings), go: SyncMutex::new(gone) };
    registry.register_collector(Box::new(slow));
    (Arc::new(Page::new(registry)), renderings, go)
}

async fn until(mut condition: impl FnMut() -> bool) {
    let looking = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.unwrap();
}

// A page is fresh for as long as the test likes.
#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_share_one_page() {
    let (page, renderings, go) = page();
    let asked: Vec<_> = (0..64)
        .map(|_| {
            let page = Arc::clone(&page);
            tokio::spawn(async move { page.get().await.unwrap() })
        })
        .collect();
    // This thread goes on meanwhile.
    until(|| renderings.load(SeqCst) == 1).await;
    go.send(()).unwrap();
    let mut pages = Vec::new();
    for asked in asked {
        pages.push(asked.await.unwrap());
    }
    assert_eq!(renderings.load(SeqCst), 1);
    assert!(pages.iter().all(|page| page.as_ptr() == pages[0].as_ptr()), "the same memory");
    assert!(pages[0].starts_with(b"# HELP renderings So many"), "{:?}", pages[0]);
}

// A page is fresh for as long as the test likes.
#[tokio::test(start_paused = true)]
async fn who_asks_and_leaves_does_not_start_another_rendering() {
    let (page, renderings, go) = page();
    for _ in 0..50 {
        let page = Arc::clone(&page);
        let asked = tokio::spawn(async move { page.get().await.map(drop) });
        until(|| renderings.load(SeqCst) == 1).await;
        asked.abort();
    }
    go.send(()).unwrap();
    page.get().await.unwrap();
    assert_eq!(renderings.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_is_made_anew_after_a_second() {
    let (page, renderings, go) = page();
    (0..9).for_each(|_| go.send(()).unwrap());
    let first = page.get().await.unwrap();
    tokio::time::advance(FRESH / 2).await;
    assert_eq!(page.get().await.unwrap().as_ptr(), first.as_ptr());
    tokio::time::advance(FRESH / 2).await;
    let second = page.get().await.unwrap();
    assert_eq!(renderings.load(SeqCst), 2);
    assert_ne!(first, second);
}

#[tokio::test]
async fn what_cannot_be_rendered_is_tried_again() {
    let (page, renderings, go) = page();
    drop(go);
    for attempt in 1..=2 {
        assert!(matches!(page.get().await, Err(PageError::Encode { .. })));
        assert_eq!(renderings.load(SeqCst), attempt);
    }
}
