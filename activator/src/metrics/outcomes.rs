//! Which ends of requests say something of a revision, and which of them are its errors: what rollouts are judged by.
//!
//! Nothing is counted for it at a request but a gRPC call's status: the rest is added up from the series when somebody asks.

use std::collections::HashMap;
use std::sync::{PoisonError, Weak};

use catnap_activator_core::Reason;
use catnap_activator_http::{Ended, Outcome};
use catnap_wire::RevisionId;

use super::Metrics;

/// How requests of one revision ended, since this process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ended: u64,
    pub(crate) errors: u64,
}

/// What one end says of the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Nothing: the client left, or Catnap had no room for it.
    None,
    Fine,
    Error,
}

impl Tally {
    pub(super) fn add(&mut self, weight: Weight, count: u64) {
        self.ended += if weight == Weight::None { 0 } else { count };
        self.errors += if weight == Weight::Error { count } else { 0 };
    }
}

/// By class of the code and by reason, as the series have them.
pub(super) fn weigh(code: &str, reason: &str) -> Weight {
    match (Reason::from_name(reason), reason, code) {
        (None, "", "5xx") | (None, "BrokenOff", _) => Weight::Error,
        (None, "", _) => Weight::Fine,
        (None, ..) => Weight::None,
        (Some(reason), ..) => weigh_refusal(reason),
    }
}

fn weigh_refusal(reason: Reason) -> Weight {
    match reason {
        // The revision's pods: they cannot be had, or do not do what was asked of them. What its caller gave too little time has no
        // revision.
        Reason::ActivationTimeout
        | Reason::ImagePullFailed
        | Reason::CrashLoop
        | Reason::Unschedulable
        | Reason::QuotaExceeded
        | Reason::Stalled
        | Reason::PodUnreachable
        | Reason::ConnectFailed
        | Reason::UpstreamReset
        | Reason::FirstByteTimeout
        | Reason::RequestTimeout => Weight::Error,
        // The request, this process, or the Function as a whole.
        Reason::UnknownHost
        | Reason::QueueFull
        | Reason::ProcessOverloaded
        | Reason::Draining
        | Reason::Deleted
        | Reason::BadRequest
        | Reason::MethodNotAllowed
        | Reason::HeadTooLarge
        | Reason::UriTooLong => Weight::None,
    }
}

/// Answered with a good head, and yet with a status that a client takes for the server's fault: as 5xx are of HTTP.
pub(super) fn is_failed_call(exchange: &Ended<'_>) -> bool {
    // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
    let failed = matches!(exchange.grpc_status, Some(2 | 4 | 12..=15));
    let good_head = exchange.status.is_some_and(|status| status < 500);
    failed && good_head && exchange.outcome == Outcome::Answered
}

impl Metrics {
    /// How requests of these revisions ended, in the same order; zeros of one that had none.
    pub(crate) fn tallies(&self, revisions: &[RevisionId]) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); revisions.len()];
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, revision) in revisions.iter().enumerate() {
            places.entry(&revision.function_uid).or_default().push(place);
        }
        let known = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        for function in known.iter().filter_map(Weak::upgrade) {
            for place in places.get(&*function.uid).into_iter().flatten() {
                let series = function.revisions.all();
                let of = series.iter().find(|series| *series.name == *revisions[*place].name);
                let Tally { ended, errors } = of.map(|series| series.tally()).unwrap_or_default();
                tallies[*place].ended += ended;
                tallies[*place].errors += errors;
            }
        }
        tallies
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2xx", "", Weight::Fine)]
    #[case("1xx", "", Weight::Fine)]
    #[case("4xx", "", Weight::Fine)]
    #[case("5xx", "", Weight::Error)]
    #[case("2xx", "BrokenOff", Weight::Error)]
    #[case("", "ClientLeft", Weight::None)]
    #[case("2xx", "ClientLeft", Weight::None)]
    // A gRPC caller's refusal has a good head.
    #[case("2xx", "ActivationTimeout", Weight::Error)]
    #[case("5xx", "ActivationTimeout", Weight::Error)]
    #[case("5xx", "CrashLoop", Weight::Error)]
    #[case("5xx", "UpstreamReset", Weight::Error)]
    #[case("2xx", "RequestTimeout", Weight::Error)]
    #[case("5xx", "QueueFull", Weight::None)]
    #[case("5xx", "ProcessOverloaded", Weight::None)]
    #[case("4xx", "BadRequest", Weight::None)]
    fn what_an_end_says(#[case] code: &str, #[case] reason: &str, #[case] weight: Weight) {
        assert_eq!(weigh(code, reason), weight);
    }
}
