//! The stream to the leader: the hello, and the frames that come back.

use super::{Activator, Control};
use crate::process::{Command, Connection};
use crate::shared::ByName;
use catnap_wire::limits::hello_parts;
use catnap_wire::message::{ActivatorFrame, Hello, LeaderFrame, RevisionReport, Term, Welcome};
use std::sync::Arc;

impl Activator {
    /// A stream to the leader is open: the hello is the first thing to be sent on it. It leads by the same Lease as the last one.
    pub fn leader_connected(&self) -> Connection {
        let lease = self.control.lock().leader.lease;
        self.leader_connected_by(lease)
    }

    /// A stream to a leader is open. `lease` counts the Leases that there were, as the API server showed them: with a larger
    /// one the terms of earlier leaders mean nothing any more, for a Lease that was deleted and made anew counts from 1.
    pub fn leader_connected_by(&self, lease: u64) -> Connection {
        let mut control = self.control.lock();
        let leader = &mut control.leader;
        leader.connections += 1;
        leader.welcomed = false;
        leader.replaced = lease < leader.lease;
        let made_anew = lease > leader.lease;
        if made_anew {
            leader.lease = lease;
            leader.term = Term::default();
        }
        leader.closed.clear();
        leader.through = None;
        let connection = Connection(leader.connections);
        let now = self.process.now();
        // Frames of an older stream are not sent on this one, and none goes before the hello: only calls under this lock
        // make frames.
        self.process.set_connection(Some(connection));
        let mut reports: Vec<RevisionReport> = Vec::new();
        for ByName(shared) in &control.revisions {
            if made_anew {
                shared.forget_terms();
            }
            reports.extend(shared.leader_connected().filter(|report| !is_empty(report)));
        }
        let clock_milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut parts = hello_parts(reports).into_iter().peekable();
        while let Some(revisions) = parts.next() {
            self.process.send_frame(ActivatorFrame::Hello(Hello {
                boot: self.process.settings.boot,
                pod_uid: Arc::clone(&self.process.settings.pod_uid),
                clock_milliseconds,
                revisions,
                more: parts.peek().is_some(),
            }));
        }
        self.process.send(Command::Tick);
        connection
    }

    /// The stream is gone.
    pub fn leader_lost(&self, connection: Connection) {
        let mut control = self.control.lock();
        if self.process.connection() == Some(connection) {
            self.lose_leader(&mut control);
        }
    }

    fn lose_leader(&self, control: &mut Control) {
        let now = self.process.now();
        self.process.set_connection(None);
        control.leader.welcomed = false;
        control.leader.lost_at = now;
        for ByName(shared) in &control.revisions {
            shared.leader_lost();
        }
        self.process.send(Command::Tick);
    }

    /// The leader said something on this stream.
    pub fn leader_frame(&self, connection: Connection, frame: LeaderFrame) {
        if self.process.connection() != Some(connection) {
            return;
        }
        if let LeaderFrame::Welcome(welcome) = frame {
            return self.welcome(connection, welcome);
        }
        let revision = match &frame {
            // Whoever counts how requests end deals with the latter.
            LeaderFrame::Welcome(_) | LeaderFrame::Count { .. } => return,
            LeaderFrame::Close { revision, .. }
            | LeaderFrame::Drain { revision, .. }
            | LeaderFrame::Avoid { revision, .. }
            | LeaderFrame::WakeReply { revision, .. } => revision,
            LeaderFrame::Open(verdict) | LeaderFrame::Zero(verdict) => &verdict.revision,
        };
        let shared = {
            let mut control = self.control.lock();
            if control.leader.replaced {
                return;
            }
            let about_gate = !matches!(frame, LeaderFrame::WakeReply { .. } | LeaderFrame::Avoid { .. });
            if !about_gate && !control.revisions.contains(revision) {
                return;
            }
            // A gate of a revision that this activator has not heard of yet counts from the moment it does.
            self.revision(&mut control, revision)
        };
        shared.with(|machine, now, effects| machine.leader_says(&frame, now, effects));
    }

    fn welcome(&self, connection: Connection, welcome: Welcome) {
        let Welcome { term, closed, more } = welcome;
        let mut control = self.control.lock();
        if control.leader.replaced || term < control.leader.term {
            self.lose_leader(&mut control);
            return self.process.send(Command::Disconnect { connection });
        }
        control.leader.term = term;
        control
            .leader
            .closed
            .extend(closed.into_iter().map(|closed| (closed.verdict.revision.clone(), closed)));
        if more {
            return;
        }
        let closed = std::mem::take(&mut control.leader.closed);
        for revision in closed.keys() {
            self.revision(&mut control, revision);
        }
        control.leader.welcomed = true;
        let all: Vec<_> = control.revisions.iter().map(|known| Arc::clone(&known.0)).collect();
        drop(control);
        for shared in all {
            shared.welcomed(term, closed.get(shared.id()));
        }
    }
}

/// Nothing in it that the leader could not assume of a revision that is not listed.
fn is_empty(report: &RevisionReport) -> bool {
    report.held == 0
        && report.in_flight == 0
        && report.closed.is_none()
        && report.buckets.is_empty()
        && report.pods.is_empty()
        && report.idle_milliseconds.is_none()
}
