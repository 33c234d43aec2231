use super::DecodeError;
use crate::limits::MAX_NAME_BYTES;
use crate::message::{
    ActivatorFrame, Bucket, Closed, GateId, Hello, LeaderFrame, PodReport, Pressure, RevisionId,
    RevisionReport, Term, Verdict, WakeAnswer, Welcome,
};
use crate::proto;

fn revision() -> RevisionId {
    RevisionId { namespace: "shop".into(), name: "hello-7d9c4f2b10".into(), function_uid: "uid-1".into() }
}

fn gate() -> GateId {
    GateId { term: Term { transitions: 3, boot: 99 }, number: 7 }
}

fn verdict() -> Verdict {
    Verdict { revision: revision(), gate: gate(), condemned: vec!["pod-1".into()] }
}

#[test]
fn every_activator_frame_survives_the_wire() {
    let pods = vec![PodReport { uid: "pod-1".into(), usable: true, in_flight: 2 }];
    let buckets = vec![Bucket { index: 5, request_microseconds: 1_500_000, arrivals: 3 }];
    let report = RevisionReport {
        revision: revision(),
        closed: Some(gate()),
        held: 1,
        in_flight: 2,
        idle_milliseconds: Some(0),
        buckets: buckets.clone(),
        pods: pods.clone(),
    };
    let hello =
        Hello { boot: 4, pod_uid: "me".into(), clock_milliseconds: 12, revisions: vec![report], more: true };
    for frame in [
        ActivatorFrame::Hello(hello),
        ActivatorFrame::Buckets { revision: revision(), buckets },
        ActivatorFrame::Through { index: 8 },
        ActivatorFrame::Wake { revision: revision(), held: 20 },
        ActivatorFrame::Pressure(vec![Pressure { revision: revision(), held: 1, in_flight: 5 }]),
        ActivatorFrame::Pods { revision: revision(), pods },
        ActivatorFrame::Ack { revision: revision(), gate: gate() },
        ActivatorFrame::Busy { revision: revision(), gate: gate() },
    ] {
        assert_eq!(ActivatorFrame::try_from(proto::ActivatorFrame::from(&frame)), Ok(frame));
    }
}

#[test]
fn every_leader_frame_survives_the_wire() {
    let closed = Closed { verdict: verdict(), zero: true };
    let mut frames = vec![
        LeaderFrame::Welcome(Welcome { term: gate().term, closed: vec![closed], more: false }),
        LeaderFrame::Close { revision: revision(), gate: gate(), pods: vec!["pod-1".into()] },
        LeaderFrame::Open(verdict()),
        LeaderFrame::Zero(verdict()),
    ];
    for answer in
        [WakeAnswer::Queued, WakeAnswer::Written { replicas: 4 }, WakeAnswer::Open, WakeAnswer::AtMax]
    {
        frames.push(LeaderFrame::WakeReply { revision: revision(), answer });
    }
    for frame in frames {
        assert_eq!(LeaderFrame::try_from(proto::LeaderFrame::from(&frame)), Ok(frame));
    }
}

#[test]
fn an_empty_frame_is_refused() {
    let refused = ActivatorFrame::try_from(proto::ActivatorFrame { frame: None });
    assert_eq!(refused, Err(DecodeError::Missing { field: "frame" }));
}

#[test]
fn a_name_that_is_too_long_is_refused_with_its_field() {
    let mut frame = proto::ActivatorFrame::from(&ActivatorFrame::Wake { revision: revision(), held: 1 });
    if let Some(proto::activator_frame::Frame::Wake(wake)) = &mut frame.frame {
        wake.revision.as_mut().unwrap().name = "x".repeat(MAX_NAME_BYTES + 1);
    }
    let refused = ActivatorFrame::try_from(frame);
    assert_eq!(refused, Err(DecodeError::BadName { field: "revision.name", bytes: MAX_NAME_BYTES + 1 }));
}

#[test]
fn an_impossible_integral_is_refused() {
    let bucket = Bucket { index: 0, request_microseconds: u64::MAX, arrivals: 0 };
    let frame = ActivatorFrame::Buckets { revision: revision(), buckets: vec![bucket] };
    let refused = ActivatorFrame::try_from(proto::ActivatorFrame::from(&frame));
    assert!(matches!(refused, Err(DecodeError::TooLarge { field: "bucket.request_microseconds", .. })));
}
