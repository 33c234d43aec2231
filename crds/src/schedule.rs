//! `spec.scale.schedules`: windows of time with a floor, so that mornings are warm. Never forms a revision.
//!
//! A window opens when the cron expression matches the wall clock of its zone and stays open for its duration, counted in
//! elapsed time. Where a clock change leaves a moment out, the window opens right after the change; where one repeats, a
//! window of one time a day opens once.

#![expect(unreachable_pub, reason = "KubeSchema copies each struct into a function body")]

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, defaults};

mod search;

/// A time at which there are at least some replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// What decisions call it; without one they name the cron expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub name: String,
    /// When the window opens: minute, hour, day of month, month and day of week, as cron has them.
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9A-Za-z*/,#?-]+( [0-9A-Za-z*/,#?-]+){4}$')")
        .message("scale.schedules[].cron must have five fields, such as 0 7 * * 1-5"))]
    pub cron: String,
    /// IANA name of the time zone that the expression is read in.
    #[serde(default = "defaults::time_zone")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$')")
        .message("scale.schedules[].timeZone must be the name of a time zone, such as Europe/Paris"))]
    pub time_zone: String,
    /// How long the window is open.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('168h')")
        .message("scale.schedules[].duration must be between 1m and 168h"))]
    pub duration: Duration,
    /// Fewest replicas while the window is open.
    #[schemars(range(min = 1, max = 10_000))]
    pub min: i32,
}

/// Why a schedule can never open.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The expression is not cron's.
    #[error("`{cron}` is no cron expression")]
    Cron {
        /// What was written.
        cron: String,
        /// What is wrong with it.
        #[source]
        source: croner::errors::CronError,
    },
    /// The expression matches no day of any year.
    #[error("`{cron}` names no day that ever comes")]
    Never {
        /// What was written.
        cron: String,
    },
    /// No zone has this name.
    #[error("`{time_zone}` is no time zone")]
    TimeZone {
        /// What was written.
        time_zone: String,
    },
}

/// A schedule that was understood.
#[derive(Clone, Debug)]
pub struct Window {
    cron: Cron,
    zone: TimeZone,
    length: SignedDuration,
}

impl Schedule {
    /// What to call it.
    pub fn label(&self) -> &str {
        if self.name.is_empty() { &self.cron } else { &self.name }
    }

    /// Reads the expression and finds the zone. Takes up to some hundred microseconds.
    pub fn window(&self) -> Result<Window, ScheduleError> {
        let Self { cron: expression, time_zone, duration, .. } = self;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser
            .parse(expression)
            .map_err(|source| ScheduleError::Cron { cron: expression.clone(), source })?;
        if !search::has_days(&cron) {
            return Err(ScheduleError::Never { cron: expression.clone() });
        }
        let zone =
            TimeZone::get(time_zone).map_err(|_| ScheduleError::TimeZone { time_zone: time_zone.clone() })?;
        let length = SignedDuration::try_from(duration.get()).unwrap_or(SignedDuration::MAX);
        Ok(Window { cron, zone, length })
    }
}

impl Window {
    /// When the open window closes; `None`: none is open at that time.
    pub fn open_until(&self, at: Timestamp) -> Option<Timestamp> {
        let opened = search::previous(&self.cron, at.to_zoned(self.zone.clone()))?;
        let closes = opened.timestamp().checked_add(self.length).ok()?;
        (closes > at).then_some(closes)
    }

