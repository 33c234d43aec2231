//! Rules between values, which the API server checks with CEL: the messages are the same.

use std::time::Duration;

use catnap_crds::{Function, Schedule, names};

/// Every rule that `function` breaks, one line each.
pub(super) fn problems(function: &Function) -> Vec<String> {
    let spec = &function.spec;
    let scale = &spec.scale;
    let limit = spec.concurrency_limit();
    let (window, panic) = (scale.window.get(), scale.panic.window.get());
    let idle = scale.idle.after.get();
    let seconds = Duration::from_secs;
    let rules = [
        (
            is_name(function.metadata.name.as_deref().unwrap_or_default()),
            "metadata.name must be at most 50 characters: lower-case letters, digits and '-', starting with a letter and not ending in '-'",
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
            spec.readiness_path().is_empty() || spec.readiness_path().starts_with('/'),
            "spec.readiness.path must begin with '/', or be empty for a TCP connect",
        ),
    ];
    let broken = rules.into_iter().filter(|(holds, _)| !holds).map(|(_, problem)| problem.to_owned());
    let schedules = scale.schedules.iter().enumerate();
    broken.chain(schedules.filter_map(|(index, schedule)| in_schedule(index, schedule))).collect()
}

/// What the API server says of a schedule, and what the operator says of one that can never open: nobody else would here.
fn in_schedule(index: usize, schedule: &Schedule) -> Option<String> {
    let field = format!("spec.scale.schedules[{index}]");
    let duration = schedule.duration.get();
    if !is_cron(&schedule.cron) {
        Some(format!("{field}.cron must have five fields, such as 0 7 * * 1-5"))
    } else if !is_time_zone(&schedule.time_zone) {
        Some(format!("{field}.timeZone must be the name of a time zone, such as Europe/Paris"))
    } else if duration < Duration::from_secs(60) || duration > Duration::from_secs(168 * 3600) {
        Some(format!("{field}.duration must be between 1m and 168h"))
    } else {
        schedule.window().err().map(|error| format!("{field}: {error}"))
    }
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

fn is_name(name: &str) -> bool {
    let inner =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    name.len() <= names::MAX_FUNCTION_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(inner)
        && !name.ends_with('-')
}
