//! A line of a series: averages or a second, checked before the core sees it.
//!
//! A series has one of the two forms throughout, and its time only rises.

use std::time::Duration;

use catnap_autoscaler_api::Windows;
use catnap_autoscaler_core::replay::{Replay, Second};
use catnap_autoscaler_core::{Decision, Metric, Policy};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Number, Value};

/// Largest time: three hundred years of seconds.
const MAX_SECONDS: f64 = 1e10;
/// Most requests, at once or a second.
const MAX_REQUESTS: f64 = 1e6;
/// Most pods.
const MAX_READY: f64 = 1e6;

/// What a line may be.
const FORMS: &str = r#"{"t", "stable", "panic", "ready"} for averages or {"t", "concurrency", "requests", "ready"} for seconds"#;

/// Why a line cannot be decided. Each says what is allowed.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum LineError {
    /// More bytes than any line needs.
    #[error("too long; a line is one JSON object with the fields {FORMS}")]
    TooLong,
    /// No JSON.
    #[error("not JSON ({reason}); a line is one JSON object with the fields {FORMS}")]
    Json {
        /// Where it goes wrong.
        reason: String,
    },
    /// JSON, but no object.
    #[error("not an object; a line is one JSON object with the fields {FORMS}")]
    NoObject,
    /// A field that no line has.
    #[error("`{field}` is not known; allowed are {FORMS}")]
    Unknown {
        /// Its name.
        field: String,
    },
    /// Both forms in one line.
    #[error("`{first}` and `{second}` do not go together; allowed are {FORMS}")]
    Mixed {
        /// Of one form.
        first: String,
        /// Of the other.
        second: String,
    },
    /// Another form than the lines before.
    #[error("`{field}` belongs to the other form than the lines before; a series has one form throughout")]
    OtherForm {
        /// Of the other form.
        field: String,
    },
    /// Averages say nothing of idle times.
    #[error(
        "`{field}`: scale.idle.policy is Learned, which needs {{\"t\", \"concurrency\", \"requests\", \"ready\"}}: averages tell no idle times"
    )]
    NothingToLearn {
        /// Of the form with averages.
        field: String,
    },
    /// A field that is needed.
    #[error("`{field}` is missing; needed are {FORMS}")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A value that cannot be.
    #[error("`{field}` must be a {whole}number from 0 to {most}, is {value}")]
    Value {
        /// The field.
        field: &'static str,
        /// "whole " where it has to be.
        whole: &'static str,
        /// The largest.
        most: f64,
        /// What it is.
        value: String,
    },
    /// Not later than the line before.
    #[error("`t` is {t}, but the line before has {before}: time must rise{by}")]
    Order {
        /// Of this line.
        t: String,
        /// Of the line before.
        before: String,
        /// By how much.
        by: &'static str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Averages,
    Seconds,
}

/// The series so far.
#[derive(Debug)]
pub(super) struct Series {
    replay: Replay,
    metric: Metric,
    learns: bool,
    /// Schedules, and the time at which `t` is 0.
    clock: Option<(Windows, Timestamp)>,
    form: Option<Form>,
    before: Option<Number>,
}

impl Series {
    /// A series that nothing was read of; `clock` is its schedules and the time at which `t` is 0.
    pub(super) fn new(policy: Policy, clock: Option<(Windows, Timestamp)>) -> Self {
        let (metric, learns) = (policy.metric, policy.terms().is_some());
        Self { replay: Replay::new(policy), metric, learns, clock, form: None, before: None }
    }

