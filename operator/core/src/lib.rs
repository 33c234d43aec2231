//! What a Function becomes, as pure functions: which revision its spec forms, which objects it needs, where each
//! revision is in its life, and what its status says.
//!
//! No I/O and no clock: what the cluster holds and what time it is are parameters. `catnap-operator` reads the one
//! and writes the results, in the order of the modules: validate, advance, build, (apply,) report.

mod build;
mod condition;
mod content;
mod drift;
mod failure;
#[cfg(test)]
mod fixtures;
mod hosts;
mod keyed;
mod lifecycle;
mod merge;
mod observe;
mod owner;
#[cfg(any(test, fuzzing))]
pub mod parsers;
mod problem;
mod quantity;
mod rates;
mod raw_deployment;
mod record;
mod status;
mod template;
mod validate;

pub use build::{DeploymentResource, Obsolete, Resources, build};
pub use content::ContentError;
pub use drift::{Write, difference, in_sync, stated_about, write_needed};
pub use failure::{Failure, PATIENCE};
pub use hosts::{
    Arbiter, Book, ClaimState, Claimant, Claims, DomainTemplate, Host, HostError, HostRules, HostSettings,
    HostVerdict, HostVerdicts, NotAllowed, Suffixes, TemplateError, Wish,
};
pub use lifecycle::{GIVE_UP_AFTER, LONGEST_PAUSE, Plan, advance, is_proving, starts_proof};
pub use observe::{Cluster, Facts, Observed, PodAutoscaler, Wanted, wanted};
pub use owner::{Owner, Ownership};
pub use problem::{Finality, Problem, Reason, Scope};
pub use rates::{Counts, Rates};
pub use raw_deployment::RawDeployment;
pub use record::{RecordError, RevisionRecord};
pub use status::{News, Report, report};
pub use validate::{CurrentRevision, ValidateError, ValidatedFunction, retry, validate};
