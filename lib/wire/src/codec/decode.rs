//! Protobuf messages to their plain form, refusing what is missing, misnamed or too large.
//!
//! Limits hold for both directions of the stream: neither end lets the other make it keep unbounded state, or decide on a
//! number that cannot be. Numbers are integers without a sign, so there is none below zero and no NaN.

use std::sync::Arc;

use super::{DecodeError, Decoded};
use crate::limits::{
    MAX_BUCKETS, MAX_COUNTED, MAX_ENDED, MAX_LIFE_SECONDS, MAX_NAME_BYTES, MAX_PODS, MAX_REPLICAS,
    MAX_REQUEST_MICROSECONDS, MAX_REQUESTS,
};
use crate::message as plain;
use crate::message::HELLO_PART;
use crate::proto;
use crate::proto::{activator_frame, leader_frame, wake_reply};

impl TryFrom<proto::ActivatorFrame> for plain::ActivatorFrame {
    type Error = DecodeError;

    fn try_from(message: proto::ActivatorFrame) -> Decoded<Self> {
        use activator_frame::Frame;
        Ok(match required("frame", message.frame)? {
            Frame::Hello(hello) => Self::Hello(decode_hello(hello)?),
            Frame::Buckets(buckets) => Self::Buckets {
                revision: decode_revision(buckets.revision)?,
                buckets: decode_list("buckets", MAX_BUCKETS, buckets.buckets, decode_bucket)?,
            },
            Frame::Through(through) => {
                Self::Through { index: decode_second("through.index", through.index)? }
            }
            Frame::Wake(wake) => Self::Wake {
                revision: decode_revision(wake.revision)?,
                held: decode_requests("wake.held", wake.held)?,
                arrivals: decode_requests("wake.arrivals", wake.arrivals)?,
            },
            Frame::Pressure(pressure) => {
                Self::Pressure(decode_list("pressure", HELLO_PART, pressure.revisions, decode_pressure)?)
            }
            Frame::Pods(pods) => Self::Pods {
                revision: decode_revision(pods.revision)?,
                pods: decode_list("pods", MAX_PODS, pods.pods, |pod| decode_pod(&pod))?,
            },
            Frame::Outcomes(outcomes) => {
                Self::Outcomes(decode_list("outcomes", MAX_COUNTED, outcomes.revisions, decode_outcomes)?)
            }
            Frame::Ack(reply) => {
                Self::Ack { revision: decode_revision(reply.revision)?, gate: decode_gate(reply.gate)? }
            }
            Frame::Busy(reply) => {
                Self::Busy { revision: decode_revision(reply.revision)?, gate: decode_gate(reply.gate)? }
            }
        })
    }
}

impl TryFrom<proto::LeaderFrame> for plain::LeaderFrame {
    type Error = DecodeError;

    fn try_from(message: proto::LeaderFrame) -> Decoded<Self> {
        use leader_frame::Frame;
        Ok(match required("frame", message.frame)? {
            Frame::Welcome(welcome) => Self::Welcome(plain::Welcome {
                term: plain::Term { transitions: welcome.transitions, boot: welcome.boot },
                closed: decode_list("welcome.closed", HELLO_PART, welcome.closed, decode_closed)?,
                more: welcome.more,
            }),
            Frame::Close(close) => Self::Close {
                revision: decode_revision(close.revision)?,
                gate: decode_gate(close.gate)?,
                pods: decode_uids("close.pod_uids", close.pod_uids)?,
            },
            Frame::Drain(drain) => Self::Drain {
                revision: decode_revision(drain.revision)?,
                gate: decode_gate(drain.gate)?,
                pods: decode_uids("drain.pod_uids", drain.pod_uids)?,
                kept: decode_uids("drain.kept_pod_uids", drain.kept_pod_uids)?,
                replicas: drain.replicas,
            },
            Frame::Avoid(avoid) => Self::Avoid {
                revision: decode_revision(avoid.revision)?,
                pods: decode_uids("avoid.pod_uids", avoid.pod_uids)?,
            },
            Frame::Count(count) => Self::Count {
                revisions: decode_list("count.revisions", MAX_COUNTED, count.revisions, |revision| {
                    decode_revision(Some(revision))
                })?,
            },
            Frame::Open(verdict) => Self::Open(decode_verdict(verdict)?),
            Frame::Zero(verdict) => Self::Zero(decode_verdict(verdict)?),
            Frame::WakeReply(reply) => Self::WakeReply {
                revision: decode_revision(reply.revision)?,
                answer: decode_answer(required("wake_reply.answer", reply.answer)?)?,
            },
        })
    }
}

fn decode_hello(hello: proto::Hello) -> Decoded<plain::Hello> {
    Ok(plain::Hello {
        boot: hello.boot,
        pod_uid: decode_name("hello.pod_uid", &hello.pod_uid)?,
        clock_milliseconds: decode_milliseconds("hello.clock_milliseconds", hello.clock_milliseconds)?,
        revisions: decode_list("hello.revisions", HELLO_PART, hello.revisions, decode_report)?,
        more: hello.more,
    })
}

