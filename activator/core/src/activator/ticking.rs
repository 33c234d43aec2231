//! What time alone makes happen in the whole process.

use super::{Activator, Control};
use crate::measure;
use crate::revision::Revision;
use crate::shared::SharedRevision;
use catnap_wire::message::{ActivatorFrame, HELLO_PART};
use std::sync::Arc;
use std::time::Duration;

/// Pressure is looked at this often, and told for as long as that changes anything.
const PRESSURE: Duration = Duration::from_millis(100);
/// Revisions that no Function has are looked through this often.
const SWEEP: Duration = Duration::from_secs(60);
/// A second counts as complete this long after its end: an arrival that read the clock before has been counted by then.
const SETTLED: Duration = Duration::from_millis(10);
/// The longest and the shortest time between two ticks.
const LONGEST: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(1);
/// A tick looks at all revisions that are awake, which takes a fraction of this for each; then it rests. Else a thousand that are
/// woken together would be looked at a thousand times over, for the answer to each, on the core that the API server answers from.
const REST: Duration = Duration::from_micros(8);
const LONGEST_REST: Duration = Duration::from_millis(25);

impl Activator {
    /// Does what is due. Call it again after at most the time it returns, and at once on [`Command::Tick`]. Where many revisions are
    /// awake it does nothing for some milliseconds after it did something.
    ///
    /// [`Command::Tick`]: crate::Command::Tick
    pub fn tick(&self) -> Duration {
        let mut control = self.control.lock();
        // What came before is in the buckets of this tick; what comes while it runs may not be.
        let begun = self.process.now();
        if begun < control.rests_until {
            return control.rests_until.saturating_sub(begun).max(SHORTEST);
        }
        let mut next = begun + LONGEST;
        let mut due = |at: Option<Duration>| next = next.min(at.unwrap_or(next));
        due(self.tick_links(&mut control));
        let mut revisions = self.process.take_awake();
        if revisions.len() > 1 {
            // Who has waited longest is probed for first.
            revisions.sort_by_cached_key(|shared| {
                shared.peek(Revision::oldest_held).flatten().unwrap_or(Duration::MAX)
            });
        }
        revisions.retain(|shared| shared.tick().inspect(|at| due(*at)).is_ok());
        let mut functions = self.process.take_pending();
        functions.retain(|function| {
            let at = function.tick(self.process.now());
            due(at);
            at.is_some()
        });
        due(self.tell_pressure(&mut control, &revisions));
        due(self.tell_through(&mut control, begun));
        self.sweep(&mut control);
        // Alone, each answer that frees a place to wake from has to be followed by a look: there are few places. Those that nobody
        // waits for delay none that is to be woken.
        let waited_for = revisions.iter().filter(|shared| shared.held() > 0).count();
        let rest = self.process.connection().map_or(Duration::ZERO, |_| rest(waited_for));
        control.rests_until = self.process.now() + rest;
        self.process.still_awake(revisions);
        self.process.still_pending(functions);
        next.saturating_sub(self.process.now()).max(SHORTEST)
    }

    fn tell_pressure(&self, control: &mut Control, revisions: &[Arc<SharedRevision>]) -> Option<Duration> {
        let now = self.process.now();
        self.process.connection()?;
        let due = control.pressure_at + PRESSURE;
        if control.pressed && now < due {
            return Some(due);
        }
        let from = revisions.iter().filter_map(|shared| shared.peek(Revision::pressed_from).flatten()).min();
        control.pressed = from.is_some_and(|from| from <= now);
        if !control.pressed {
            return from;
        }
        control.pressure_at = now;
        let pressed: Vec<_> = revisions.iter().filter_map(|shared| shared.pressure(now)).collect();
        for part in pressed.chunks(HELLO_PART) {
            self.process.send_frame(ActivatorFrame::Pressure(part.to_vec()));
        }
        Some(now + PRESSURE)
    }

    fn tell_through(&self, control: &mut Control, begun: Duration) -> Option<Duration> {
        self.process.connection()?;
        let through = measure::through(begun.saturating_sub(SETTLED));
        if let Some(index) = through
            && control.leader.through < through
        {
            control.leader.through = through;
            self.process.send_frame(ActivatorFrame::Through { index });
        }
        Some(Duration::from_secs(begun.saturating_sub(SETTLED).as_secs() + 1) + SETTLED)
    }

    /// Forgets revisions that no Function claimed and that have nothing.
    fn sweep(&self, control: &mut Control) {
        let now = self.process.now();
        if now >= control.swept_at + SWEEP {
            control.swept_at = now;
            control.revisions.iter().for_each(|known| known.0.rest());
            control.revisions.retain(|known| known.0.claimed() || !known.0.is_empty());
        }
    }
}

/// After a tick that looked at so many revisions. What is shorter than timers tell is none.
fn rest(revisions: usize) -> Duration {
    let rest = REST * u32::try_from(revisions).unwrap_or(u32::MAX);
    if rest < SHORTEST { Duration::ZERO } else { rest.min(LONGEST_REST) }
}
