//! Where `spec.traffic` sends requests: which revisions it names, whether they are there, and the shares in numbers.
//!
//! What cannot be done yet (a revision that is missing, or still to be proved) changes nothing: the last good shares stay.

use catnap_crds::{FunctionSpec, RolloutStatus, TrafficStatus, effective_percents};

use crate::{Problem, Reason, Scope, ValidatedFunction};

/// One entry of `spec.traffic` that sends requests somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) goal: Goal,
    /// Of all requests; 0 where only its tag leads there.
    pub(super) percent: i32,
    pub(super) tag: Option<String>,
}

/// Which revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The latest ready one, and while a new one takes over, both.
    Latest,
    Named(String),
}

/// What the spec asks for, if every revision that it names is there.
pub(super) fn resolve(function: &ValidatedFunction) -> Result<Vec<Target>, Problem> {
    let asked = asked(&function.spec);
    let named = asked.iter().filter_map(Target::name);
    let missing: Vec<_> = named.filter(|name| !function.records.contains_key(*name)).collect();
    if missing.is_empty() {
        return Ok(asked);
    }
    let message = format!(
        "spec.traffic names {}, which is no revision of this Function (kubectl get controllerrevisions lists them); the requests \
         go where they went before",
        missing.join(", ")
    );
    Err(Problem::lasting(Reason::RevisionMissing, Scope::Routes, message))
}

fn asked(spec: &FunctionSpec) -> Vec<Target> {
    if spec.traffic.is_empty() {
        return vec![Target { goal: Goal::Latest, percent: 100, tag: None }];
    }
    let targets =
        spec.traffic.iter().zip(effective_percents(&spec.traffic)).map(|(target, percent)| Target {
            goal: target.revision.clone().map_or(Goal::Latest, Goal::Named),
            percent,
            tag: target.tag.clone(),
        });
    targets.filter(|target| target.percent > 0 || target.tag.is_some()).collect()
}

/// What was asked for when these shares were written.
pub(super) fn behind(shares: &[TrafficStatus]) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for share in shares {
        let goal = if share.latest { Goal::Latest } else { Goal::Named(share.revision.clone()) };
        match targets.last_mut() {
            // The two halves of one entry that a rollout is dividing.
            Some(last)
                if share.latest && last.goal == goal && (last.tag.is_none() || share.tag.is_none()) =>
            {
                last.percent += share.percent;
                last.tag = last.tag.take().or_else(|| share.tag.clone());
            }
            _ => targets.push(Target { goal, percent: share.percent, tag: share.tag.clone() }),
        }
    }
    targets
}

/// Percent of all requests that follow the latest revision.
pub(super) fn latest_share(targets: &[Target]) -> i32 {
    targets.iter().filter(|target| target.goal == Goal::Latest).map(|target| target.percent).sum()
}

/// Revisions that must take requests for `targets` to be true; `latest` is the latest ready one.
pub(super) fn revisions(targets: &[Target], latest: Option<&str>) -> Vec<String> {
    let mut names: Vec<_> =
        targets.iter().filter_map(|target| target.name().or(latest)).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// The shares of `targets`; nothing where the latest revision has a share and there is none.
pub(super) fn shares(
    targets: &[Target],
    latest: Option<&str>,
    rollout: Option<&RolloutStatus>,
) -> Vec<TrafficStatus> {
    let whole = latest_share(targets);
    if latest.is_none() && whole > 0 {
        return Vec::new();
    }
    let mut moving = rollout.map_or(0, |rollout| rollout.percent.min(whole));
    // A tag changes hands with the last step: until then it leads to what most requests get.
    let moved = moving > 0 && moving == whole;
    let mut shares = Vec::new();
    let mut give = |revision: &str, percent, latest, tag: Option<&String>| {
        if percent > 0 || tag.is_some() {
            shares.push(TrafficStatus { revision: revision.to_owned(), percent, latest, tag: tag.cloned() });
        }
    };
    for target in targets {
        let tag = target.tag.as_ref();
        match (&target.goal, rollout, latest) {
            (Goal::Named(name), ..) => give(name, target.percent, false, tag),
            (Goal::Latest, Some(rollout), _) => {
                let taken = moving.min(target.percent);
                moving -= taken;
                give(&rollout.from, target.percent - taken, true, tag.filter(|_| !moved));
                give(&rollout.to, taken, true, tag.filter(|_| moved));
            }
            (Goal::Latest, None, Some(latest)) => give(latest, target.percent, true, tag),
            (Goal::Latest, None, None) => {}
        }
    }
    shares
}

impl Target {
    /// The revision that it names.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.goal {
            Goal::Named(name) => Some(name),
            Goal::Latest => None,
        }
    }
}
