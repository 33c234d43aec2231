//! What a replica is meant for.

use super::Annotations;
use super::quantity::decimal;
use crate::migrate::draft::Draft;
use crate::migrate::place::Place;

/// <https://knative.dev/docs/serving/autoscaling/concurrency/> and `/rps-target/`; that the lesser of target and limit counts:
/// `ResolveMetricTarget` in knative/serving `pkg/reconciler/autoscaling/resources/target.go`.
pub(super) fn convert(annotations: &mut Annotations<'_>, draft: &mut Draft) {
    if let Some(place) = annotations.take("target") {
        match decimal(&place) {
            Some(target) if target >= 0.01 => set_target(&place, target, draft),
            _ => draft.notes.left_out(&place, "not a number of at least 0.01"),
        }
    }
    let utilization =
        annotations.take_either("target-utilization-percentage", "targetUtilizationPercentage", draft);
    if let Some(place) = utilization {
        percent(&place, "spec.scale.utilization", (1.0, 100.0), draft);
    }
}

fn set_target(place: &Place<'_>, target: f64, draft: &mut Draft) {
    let rate = draft.get("spec.scale.metric").is_some_and(|metric| metric == "RequestRate");
    let limit = draft.number("spec.concurrency.limit").filter(|limit| *limit > 0 && !rate);
    // Rounded down: a replica gets no more than it is meant for.
    #[expect(clippy::cast_possible_truncation, reason = "between the bounds it is cut to")]
    let rounded = target.clamp(1.0, 1_000_000.0).floor() as i64;
    let most = limit.unwrap_or(1_000_000);
    let chosen = rounded.min(most);
    if (chosen as f64 - target).abs() < f64::EPSILON {
        draft.put(place, "spec.scale.target", chosen);
        return;
    }
    draft.set("spec.scale.target", chosen);
    let why = if chosen < rounded {
        "spec.concurrency.limit is that, and Knative takes the lesser, too"
    } else {
        "a whole number is needed, from 1 to 1000000"
    };
    draft.notes.changed(place, format!("{target} is {chosen} in spec.scale.target: {why}"));
}

/// A percentage, which is a whole number here.
pub(super) fn percent(place: &Place<'_>, to: &str, (least, most): (f64, f64), draft: &mut Draft) {
    match decimal(place) {
        Some(percent) if (least..=most).contains(&percent) => {
            #[expect(clippy::cast_possible_truncation, reason = "at most 1000")]
            let rounded = percent.round() as i64;
            if (rounded as f64 - percent).abs() < f64::EPSILON {
                draft.put(place, to, rounded);
            } else {
                draft.set(to, rounded);
                draft.notes.changed(place, format!("{percent} is {rounded} in {to}, a whole number"));
            }
        }
        _ => draft.notes.left_out(place, format!("not a number from {least} to {most}")),
    }
}
