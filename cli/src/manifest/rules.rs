//! Rules between values, which the API server checks with CEL: the messages are the same.

use std::collections::BTreeSet;
use std::time::Duration;

use catnap_crds::{Function, Schedule, TrafficTarget, effective_percents, names};

/// Every rule that `function` breaks, one line each.
pub(super) fn problems(function: &Function) -> Vec<String> {
    let spec = &function.spec;
    let name = function.metadata.name.as_deref().unwrap_or_default();
    let scale = &spec.scale;
    let limit = spec.concurrency_limit();
    let (window, panic) = (scale.window.get(), scale.panic.window.get());
    let idle = scale.idle.after.get();
    let seconds = Duration::from_secs;
    let rules = [
        (
            is_label(name) && name.len() <= names::MAX_FUNCTION_NAME,
            "metadata.name must be at most 50 characters: lower-case letters, digits and '-', starting with a letter and not ending in '-'",
        ),
        (
            function.metadata.namespace.as_deref().is_none_or(|it| it.is_empty() || is_namespace(it)),
            "metadata.namespace must be at most 63 characters: lower-case letters, digits and '-', which neither begins nor ends it",
        ),
        (scale.min <= scale.max, "spec.scale.min must be at most spec.scale.max"),
        (scale.initial <= scale.max, "spec.scale.initial must be at most spec.scale.max"),
        (scale.wake <= scale.max, "spec.scale.wake must be at most spec.scale.max"),
        (
            limit == 0 || scale.concurrency_target() <= limit,
            "spec.scale.target must be at most spec.concurrency.limit, or 0 for the same, unless spec.scale.metric is RequestRate",
        ),
        ((seconds(6)..=seconds(3600)).contains(&window), "spec.scale.window must be between 6s and 1h"),
        (
            (seconds(1)..=window).contains(&panic),
            "spec.scale.panic.window must be at least 1s and at most spec.scale.window",
        ),
        (scale.down_delay.get() <= seconds(3600), "spec.scale.downDelay must be between 0s and 1h"),
        (
            (seconds(1)..=seconds(24 * 3600)).contains(&idle),
            "spec.scale.idle.after must be between 1s and 24h",
        ),
        (!spec.timeouts.activation.get().is_zero(), "spec.timeouts.activation must be more than 0s"),
        (
            is_path(spec.readiness_path()),
            "spec.readiness.path must begin with '/', or be empty for a TCP connect, and have no blanks",
        ),
        (
            spec.revision_name().is_none_or(is_label),
            "spec.revisionName must be lower-case letters, digits and '-', starting with a letter and not ending in '-'",
        ),
        (
            (seconds(1)..=seconds(24 * 3600)).contains(&spec.rollout.interval.get()),
            "spec.rollout.interval must be between 1s and 24h",
        ),
        (
            spec.traffic.is_empty() || effective_percents(&spec.traffic).iter().sum::<i32>() == 100,
            "spec.traffic[].percent must add up to 100; the only entry may leave it out",
        ),
        (tags_are_unique(&spec.traffic), "spec.traffic[].tag must be unique"),
        (
            tags(&spec.traffic).all(|tag| tag.len() + 1 + name.len() <= 63),
            "spec.traffic[].tag and metadata.name must have at most 62 characters together",
        ),
    ];
    let broken = rules.into_iter().filter(|(holds, _)| !holds).map(|(_, problem)| problem.to_owned());
    let schedules = scale.schedules.iter().enumerate();
    let schedules = schedules.flat_map(|(index, schedule)| in_schedule(index, schedule));
    let targets = spec.traffic.iter().enumerate();
    let targets = targets.flat_map(|(index, target)| in_traffic(index, target));
    let hosts = spec.http.hosts.iter().enumerate().filter(|(_, host)| !is_host(host));
    let hosts = hosts.map(|(index, _)| {
        format!(
            "spec.http.hosts[{index}] must be host names such as shop.example.com or *.example.com: at least two labels of lower-case letters, digits and '-' (other letters in their xn-- form), no port, no dot at the end, no IP address"
        )
    });
    broken.chain(schedules).chain(hosts).chain(targets).collect()
}

/// What the API server says of a schedule, and what the operator says of one that can never open: nobody else would here.
fn in_schedule(index: usize, schedule: &Schedule) -> Vec<String> {
    let field = format!("spec.scale.schedules[{index}]");
    let duration = schedule.duration.get();
    let rules = [
        (is_cron(&schedule.cron), "cron must have five fields, such as 0 7 * * 1-5"),
        (is_time_zone(&schedule.time_zone), "timeZone must be the name of a time zone, such as Europe/Paris"),
        (
            (Duration::from_secs(60)..=Duration::from_secs(168 * 3600)).contains(&duration),
            "duration must be between 1m and 168h",
        ),
    ];
    let broken: Vec<_> =
        rules.iter().filter(|(holds, _)| !holds).map(|(_, problem)| format!("{field}.{problem}")).collect();
    if !broken.is_empty() {
        return broken;
    }
    schedule.window().err().map(|error| format!("{field}: {error}")).into_iter().collect()
}

fn in_traffic(index: usize, target: &TrafficTarget) -> Vec<String> {
    let field = format!("spec.traffic[{index}]");
    let rules = [
        (
            target.revision.is_some() != target.latest.unwrap_or_default(),
            " must have exactly one of revision and latest: true",
        ),
        (
            target.revision.as_deref().is_none_or(is_label),
            ".revision must be the name of a revision: lower-case letters, digits and '-', starting with a letter and not ending in '-'",
        ),
        (
            target.tag.as_deref().is_none_or(is_label),
            ".tag must be lower-case letters, digits and '-', starting with a letter and not ending in '-'",
        ),
    ];
    rules.iter().filter(|(holds, _)| !holds).map(|(_, problem)| format!("{field}{problem}")).collect()
}

fn tags(traffic: &[TrafficTarget]) -> impl Iterator<Item = &str> {
    traffic.iter().filter_map(|target| target.tag.as_deref())
}

fn tags_are_unique(traffic: &[TrafficTarget]) -> bool {
    let mut seen = BTreeSet::new();
    tags(traffic).all(|tag| seen.insert(tag))
}

/// Five fields with nothing in them that no expression has.
fn is_cron(text: &str) -> bool {
    let field = |field: &str| {
        !field.is_empty() && field.chars().all(|it| it.is_ascii_alphanumeric() || "*/,#?-".contains(it))
    };
    text.split(' ').count() == 5 && text.split(' ').all(field)
}

/// Parts with `/` between them, such as `Europe/Paris`.
fn is_time_zone(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|it| it.is_ascii_alphanumeric() || "_+-".contains(it))
    };
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.split('/').all(part)
}

/// Empty, or visible ASCII from a slash on.
fn is_path(text: &str) -> bool {
    text.is_empty() || (text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// A label of RFC 1035, of whatever length.
pub(crate) fn is_label(text: &str) -> bool {
    let inner =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(inner)
        && !text.ends_with('-')
}

/// A label of RFC 1123, which may begin with a digit.
pub fn is_namespace(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Two labels or more, with `*.` before them or not.
pub(crate) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let long_enough = (1..=63).contains(&label.len());
        long_enough && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let labels = text.strip_prefix("*.").unwrap_or(text);
    let last = labels.rsplit('.').next().unwrap_or_default();
    let address = last.bytes().all(|byte| byte.is_ascii_digit());
    labels.contains('.') && labels.split('.').all(label) && !address
}
