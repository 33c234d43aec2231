use prost::Message;

use super::*;
use crate::message::{
    ActivatorFrame, Bucket, GateId, Hello, LeaderFrame, PodReport, PodUid, Term, Verdict, Welcome,
};
use crate::proto;

/// What an activator keeps of a revision with the longest window that was never quiet: 1 h, and four seconds more.
const LONGEST_WINDOW: u64 = 3_604;

fn revision(number: usize) -> RevisionId {
    let function_uid = "0f3c6a52-8f6e-4d1b-9a35-0e6d6a0f4b11".into();
    RevisionId { namespace: "shop".into(), name: format!("hello-{number}").into(), function_uid }
}

fn gate() -> GateId {
    GateId { term: Term { transitions: u64::MAX, boot: u64::MAX }, number: u64::MAX }
}

fn busy(number: usize, seconds: u64) -> RevisionReport {
    let bucket = |index| Bucket { index: 1_000_000 + index, request_microseconds: 80_000_000, arrivals: 900 };
    RevisionReport {
        revision: revision(number),
        closed: None,
        held: 1,
        in_flight: 80,
        idle_milliseconds: Some(0),
        buckets: (0..seconds).map(bucket).collect(),
        pods: Vec::new(),
    }
}

/// As large as a report may be.
fn largest() -> RevisionReport {
    let name = "x".repeat(MAX_NAME_BYTES);
    let pod = PodReport { uid: name.as_str().into(), usable: true, in_flight: u64::MAX };
    let bucket = Bucket { index: u64::MAX, request_microseconds: u64::MAX, arrivals: u64::MAX };
    RevisionReport {
        revision: RevisionId {
            namespace: name.as_str().into(),
            name: name.as_str().into(),
            function_uid: name.as_str().into(),
        },
        closed: Some(gate()),
        held: u64::MAX,
        in_flight: u64::MAX,
        idle_milliseconds: Some(u64::MAX),
        buckets: vec![bucket; MAX_BUCKETS],
        pods: vec![pod; MAX_PODS],
    }
}

fn hello(revisions: Vec<RevisionReport>) -> ActivatorFrame {
    let (boot, clock_milliseconds) = (u64::MAX, MAX_LIFE_SECONDS * 1_000);
    ActivatorFrame::Hello(Hello { boot, pod_uid: "me".into(), clock_milliseconds, revisions, more: true })
}

#[test]
fn a_hello_after_a_busy_hour_of_many_functions_is_taken_part_by_part() {
    let reports: Vec<_> = (0..300).map(|number| busy(number, LONGEST_WINDOW)).collect();
    let mut taken = Vec::new();
    let parts = hello_parts(reports.clone());
    assert!(parts.len() > 1, "one frame could not hold it");
    for part in parts {
        let encoded = proto::ActivatorFrame::from(&hello(part));
        assert!(encoded.encoded_len() < MAX_FRAME_BYTES, "{}", encoded.encoded_len());
        match ActivatorFrame::try_from(encoded) {
            Ok(ActivatorFrame::Hello(hello)) => taken.extend(hello.revisions),
            other => panic!("{other:?}"),
        }
    }
    assert!(taken == reports, "nothing is lost and the order is kept");
}

#[test]
fn an_hour_of_unsent_buckets_is_taken() {
    let RevisionReport { revision, buckets, .. } = busy(1, LONGEST_WINDOW);
    let frame = ActivatorFrame::Buckets { revision, buckets };
    assert!(ActivatorFrame::try_from(proto::ActivatorFrame::from(&frame)) == Ok(frame));
}

#[test]
fn sizes_are_never_underestimated() {
    let bound = report_bytes(&largest());
    assert!(bound < PART_BYTES, "it fits a part of its own");
    let length = |revisions| proto::ActivatorFrame::from(&hello(revisions)).encoded_len();
    let encoded = length(vec![largest()]) - length(Vec::new());
    assert!(encoded <= bound, "{encoded} of {bound}");

    let condemned: Vec<PodUid> = largest().pods.into_iter().map(|pod| pod.uid).collect();
    let closed =
        Closed { verdict: Verdict { revision: largest().revision, gate: gate(), condemned }, zero: true };
    let welcome = |closed| LeaderFrame::Welcome(Welcome { term: gate().term, closed, more: true });
    let length = |closed| proto::LeaderFrame::from(&welcome(closed)).encoded_len();
    let encoded = length(vec![closed.clone()]) - length(Vec::new());
    let bound = closed_bytes(&closed);
    assert!(encoded <= bound && bound < PART_BYTES, "{encoded} of {bound}");
}

#[test]
fn small_things_go_by_number_and_nothing_makes_one_empty_part() {
    let reports = (0..=HELLO_PART).map(|number| busy(number, 1)).collect();
    let lengths: Vec<usize> = hello_parts(reports).iter().map(Vec::len).collect();
    assert_eq!(lengths, [HELLO_PART, 1]);
    assert_eq!(hello_parts(Vec::new()), [Vec::new()]);
    assert_eq!(welcome_parts(Vec::new()), [Vec::new()]);
}

#[test]
fn a_welcome_with_many_condemned_pods_is_taken_part_by_part() {
    let condemned: Vec<PodUid> = vec!["0f3c6a52-8f6e-4d1b-9a35-0e6d6a0f4b11".into(); 10_000];
    let closed: Vec<_> = (0..50)
        .map(|number| {
            let verdict = Verdict { revision: revision(number), gate: gate(), condemned: condemned.clone() };
            Closed { verdict, zero: true }
        })
        .collect();
    let parts = welcome_parts(closed.clone());
    assert!(parts.concat() == closed, "nothing is lost and the order is kept");
    for closed in parts {
        let welcome = LeaderFrame::Welcome(Welcome { term: gate().term, closed, more: false });
        let encoded = proto::LeaderFrame::from(&welcome);
        assert!(encoded.encoded_len() < MAX_FRAME_BYTES, "{}", encoded.encoded_len());
        assert!(LeaderFrame::try_from(encoded).is_ok());
    }
}
