//! The schedules of one Function, and which of them is open at a time that others read from a wall clock.

use catnap_autoscaler_core::OpenSchedule;
use catnap_crds::{Schedule, Window};
use jiff::{SignedDuration, Timestamp};

use crate::policy::count;

/// Every schedule is looked at this often, however far away its next change: clocks are set.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);

/// The schedules of one Function. One that cannot be read never opens: whoever reads a Function says so.
#[derive(Clone, Debug)]
pub struct Windows {
    each: Vec<(OpenSchedule, Window)>,
    looked: Timestamp,
    next_look: Timestamp,
}

impl Windows {
    /// Those that can be read. None was looked at.
    pub fn new(schedules: &[Schedule]) -> Self {
        let window = |schedule: &Schedule| {
            let open = OpenSchedule { name: schedule.label().into(), min: count(schedule.min) };
            Some((open, schedule.window().ok()?))
        };
        let each = schedules.iter().filter_map(window).collect();
        Self { each, looked: Timestamp::MIN, next_look: Timestamp::MIN }
    }

    /// None can ever open.
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Another one may be open at that time than at the last look.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.next_look || now < self.looked
    }

    /// When [`Self::is_due`] will say so, if the clock goes on.
    pub fn next_look(&self) -> Timestamp {
        self.next_look
    }

    /// The open one with the highest floor.
    pub fn look(&mut self, now: Timestamp) -> Option<OpenSchedule> {
        self.looked = now;
        self.next_look = now.saturating_add(LONGEST).unwrap_or(Timestamp::MAX);
        let mut highest: Option<&OpenSchedule> = None;
        for (schedule, window) in &self.each {
            let closes = window.open_until(now);
            let change = closes.or_else(|| window.next(now));
            self.next_look = change.map_or(self.next_look, |change| self.next_look.min(change));
            let higher = highest.is_none_or(|highest| schedule.min > highest.min);
            if closes.is_some() && higher {
                highest = Some(schedule);
            }
        }
        highest.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(name: &str, cron: &str, duration: &str, min: i32) -> Schedule {
        let (name, cron) = (name.to_owned(), cron.to_owned());
        Schedule { name, cron, time_zone: "UTC".into(), duration: duration.parse().unwrap(), min }
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-05-05T{time}Z").parse().unwrap()
    }

    #[test]
    fn of_those_that_are_open_the_highest_counts() {
        let all = [schedule("day", "0 7 * * *", "12h", 1), schedule("noon", "0 12 * * *", "1h", 5)];
        let mut windows = Windows::new(&all);
        for (time, open) in [
            ("06:59:59", None),
            ("07:00:00", Some(("day", 1))),
            ("12:30:00", Some(("noon", 5))),
            ("13:00:00", Some(("day", 1))),
            ("19:00:00", None),
        ] {
            let found = windows.look(at(time));
            assert_eq!(found.as_ref().map(|open| (&*open.name, open.min)), open, "at {time}");
        }
    }

    #[test]
    fn a_look_is_due_when_something_changes_or_the_clock_is_set() {
        let mut windows = Windows::new(&[schedule("", "0 7 * * *", "90s", 1)]);
        assert!(windows.is_due(at("06:59:30")), "never looked");
        windows.look(at("06:59:30"));
        assert!(!windows.is_due(at("06:59:59.9")) && windows.is_due(at("07:00:00")), "it opens");
        windows.look(at("07:00:31"));
        assert!(!windows.is_due(at("07:01:29.9")) && windows.is_due(at("07:01:30")), "it closes");
        assert!(windows.is_due(at("07:00:30")), "the clock was set back");
        windows.look(at("12:00:00"));
        assert_eq!(windows.next_look(), at("12:01:00"), "the clock may be set");
    }

    #[test]
    fn what_cannot_be_read_never_opens_and_keeps_none_from_it() {
        let broken = schedule("broken", "61 7 * * *", "12h", 9);
        assert!(Windows::new(std::slice::from_ref(&broken)).is_empty());
        let mut windows = Windows::new(&[broken, schedule("day", "0 7 * * *", "12h", 1)]);
        assert_eq!(windows.look(at("08:00:00")).unwrap().min, 1);
    }
}
