//! `spec.traffic` and `spec.rollout`: which revisions take requests, and how a new one takes over. Never forms a revision.
//!
//! What a revision's share means for its replicas is computed here and nowhere else: activators, autoscaler and operator must
//! agree on it.

#![expect(unreachable_pub, reason = "KubeSchema copies each struct into a function body")]

use std::collections::BTreeSet;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, Function, defaults};

/// One share of the requests, or a tag, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.revision) != (has(self.latest) && self.latest)")
    .message("traffic[] must have exactly one of revision and latest: true"))]
pub struct TrafficTarget {
    /// Name of a revision of this Function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("traffic[].revision must be the name of a revision: lower-case letters, digits and '-', starting with a letter and not ending in '-'"))]
    pub revision: Option<String>,
    /// True for the youngest revision that proved itself, whichever that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<bool>,
    /// How much of the requests; 0 when left out, and 100 in the only entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// Gives the revision a name of its own: the tag, '-' and the Function's name, wherever the Function has one. Unique, and
    /// short enough for a label with the Function's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 61))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("traffic[].tag must be lower-case letters, digits and '-', starting with a letter and not ending in '-'"))]
    pub tag: Option<String>,
}

/// How a new revision takes over from the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// How much of the latest revision's share moves at once, in percent; 100 for all of it.
    #[serde(default = "defaults::rollout_step_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub step_percent: i32,
    /// How long a step is watched before the next.
    #[serde(default = "defaults::rollout_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("rollout.interval must be between 1s and 24h"))]
    pub interval: Duration,
    /// The new revision may fail this much of its requests, in percent, or as much as the old one; beyond that all go back to
    /// the old one.
    #[serde(default = "defaults::rollout_max_error_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub max_error_percent: i32,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            step_percent: defaults::rollout_step_percent(),
            interval: defaults::rollout_interval(),
            max_error_percent: defaults::rollout_max_error_percent(),
        }
    }
}

impl Function {
    /// Its tags: those that the spec gives, and those that still lead somewhere.
    pub fn tags(&self) -> BTreeSet<&str> {
        let wanted = self.spec.traffic.iter().filter_map(|target| target.tag.as_deref());
        let routed = self.status.iter().flat_map(|status| &status.traffic);
        wanted.chain(routed.filter_map(|share| share.tag.as_deref())).collect()
    }
}

/// The percent of each target, in their order: what was left out is 0, and 100 for the only one.
pub fn effective_percents(targets: &[TrafficTarget]) -> Vec<i32> {
    let left_out = if targets.len() == 1 { 100 } else { 0 };
    targets.iter().map(|target| target.percent.unwrap_or(left_out)).collect()
}

/// What `percent` of `value` is, in whole replicas: rounded up, and `least` where it is less.
pub fn part(value: i32, percent: i32, least: i32) -> i32 {
    let hundredths = i64::from(value.max(0)) * i64::from(percent.clamp(0, 100));
    i32::try_from((hundredths + 99) / 100).unwrap_or(value).max(least)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::Scale;

    fn targets(percents: &[Option<i32>]) -> Vec<TrafficTarget> {
        percents
            .iter()
            .map(|percent| TrafficTarget { percent: *percent, ..TrafficTarget::default() })
            .collect()
    }

    #[rstest]
    #[case(&[], &[])]
    #[case(&[None], &[100])]
    #[case(&[Some(100)], &[100])]
    #[case(&[Some(90), Some(10)], &[90, 10])]
    #[case(&[Some(100), None], &[100, 0])]
    fn what_is_left_out_is_nothing_but_in_the_only_entry(
        #[case] written: &[Option<i32>],
        #[case] expected: &[i32],
    ) {
        assert_eq!(effective_percents(&targets(written)), expected);
    }

    #[rstest]
    #[case(10, 100, 0, 10)]
    #[case(10, 25, 0, 3)]
    #[case(10, 30, 0, 3)]
    #[case(1, 1, 0, 1)]
    #[case(0, 50, 0, 0)]
    #[case(10, 0, 1, 1)]
    #[case(10, 0, 0, 0)]
    #[case(i32::MAX, 100, 1, i32::MAX)]
    #[case(-1, 50, 0, 0)]
    #[case(10, 101, 0, 10)]
    fn a_part_is_rounded_up(
        #[case] value: i32,
        #[case] percent: i32,
        #[case] least: i32,
        #[case] expected: i32,
    ) {
        assert_eq!(part(value, percent, least), expected);
    }

    #[test]
    fn the_scale_of_a_tenth() {
        let scale = Scale { min: 3, max: 25, initial: 5, wake: 12, ..Scale::default() };
        let tenth = scale.of_part(10);
        assert_eq!((tenth.min, tenth.max, tenth.initial, tenth.wake), (1, 3, 3, 2));
        let tagged_only = scale.of_part(0);
        assert_eq!((tagged_only.min, tagged_only.max, tagged_only.initial, tagged_only.wake), (0, 1, 1, 1));
        assert_eq!((tagged_only.utilization, tagged_only.window), (scale.utilization, scale.window));
    }

    prop_compose! {
        fn scales()(max in 1..10_000_i32)(max in Just(max), min in 0..=max, initial in 0..=max, wake in 1..=max, floor in 1..10_000_i32) -> Scale {
            let schedules = serde_json::from_value(serde_json::json!([{"cron": "0 7 * * *", "duration": "1h", "min": floor}]));
            Scale { min, max, initial, wake, schedules: schedules.unwrap(), ..Scale::default() }
        }
    }

    proptest! {
        #[test]
        fn the_whole_is_itself_and_every_part_keeps_the_rules(scale in scales(), percent in 0..=100_i32) {
            prop_assert_eq!(&scale.of_part(100), &scale);
            let part = scale.of_part(percent);
            prop_assert!(part.max >= 1 && part.wake >= 1);
            prop_assert!(part.min <= part.max && part.initial <= part.max && part.wake <= part.max);
            prop_assert_eq!(part.initial == 0, scale.initial == 0);
            prop_assert!(part.min <= scale.min && part.max <= scale.max && part.wake <= scale.wake);
        }

        #[test]
        fn the_parts_of_a_floor_are_at_least_the_floor(scale in scales(), percent in 0..=100_i32) {
            let (one, other) = (scale.of_part(percent), scale.of_part(100 - percent));
            prop_assert!(one.min + other.min >= scale.min);
            let floor = |scale: &Scale| scale.schedules[0].min;
            prop_assert!(floor(&one) + floor(&other) >= floor(&scale));
        }
    }
}
