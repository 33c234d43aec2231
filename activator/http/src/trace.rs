//! The trace of a request (W3C Trace Context): taken over from its client or begun, and what happened in it when it is sampled.
//!
//! Nothing is kept of a request that is not sampled. Callers in the cluster and trusted proxies decide for theirs; of what
//! others send a part is sampled, whatever they ask for.

use std::time::{Duration, Instant, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const SAMPLED: u8 = 1;
/// Steps that are kept of a request: a dozen of pods that refuse it is enough to see.
const STEPS: usize = 16;

/// A request whose trace is sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Of the whole trace; not zero.
    pub id: u128,
    /// Of the span of this request, which the function is told as its parent; not zero.
    pub span: u64,
    /// Of the caller's span, when it said.
    pub parent: Option<u64>,
    /// When its head was parsed.
    pub began: SystemTime,
    /// What it waited for, in order.
    pub steps: Vec<Step>,
}

/// A part of a request's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What for.
    pub kind: StepKind,
    /// When it began, from the request's beginning.
    pub after: Duration,
    /// How long it took; `None` when the request ended in it.
    pub took: Option<Duration>,
}

/// What a request waits for before its pod has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Capacity.
    Hold,
    /// A connection to the pod.
    Connect,
}

impl Trace {
    /// Something is waited for from now on.
    pub(crate) fn begin(&mut self, kind: StepKind, request: Instant) {
        if self.steps.len() < STEPS {
            self.steps.push(Step { kind, after: request.elapsed(), took: None });
        }
    }

    /// The wait is over.
    pub(crate) fn end(&mut self, request: Instant) {
        if let Some(step) = self.steps.last_mut().filter(|step| step.took.is_none()) {
            step.took = Some(request.elapsed().saturating_sub(step.after));
        }
    }
}

/// Which requests are sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Part of those whose caller does not decide, from 0 to 1.
    pub ratio: f64,
    /// What a caller says of its own request counts.
    pub caller_decides: bool,
}

impl Sampling {
    /// Not by the id: its caller may have chosen it.
    fn takes(self) -> bool {
        rand::random::<f64>() < self.ratio
    }

    /// `asked`: the caller has its own part of the trace sampled.
    fn takes_over(self, asked: bool) -> bool {
        asked && (self.caller_decides || self.takes())
    }
}

/// Passes a valid trace context on, else begins one. Gives what is to be kept of the request, when it is sampled.
///
/// Where nobody takes traces (`sampling` is `None`) nothing is begun, so that the function decides for itself.
pub(crate) fn pass_on(headers: &mut HeaderMap, sampling: Option<Sampling>) -> Option<Box<Trace>> {
    if sampling.is_none() && !headers.keys().any(|name| name.as_str().starts_with("trace")) {
        return None;
    }
    let mut values = headers.get_all(TRACEPARENT).iter();
    let only = values.next().filter(|_| values.next().is_none());
    let caller = only.and_then(|only| Context::parse(only.as_bytes()));
    if caller.is_none() {
        // A state belongs to its trace.
        headers.remove(TRACESTATE);
    }
    let (id, parent, sampled) = match (caller, sampling) {
        (Some(Context { id, parent, sampled }), Some(sampling)) if sampling.takes_over(sampled) => {
            (id, Some(parent), true)
        }
        (Some(_), _) => return None,
        (None, None) => {
            headers.remove(TRACEPARENT);
            return None;
        }
        // Zero is not a valid id.
        (None, Some(sampling)) => (rand::random::<u128>() | 1 << 127, None, sampling.takes()),
    };
    let span = rand::random::<u64>() | 1;
    headers.insert(TRACEPARENT, Context { id, parent: span, sampled }.value());
    sampled.then(|| Box::new(Trace { id, span, parent, began: SystemTime::now(), steps: Vec::new() }))
}

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    id: u128,
    parent: u64,
    sampled: bool,
}

impl Context {
    /// `version-trace-parent-flags` in lower-case hexadecimal; a later version may have more after another dash.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (version, id, parent, flags) =
            (value.get(..2)?, value.get(3..35)?, value.get(36..52)?, value.get(53..55)?);
        let dashes = [2, 35, 52].iter().all(|position| value.get(*position) == Some(&b'-'));
        let rest = match version {
            b"ff" => false,
            b"00" => value.len() == 55,
            _ => value.get(55).is_none_or(|next| *next == b'-'),
        };
        read_hex(version)?;
        let id = read_hex(id).filter(|id| *id != 0)?;
        let parent = read_hex(parent).and_then(|parent| u64::try_from(parent).ok()).filter(|id| *id != 0)?;
        let flags = read_hex(flags)?;
        (dashes && rest).then_some(Self { id, parent, sampled: flags & u128::from(SAMPLED) != 0 })
    }

    fn value(self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(self.id, &mut text[3..35]);
        write_hex(u128::from(self.parent), &mut text[36..52]);
        write_hex(u128::from(self.sampled), &mut text[53..55]);
        plain_value(&text)
    }
}

/// Reads lower-case digits, at most 32.
fn read_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

/// Writes a number as hexadecimal digits, most significant first, in all of the field.
pub(crate) fn write_hex(mut number: u128, field: &mut [u8]) {
    for digit in field.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}

/// Digits and dashes are no trouble in a header value.
pub(crate) fn plain_value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests;
