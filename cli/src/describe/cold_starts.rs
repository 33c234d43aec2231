//! The last cold starts of a Function. Each activator remembers those of the requests that came to it.

use std::fmt::Write as _;

use futures::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::page::causes;
use crate::activators;
use crate::age::age;
use crate::connection::Connection;
use crate::connection::call::CallError;
use crate::inside::{self, InsideError, Who};

/// Cold starts that are told.
const LAST: usize = 5;
/// Activators that are asked, all at once.
const MOST_ASKED: usize = 32;
/// Clocks of nodes may be this far apart.
const APART_MILLISECONDS: f64 = 1_000.0;

/// The last ones, the latest first.
#[derive(Debug, Default)]
pub(super) struct ColdStarts {
    pub(super) last: Vec<ColdStart>,
    /// Why some activators told nothing.
    pub(super) incomplete: Option<String>,
}

/// One of them: what the first of its requests waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ColdStart {
    /// When that request came.
    pub(crate) at: Timestamp,
    pub(crate) revision: String,
    /// The whole wait.
    pub(crate) milliseconds: f64,
    pub(crate) phases: Phases,
    /// Status code of its response, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Why it ended as it did; none when the function answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Those that waited for the same pods and have ended.
    pub(crate) requests: u64,
}

/// Milliseconds of each phase, in the order in which they pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Phases {
    pub(crate) wake: f64,
    pub(crate) schedule: f64,
    pub(crate) start: f64,
    pub(crate) ready: f64,
    pub(crate) queue: f64,
}

