//! The annotation `serving.knative.dev/rollout-duration`: `spec.rollout`.
//!
//! <https://knative.dev/docs/serving/rolling-out-latest-revision/>: 1 percent first, then equal steps until the time is over.

use std::time::Duration;

use super::draft::Draft;
use super::place::Place;
use super::scaling::{duration, seconds};

/// Steps of a rollout, where there is a second for each.
const STEPS: u32 = 10;
/// Longest time between two steps.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// As many equal steps in the same time.
pub(super) fn convert(place: &Place<'_>, draft: &mut Draft) {
    let Some(length) = duration(place) else {
        draft.notes.left_out(place, "not a length of time such as 380s");
        return;
    };
    if length < Duration::from_secs(2) {
        draft
            .notes
            .not_needed(place, "everything moves at once, as soon as the new revision has proved itself");
        return;
    }
    let steps = u32::try_from(length.as_secs()).unwrap_or(u32::MAX).min(STEPS);
    let interval = (length / steps).min(LONGEST_INTERVAL);
    let percent = 100_u32.div_ceil(steps);
    draft.set("spec.rollout.stepPercent", percent);
    draft.set("spec.rollout.interval", seconds(interval));
    let told = format!(
        "spec.rollout moves {percent} percent each {}, not 1 percent and then equal steps; each step is watched, and taken back when more requests fail than before",
        seconds(interval)
    );
    draft.notes.changed(place, told);
}