    /// Decides one line; tells its time as it was written.
    pub(super) fn decide(&mut self, line: &[u8]) -> Result<(Number, Decision), LineError> {
        let value =
            serde_json::from_slice(line).map_err(|error| LineError::Json { reason: error.to_string() })?;
        let Value::Object(fields) = value else { return Err(LineError::NoObject) };
        let form = self.form_of(&fields)?;
        let (t, seconds) = self.time(&fields, form)?;
        let at = Duration::from_secs_f64(seconds);
        let ready = whole(&fields, "ready", MAX_READY)?;
        let ready = u32::try_from(ready).unwrap_or(u32::MAX);
        self.open_schedules(at);
        let decision = match form {
            Form::Averages => {
                let stable = number(&fields, "stable", MAX_REQUESTS)?;
                self.replay.averages(at, stable, number(&fields, "panic", MAX_REQUESTS)?, ready)
            }
            Form::Seconds => {
                // Only what the metric averages has to be there.
                let needed = match self.metric {
                    Metric::Concurrency => "concurrency",
                    Metric::RequestRate => "requests",
                };
                if !fields.contains_key(needed) {
                    return Err(LineError::Missing { field: needed });
                }
                let given = |field| fields.contains_key(field);
                let concurrency =
                    if given("concurrency") { number(&fields, "concurrency", MAX_REQUESTS)? } else { 0.0 };
                let requests = if given("requests") { whole(&fields, "requests", MAX_REQUESTS)? } else { 0 };
                self.replay.second(Second { at, concurrency, requests, ready })
            }
        };
        self.form = Some(form);
        self.before = Some(t.clone());
        Ok((t, decision))
    }

    /// What is open at the time of a line is so from that line on.
    fn open_schedules(&mut self, at: Duration) {
        let Some((windows, start)) = &mut self.clock else { return };
        let since = SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX);
        let now = start.saturating_add(since).unwrap_or(Timestamp::MAX);
        if windows.is_due(now) {
            self.replay.open(windows.look(now), at);
        }
    }

    fn form_of(&self, fields: &Map<String, Value>) -> Result<Form, LineError> {
        let mut found: Option<(Form, &String)> = None;
        for field in fields.keys() {
            let form = match field.as_str() {
                "t" | "ready" => continue,
                "stable" | "panic" => Form::Averages,
                "concurrency" | "requests" => Form::Seconds,
                _ => return Err(LineError::Unknown { field: field.clone() }),
            };
            match found {
                Some((other, first)) if other != form => {
                    return Err(LineError::Mixed { first: first.clone(), second: field.clone() });
                }
                _ => found = Some((form, field)),
            }
        }
        match (found, self.form) {
            (Some((form, field)), Some(before)) if form != before => {
                Err(LineError::OtherForm { field: field.clone() })
            }
            (Some((Form::Averages, field)), _) if self.learns => {
                Err(LineError::NothingToLearn { field: field.clone() })
            }
            (Some((form, _)), _) => Ok(form),
            (None, Some(Form::Seconds)) => Err(LineError::Missing { field: "concurrency" }),
            (None, _) => Err(LineError::Missing { field: "stable" }),
        }
    }

    fn time(&self, fields: &Map<String, Value>, form: Form) -> Result<(Number, f64), LineError> {
        let seconds = number(fields, "t", MAX_SECONDS)?;
        let Some(Value::Number(t)) = fields.get("t") else { return Err(LineError::Missing { field: "t" }) };
        let Some(before) = &self.before else { return Ok((t.clone(), seconds)) };
        let earlier = before.as_f64().unwrap_or_default();
        let (rises, by) = match form {
            Form::Averages => (seconds > earlier, ""),
            Form::Seconds => (seconds.round() > earlier.round(), " by a second from line to line"),
        };
        if rises {
            Ok((t.clone(), seconds))
        } else {
            Err(LineError::Order { t: t.to_string(), before: before.to_string(), by })
        }
    }
}

/// A finite number that is not negative.
fn number(fields: &Map<String, Value>, field: &'static str, most: f64) -> Result<f64, LineError> {
    let value = fields.get(field).ok_or(LineError::Missing { field })?;
    value.as_f64().filter(|number| (0.0..=most).contains(number)).ok_or_else(|| LineError::Value {
        field,
        whole: "",
        most,
        value: value.to_string(),
    })
}

/// A count; `12.0` is one, too.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Bounded and whole.
fn whole(fields: &Map<String, Value>, field: &'static str, most: f64) -> Result<u64, LineError> {
    let refused = |value: String| LineError::Value { field, whole: "whole ", most, value };
    let count = number(fields, field, most).map_err(|error| match error {
        LineError::Value { value, .. } => refused(value),
        other => other,
    })?;
    if count.fract() == 0.0 { Ok(count as u64) } else { Err(refused(count.to_string())) }
}
