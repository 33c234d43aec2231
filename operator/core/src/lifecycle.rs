//! Where each revision is in its life (proving, routed, retiring, or history), and where requests go.
//!
//! The next state follows from the last reported one and from what the cluster holds, so that a step that was not
//! reported is simply taken again.

use std::{collections::BTreeSet, time::Duration};

use catnap_crds::{FunctionStatus, RevisionState, RevisionStatus, RolloutStatus, TrafficStatus, part};
use k8s_openapi::jiff::Timestamp;

use crate::{Failure, Finality, Problem, Reason, Scope, ValidatedFunction};

mod history;
mod proof;
mod rollout;
mod traffic;

pub use proof::{GIVE_UP_AFTER, is_proving, starts_proof};
pub use rollout::LONGEST_PAUSE;
use rollout::{Fault, Sight, Turn, Wait};
use traffic::Target;

/// Where every revision is, and where requests go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Revisions that have, or may have, replicas.
    pub revisions: Vec<RevisionStatus>,
    /// Where requests go.
    pub traffic: Vec<TrafficStatus>,
    /// The revision that is taking over, while one is.
    pub rollout: Option<RolloutStatus>,
    /// The revisions between which requests move, or soon will: the new one is judged by how both end theirs.
    pub compared: Option<[String; 2]>,
    /// What the step that the rollout is at waits for, unless everything has moved and no more is waited for than the interval.
    pub rolling: Option<String>,
    /// What is still to become ready before requests go where the spec says.
    pub preparing: Option<String>,
    /// The value of `catnap.dev/retry` that was acted on last.
    pub retry: Option<String>,
    /// The youngest revision that proved itself.
    pub latest_ready: Option<String>,
    /// Whether the current revision failed and is not tried again before the next edit.
    pub rejected: bool,
    /// Revisions that never took a request and that no one waits for any more: their Deployments go at once.
    pub superseded: Vec<String>,
    /// What is wrong with all this.
    pub problems: Vec<Problem>,
    /// When time alone may change something.
    pub next_look: Option<Timestamp>,
}

impl Plan {
    /// Where the revision `name` is.
    pub fn state(&self, name: &str) -> Option<RevisionState> {
        state(&self.revisions, name)
    }

    /// Goes on telling of those of `deployments` that were to be deleted and are still there, so that they stay empty.
    pub fn keep(&mut self, function: &ValidatedFunction, deployments: &[String]) {
        for name in deployments {
            if self.state(name).is_some() {
                continue;
            }
            let known = function.previous.revisions.iter().find(|revision| revision.name == *name);
            let kept = known.cloned().or_else(|| proof::entry(function, name, RevisionState::Retiring));
            let kept = kept.map(|revision| RevisionStatus { state: RevisionState::Retiring, ..revision });
            self.revisions.extend(kept);
        }
    }

    /// What is said of this plan in the status, as far as shares of requests go.
    pub(crate) fn shares(&self) -> FunctionStatus {
        FunctionStatus {
            traffic: self.traffic.clone(),
            rollout: self.rollout.clone(),
            ..FunctionStatus::default()
        }
    }

    fn look_at(&mut self, time: Option<Timestamp>) {
        self.next_look = [self.next_look, time].into_iter().flatten().min();
    }
}

/// The state of all revisions at `now`.
pub fn advance(function: &ValidatedFunction, now: Timestamp) -> Plan {
    let previous = &function.previous;
    let mut plan = Plan {
        revisions: previous.revisions.clone(),
        rollout: previous.rollout.clone(),
        retry: function.retry.clone(),
        latest_ready: previous.latest_ready_revision.clone(),
        ..Plan::default()
    };
    let before = traffic::behind(&previous.traffic);
    let candidate = function.current.as_ref().ok().map(|current| current.name.as_str());
    forget_older_rollout(&mut plan, candidate, traffic::latest_share(&before));
    let asked = traffic::resolve(function);
    let mut proving = BTreeSet::new();
    if let Some(name) = candidate {
        let share = traffic::latest_share(asked.as_ref().unwrap_or(&before));
        consider(function, &mut plan, name, share, now);
    }
    let targets = match asked {
        Ok(asked) => {
            let needed = traffic::revisions(&asked, plan.latest_ready.as_deref());
            let ready = prepare(function, &mut plan, &needed, now);
            proving.extend(needed);
            if ready { asked } else { before }
        }
        Err(missing) => {
            plan.problems.push(missing);
            before
        }
    };
    roll(function, &mut plan, &targets, now);
    let going_on = |name: &&str| !plan.rejected && plan.latest_ready.as_deref() != Some(*name);
    proving.extend(candidate.filter(going_on).map(str::to_owned));
    plan.traffic = traffic::shares(&targets, plan.latest_ready.as_deref(), plan.rollout.as_ref());
    history::settle(function, &mut plan, &proving);
    plan
}

