use super::DecodeError;
use crate::limits::{MAX_ENDED, MAX_LIFE_SECONDS, MAX_NAME_BYTES, MAX_REQUEST_MICROSECONDS, MAX_REQUESTS};
use crate::message::{
    ActivatorFrame, Bucket, Closed, GateId, Hello, LeaderFrame, Outcomes, PodReport, Pressure, RevisionId,
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
        ActivatorFrame::Wake { revision: revision(), held: 20, arrivals: 30 },
        ActivatorFrame::Pressure(vec![Pressure {
            revision: revision(),
            held: 1,
            in_flight: 5,
            standing: true,
        }]),
        ActivatorFrame::Pods { revision: revision(), pods },
        ActivatorFrame::Outcomes(vec![Outcomes { revision: revision(), ended: 70, errors: 7 }]),
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
        LeaderFrame::Drain {
            revision: revision(),
            gate: gate(),
            pods: vec!["pod-1".into()],
            kept: vec!["pod-2".into(), "pod-3".into()],
            replicas: 3,
        },
        LeaderFrame::Avoid { revision: revision(), pods: vec!["pod-2".into()] },
        LeaderFrame::Count { revisions: vec![revision()] },
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
    let mut frame =
        proto::ActivatorFrame::from(&ActivatorFrame::Wake { revision: revision(), held: 1, arrivals: 1 });
    if let Some(proto::activator_frame::Frame::Wake(wake)) = &mut frame.frame {
        wake.revision.as_mut().unwrap().name = "x".repeat(MAX_NAME_BYTES + 1);
    }
    let refused = ActivatorFrame::try_from(frame);
    assert_eq!(refused, Err(DecodeError::BadName { field: "revision.name", bytes: MAX_NAME_BYTES + 1 }));
}

/// A frame with this number in one place.
type FrameOf<'a> = &'a dyn Fn(u64) -> ActivatorFrame;

/// Each number of a frame at its bound and one beyond it.
#[test]
fn every_number_is_bounded() {
    let requests = MAX_REQUESTS;
    let bucket = |index, request_microseconds, arrivals| {
        let buckets = vec![Bucket { index, request_microseconds, arrivals }];
        ActivatorFrame::Buckets { revision: revision(), buckets }
    };
    let hello = |clock_milliseconds, held, in_flight, idle| {
        let report = RevisionReport {
            revision: revision(),
            closed: None,
            held,
            in_flight,
            idle_milliseconds: Some(idle),
            buckets: Vec::new(),
            pods: Vec::new(),
        };
        let revisions = vec![report];
        ActivatorFrame::Hello(Hello {
            boot: 1,
            pod_uid: "me".into(),
            clock_milliseconds,
            revisions,
            more: false,
        })
    };
    let wake = |held, arrivals| ActivatorFrame::Wake { revision: revision(), held, arrivals };
    let pressure = |held, in_flight| {
        ActivatorFrame::Pressure(vec![Pressure { revision: revision(), held, in_flight, standing: false }])
    };
    let pods = |in_flight| {
        let pods = vec![PodReport { uid: "pod-1".into(), usable: true, in_flight }];
        ActivatorFrame::Pods { revision: revision(), pods }
    };
    let outcomes =
        |ended, errors| ActivatorFrame::Outcomes(vec![Outcomes { revision: revision(), ended, errors }]);
    let cases: [(&str, u64, FrameOf<'_>); 15] = [
        ("bucket.index", MAX_LIFE_SECONDS, &|value| bucket(value, 1, 1)),
        ("bucket.request_microseconds", MAX_REQUEST_MICROSECONDS, &|value| bucket(1, value, 1)),
        ("bucket.arrivals", requests, &|value| bucket(1, 1, value)),
        ("through.index", MAX_LIFE_SECONDS, &|index| ActivatorFrame::Through { index }),
        ("wake.held", requests, &|value| wake(value, 0)),
        ("wake.arrivals", requests, &|value| wake(1, value)),
        ("pressure.held", requests, &|value| pressure(value, 1)),
        ("pressure.in_flight", requests, &|value| pressure(1, value)),
        ("pod.in_flight", requests, &|value| pods(value)),
        ("outcomes.ended", MAX_ENDED, &|value| outcomes(value, 0)),
        ("outcomes.errors", 500, &|value| outcomes(500, value)),
        ("hello.clock_milliseconds", MAX_LIFE_SECONDS * 1_000, &|value| hello(value, 0, 0, 0)),
        ("report.held", requests, &|value| hello(1, value, 0, 0)),
        ("report.in_flight", requests, &|value| hello(1, 0, value, 0)),
        ("report.idle_milliseconds", MAX_LIFE_SECONDS * 1_000, &|value| hello(1, 0, 0, value)),
    ];
    for (field, most, frame) in cases {
        let taken = |value| ActivatorFrame::try_from(proto::ActivatorFrame::from(&frame(value)));
        assert_eq!(taken(most), Ok(frame(most)), "{field}");
        for value in [most + 1, u64::MAX] {
            assert_eq!(taken(value), Err(DecodeError::TooLarge { field, value, most }), "{field}");
        }
    }
    let answer = WakeAnswer::Written { replicas: u32::MAX };
    let reply = LeaderFrame::WakeReply { revision: revision(), answer };
    let refused = LeaderFrame::try_from(proto::LeaderFrame::from(&reply));
    assert!(matches!(refused, Err(DecodeError::TooLarge { field: "wake_reply.written_replicas", .. })));
}
