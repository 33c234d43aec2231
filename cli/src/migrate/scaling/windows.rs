//! Lengths of time that decide.

use std::time::Duration;

use super::Annotations;
use super::quantity::{decimal, duration, seconds};
use super::target::percent;
use crate::migrate::draft::Draft;
use crate::migrate::place::Place;

/// `stable-window` of `config-autoscaler`, and the window of a Function.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
/// The shortest window that either can say.
const SHORTEST_WINDOW: Duration = Duration::from_secs(6);
/// The longest length of time that either can say.
const HOUR: Duration = Duration::from_secs(3600);
/// `panic-window-percentage` of `config-autoscaler`.
const DEFAULT_PANIC_PERCENT: f64 = 10.0;

/// A window that is said, and where.
type Window<'a> = (Place<'a>, Duration);

/// <https://knative.dev/docs/serving/autoscaling/kpa-specific/>
pub(super) fn convert(annotations: &mut Annotations<'_>, draft: &mut Draft) {
    let window = stable_window(annotations, draft);
    panic_window(annotations, window.as_ref(), draft);
    let threshold = annotations.take_either("panic-threshold-percentage", "panicThresholdPercentage", draft);
    if let Some(place) = threshold {
        percent(&place, "spec.scale.panic.threshold", (110.0, 1000.0), draft);
    }
    idle(annotations, window.as_ref(), draft);
}

fn stable_window<'a>(annotations: &mut Annotations<'a>, draft: &mut Draft) -> Option<Window<'a>> {
    let place = annotations.take("window")?;
    let Some(length) = duration(&place).filter(|length| (SHORTEST_WINDOW..=HOUR).contains(length)) else {
        draft.notes.left_out(&place, "not a length of time from 6s to 1h");
        return None;
    };
    draft.put(&place, "spec.scale.window", seconds(length));
    Some((place, length))
}

/// A part of the window there, a time of its own here; rounded to a second, as Knative does.
fn panic_window(annotations: &mut Annotations<'_>, window: Option<&Window<'_>>, draft: &mut Draft) {
    let length = window.map_or(DEFAULT_WINDOW, |(_, length)| *length);
    let part = |percent: f64| length.mul_f64(percent / 100.0).as_secs_f64().round().max(1.0);
    let seconds = |percent| seconds(Duration::from_secs_f64(part(percent)).min(length));
    let to = "spec.scale.panic.window";
    match (annotations.take_either("panic-window-percentage", "panicWindowPercentage", draft), window) {
        (Some(place), _) => match decimal(&place).filter(|percent| (1.0..=100.0).contains(percent)) {
            Some(percent) => draft.put(&place, to, seconds(percent)),
            None => draft.notes.left_out(&place, "not a number from 1 to 100"),
        },
        (None, Some((place, _))) => draft.put(place, to, seconds(DEFAULT_PANIC_PERCENT)),
        (None, None) => {}
    }
}

/// The last pod stays for the window, which must be without a request, and for the retention after it; here the time counts
/// from the last request. <https://knative.dev/docs/serving/autoscaling/scale-to-zero/>
fn idle(annotations: &mut Annotations<'_>, window: Option<&Window<'_>>, draft: &mut Draft) {
    let retention =
        annotations.take_either("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod", draft);
    let Some(place) = retention else {
        if let Some((place, length)) = window {
            draft.put(place, "spec.scale.idle.after", seconds(*length));
        }
        return;
    };
    match duration(&place).filter(|length| *length <= HOUR) {
        Some(length) => {
            let after = seconds(window.map_or(DEFAULT_WINDOW, |(_, length)| *length) + length);
            draft.set("spec.scale.idle.after", after.clone());
            draft.notes.changed(&place, format!("spec.scale.idle.after is {after}: it counts from the last request, so the window is added"));
        }
        None => draft.notes.left_out(&place, "not a length of time from 0s to 1h"),
    }
}

/// <https://knative.dev/docs/serving/autoscaling/scale-bounds/#scale-down-delay>
pub(super) fn delays(annotations: &mut Annotations<'_>, draft: &mut Draft) {
    let Some(place) = annotations.take_either("scale-down-delay", "scaleDownDelay", draft) else { return };
    match duration(&place).filter(|delay| *delay <= HOUR) {
        Some(delay) => draft.put(&place, "spec.scale.downDelay", seconds(delay)),
        None => draft.notes.left_out(&place, "not a length of time from 0s to 1h"),
    }
}
