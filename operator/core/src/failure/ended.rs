//! Pods that ended and do not come back: evicted, or refused by the very node that they were given to. Another one takes the place
//! of each, so that one alone is nobody's trouble. One after the other is, and of none that lives there is anything to say.

use std::time::Duration;

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};

use super::{Failure, PATIENCE, bounded};
use crate::Reason;

/// So many are no accident.
const ENOUGH: usize = 2;
/// Of a pod that takes a place for longer there is more to say than how those before it ended.
const RECENT: Duration = Duration::from_secs(60);
/// What ended longer ago has nothing to do with it.
const REMEMBERED: Duration = PATIENCE.saturating_mul(2);

/// A pod that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    at: Timestamp,
    message: String,
}

impl Ended {
    /// What is known of `pod`, if it ended in this way.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Failed"))?;
        let changes = status.conditions.iter().flatten().filter_map(|it| it.last_transition_time.as_ref());
        // One that its node refused has perhaps no condition that changed.
        let at = changes.chain(&pod.metadata.creation_timestamp).map(|time| time.0).max()?;
        let (reason, message) = (status.reason.as_deref(), status.message.as_deref());
        let words = [reason, message].into_iter().flatten().filter(|text| !text.is_empty());
        let words: Vec<_> = words.collect();
        let words =
            if words.is_empty() { "their node does not say why".to_owned() } else { words.join(": ") };
        Some(Self { at, message: bounded(&format!("pods end one after the other: {words}")) })
    }
}

/// Why no pod of a revision is ready of which these ended, and until when that is the best thing to say.
pub(crate) fn one_after_the_other(ended: &[Ended], now: Timestamp) -> Option<(Failure, Timestamp)> {
    let is_remembered = |it: &&Ended| it.at.checked_add(REMEMBERED).is_ok_and(|end| end > now);
    let ended: Vec<_> = ended.iter().filter(is_remembered).collect();
    let first = ended.iter().map(|it| it.at).min()?;
    let last = ended.iter().max_by_key(|it| it.at)?;
    let until = last.at.checked_add(RECENT).ok()?;
    let failure = || Failure { reason: Reason::PodFailed, message: last.message.clone(), since: Some(first) };
    (ended.len() >= ENOUGH && until > now).then(|| (failure(), until))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Finality, fixtures::seconds};

    fn ended(status: &Value) -> Option<Ended> {
        let metadata = json!({"name": "p", "creationTimestamp": seconds(10)});
        Ended::of(&serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap())
    }

    fn evicted(second: i64) -> Ended {
        let condition =
            json!({"type": "DisruptionTarget", "status": "True", "lastTransitionTime": seconds(second)});
        let message = "The node was low on resource: memory.";
        let status =
            json!({"phase": "Failed", "reason": "Evicted", "message": message, "conditions": [condition]});
        ended(&status).unwrap()
    }

    #[test]
    fn only_what_failed_has_ended_so() {
        for phase in ["Pending", "Running", "Succeeded"] {
            assert_eq!(ended(&json!({"phase": phase, "reason": "Evicted"})), None, "{phase}");
        }
        let refused = ended(&json!({"phase": "Failed", "reason": "OutOfcpu"})).unwrap();
        assert_eq!(refused.at, seconds(10), "when it was made");
        assert!(refused.message.ends_with(": OutOfcpu"), "{}", refused.message);
        assert!(evicted(50).message.ends_with(": Evicted: The node was low on resource: memory."));
        assert_eq!(evicted(50).at, seconds(50));
    }

    #[test]
    fn one_alone_is_nobodys_trouble_and_some_are_for_a_minute() {
        assert_eq!(one_after_the_other(&[evicted(50)], seconds(51)), None);
        let both = [evicted(70), evicted(50)];
        let (failure, until) = one_after_the_other(&both, seconds(71)).unwrap();
        assert_eq!((failure.reason, failure.since), (Reason::PodFailed, Some(seconds(50))));
        assert_eq!(until, seconds(130));
        assert!(one_after_the_other(&both, seconds(129)).is_some());
        assert_eq!(one_after_the_other(&both, seconds(130)), None);
        assert_eq!(failure.problem(seconds(649)).finality, Finality::Passing);
        assert_eq!(failure.problem(seconds(650)).finality, Finality::Final);
    }

    #[test]
    fn what_ended_long_ago_is_another_story() {
        assert_eq!(one_after_the_other(&[evicted(0), evicted(1_200)], seconds(1_201)), None);
        let (failure, _) = one_after_the_other(&[evicted(2), evicted(1_200)], seconds(1_201)).unwrap();
        assert_eq!(failure.since, Some(seconds(2)));
    }
}