/// Of what an activator tells: the Function, if it knows it.
#[derive(Debug, Deserialize)]
struct State {
    functions: Vec<FunctionState>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionState {
    cold_starts: Vec<ColdStart>,
}

/// Why none is known.
#[derive(Debug, thiserror::Error)]
pub(super) enum ColdStartsError {
    /// The API server does not say which activators there are.
    #[error(transparent)]
    List {
        /// Why.
        source: CallError,
    },
    /// Nobody to ask.
    #[error("no activator is ready in namespace {system}; --system-namespace says where Catnap is")]
    NoActivator {
        /// Where Catnap is meant to be.
        system: String,
    },
    /// No activator told anything.
    #[error(transparent)]
    Inside {
        /// Why one of them did not.
        source: InsideError,
    },
}

/// Asks all activators; `system` is the namespace that Catnap is in.
pub(super) async fn read(
    connection: &Connection,
    system: &str,
    function: &str,
) -> Result<ColdStarts, ColdStartsError> {
    let pods = activators::ready(connection, system).await;
    let pods = pods.map_err(|source| ColdStartsError::List { source })?;
    let count = pods.len();
    if count == 0 {
        return Err(ColdStartsError::NoActivator { system: system.to_owned() });
    }
    let asked: Vec<Who> = pods.into_iter().take(MOST_ASKED).map(Who::activator).collect();
    let asking = asked.iter().map(|who| Box::pin(inside::told_by(connection, system, who, function)));
    of_all(join_all(asking).await, count)
}

/// What those who answered tell together; `count` is how many activators there are.
fn of_all(answers: Vec<Result<State, InsideError>>, count: usize) -> Result<ColdStarts, ColdStartsError> {
    let mut starts = Vec::new();
    let mut told = 0;
    let mut failed = None;
    for answer in answers {
        match answer {
            Ok(state) => {
                told += 1;
                starts.extend(state.functions.into_iter().flat_map(|function| function.cold_starts));
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    let why = match failed {
        Some(source) if told == 0 => return Err(ColdStartsError::Inside { source }),
        Some(error) => causes(&error),
        None => format!("no more than {MOST_ASKED} are asked"),
    };
    let silent = count.saturating_sub(told);
    let incomplete = (silent > 0).then(|| format!("{silent} of {count} activators told nothing: {why}"));
    Ok(ColdStarts { last: last(starts), incomplete })
}

/// The last ones. Requests that came to several activators and waited for the same pods are one cold start.
fn last(mut starts: Vec<ColdStart>) -> Vec<ColdStart> {
    starts.sort_by_key(|start| start.at);
    let mut last: Vec<ColdStart> = Vec::new();
    for start in starts {
        match last.iter_mut().find(|first| first.is_also(&start)) {
            Some(first) => first.requests = first.requests.saturating_add(start.requests),
            None => last.push(start),
        }
    }
    last.reverse();
    last.truncate(LAST);
    last
}

impl ColdStart {
    /// Whether a later one waited for the same pods: it came before one of them answered.
    fn is_also(&self, later: &Self) -> bool {
        let after = later.at.duration_since(self.at).as_secs_f64() * 1_000.0;
        self.revision == later.revision && after <= self.milliseconds - self.phases.queue + APART_MILLISECONDS
    }

    /// One line for a person.
    pub(super) fn line(&self, now: Timestamp) -> String {
        let Self { at, revision, milliseconds, phases, status, reason, requests } = self;
        let Phases { wake, schedule, start, ready, queue } = phases;
        let mut line = format!(
            "{} ago  {milliseconds:.0} ms: wake {wake:.0}, schedule {schedule:.0}, start {start:.0}, ready {ready:.0}",
            age(*at, now)
        );
        // A wait for a place that nobody took is not worth a word.
        if *queue >= 0.5 {
            let _ = write!(line, ", queue {queue:.0}");
        }
        let _ = write!(line, "  ({revision}");
        if let Some(status) = status {
            let _ = write!(line, ", {status}");
        }
        if let Some(reason) = reason {
            let _ = write!(line, ", {reason}");
        }
        if *requests > 1 {
            let _ = write!(line, ", {requests} requests");
        }
        line + ")"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../../activator/src/metrics/cold_starts/golden.json")).unwrap()
    }

    fn state(starts: &Value) -> State {
        let function = json!({"name": "default/hello", "traffic": [], "coldStarts": starts});
        serde_json::from_value(json!({"leaderConnected": true, "functions": [function]})).unwrap()
    }

    /// One that took 312 ms, so many seconds after the minute.
    fn at(seconds: f64, revision: &str) -> Value {
        let mut start = golden();
        start["at"] = json!(format!("2026-01-01T11:59:{seconds:06.3}Z"));
        start["revision"] = json!(revision);
        start
    }

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn refused(pod: &str) -> InsideError {
        let who = Who::activator(pod.to_owned());
        InsideError::Refused { who, status: hyper::StatusCode::FORBIDDEN }
    }

    fn lines(starts: &ColdStarts) -> Vec<String> {
        starts.last.iter().map(|start| start.line(now())).collect()
    }

    #[test]
    fn what_an_activator_tells_is_one_line() {
        let mut start = golden();
        let told = of_all(vec![Ok(state(&json!([start])))], 1).unwrap();
        let line = "11s ago  312 ms: wake 9, schedule 260, start 40, ready 3  (hello-3, 200)";
        assert_eq!(lines(&told), [line]);
        assert_eq!(told.incomplete, None);
        start["phases"]["queue"] = json!(100.0);
        start["milliseconds"] = json!(412.0);
        start["status"] = Value::Null;
        start["reason"] = json!("ClientLeft");
        start["requests"] = json!(3);
        let line = "11s ago  412 ms: wake 9, schedule 260, start 40, ready 3, queue 100  (hello-3, ClientLeft, 3 requests)";
        assert_eq!(lines(&of_all(vec![Ok(state(&json!([start])))], 1).unwrap()), [line]);
    }

    #[test]
    fn the_last_of_all_activators_are_told_the_latest_first() {
        let first = state(&json!([at(50.0, "b"), at(20.0, "b"), at(10.0, "a"), at(1.0, "a")]));
        // Its requests waited for the same pods as the first one's.
        let second = state(&json!([at(50.2, "b"), at(40.0, "b"), at(30.0, "b"), at(20.1, "a")]));
        let told = of_all(vec![Ok(first), Ok(second)], 2).unwrap();
        let expected: Vec<(String, Value, u64)> = [
            (50.0, "b", 2),
            (40.0, "b", 1),
            (30.0, "b", 1),
            // Another revision's.
            (20.1, "a", 1),
            (20.0, "b", 1),
        ]
        .map(|(seconds, revision, requests)| {
            (revision.to_owned(), at(seconds, revision)["at"].clone(), requests)
        })
        .into();
        let seen: Vec<_> = told
            .last
            .iter()
            .map(|start| (start.revision.clone(), json!(format!("{:.3}", start.at)), start.requests))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn activators_that_tell_nothing_are_counted() {
        let told = of_all(vec![Err(refused("a")), Ok(state(&json!([golden()]))), Err(refused("c"))], 3);
        let told = told.unwrap();
        assert_eq!(told.last.len(), 1);
        assert_eq!(
            told.incomplete.as_deref(),
            Some("2 of 3 activators told nothing: the activator in pod a answered 403 Forbidden")
        );
        let more = of_all(vec![Ok(state(&json!([])))], 3).unwrap();
        let said = "2 of 3 activators told nothing: no more than 32 are asked";
        assert_eq!((more.last.len(), more.incomplete.as_deref()), (0, Some(said)));
        let none = of_all(vec![Err(refused("a")), Err(refused("b"))], 2).unwrap_err();
        assert_eq!(causes(&none), "the activator in pod a answered 403 Forbidden");
    }

    #[test]
    fn a_function_that_an_activator_does_not_know_has_none() {
        let unknown = serde_json::from_value(json!({"functions": []})).unwrap();
        assert!(of_all(vec![Ok(unknown)], 1).unwrap().last.is_empty());
        let older = json!({"functions": [{"name": "default/hello"}]});
        assert!(serde_json::from_value::<State>(older).is_err(), "one of another version is not one without");
    }
}
