//! Named points at which a test can stop a process, to look at what happens when it is slow just there.
//!
//! Without the feature `failpoints` reaching one compiles to nothing. With it the admin server takes
//! `PUT /debug/failpoints/<name>` with the body `pause` or `continue`; `GET` tells whether it is paused and how many wait.

/// True when this build has fail points; release images must say false.
pub const ENABLED: bool = cfg!(feature = "failpoints");

/// Goes on at once.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_name: &str) -> std::future::Ready<()> {
    std::future::ready(())
}

#[cfg(feature = "failpoints")]
pub use enabled::{Status, pause, reach, resume, status};

#[cfg(feature = "failpoints")]
mod enabled {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use parking_lot::Mutex;
    use tokio::sync::watch;

    // One table for the process is what a fail point is: it is reached from code that no test can hand anything to.
    static PAUSED: LazyLock<Mutex<BTreeMap<String, watch::Sender<bool>>>> = LazyLock::new(Mutex::default);

    /// What a fail point is doing.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status {
        /// Whoever reaches it waits.
        pub paused: bool,
        /// Tasks that wait there now.
        pub waiting: usize,
    }

    /// Waits while a test has paused `name`.
    pub async fn reach(name: &str) {
        let paused = PAUSED.lock().get(name).filter(|paused| *paused.borrow()).map(watch::Sender::subscribe);
        if let Some(mut paused) = paused {
            tracing::info!(failpoint = name, "waiting");
            // The sender is never dropped, so this ends when the test lets it go on.
            let _ = paused.wait_for(|paused| !paused).await;
        }
    }

    /// Makes whoever reaches `name` wait.
    pub fn pause(name: &str) {
        set(name, true);
    }

    /// Lets all that wait at `name` go on.
    pub fn resume(name: &str) {
        set(name, false);
    }

    /// What `name` is doing.
    pub fn status(name: &str) -> Status {
        PAUSED.lock().get(name).map_or(Status { paused: false, waiting: 0 }, |paused| Status {
            paused: *paused.borrow(),
            waiting: paused.receiver_count(),
        })
    }

    fn set(name: &str, paused: bool) {
        PAUSED
            .lock()
            .entry(name.to_owned())
            .or_insert_with(|| watch::Sender::new(false))
            .send_replace(paused);
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::{Status, pause, reach, resume, status};

    #[tokio::test]
    async fn whoever_reaches_a_paused_point_waits_until_it_goes_on() {
        reach("step").await;
        pause("step");
        let waiting = tokio::spawn(reach("step"));
        while status("step").waiting == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(status("step"), Status { paused: true, waiting: 1 });
        resume("step");
        waiting.await.unwrap();
        assert_eq!(status("step"), Status { paused: false, waiting: 0 });
    }
}
