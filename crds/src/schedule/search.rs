//! Searches for the openings of a window that end: a tenant chooses the expression, and croner looks for a match from year 1
//! to 5000.
//!
//! Both ends of a search are days away, and an expression whose day never comes is known before any search.

use std::cmp::Ordering;

use croner::errors::CronError;
use croner::time::days_in_month;
use croner::{CivilDateTime, Cron, CronDateTime, Resolution, Weekday};
use jiff::{ToSpan, Zoned};

/// In so many years every day of the year falls on every day of the week, leap days too.
const CYCLE: std::ops::RangeInclusive<i32> = 2001..=2028;
/// Days that a search goes: one more than the longest window is open, for the wall clocks of zones.
const FARTHEST_DAYS: i64 = 8;

/// Some day matches, in some year.
pub(super) fn has_days(cron: &Cron) -> bool {
    // 1 January 2001 was a Monday.
    let mut weekday = Weekday::Monday;
    for year in CYCLE {
        for month in 1..=12 {
            for day in 1..=days_in_month(year, month) {
                let matches = cron.pattern.month_match(month).unwrap_or(false)
                    && cron.pattern.day_match(year, month, day, weekday).unwrap_or(false);
                if matches {
                    return true;
                }
                weekday = weekday.shift(1);
            }
        }
    }
    false
}

/// The last match at or before this time; `None`: not within the days of a search.
pub(super) fn previous(cron: &Cron, at: Zoned) -> Option<Zoned> {
    cron.find_previous_occurrence(&Near::new(at)?, true).ok().map(|near| near.time)
}

/// The first match after this time; `None`: not within the days of a search.
pub(super) fn next(cron: &Cron, at: Zoned) -> Option<Zoned> {
    cron.find_next_occurrence(&Near::new(at)?, false).ok().map(|near| near.time)
}

/// A time whose search fails as soon as it leaves the days around it.
#[derive(Clone)]
struct Near {
    time: Zoned,
    first: CivilDateTime,
    last: CivilDateTime,
}

impl Near {
    fn new(time: Zoned) -> Option<Self> {
        let first = time.checked_sub(FARTHEST_DAYS.days()).ok()?.to_civil();
        let last = time.checked_add(FARTHEST_DAYS.days()).ok()?.to_civil();
        Some(Self { time, first, last })
    }

    fn at(&self, time: Zoned) -> Self {
        Self { time, first: self.first, last: self.last }
    }
}

impl CronDateTime for Near {
    fn to_civil(&self) -> CivilDateTime {
        self.time.to_civil()
    }

    fn civil_weekday(&self) -> Weekday {
        self.time.civil_weekday()
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        if civil < self.first || self.last < civil {
            return Err(CronError::TimeSearchLimitExceeded);
        }
        Ok(match self.time.resolve_civil(civil)? {
            Resolution::Single(time) => Resolution::Single(self.at(time)),
            Resolution::Ambiguous(earlier, later) => Resolution::Ambiguous(self.at(earlier), self.at(later)),
            Resolution::Gap => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        Some(self.at(self.time.checked_add_seconds(seconds)?))
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.time.cmp_instant(&other.time)
    }
}
