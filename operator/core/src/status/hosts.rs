//! What the status says about the hosts that a Function asks for.

use catnap_crds::HostStatus;

use crate::{HostVerdict, HostVerdicts, Problem};

/// One entry for each host.
pub(super) fn statuses(hosts: &HostVerdicts) -> Vec<HostStatus> {
    let status = |verdict: &HostVerdict| HostStatus {
        host: verdict.host.clone(),
        tag: verdict.tag.clone(),
        accepted: verdict.refused.is_none(),
        reason: verdict.refused.iter().map(|problem| problem.reason.as_str()).collect(),
        message: verdict.refused.iter().map(|problem| problem.message.as_str()).collect(),
    };
    hosts.verdicts.iter().map(status).collect()
}

/// What is wrong with those that were refused, and besides.
pub(super) fn problems(hosts: &HostVerdicts) -> impl Iterator<Item = Problem> + '_ {
    hosts.verdicts.iter().filter_map(|verdict| verdict.refused.clone()).chain(hosts.problems.iter().cloned())
}
