//! Annotations of a template that scale it: `autoscaling.knative.dev/*`.
//!
//! Their names and ranges: knative/serving `pkg/apis/autoscaling/register.go` and `annotation_validation.go`; their meaning and
//! their defaults: <https://knative.dev/docs/serving/autoscaling/> and the ConfigMap `config-autoscaler`.

mod bounds;
mod quantity;
mod target;
mod windows;

use std::collections::BTreeMap;

use super::draft::Draft;
use super::place::Place;
pub(super) use quantity::{duration, seconds};

/// What all of them begin with.
pub(super) const PREFIX: &str = "autoscaling.knative.dev/";

/// The annotations that are not dealt with yet, by what follows the prefix.
struct Annotations<'a>(BTreeMap<String, Place<'a>>);

impl<'a> Annotations<'a> {
    fn take(&mut self, name: &str) -> Option<Place<'a>> {
        self.0.remove(name)
    }

    /// An annotation with an older spelling, `minScale` for `min-scale`: the newer one wins, as with Knative.
    fn take_either(&mut self, name: &str, older: &str, draft: &mut Draft) -> Option<Place<'a>> {
        let (newer, older) = (self.take(name), self.take(older));
        if let (Some(_), Some(older)) = (&newer, &older) {
            draft.notes.not_needed(older, format!("{PREFIX}{name} says it, and wins"));
        }
        newer.or(older)
    }
}

/// Converts all of `annotations`, which have the prefix, into `spec.scale`.
pub(super) fn convert(annotations: BTreeMap<&str, Place<'_>>, draft: &mut Draft) {
    let named =
        annotations.into_iter().map(|(name, place)| (name.trim_start_matches(PREFIX).to_owned(), place));
    let mut annotations = Annotations(named.collect());
    let other = other_scaler(&mut annotations, draft);
    bounds::convert(&mut annotations, draft);
    if let Some(place) = other {
        bounds::stay_awake(&place, draft);
        leave_out_goals(&mut annotations, draft);
    } else {
        target::convert(&mut annotations, draft);
        windows::convert(&mut annotations, draft);
    }
    windows::delays(&mut annotations, draft);
    without_effect(&mut annotations, draft);
}

/// What says that not requests decide, but something that Catnap does not look at: the horizontal pod autoscaler, or one of
/// somebody else. <https://knative.dev/docs/serving/autoscaling/autoscaler-types/>
fn other_scaler<'a>(annotations: &mut Annotations<'a>, draft: &mut Draft) -> Option<Place<'a>> {
    const BY_REQUESTS: &str =
        "Catnap scales by requests: say spec.scale.metric (Concurrency or RequestRate) and spec.scale.target";
    let mut other = None;
    if let Some(class) = annotations.take("class") {
        if class.string() == Some("kpa.autoscaling.knative.dev") {
            draft.notes.not_needed(&class, "the class that scales by requests, as Catnap does");
        } else {
            let text = class.text().unwrap_or_default();
            draft.notes.left_out(&class, format!("`{text}`: {BY_REQUESTS}"));
            other = Some(class);
        }
    }
    if let Some(metric) = annotations.take("metric") {
        match metric.string() {
            Some("concurrency") => draft.put(&metric, "spec.scale.metric", "Concurrency"),
            Some("rps") => draft.put(&metric, "spec.scale.metric", "RequestRate"),
            _ => {
                let text = metric.text().unwrap_or_default();
                draft.notes.left_out(&metric, format!("`{text}`: {BY_REQUESTS}"));
                other = Some(metric);
            }
        }
    }
    other
}

/// What is said for a scaler that Catnap has not, and would mean something else here: a target of 80 is 80 percent of a CPU.
fn leave_out_goals(annotations: &mut Annotations<'_>, draft: &mut Draft) {
    let goals = [
        "target",
        "target-utilization-percentage",
        "targetUtilizationPercentage",
        "window",
        "panic-window-percentage",
        "panicWindowPercentage",
        "panic-threshold-percentage",
        "panicThresholdPercentage",
        "scale-to-zero-pod-retention-period",
        "scaleToZeroPodRetentionPeriod",
    ];
    for place in goals.into_iter().filter_map(|name| annotations.take(name)) {
        draft.notes.left_out(&place, "said for a scaler that goes by something else than requests");
    }
}

fn without_effect(annotations: &mut Annotations<'_>, draft: &mut Draft) {
    let burst = annotations.take_either("target-burst-capacity", "targetBurstCapacity", draft);
    if let Some(place) = burst {
        draft.notes.not_needed(&place, "every request passes an activator, which holds what finds no room");
    }
    let algorithm =
        annotations.take_either("metric-aggregation-algorithm", "metricAggregationAlgorithm", draft);
    match algorithm {
        Some(place) if place.string() == Some("linear") => {
            draft.notes.not_needed(&place, "averages are linear here");
        }
        Some(place) => draft
            .notes
            .left_out(&place, "averages are linear here; a shorter spec.scale.window follows sooner"),
        None => {}
    }
}
