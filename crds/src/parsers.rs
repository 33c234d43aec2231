//! What here reads a text that a person wrote, for the property tests and for fuzzing.
//!
//! A new parser is added to [`PARSERS`], and both try it.

use jiff::Timestamp;

use crate::{Duration, Schedule};

/// What reads bytes of any kind.
pub type Parser = fn(&[u8]);

/// The parsers by name.
pub const PARSERS: &[(&str, Parser)] = &[("duration", duration), ("schedule", schedule)];

/// What is a duration is written as something that reads the same, and that the schema's length allows.
fn duration(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(duration) = text.parse::<Duration>() {
        let text = duration.to_string();
        assert!(text.len() <= 28, "{text}");
        assert_eq!(text.parse(), Ok(duration), "{text}");
    }
}

/// A cron expression, and behind a line break its zone: a window that is open closes later, and the next one opens later.
fn schedule(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (cron, time_zone) = text.split_once('\n').unwrap_or((&text, "Europe/Paris"));
    let (cron, time_zone) = (cron.to_owned(), time_zone.to_owned());
    let duration = Duration::from_secs(3_600);
    let schedule = Schedule { name: String::new(), cron, time_zone, duration, min: 1 };
    let Ok(window) = schedule.window() else { return };
    // The hour that is left out, the one that comes twice, and a day without any.
    for second in [1_774_746_000, 1_792_890_000, 1_790_000_000] {
        let Ok(at) = Timestamp::from_second(second) else { continue };
        assert!(window.open_until(at).is_none_or(|closes| closes > at), "{schedule:?}");
        assert!(window.next(at).is_none_or(|opens| opens > at), "{schedule:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn terms_of_any_kind_keep_the_promise(text in "([0-9]{0,6}(h|m|s|ms|us| )){0,5}") {
            for (_, parser) in PARSERS {
                parser(text.as_bytes());
            }
        }

        #[test]
        fn schedules_of_any_kind_keep_the_promise(
            cron in "([0-9*/,L#W?-]{1,5} ){4}([0-7*/,L#-]{1,4}|[A-Z]{3}-[A-Z]{3})",
            zone in "(UTC|Europe/Paris|America/New_York|Australia/Lord_Howe|[A-Z/]{0,9})",
        ) {
            schedule(format!("{cron}\n{zone}").as_bytes());
        }
    }
}