fn decode_report(report: proto::RevisionReport) -> Decoded<plain::RevisionReport> {
    Ok(plain::RevisionReport {
        revision: decode_revision(report.revision)?,
        closed: report.closed.map(|gate| decode_gate(Some(gate))).transpose()?,
        held: decode_requests("report.held", report.held)?,
        in_flight: decode_requests("report.in_flight", report.in_flight)?,
        idle_milliseconds: report
            .idle_milliseconds
            .map(|idle| decode_milliseconds("report.idle_milliseconds", idle))
            .transpose()?,
        buckets: decode_list("buckets", MAX_BUCKETS, report.buckets, decode_bucket)?,
        pods: decode_list("pods", MAX_PODS, report.pods, |pod| decode_pod(&pod))?,
    })
}

fn decode_revision(revision: Option<proto::Revision>) -> Decoded<plain::RevisionId> {
    let revision = required("revision", revision)?;
    Ok(plain::RevisionId {
        namespace: decode_name("revision.namespace", &revision.namespace)?,
        name: decode_name("revision.name", &revision.name)?,
        function_uid: decode_name("revision.function_uid", &revision.function_uid)?,
    })
}

fn decode_gate(gate: Option<proto::Gate>) -> Decoded<plain::GateId> {
    let gate = required("gate", gate)?;
    Ok(plain::GateId {
        term: plain::Term { transitions: gate.transitions, boot: gate.boot },
        number: gate.number,
    })
}

fn decode_bucket(bucket: proto::Bucket) -> Decoded<plain::Bucket> {
    at_most("bucket.request_microseconds", bucket.request_microseconds, MAX_REQUEST_MICROSECONDS)?;
    Ok(plain::Bucket {
        index: decode_second("bucket.index", bucket.index)?,
        request_microseconds: bucket.request_microseconds,
        arrivals: decode_requests("bucket.arrivals", bucket.arrivals)?,
    })
}

fn decode_pressure(pressure: proto::PressureOf) -> Decoded<plain::Pressure> {
    Ok(plain::Pressure {
        revision: decode_revision(pressure.revision)?,
        held: decode_requests("pressure.held", pressure.held)?,
        in_flight: decode_requests("pressure.in_flight", pressure.in_flight)?,
        standing: pressure.standing,
    })
}

fn decode_outcomes(outcomes: proto::OutcomesOf) -> Decoded<plain::Outcomes> {
    let proto::OutcomesOf { revision, ended, errors } = outcomes;
    at_most("outcomes.ended", ended, MAX_ENDED)?;
    at_most("outcomes.errors", errors, ended)?;
    Ok(plain::Outcomes { revision: decode_revision(revision)?, ended, errors })
}

fn decode_pod(pod: &proto::Pod) -> Decoded<plain::PodReport> {
    Ok(plain::PodReport {
        uid: decode_name("pod.uid", &pod.uid)?,
        usable: pod.usable,
        in_flight: decode_requests("pod.in_flight", pod.in_flight)?,
    })
}

fn decode_closed(closed: proto::Closed) -> Decoded<plain::Closed> {
    let verdict = decode_verdict(required("closed.verdict", closed.verdict)?)?;
    Ok(plain::Closed { verdict, zero: closed.zero })
}

fn decode_verdict(verdict: proto::Verdict) -> Decoded<plain::Verdict> {
    Ok(plain::Verdict {
        revision: decode_revision(verdict.revision)?,
        gate: decode_gate(verdict.gate)?,
        condemned: decode_uids("verdict.condemned_pod_uids", verdict.condemned_pod_uids)?,
    })
}

fn decode_answer(answer: wake_reply::Answer) -> Decoded<plain::WakeAnswer> {
    use wake_reply::Answer;
    Ok(match answer {
        Answer::Queued(_) => plain::WakeAnswer::Queued,
        Answer::WrittenReplicas(replicas) => {
            at_most("wake_reply.written_replicas", replicas.into(), MAX_REPLICAS.into())?;
            plain::WakeAnswer::Written { replicas }
        }
        Answer::Open(_) => plain::WakeAnswer::Open,
        Answer::AtMax(_) => plain::WakeAnswer::AtMax,
    })
}

fn decode_requests(field: &'static str, requests: u64) -> Decoded<u64> {
    at_most(field, requests, MAX_REQUESTS).map(|()| requests)
}

fn decode_second(field: &'static str, index: u64) -> Decoded<u64> {
    at_most(field, index, MAX_LIFE_SECONDS).map(|()| index)
}

fn decode_milliseconds(field: &'static str, milliseconds: u64) -> Decoded<u64> {
    at_most(field, milliseconds, MAX_LIFE_SECONDS * 1_000).map(|()| milliseconds)
}

fn decode_uids(field: &'static str, uids: Vec<String>) -> Decoded<Vec<plain::PodUid>> {
    decode_list(field, MAX_PODS, uids, |uid| decode_name(field, &uid))
}

pub(super) fn decode_name(field: &'static str, name: &str) -> Decoded<Arc<str>> {
    match name.len() {
        1..=MAX_NAME_BYTES => Ok(Arc::from(name)),
        bytes => Err(DecodeError::BadName { field, bytes }),
    }
}

pub(super) fn decode_list<M, T>(
    field: &'static str,
    most: usize,
    messages: Vec<M>,
    decode: impl Fn(M) -> Decoded<T>,
) -> Decoded<Vec<T>> {
    at_most(field, messages.len() as u64, most as u64)?;
    messages.into_iter().map(decode).collect()
}

pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Decoded<T> {
    value.ok_or(DecodeError::Missing { field })
}

pub(super) fn at_most(field: &'static str, value: u64, most: u64) -> Decoded<()> {
    if value > most { Err(DecodeError::TooLarge { field, value, most }) } else { Ok(()) }
}
