//! How long a request may take: `RevisionSpec` in knative/serving `pkg/apis/serving/v1/revision_types.go`, and the defaults in
//! the ConfigMap `config-defaults`.

use super::draft::Draft;
use super::place::Place;

/// `revision-timeout-seconds`, and `spec.timeouts.request` of a Function.
const DEFAULT_SECONDS: i64 = 300;
/// Seconds that a pod has after SIGTERM where a Function says nothing.
const DEFAULT_GRACE: i64 = 60;
/// Most seconds that it can say.
const MOST_GRACE: i64 = 3600;
/// The longest length of time that a Function can say, in seconds.
const MOST_SECONDS: i64 = 99_999 * 3600;

/// Converts the three timeouts.
pub(super) fn convert(pod: &Place<'_>, draft: &mut Draft) {
    // 0 is the default there and no limit here, for this one; for the others it is no limit in both.
    seconds(pod, "timeoutSeconds", "spec.timeouts.request", "300 s, as without it", draft);
    let none = "no limit, as without it";
    seconds(pod, "responseStartTimeoutSeconds", "spec.timeouts.firstByte", none, draft);
    seconds(pod, "idleTimeoutSeconds", "spec.timeouts.inactivity", none, draft);
    let Some(place) = pod.field("timeoutSeconds") else { return };
    let Some(longest) = place.value.as_i64().filter(|longest| *longest <= MOST_SECONDS) else { return };
    if longest > DEFAULT_GRACE {
        // The grace period of a pod is this timeout with Knative: `makePodSpec` in `pkg/reconciler/revision/resources/deploy.go`.
        let grace = longest.min(MOST_GRACE);
        draft.set("spec.terminationGracePeriodSeconds", grace);
    }
    if longest > DEFAULT_SECONDS && pod.field("responseStartTimeoutSeconds").is_none() {
        draft.notes.changed(&place, "a response that has not begun after 300 s is waited for; Knative gives up then unless responseStartTimeoutSeconds says more (spec.timeouts.firstByte)");
    }
}

fn seconds(pod: &Place<'_>, name: &str, to: &str, zero: &str, draft: &mut Draft) {
    let Some(place) = pod.field(name) else { return };
    match place.value.as_i64() {
        Some(0) => draft.notes.not_needed(&place, zero),
        Some(length @ 1..=MOST_SECONDS) => {
            let length = catnap_crds::Duration::from_secs(length.unsigned_abs());
            draft.put(&place, to, length.to_string());
        }
        _ => draft.notes.left_out(&place, "not a number of seconds"),
    }
}
