//! The same for a person, as `catnap explain` prints it.

use std::fmt;

use super::{Changed, Decided, Explained, Inputs, Shifting};

impl fmt::Display for Explained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { revision, replicas, gate, leaving, stage, decision, inputs, changes, .. } = self;
        let stage = stage.as_deref().unwrap_or("in no status");
        writeln!(formatter, "{revision}: {replicas} replicas, stage {stage}, gate {gate}")?;
        if !leaving.is_empty() {
            writeln!(formatter, "  to go, once empty: {}", leaving.join(", "))?;
        }
        match decision {
            Some(decision) => write!(formatter, "{decision}")?,
            None => writeln!(formatter, "  nothing is decided yet")?,
        }
        if let Some(inputs) = inputs {
            write!(formatter, "{inputs}")?;
        }
        if changes.is_empty() {
            return writeln!(formatter, "  no change since this autoscaler leads");
        }
        writeln!(formatter, "  changes, the latest first:")?;
        changes.iter().try_for_each(|change| writeln!(formatter, "    {change}"))
    }
}

impl fmt::Display for Decided {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { desired, panic, rule, reasons, seconds_ago, .. } = self;
        let panic = if *panic { ", in panic" } else { "" };
        let rule = rule.as_deref().unwrap_or("none");
        writeln!(formatter, "  needs {desired}{panic}, bound by {rule}, decided {seconds_ago:.1} s ago:")?;
        reasons.iter().try_for_each(|reason| writeln!(formatter, "    {reason}"))
    }
}

impl fmt::Display for Inputs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, stable, panic, goal, total, ready, arrivals, held, pressed, learned, .. } = self;
        writeln!(formatter, "  from:")?;
        writeln!(
            formatter,
            "    {metric} {stable:.2} (stable window), {panic:.2} (panic window); {goal:.2} a replica, of {total}"
        )?;
        writeln!(
            formatter,
            "    {ready} ready; {held} held without a pod, {pressed} without free capacity, {arrivals} arrived in the last second"
        )?;
        if let Some(learned) = learned {
            writeln!(formatter, "    learned: {learned}")?;
        }
        if let Some(Shifting { percent, awaited }) = self.shift {
            write!(formatter, "    {percent} percent of the function's requests")?;
            match awaited {
                0 => writeln!(formatter)?,
                awaited => writeln!(formatter, ", more with {awaited} replicas")?,
            }
        }
        let said = [
            (self.busy, "busy"),
            (self.idle, "idle time has passed"),
            (self.incomplete, "measurements incomplete"),
        ];
        let said: Vec<_> = said.iter().filter(|(holds, _)| *holds).map(|(_, said)| *said).collect();
        if said.is_empty() { Ok(()) } else { writeln!(formatter, "    {}", said.join("; ")) }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds_ago, from, to, reasons } = self;
        let why = if reasons.is_empty() { "written by somebody else".to_owned() } else { reasons.join("; ") };
        write!(formatter, "{seconds_ago:.1} s ago from {from} to {to}: {why}")
    }
}