/// An edit ends the rollout of what it replaces: the share goes back, unless all of it has moved.
fn forget_older_rollout(plan: &mut Plan, candidate: Option<&str>, share: i32) {
    let replaced = plan.rollout.take_if(|rollout| candidate.is_some_and(|candidate| candidate != rollout.to));
    if let Some(RolloutStatus { from, to, percent, .. }) = replaced {
        plan.latest_ready = Some(if percent > 0 && percent >= share { to } else { from });
    }
}

/// Brings the revision that the spec forms to where its rollout begins; `share` is what the latest revision gets.
fn consider(function: &ValidatedFunction, plan: &mut Plan, name: &str, share: i32, now: Timestamp) {
    let retry = function.retry.as_deref();
    let ready = proof::is_ready(function, name);
    // It lost, before its first step, what had proved it.
    plan.rollout.take_if(|rollout| rollout.percent == 0 && !ready);
    if plan.rollout.is_some() || plan.latest_ready.as_deref() == Some(name) {
        return;
    }
    if proof::was_rejected(&function.previous, function.generation, retry, name) {
        plan.rejected = true;
        return;
    }
    proof::start_in_turn(function, plan, name);
    if plan.state(name).is_none() {
        return;
    }
    let serves = |from: &&str| share > 0 && plan.state(from) == Some(RevisionState::Routed);
    let from = plan.latest_ready.as_deref().filter(serves).map(str::to_owned);
    if !ready {
        // Asked for already, it is known when its first requests come.
        plan.compared = from.map(|from| [from, name.to_owned()]);
        proof::judge(function, plan, name, now);
        return;
    }
    match from {
        Some(from) => plan.rollout = Some(rollout::begin(&from, name, now)),
        None => plan.latest_ready = Some(name.to_owned()),
    }
}

/// Proves those of `needed` that take no requests yet; whether all may.
fn prepare(function: &ValidatedFunction, plan: &mut Plan, needed: &[String], now: Timestamp) -> bool {
    let mut all = true;
    for name in needed {
        proof::start(function, plan, name);
        let known = plan.state(name);
        if known == Some(RevisionState::Routed) || known.is_some() && proof::is_ready(function, name) {
            continue;
        }
        all = false;
        let facts = proof::facts(function, name);
        let needed = function.spec.scale.proof_replicas();
        plan.preparing.get_or_insert_with(|| {
            format!("{name} takes requests when {needed} replicas are ready ({} are)", facts.ready)
        });
        let current = function.current.as_ref().is_ok_and(|current| current.name == *name);
        // The current one's failure is told of as such.
        if let Some(failure) = facts.failure.as_ref().filter(|_| !current) {
            plan.look_at(failure.patience_ends().filter(|end| *end > now));
            let problem = failure.problem(now);
            let message = format!("revision {name} is to take requests: {}", problem.message);
            plan.problems.push(Problem { scope: Scope::Routes, message, ..problem });
        }
    }
    all
}

/// Lets a rollout take its turn.
fn roll(function: &ValidatedFunction, plan: &mut Plan, targets: &[Target], now: Timestamp) {
    let Some(mut rollout) = plan.rollout.take() else { return };
    let share = traffic::latest_share(targets);
    let share_before = traffic::latest_share(&traffic::behind(&function.previous.traffic));
    if rollout.percent > 0 && rollout.percent >= share_before {
        // It had all that follows the latest revision, and so gets what an edit adds: `from` is on its way out.
        rollout.percent = share.max(rollout.percent);
    }
    let (from, to) = (proof::facts(function, &rollout.from), proof::facts(function, &rollout.to));
    let sight = Sight {
        spec: &function.spec.rollout,
        share,
        to,
        from,
        needed: &|coming| replicas_for(function, coming),
        unproven: function.spec.scale.proof_replicas() == 0,
        unready_limit: unready_limit(function),
        rates: &function.cluster.rates,
        now,
    };
    let failed = |failure: &&Failure| failure.problem(now).finality == Finality::Final;
    if let Some(failure) = to.failure.as_ref().filter(failed)
        && to.ready == 0
        && rollout.percent > 0
        && !sight.is_old_broken()
    {
        let Problem { message, .. } = failure.problem(now);
        let message = format!("{message}; all requests go to {} again", rollout.from);
        plan.problems.push(Problem::lasting(failure.reason, Scope::Revision, message));
        return give_back(plan, rollout);
    }
    if share == 0 {
        // Whatever it had is another's now.
        plan.latest_ready = Some(rollout.to);
        return;
    }
    match rollout::turn(&rollout, &sight) {
        Turn::Goes(next, wait, look) => {
            plan.look_at(look);
            if next.percent < share || wait == Wait::Ready {
                tell(plan, &next, &wait);
            }
            if next.percent == share {
                plan.latest_ready = Some(next.to.clone());
            }
            // Of one that waits for its first request there is nothing to know, however long that takes.
            if look.is_some() {
                plan.compared = Some([next.from.clone(), next.to.clone()]);
            }
            plan.rollout = Some(next);
        }
        Turn::Done => plan.latest_ready = Some(rollout.to),
        Turn::Back(fault) => {
            plan.problems.push(failed_rollout(function, &rollout, &fault));
            give_back(plan, rollout);
        }
    }
}

