//! Time bounds and rates of the leader, the same for every revision.
//!
//! The defaults are the numbers of the protocol; the activators' own bounds are derived from them.

use std::time::Duration;

/// Bounds and rates.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// A round that is not all acknowledged by then is given up, and no write of a lower count starts later.
    pub closing: Duration,
    /// How often Close is repeated while a round is under way.
    pub repeat: Duration,
    /// An activator further behind than this counts as busy.
    pub lag: Duration,
    /// A stream that is behind for this long, or not welcomed by then, is ended: the next hello ties the clocks anew.
    pub behind: Duration,
    /// A write to zero whose outcome stays unknown is repeated for this long, then given up.
    pub commit: Duration,
    /// A write that was sent has landed or died by then: longer than any request is allowed to take.
    pub landing: Duration,
    /// After a take-over or a raise from zero: longest wait for the ReplicaSet to observe the count. Longer than any watch
    /// is assumed to lag (3 s).
    pub settle: Duration,
    /// A condemned pod is remembered for this long after it is gone, because an activator's watch may lag.
    pub condemned: Duration,
    /// A Wake that is not repeated for this long is over.
    pub wake: Duration,
    /// Pressure counts when it has lasted this long.
    pub pressure: Duration,
    /// Pause after a round or a write that failed.
    pub pause: Duration,
    /// An activator that is silent or behind for this long is reported.
    pub silent: Duration,
    /// A pod that is to go and does not get empty for so long is put back, and another one chosen.
    pub drain: Duration,
    /// From when our watch shows the deletion cost of pods until the controllers are sure to have seen it.
    pub marked: Duration,
    /// Headroom waits at most this long for pods that are not ready; longer than most take.
    pub headroom: Duration,
    /// Most growth in one decision, as a multiple of the ready pods.
    pub up_rate: f64,
    /// Most shrinking in one decision, as a divisor of the ready pods.
    pub down_rate: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            closing: Duration::from_millis(500),
            repeat: Duration::from_millis(100),
            lag: Duration::from_secs(2),
            behind: Duration::from_secs(10),
            commit: Duration::from_secs(10),
            landing: Duration::from_secs(3),
            settle: Duration::from_secs(4),
            condemned: Duration::from_secs(10),
            wake: Duration::from_secs(1),
            pressure: Duration::from_millis(100),
            pause: Duration::from_secs(1),
            silent: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            marked: Duration::from_secs(1),
            headroom: Duration::from_secs(60),
            up_rate: 1000.0,
            down_rate: 2.0,
        }
    }
}
