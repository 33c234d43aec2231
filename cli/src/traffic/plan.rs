//! What `spec.traffic` is to be: pure, from what it is and what was typed.

use std::collections::BTreeMap;

use catnap_crds::{TrafficTarget, effective_percents};

use super::Arguments;
use super::shares::{Share, Target};
use crate::exit::{Exit, Failure};

/// Shares and tags apart: `spec.traffic` has them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    shares: Vec<Share>,
    tags: BTreeMap<String, Target>,
}

/// Why it cannot be so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// No revision begins so.
    #[error("there is no revision `{wanted}`; there are {}", known.join(", "))]
    Unknown {
        /// What was typed.
        wanted: String,
        /// Revisions that there are.
        known: Vec<String>,
    },
    /// Several revisions begin so.
    #[error("`{wanted}` may be any of {}", all.join(", "))]
    Ambiguous {
        /// What was typed.
        wanted: String,
        /// Revisions that begin so.
        all: Vec<String>,
    },
    /// Too much or too little.
    #[error("the shares are {sum} percent together, and must be 100")]
    Sum {
        /// What they are.
        sum: i32,
    },
    /// A tag that does not exist.
    #[error("there is no tag `{tag}` to take away")]
    Tag {
        /// What was typed.
        tag: String,
    },
}

impl Plan {
    /// What these targets say.
    pub(super) fn of(targets: &[TrafficTarget]) -> Self {
        let target = |it: &TrafficTarget| it.revision.clone().map_or(Target::Latest, Target::Revision);
        let percents = effective_percents(targets);
        let shares = targets.iter().zip(percents).filter(|(_, percent)| *percent > 0);
        let mut shares: Vec<_> = shares.map(|(it, percent)| Share { target: target(it), percent }).collect();
        if shares.is_empty() {
            shares.push(Share { target: Target::Latest, percent: 100 });
        }
        let tags = targets.iter().filter_map(|it| Some((it.tag.clone()?, target(it)))).collect();
        Self { shares, tags }
    }

    /// As the command line says; `known`: the revisions that there are.
    pub(super) fn change(&mut self, arguments: &Arguments, known: &[&str]) -> Result<(), PlanError> {
        if arguments.latest {
            self.shares = vec![Share { target: Target::Latest, percent: 100 }];
        }
        if !arguments.shares.is_empty() {
            let resolved =
                |share: &Share| Ok(Share { target: resolved(&share.target, known)?, percent: share.percent });
            self.shares = arguments.shares.iter().map(resolved).collect::<Result<_, PlanError>>()?;
        }
        let sum = self.shares.iter().map(|share| share.percent).sum();
        if sum != 100 {
            return Err(PlanError::Sum { sum });
        }
        for tag in &arguments.untag {
            self.tags.remove(tag).ok_or_else(|| PlanError::Tag { tag: tag.clone() })?;
        }
        for tag in &arguments.tags {
            self.tags.insert(tag.tag.clone(), resolved(&tag.target, known)?);
        }
        Ok(())
    }

    /// Everything to one revision.
    pub(super) fn give_all(&mut self, revision: &str) {
        self.shares = vec![Share { target: Target::Revision(revision.to_owned()), percent: 100 }];
    }

    /// As `spec.traffic`; empty for what is so without it.
    pub(super) fn targets(&self) -> Vec<TrafficTarget> {
        if self.tags.is_empty() && self.shares == [Share { target: Target::Latest, percent: 100 }] {
            return Vec::new();
        }
        let mut tags = self.tags.clone();
        let mut targets: Vec<_> = self
            .shares
            .iter()
            .map(|Share { target, percent }| {
                let tag = tags.iter().find(|(_, tagged)| *tagged == target).map(|(tag, _)| tag.clone());
                if let Some(tag) = &tag {
                    tags.remove(tag);
                }
                written(target, *percent, tag)
            })
            .collect();
        // What has no share, or has its share under another tag.
        targets.extend(tags.into_iter().map(|(tag, target)| written(&target, 0, Some(tag))));
        targets
    }
}

fn written(target: &Target, percent: i32, tag: Option<String>) -> TrafficTarget {
    let (revision, latest) = match target {
        Target::Latest => (None, Some(true)),
        Target::Revision(name) => (Some(name.clone()), None),
    };
    TrafficTarget { revision, latest, percent: Some(percent), tag }
}

/// The whole name of what was typed: itself, or the only revision that begins so.
fn resolved(target: &Target, known: &[&str]) -> Result<Target, PlanError> {
    let Target::Revision(wanted) = target else { return Ok(Target::Latest) };
    revision(wanted, known).map(Target::Revision)
}

/// The same for a revision.
pub(crate) fn revision(wanted: &str, known: &[&str]) -> Result<String, PlanError> {
    let all: Vec<_> =
        known.iter().filter(|name| name.starts_with(wanted)).map(|name| (*name).to_owned()).collect();
    let wanted = wanted.to_owned();
    match all.as_slice() {
        _ if known.contains(&wanted.as_str()) => Ok(wanted),
        [only] => Ok(only.clone()),
        [] => {
            Err(PlanError::Unknown { wanted, known: known.iter().map(|name| (*name).to_owned()).collect() })
        }
        _ => Err(PlanError::Ambiguous { wanted, all }),
    }
}

impl Failure for PlanError {
    fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } | Self::Tag { .. } => Exit::NotFound,
            Self::Ambiguous { .. } | Self::Sum { .. } => Exit::Failed,
        }
    }
}
