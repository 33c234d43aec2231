//! What a request waited for, as Catnap's part of `Server-Timing` says; parts of others, such as the function's, are not read.

use hyper::HeaderMap;

const SERVER_TIMING: &str = "server-timing";
/// The entry that Catnap's part begins with.
const OURS: &str = "catnap";

/// Why a request was not passed on at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Waited {
    /// The function rested: milliseconds of each phase, in the order in which they pass.
    Cold(Vec<(&'static str, f64)>),
    /// It was busy: milliseconds.
    Queued(f64),
}

/// The phases of a cold start in the order in which they pass; the last is the wait for a place in a pod that is ready.
const PHASES: [&str; 5] = ["wake", "schedule", "start", "ready", "queue"];

impl Waited {
    /// Of a response; `None` if it did not wait.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(SERVER_TIMING).iter().filter_map(|value| value.to_str().ok());
        // Appended to what the function says, so the last is Catnap's.
        let (kind, entries) = values.filter_map(ours).next_back()?;
        let duration =
            |wanted: &str| entries.iter().find_map(|entry| parameter(entry, wanted)).unwrap_or(0.0);
        match kind {
            "cold" => Some(Self::Cold(PHASES.map(|phase| (phase, duration(phase))).to_vec())),
            "queued" => Some(Self::Queued(duration("queue"))),
            _ => None,
        }
    }

    /// One line for a person.
    pub(super) fn line(&self) -> String {
        let phases = match self {
            Self::Queued(milliseconds) => {
                return format!("waited {milliseconds:.0} ms: all replicas were busy");
            }
            Self::Cold(phases) => phases,
        };
        let total: f64 = phases.iter().map(|(_, milliseconds)| milliseconds).sum();
        // A wait for a place that nobody took is not worth a word.
        let told = phases.iter().filter(|(phase, milliseconds)| *phase != "queue" || *milliseconds >= 0.5);
        let told: Vec<_> = told.map(|(phase, milliseconds)| format!("{phase} {milliseconds:.0}")).collect();
        format!("cold start {total:.0} ms: {}", told.join(", "))
    }
}

/// What stands in `desc` of Catnap's entry, and the entries behind it; `None` for a value of somebody else.
fn ours(value: &str) -> Option<(&str, Vec<&str>)> {
    let mut entries = value.split(',').map(str::trim);
    let kind =
        entries.next()?.strip_prefix(OURS)?.trim_start().strip_prefix(';')?.trim().strip_prefix("desc=")?;
    Some((kind.trim_matches('"'), entries.collect()))
}

/// `12.5` of the entry `wake;dur=12.5`; a number that is none, or is negative, is left out.
fn parameter(entry: &str, name: &str) -> Option<f64> {
    let duration = entry.strip_prefix(name)?.trim_start().strip_prefix(';')?.trim().strip_prefix("dur=")?;
    duration.parse().ok().filter(|milliseconds: &f64| milliseconds.is_finite() && *milliseconds >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(values: &[&str]) -> Option<Waited> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SERVER_TIMING, value.parse().unwrap());
        }
        Waited::of(&headers)
    }

    const COLD: &str =
        "catnap;desc=cold, queue;dur=0.2, wake;dur=9.1, schedule;dur=259.9, start;dur=40.4, ready;dur=2.8";

    #[test]
    fn the_phases_of_a_cold_start_are_one_line() {
        let line = "cold start 312 ms: wake 9, schedule 260, start 40, ready 3";
        assert_eq!(waited(&[COLD]).unwrap().line(), line);
        assert_eq!(waited(&["db;dur=5", COLD]).unwrap().line(), line);
        let held = COLD.replace("queue;dur=0.2", "queue;dur=100");
        assert_eq!(
            waited(&[&held]).unwrap().line(),
            "cold start 412 ms: wake 9, schedule 260, start 40, ready 3, queue 100"
        );
    }

    #[test]
    fn a_busy_function_is_not_a_cold_one() {
        let waited = waited(&["catnap;desc=queued, queue;dur=2.2"]).unwrap();
        assert_eq!(waited, Waited::Queued(2.2));
        assert!(waited.line().starts_with("waited 2 ms"), "{}", waited.line());
    }

    #[test]
    fn what_others_say_is_not_catnaps() {
        for value in ["db;dur=5", "catnapper;desc=cold, wake;dur=9", "catnap", "catnap;desc=warm", ""] {
            assert_eq!(waited(&[value]), None, "{value}");
        }
        assert_eq!(waited(&[]), None);
        let broken = "catnap;desc=cold, wake;dur=-9, start;dur=NaN, ready;dur=, schedule";
        assert_eq!(
            waited(&[broken]).unwrap().line(),
            "cold start 0 ms: wake 0, schedule 0, start 0, ready 0"
        );
    }
}
