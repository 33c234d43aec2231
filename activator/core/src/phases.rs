//! How the wait of one request was spent, as far as the watches could see.

use std::time::Duration;

/// Parts of a wait, in order; together they are the whole wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// No pod was usable at some time of the wait: a cold start.
    pub cold: bool,
    /// Until replicas were written or seen.
    pub wake: Duration,
    /// From then until the pod had its address.
    pub schedule: Duration,
    /// From then until the container was seen running.
    pub start: Duration,
    /// From then until the port answered.
    pub ready: Duration,
    /// The rest: waiting for free capacity.
    pub queue: Duration,
}

impl Phases {
    /// Those of two waits of one request.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            cold: self.cold || other.cold,
            wake: self.wake + other.wake,
            schedule: self.schedule + other.schedule,
            start: self.start + other.start,
            ready: self.ready + other.ready,
            queue: self.queue + other.queue,
        }
    }

    /// Length of the whole wait.
    pub fn total(&self) -> Duration {
        self.wake + self.schedule + self.start + self.ready + self.queue
    }
}

/// When the steps of an activation were seen; `None` when not or not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Milestones {
    pub(crate) written: Option<Duration>,
    pub(crate) addressed: Option<Duration>,
    pub(crate) started: Option<Duration>,
    pub(crate) answered: Option<Duration>,
}

/// Splits the wait from `arrived` to `granted`. Steps that were seen before the arrival, or late and out of order (kubelet
/// reports a running container after its port answers), take no time.
pub(crate) fn split(arrived: Duration, granted: Duration, cold: bool, seen: &Milestones) -> Phases {
    let answered = seen.answered.unwrap_or(granted).clamp(arrived, granted.max(arrived));
    let mut from = arrived;
    let mut until = |step: Option<Duration>| {
        let to = step.unwrap_or(from).clamp(from, answered.max(from));
        let length = to.saturating_sub(from);
        from = to;
        length
    };
    let wake = until(seen.written);
    let schedule = until(seen.addressed);
    let start = until(seen.started);
    let ready = until(Some(answered));
    Phases { cold, wake, schedule, start, ready, queue: granted.saturating_sub(from) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn phases_follow_each_other_and_sum_to_the_wait() {
        let seen = Milestones {
            written: Some(ms(110)),
            addressed: Some(ms(400)),
            started: Some(ms(700)),
            answered: Some(ms(900)),
        };
        let phases = split(ms(100), ms(950), true, &seen);
        assert_eq!(
            phases,
            Phases {
                cold: true,
                wake: ms(10),
                schedule: ms(290),
                start: ms(300),
                ready: ms(200),
                queue: ms(50)
            }
        );
        assert_eq!(phases.total(), ms(850));
    }

    #[test]
    fn steps_before_the_arrival_or_after_the_answer_take_no_time() {
        let seen = Milestones {
            written: Some(ms(10)),
            addressed: Some(ms(120)),
            started: Some(ms(800)),
            answered: Some(ms(300)),
        };
        let phases = split(ms(100), ms(310), true, &seen);
        assert_eq!((phases.wake, phases.schedule, phases.start), (ms(0), ms(20), ms(180)));
        assert_eq!((phases.ready, phases.queue), (ms(0), ms(10)));
    }

    #[test]
    fn a_wait_for_capacity_alone_is_all_queue() {
        let phases =
            split(ms(100), ms(350), false, &Milestones { answered: Some(ms(5)), ..Milestones::default() });
        assert_eq!(phases, Phases { queue: ms(250), ..Phases::default() });
    }
}