/// As long as a new revision may fail to start, and as long as its requests may wait for it.
fn unready_limit(function: &ValidatedFunction) -> Duration {
    GIVE_UP_AFTER.max(function.spec.timeouts.activation.get())
}

fn give_back(plan: &mut Plan, rollout: RolloutStatus) {
    proof::reject(plan, &rollout.to);
    plan.latest_ready = Some(rollout.from);
}

/// Replicas that so much percent of all requests need, by the size of the revisions that serve.
fn replicas_for(function: &ValidatedFunction, percent: i32) -> i32 {
    let most = function.spec.scale.of_part(percent).max;
    part(total_replicas(function), percent, 0).min(most)
}

/// Replicas that serve all requests now. Each revision's own number stands for its share; the smallest result counts, because
/// more than is needed is usual (floors, slow shrinking, replicas for a coming step), less is not.
fn total_replicas(function: &ValidatedFunction) -> i32 {
    let shares = &function.previous.traffic;
    let of_revision = |share: &TrafficStatus| {
        let same = shares.iter().filter(|other| other.revision == share.revision);
        let percent: i64 = same.map(|share| i64::from(share.percent)).sum();
        let wanted = i64::from(proof::facts(function, &share.revision).wanted.unwrap_or_default());
        (percent > 0 && wanted > 0).then(|| wanted * 100 / percent)
    };
    shares
        .iter()
        .filter_map(of_revision)
        .min()
        .and_then(|total| i32::try_from(total).ok())
        .unwrap_or_default()
}

/// Says what the next step waits for.
fn tell(plan: &mut Plan, rollout: &RolloutStatus, wait: &Wait) {
    let RolloutStatus { to, percent, coming_percent, coming_replicas, .. } = rollout;
    let has = format!("{to} takes {percent} percent of the requests");
    plan.rolling = Some(match wait {
        Wait::Size { ready } => {
            format!("{has}, {coming_percent} when {coming_replicas} replicas are ready ({ready} are)")
        }
        Wait::Requests(comparison) => format!(
            "{has} and failed {}: it takes no more before {} have ended",
            comparison.of_new(),
            comparison.enough()
        ),
        Wait::Rates => {
            let message = format!(
                "{has}, and no more while it is not known how requests end: the autoscaler, or some activator, is not heard of"
            );
            plan.problems.push(Problem::passing(Reason::RolloutWaiting, Scope::Revision, message));
            has
        }
        Wait::Ready => {
            format!("{has} and has no ready replica: they go to {} again if that lasts", rollout.from)
        }
        Wait::Interval | Wait::Proof => has,
    });
}

fn failed_rollout(function: &ValidatedFunction, rollout: &RolloutStatus, fault: &Fault) -> Problem {
    let RolloutStatus { from, to, .. } = rollout;
    let what = match fault {
        Fault::Errors(comparison) => format!(
            "{to} failed {}, {from} {}; rollout.maxErrorPercent allows {}",
            comparison.of_new(),
            comparison.of_old(),
            function.spec.rollout.max_error_percent,
        ),
        Fault::Unready => {
            let failure = proof::facts(function, to).failure.as_ref();
            let why = failure.map(|failure| format!(": {}", failure.message)).unwrap_or_default();
            format!("{to} had no ready replica for {} s{why}", unready_limit(function).as_secs())
        }
    };
    let message = format!(
        "{what}. All requests go to {from} again; edit the Function, or set the annotation {} to a new value to try once more",
        catnap_crds::labels::RETRY,
    );
    Problem::lasting(Reason::RolloutFailed, Scope::Revision, message)
}

fn state(revisions: &[RevisionStatus], name: &str) -> Option<RevisionState> {
    revisions.iter().find(|revision| revision.name == name).map(|revision| revision.state)
}

#[cfg(test)]
mod tests;
