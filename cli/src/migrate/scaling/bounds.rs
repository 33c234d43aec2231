//! How many replicas there may be, and how many there are at first.

use super::Annotations;
use super::quantity::whole;
use crate::migrate::draft::Draft;
use crate::migrate::place::Place;

/// Most replicas that a Function can say.
const MOST_REPLICAS: i64 = 10_000;
/// What Catnap allows where nobody says anything; Knative has no bound then.
const DEFAULT_MAX: i64 = 100;

/// A scaler that does not go by requests has no zero: its `min-scale` is 1 unless it is more.
pub(super) fn stay_awake(place: &Place<'_>, draft: &mut Draft) {
    if draft.number("spec.scale.min").unwrap_or_default() == 0 {
        draft.set("spec.scale.min", 1);
        draft.notes.changed(
            place,
            "spec.scale.min is 1, for such a scaler never goes to zero; without it the Function rests",
        );
    }
}

/// <https://knative.dev/docs/serving/autoscaling/scale-bounds/>
pub(super) fn convert(annotations: &mut Annotations<'_>, draft: &mut Draft) {
    let min = annotations.take_either("min-scale", "minScale", draft);
    replicas(min, "spec.scale.min", draft);
    if let Some(max) = annotations.take_either("max-scale", "maxScale", draft) {
        if max.text().as_deref() == Some("0") {
            draft.put(&max, "spec.scale.max", MOST_REPLICAS);
        } else {
            replicas(Some(max), "spec.scale.max", draft);
        }
    }
    let initial = annotations.take_either("initial-scale", "initialScale", draft);
    replicas(initial.clone(), "spec.scale.initial", draft);
    let activation = annotations.take("activation-scale");
    replicas(activation.clone(), "spec.scale.wake", draft);
    if let Some(place) = activation.filter(|_| draft.get("spec.scale.wake").is_some()) {
        draft.notes.changed(&place, "as many are started when it wakes; with Knative it also never has fewer until it rests again, here it may (spec.scale.min keeps them always)");
    }
    keep_below_max(initial.as_ref(), draft);
}

/// One that cannot be said is left out.
fn replicas(place: Option<Place<'_>>, to: &str, draft: &mut Draft) {
    let Some(place) = place else { return };
    let least = i64::from(matches!(to, "spec.scale.max" | "spec.scale.wake"));
    match whole(&place) {
        Some(number) if number > MOST_REPLICAS => {
            draft.set(to, MOST_REPLICAS);
            draft
                .notes
                .changed(&place, format!("{number} is {MOST_REPLICAS} in {to}, the most there can be"));
        }
        Some(number) if number >= least => draft.put(&place, to, number),
        _ => draft.notes.left_out(&place, format!("not a whole number from {least} on")),
    }
}

/// Knative has no bound unless one is said, and does not hold the initial scale against it.
fn keep_below_max(initial: Option<&Place<'_>>, draft: &mut Draft) {
    let lower = ["spec.scale.min", "spec.scale.wake"].map(|path| draft.number(path).unwrap_or_default());
    let first = draft.number("spec.scale.initial").unwrap_or_default();
    match (draft.number("spec.scale.max"), initial) {
        (None, _) if lower.into_iter().chain([first]).any(|number| number > DEFAULT_MAX) => {
            draft.set("spec.scale.max", MOST_REPLICAS);
        }
        (Some(max), Some(place)) if first > max => {
            draft.set("spec.scale.initial", max);
            draft.notes.changed(
                place,
                format!("{first} is {max} in spec.scale.initial, for it may not be more than spec.scale.max"),
            );
        }
        _ => {}
    }
}
