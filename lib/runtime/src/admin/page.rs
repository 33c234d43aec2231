//! The page of metrics: rendered off the thread that serves it, once for everybody who asks within a second.
//!
//! Whoever reaches the port may ask as often as they like: that costs one rendering at a time, and the memory of the pages
//! that somebody still reads, a new one each second at most.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;

/// A page is shown for so long. Prometheus asks every 15 s or more seldom.
const FRESH: Duration = Duration::from_secs(1);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// A metric has no text.
    #[error("a metric cannot be written")]
    Encode {
        /// What the encoder said.
        #[source]
        source: fmt::Error,
    },
    /// The rendering panicked, or the process ends.
    #[error("the page was not rendered")]
    Render {
        /// What became of it.
        #[source]
        source: JoinError,
    },
}

/// The latest page, and what it is made from.
pub(super) struct Page {
    registry: Arc<Registry>,
    latest: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Page {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry: Arc::new(registry), latest: Arc::default() }
    }

    /// The page as it was at most a second ago.
    pub(super) async fn get(&self) -> Result<Bytes, PageError> {
        let mut latest = Arc::clone(&self.latest).lock_owned().await;
        if let Some((_, page)) = latest.as_ref().filter(|(rendered, _)| rendered.elapsed() < FRESH) {
            return Ok(page.clone());
        }
        let registry = Arc::clone(&self.registry);
        // The rendering goes on when who asked for it leaves, and others wait for it all the same.
        let rendered = spawn_blocking(move || {
            *latest = None;
            let mut text = String::new();
            encode(&mut text, &registry).map_err(|source| PageError::Encode { source })?;
            let page = Bytes::from(text);
            *latest = Some((Instant::now(), page.clone()));
            Ok(page)
        });
        rendered.await.map_err(|source| PageError::Render { source })?
    }
}

#[cfg(test)]
mod tests;
