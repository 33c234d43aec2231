//! Whatever happens, in whatever order, what [`Script`] checks after each look holds; and no load is left where it was not before.

use proptest::prelude::*;
use serde_json::json;

use super::script::Script;

fn events() -> impl Strategy<Value = String> {
    let letter = prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        3 => letter.clone().prop_map(|letter| format!("image {letter}")),
        6 => (letter.clone(), 0..6_u32).prop_map(|(letter, count)| format!("ready {letter} {count}")),
        1 => letter.clone().prop_map(|letter| format!("failing {letter}")),
        2 => (letter.clone(), 0..200_u32, 0..40_u32).prop_map(|(letter, ended, errors)| {
            format!("counted {letter} {ended} {}", errors.min(ended))
        }),
        1 => Just("known".to_owned()),
        1 => Just("unknown".to_owned()),
        4 => (0..70).prop_map(|seconds| format!("wait {seconds}")),
        2 => (0..40).prop_map(|seconds| format!("pass {seconds}")),
        1 => Just("restart".to_owned()),
        1 => Just("traffic".to_owned()),
        1 => Just("traffic hello-nothing=100".to_owned()),
        1 => (letter.clone(), 0..100).prop_map(|(letter, percent)| format!("traffic {letter}={percent} latest={}", 100 - percent)),
        1 => letter.clone().prop_map(|letter| format!("traffic latest=100 {letter}=0:old")),
        1 => letter.prop_map(|letter| format!("traffic {letter}=100")),
        1 => (0..9).prop_map(|value| format!("retry {value}")),
        1 => Just("edit".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn shares_are_whole_and_only_proven_revisions_have_one(
        step in 1..=100,
        initial in 0..3,
        events in prop::collection::vec(events(), 1..40),
    ) {
        let mut script = Script::new(json!({
            "scale": {"initial": initial}, "rollout": {"stepPercent": step, "interval": "10s"},
        }));
        script.happens("ready a 3");
        for event in events {
            script.happens(&event);
            prop_assert!(!script.status().traffic.is_empty(), "{event}: requests have nowhere to go any more");
        }
    }
}
