//! Plain messages to their protobuf form. Nothing here can fail: a core only ever makes frames that may be sent.

use crate::message as plain;
use crate::proto;
use crate::proto::{activator_frame, leader_frame, wake_reply};

impl From<&plain::ActivatorFrame> for proto::ActivatorFrame {
    fn from(frame: &plain::ActivatorFrame) -> Self {
        use activator_frame::Frame;
        use plain::ActivatorFrame as Plain;
        let frame = match frame {
            Plain::Hello(hello) => Frame::Hello(encode_hello(hello)),
            Plain::Buckets { revision, buckets } => Frame::Buckets(proto::Buckets {
                revision: Some(encode_revision(revision)),
                buckets: buckets.iter().map(encode_bucket).collect(),
            }),
            Plain::Through { index } => Frame::Through(proto::Through { index: *index }),
            Plain::Wake { revision, held, arrivals } => Frame::Wake(proto::Wake {
                revision: Some(encode_revision(revision)),
                held: *held,
                arrivals: *arrivals,
            }),
            Plain::Pressure(revisions) => Frame::Pressure(proto::Pressure {
                revisions: revisions.iter().map(encode_pressure).collect(),
            }),
            Plain::Pods { revision, pods } => Frame::Pods(proto::Pods {
                revision: Some(encode_revision(revision)),
                pods: pods.iter().map(encode_pod).collect(),
            }),
            Plain::Outcomes(revisions) => Frame::Outcomes(proto::Outcomes {
                revisions: revisions.iter().map(encode_outcomes).collect(),
            }),
            Plain::Ack { revision, gate } => Frame::Ack(encode_reply(revision, gate)),
            Plain::Busy { revision, gate } => Frame::Busy(encode_reply(revision, gate)),
        };
        Self { frame: Some(frame) }
    }
}

impl From<&plain::LeaderFrame> for proto::LeaderFrame {
    fn from(frame: &plain::LeaderFrame) -> Self {
        use leader_frame::Frame;
        use plain::LeaderFrame as Plain;
        let frame = match frame {
            Plain::Welcome(welcome) => Frame::Welcome(proto::Welcome {
                transitions: welcome.term.transitions,
                boot: welcome.term.boot,
                closed: welcome.closed.iter().map(encode_closed).collect(),
                more: welcome.more,
            }),
            Plain::Close { revision, gate, pods } => Frame::Close(proto::Close {
                revision: Some(encode_revision(revision)),
                gate: Some(encode_gate(gate)),
                pod_uids: encode_uids(pods),
            }),
            Plain::Drain { revision, gate, pods, kept, replicas } => Frame::Drain(proto::Drain {
                revision: Some(encode_revision(revision)),
                gate: Some(encode_gate(gate)),
                pod_uids: encode_uids(pods),
                kept_pod_uids: encode_uids(kept),
                replicas: *replicas,
            }),
            Plain::Avoid { revision, pods } => Frame::Avoid(proto::Avoid {
                revision: Some(encode_revision(revision)),
                pod_uids: encode_uids(pods),
            }),
            Plain::Count { revisions } => {
                Frame::Count(proto::Count { revisions: revisions.iter().map(encode_revision).collect() })
            }
            Plain::Open(verdict) => Frame::Open(encode_verdict(verdict)),
            Plain::Zero(verdict) => Frame::Zero(encode_verdict(verdict)),
            Plain::WakeReply { revision, answer } => Frame::WakeReply(proto::WakeReply {
                revision: Some(encode_revision(revision)),
                answer: Some(encode_answer(*answer)),
            }),
        };
        Self { frame: Some(frame) }
    }
}

fn encode_hello(hello: &plain::Hello) -> proto::Hello {
    proto::Hello {
        boot: hello.boot,
        pod_uid: hello.pod_uid.to_string(),
        clock_milliseconds: hello.clock_milliseconds,
        revisions: hello.revisions.iter().map(encode_report).collect(),
        more: hello.more,
    }
}

fn encode_report(report: &plain::RevisionReport) -> proto::RevisionReport {
    proto::RevisionReport {
        revision: Some(encode_revision(&report.revision)),
        closed: report.closed.as_ref().map(encode_gate),
        held: report.held,
        in_flight: report.in_flight,
        idle_milliseconds: report.idle_milliseconds,
        buckets: report.buckets.iter().map(encode_bucket).collect(),
        pods: report.pods.iter().map(encode_pod).collect(),
    }
}

fn encode_revision(revision: &plain::RevisionId) -> proto::Revision {
    proto::Revision {
        namespace: revision.namespace.to_string(),
        name: revision.name.to_string(),
        function_uid: revision.function_uid.to_string(),
    }
}

fn encode_gate(gate: &plain::GateId) -> proto::Gate {
    proto::Gate { transitions: gate.term.transitions, boot: gate.term.boot, number: gate.number }
}

fn encode_bucket(bucket: &plain::Bucket) -> proto::Bucket {
    proto::Bucket {
        index: bucket.index,
        request_microseconds: bucket.request_microseconds,
        arrivals: bucket.arrivals,
    }
}

fn encode_pressure(pressure: &plain::Pressure) -> proto::PressureOf {
    proto::PressureOf {
        revision: Some(encode_revision(&pressure.revision)),
        held: pressure.held,
        in_flight: pressure.in_flight,
        standing: pressure.standing,
    }
}

fn encode_outcomes(outcomes: &plain::Outcomes) -> proto::OutcomesOf {
    let plain::Outcomes { revision, ended, errors } = outcomes;
    proto::OutcomesOf { revision: Some(encode_revision(revision)), ended: *ended, errors: *errors }
}

fn encode_pod(pod: &plain::PodReport) -> proto::Pod {
    proto::Pod { uid: pod.uid.to_string(), usable: pod.usable, in_flight: pod.in_flight }
}

fn encode_reply(revision: &plain::RevisionId, gate: &plain::GateId) -> proto::Reply {
    proto::Reply { revision: Some(encode_revision(revision)), gate: Some(encode_gate(gate)) }
}

fn encode_closed(closed: &plain::Closed) -> proto::Closed {
    proto::Closed { verdict: Some(encode_verdict(&closed.verdict)), zero: closed.zero }
}

fn encode_verdict(verdict: &plain::Verdict) -> proto::Verdict {
    proto::Verdict {
        revision: Some(encode_revision(&verdict.revision)),
        gate: Some(encode_gate(&verdict.gate)),
        condemned_pod_uids: encode_uids(&verdict.condemned),
    }
}

fn encode_uids(uids: &[plain::PodUid]) -> Vec<String> {
    uids.iter().map(ToString::to_string).collect()
}

fn encode_answer(answer: plain::WakeAnswer) -> wake_reply::Answer {
    use wake_reply::Answer;
    match answer {
        plain::WakeAnswer::Queued => Answer::Queued(proto::Empty {}),
        plain::WakeAnswer::Written { replicas } => Answer::WrittenReplicas(replicas),
        plain::WakeAnswer::Open => Answer::Open(proto::Empty {}),
        plain::WakeAnswer::AtMax => Answer::AtMax(proto::Empty {}),
    }
}