    /// When the next window opens after that time; `None`: not in the next week.
    pub fn next(&self, at: Timestamp) -> Option<Timestamp> {
        Some(search::next(&self.cron, at.to_zoned(self.zone.clone()))?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn schedule(cron: &str, time_zone: &str, duration: &str) -> Schedule {
        let duration = duration.parse().unwrap();
        Schedule { name: String::new(), cron: cron.into(), time_zone: time_zone.into(), duration, min: 2 }
    }

    #[rstest]
    #[case::before("2026-01-12T06:59:59+01:00", false)]
    #[case::from_its_first_second("2026-01-12T07:00:00+01:00", true)]
    #[case::to_its_last("2026-01-12T18:59:59.999+01:00", true)]
    #[case::after("2026-01-12T19:00:00+01:00", false)]
    #[case::not_on_sunday("2026-01-11T12:00:00+01:00", false)]
    #[case::in_summer_by_the_wall_clock("2026-07-13T07:00:00+02:00", true)]
    #[case::in_summer_not_an_hour_later("2026-07-13T19:00:00+02:00", false)]
    fn weekdays_in_paris(#[case] at: Timestamp, #[case] open: bool) {
        let window = schedule("0 7 * * 1-5", "Europe/Paris", "12h").window().unwrap();
        assert_eq!(window.open_until(at).is_some(), open);
    }

    #[rstest]
    #[case::the_day_before("2026-03-28T02:30:00+01:00", "2026-03-28T03:30:00+01:00")]
    // 02:30 does not exist on this day: the clock goes from 02:00 to 03:00.
    #[case::the_hour_that_is_left_out("2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00")]
    #[case::the_day_after("2026-03-30T02:30:00+02:00", "2026-03-30T03:30:00+02:00")]
    // 02:30 comes twice on this day.
    #[case::the_hour_that_repeats("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")]
    fn clock_changes_in_berlin(#[case] opens: Timestamp, #[case] closes: Timestamp) {
        let window = schedule("30 2 * * *", "Europe/Berlin", "1h").window().unwrap();
        let second = SignedDuration::from_secs(1);
        assert_eq!(window.open_until(opens - second), None);
        assert_eq!(window.open_until(opens), Some(closes));
        assert_eq!(window.open_until(closes - second), Some(closes));
        assert_eq!(window.open_until(closes), None);
        assert_eq!(window.next(opens - second), Some(opens));
    }

    #[rstest]
    #[case::over_the_spring_change("2026-03-07T20:00:00-05:00", "2026-03-08T09:00:00-04:00")]
    #[case::over_the_autumn_change("2026-10-31T20:00:00-04:00", "2026-11-01T07:00:00-05:00")]
    fn a_window_is_open_for_its_elapsed_time(#[case] opens: Timestamp, #[case] closes: Timestamp) {
        let window = schedule("0 20 * * *", "America/New_York", "12h").window().unwrap();
        assert_eq!(window.open_until(opens), Some(closes));
    }

    #[test]
    fn windows_that_follow_each_other_never_close() {
        let window = schedule("*/10 * * * *", "UTC", "15m").window().unwrap();
        let at: Timestamp = "2026-05-05T10:09:59Z".parse().unwrap();
        assert_eq!(window.open_until(at), Some("2026-05-05T10:15:00Z".parse().unwrap()));
        assert_eq!(window.next(at), Some("2026-05-05T10:10:00Z".parse().unwrap()));
    }

    #[test]
    fn a_half_hour_zone_is_read_as_such() {
        let window = schedule("0 9 * * *", "Asia/Kolkata", "30m").window().unwrap();
        assert!(window.open_until("2026-05-05T03:30:00Z".parse().unwrap()).is_some());
    }

    #[rstest]
    #[case("61 7 * * *", "UTC", "`61 7 * * *` is no cron expression")]
    #[case("0 0 7 * * *", "UTC", "`0 0 7 * * *` is no cron expression")]
    #[case("a b c d e", "UTC", "`a b c d e` is no cron expression")]
    #[case("0 7 * * *", "Europe/Atlantis", "`Europe/Atlantis` is no time zone")]
    fn what_cannot_be_read_is_said(#[case] cron: &str, #[case] zone: &str, #[case] message: &str) {
        assert_eq!(schedule(cron, zone, "1h").window().unwrap_err().to_string(), message);
    }

    #[rstest]
    #[case::no_february_has_it("0 0 30 2 *")]
    #[case::no_short_month_has_it("0 0 31 2,4,6,9,11 *")]
    #[case::no_weekday_is_there_either("0 0 31W 4 *")]
    fn a_day_that_never_comes_is_refused(#[case] cron: &str) {
        let refused = schedule(cron, "UTC", "1h").window().unwrap_err().to_string();
        assert_eq!(refused, format!("`{cron}` names no day that ever comes"));
    }

    #[rstest]
    #[case::leap_day("0 0 29 2 *", "2028-02-29T00:00:00Z")]
    #[case::fifth_monday_of_february("0 0 * 2 1#5", "2044-02-29T00:00:00Z")]
    fn a_day_that_comes_rarely_opens_its_window(#[case] cron: &str, #[case] opens: Timestamp) {
        let window = schedule(cron, "UTC", "1h").window().unwrap();
        assert!(window.open_until(opens).is_some());
        assert_eq!(window.open_until(opens - SignedDuration::from_hours(24)), None);
    }

    /// A tenant writes it, and the one task that decides for all looks at it.
    #[rstest]
    #[case::day_that_comes_rarely("0 0 * 2 1#5", "UTC")]
    // The clock goes from 02:00 to 03:00 on each of these days.
    #[case::hour_that_is_always_left_out("*/5 2 * 3 7L", "Europe/Berlin")]
    fn a_look_ends_soon(#[case] cron: &str, #[case] zone: &str) {
        let window = schedule(cron, zone, "1h").window().unwrap();
        let at = "2026-05-05T03:30:00Z".parse().unwrap();
        let ten_looks = || {
            let start = std::time::Instant::now();
            for _ in 0..10 {
                assert_eq!((window.open_until(at), window.next(at)), (None, None));
            }
            start.elapsed()
        };
        // The machine may stand still during one of them.
        let took = (0..5).map(|_| ten_looks()).min().unwrap();
        assert!(took < std::time::Duration::from_millis(100), "ten looks took {took:?}");
    }
}
