//! Which schedule of each Function is open, by a wall clock that others read.
//!
//! A schedule that cannot be read never opens; the operator says so in the Function's status.

use std::collections::HashMap;
use std::sync::Arc;

use catnap_autoscaler_api::Windows;
use catnap_autoscaler_core::OpenSchedule;
use catnap_crds::Schedule;
use k8s_openapi::jiff::Timestamp;

/// The schedules of the Functions that have some, by UID.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    functions: HashMap<Arc<str>, Planned>,
    /// The earliest of all looks.
    next_look: Option<Timestamp>,
    now: Timestamp,
}

#[derive(Debug)]
struct Planned {
    /// What the windows were read from: reading takes longer than looking, and Functions change for other reasons.
    schedules: Vec<Schedule>,
    windows: Windows,
}

impl Planned {
    fn read(schedules: &[Schedule]) -> Self {
        Self { schedules: schedules.to_vec(), windows: Windows::new(schedules) }
    }
}

impl Schedules {
    /// Takes in the schedules of a Function; the one that is open now.
    pub(super) fn put(&mut self, uid: &Arc<str>, schedules: &[Schedule]) -> Option<OpenSchedule> {
        if schedules.is_empty() {
            self.functions.remove(uid);
            return None;
        }
        let known = self.functions.entry(Arc::clone(uid)).or_insert_with(|| Planned::read(schedules));
        if known.schedules != schedules {
            *known = Planned::read(schedules);
        }
        let open = known.windows.look(self.now);
        let next = known.windows.next_look();
        self.next_look = Some(self.next_look.map_or(next, |earliest| earliest.min(next)));
        open
    }

    pub(super) fn remove(&mut self, uid: &str) {
        self.functions.remove(uid);
    }

    /// Functions for which another schedule may be open than before, and which one is.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<(Arc<str>, Option<OpenSchedule>)> {
        let back = now < self.now;
        self.now = now;
        if !back && self.next_look.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let due = self.functions.iter_mut().filter(|(_, planned)| planned.windows.is_due(now));
        let looked = due.map(|(uid, planned)| (Arc::clone(uid), planned.windows.look(now))).collect();
        self.next_look = self.functions.values().map(|planned| planned.windows.next_look()).min();
        looked
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

    fn names(schedules: &mut Schedules, time: &str) -> Vec<Option<String>> {
        let name = |open: OpenSchedule| open.name.to_string();
        schedules.advance(at(time)).into_iter().map(|(_, open)| open.map(name)).collect()
    }

    #[test]
    fn of_those_that_are_open_the_highest_counts() {
        let mut schedules = Schedules::default();
        schedules.advance(at("06:00:00"));
        let all = [schedule("day", "0 7 * * *", "12h", 1), schedule("noon", "0 12 * * *", "1h", 5)];
        assert_eq!(schedules.put(&"f".into(), &all), None);
        let open = |name: &str| vec![Some(name.to_owned())];
        assert_eq!(names(&mut schedules, "07:00:00"), open("day"));
        assert_eq!(names(&mut schedules, "12:00:00"), open("noon"));
        assert_eq!(names(&mut schedules, "13:00:00"), open("day"));
        assert_eq!(names(&mut schedules, "19:00:00"), [None]);
    }

    #[test]
    fn nothing_is_looked_at_before_it_can_change() {
        let mut schedules = Schedules::default();
        schedules.advance(at("06:59:00"));
        schedules.put(&"f".into(), &[schedule("", "0 7 * * *", "90s", 1)]);
        assert!(names(&mut schedules, "06:59:59.98").is_empty());
        assert_eq!(names(&mut schedules, "07:00:00"), [Some("0 7 * * *".to_owned())]);
        assert!(names(&mut schedules, "07:00:59").is_empty());
        assert_eq!(names(&mut schedules, "07:01:30"), [None]);
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed() {
        let mut schedules = Schedules::default();
        schedules.advance(at("08:00:00"));
        assert!(schedules.put(&"f".into(), &[schedule("day", "0 7 * * *", "12h", 1)]).is_some());
        assert_eq!(names(&mut schedules, "06:00:00"), [None]);
    }

    #[test]
    fn what_cannot_be_read_never_opens_and_keeps_none_from_it() {
        let mut schedules = Schedules::default();
        schedules.advance(at("08:00:00"));
        let broken = schedule("broken", "61 7 * * *", "12h", 9);
        assert_eq!(schedules.put(&"f".into(), std::slice::from_ref(&broken)), None);
        let open = schedules.put(&"f".into(), &[broken, schedule("day", "0 7 * * *", "12h", 1)]);
        assert_eq!(open.unwrap().min, 1);
        schedules.remove("f");
        assert!(names(&mut schedules, "20:00:00").is_empty());
    }
}
