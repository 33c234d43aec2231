//! Pods that ended and do not come back: evicted, or refused by the very node that they were given to. Another one takes the place
//! of each, so that one alone is nobody's trouble. One after the other is, and of none that lives there is anything to say.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};

use super::{Failure, PATIENCE, bounded};
use crate::Reason;

/// So many are no accident.
const ENOUGH: usize = 2;
/// Of a pod that takes a place for longer there is more to say than how those before it ended.
const RECENT: Duration = Duration::from_secs(60);
/// What ended longer ago has nothing to do with it.
const REMEMBERED: Duration = PATIENCE.saturating_mul(2);

/// A pod that ended. There may be very many of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ended<'pod> {
    at: Timestamp,
    status: &'pod PodStatus,
}

impl<'pod> Ended<'pod> {
    /// `pod`, if it ended in this way.
    pub(crate) fn of(pod: &'pod Pod) -> Option<Self> {
        // Who deletes a pod means it to end, however its program does.
        if pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Failed"))?;
        let changes = status.conditions.iter().flatten().filter_map(|it| it.last_transition_time.as_ref());
        // One that its node refused has perhaps no condition that changed.
        let at = changes.chain(&pod.metadata.creation_timestamp).map(|time| time.0).max()?;
        Some(Self { at, status })
    }

    fn message(&self) -> String {
        let words = [self.status.reason.as_deref(), self.status.message.as_deref()];
        let words: Vec<_> = words.into_iter().flatten().filter(|text| !text.is_empty()).collect();
        let words =
            if words.is_empty() { "their node does not say why".to_owned() } else { words.join(": ") };
        bounded(&format!("pods end one after the other: {words}"))
    }
}

/// Why no pod of a revision is ready of which these ended, and until when that is the best thing to say. `lacks_since`: since when
/// its Deployment has not all the pods it wants, where it says so.
pub(crate) fn one_after_the_other(
    ended: &[Ended<'_>],
    lacks_since: Option<Timestamp>,
    now: Timestamp,
) -> Option<(Failure, Timestamp)> {
    let after = |it: &Ended<'_>, time: Duration| it.at.checked_add(time).ok();
    // What ended before all was well again is another story.
    let is_of_now =
        |it: &Ended<'_>| lacks_since.is_none_or(|since| after(it, RECENT).is_some_and(|end| end >= since));
    let is_remembered = |it: &&Ended<'_>| after(it, REMEMBERED).is_some_and(|end| end > now) && is_of_now(it);
    let ended: Vec<_> = ended.iter().filter(is_remembered).collect();
    let first = ended.iter().map(|it| it.at).min()?;
    let last = ended.iter().max_by_key(|it| it.at)?;
    let until = last.at.checked_add(RECENT).ok()?;
    let failure = || Failure { reason: Reason::PodFailed, message: last.message(), since: Some(first) };
    (ended.len() >= ENOUGH && until > now).then(|| (failure(), until))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Finality, fixtures::seconds};

    fn pod(status: &Value) -> Pod {
        let metadata = json!({"name": "p", "creationTimestamp": seconds(10)});
        serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
    }

    fn evicted(second: i64) -> Pod {
        let condition =
            json!({"type": "DisruptionTarget", "status": "True", "lastTransitionTime": seconds(second)});
        let message = "The node was low on resource: memory.";
        pod(&json!({"phase": "Failed", "reason": "Evicted", "message": message, "conditions": [condition]}))
    }

    fn failure(pods: &[Pod], second: i64) -> Option<(Failure, Timestamp)> {
        let ended: Vec<_> = pods.iter().filter_map(Ended::of).collect();
        one_after_the_other(&ended, None, seconds(second))
    }

    #[test]
    fn only_what_failed_has_ended_so() {
        for phase in ["Pending", "Running", "Succeeded"] {
            assert_eq!(Ended::of(&pod(&json!({"phase": phase, "reason": "Evicted"}))), None, "{phase}");
        }
        let refused = pod(&json!({"phase": "Failed", "reason": "OutOfcpu"}));
        let refused = Ended::of(&refused).unwrap();
        assert_eq!(refused.at, seconds(10), "when it was made");
        assert!(refused.message().ends_with(": OutOfcpu"), "{}", refused.message());
        let evicted = evicted(50);
        let evicted = Ended::of(&evicted).unwrap();
        assert_eq!(evicted.at, seconds(50));
        assert!(evicted.message().ends_with(": Evicted: The node was low on resource: memory."));
        let silent = pod(&json!({"phase": "Failed"}));
        assert!(Ended::of(&silent).unwrap().message().ends_with("does not say why"));
    }

    #[test]
    fn one_alone_is_nobodys_trouble_and_some_are_for_a_minute() {
        assert_eq!(failure(&[evicted(50)], 51), None);
        let both = [evicted(70), evicted(50)];
        let (failed, until) = failure(&both, 71).unwrap();
        assert_eq!((failed.reason, failed.since), (Reason::PodFailed, Some(seconds(50))));
        assert_eq!(until, seconds(130));
        assert!(failure(&both, 129).is_some());
        assert_eq!(failure(&both, 130), None);
        assert_eq!(failed.problem(seconds(649)).finality, Finality::Passing);
        assert_eq!(failed.problem(seconds(650)).finality, Finality::Final);
    }

    #[test]
    fn what_ended_long_ago_is_another_story() {
        assert_eq!(failure(&[evicted(20), evicted(1_220)], 1_221), None);
        let (failed, _) = failure(&[evicted(22), evicted(1_220)], 1_221).unwrap();
        assert_eq!(failed.since, Some(seconds(22)));
    }

    #[test]
    fn what_ended_before_all_was_well_again_is_another_story() {
        let failure = |first: i64, since: i64| {
            let pods = [evicted(first), evicted(950)];
            let ended: Vec<_> = pods.iter().filter_map(Ended::of).collect();
            one_after_the_other(&ended, Some(seconds(since)), seconds(951)).map(|(failure, _)| failure)
        };
        assert_eq!(failure(50, 950), None);
        let failed = failure(940, 940).unwrap();
        assert_eq!(failed.problem(seconds(951)).finality, Finality::Passing);
        let failed = failure(50, 50).unwrap();
        assert_eq!(failed.problem(seconds(951)).finality, Finality::Final);
    }

    #[test]
    fn a_pod_that_somebody_deletes_is_no_trouble() {
        let mut pod = evicted(50);
        pod.metadata.deletion_timestamp = Some(Time(seconds(49)));
        assert_eq!(Ended::of(&pod), None);
    }
}
