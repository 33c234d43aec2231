//! `Server-Timing` of a response that waited: how long, and what for (W3C Server Timing; milliseconds).

use std::time::Duration;

use catnap_activator_core::Phases;
use http::header::{HeaderMap, HeaderName, HeaderValue};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Adds the phases; what the function itself reports stays.
pub(crate) fn report(headers: &mut HeaderMap, phases: &Phases) {
    if let Ok(value) = HeaderValue::from_str(&text(phases)) {
        headers.append(SERVER_TIMING, value);
    }
}

fn text(phases: &Phases) -> String {
    let Phases { cold, wake, schedule, start, ready, queue } = *phases;
    let ms = |phase: Duration| phase.as_secs_f64() * 1000.0;
    if cold {
        format!(
            "catnap;desc=cold, queue;dur={:.1}, wake;dur={:.1}, schedule;dur={:.1}, start;dur={:.1}, ready;dur={:.1}",
            ms(queue),
            ms(wake),
            ms(schedule),
            ms(start),
            ms(ready)
        )
    } else {
        format!("catnap;desc=queued, queue;dur={:.1}", ms(phases.total()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_added_to_what_the_function_says() {
        let mut headers = HeaderMap::new();
        headers.insert(SERVER_TIMING, HeaderValue::from_static("db;dur=5"));
        let ms = Duration::from_millis;
        let phases = Phases {
            cold: true,
            wake: ms(12),
            schedule: ms(300),
            start: ms(450),
            ready: ms(9),
            queue: ms(1),
        };
        report(&mut headers, &phases);
        let values: Vec<_> = headers.get_all(SERVER_TIMING).iter().collect();
        let expected = "catnap;desc=cold, queue;dur=1.0, wake;dur=12.0, schedule;dur=300.0, start;dur=450.0, ready;dur=9.0";
        assert_eq!(values, ["db;dur=5", expected]);
    }

    #[test]
    fn waiting_for_capacity_is_not_a_cold_start() {
        let phases = Phases { queue: Duration::from_micros(2_500), ..Phases::default() };
        assert_eq!(text(&phases), "catnap;desc=queued, queue;dur=2.5");
    }
}
