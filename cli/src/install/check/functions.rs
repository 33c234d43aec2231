//! How many Functions serve, and why the others do not.

use std::collections::BTreeMap;

use super::finding::{Finding, State};
use super::read::Facts;
use crate::readiness::Readiness;

const CHECK: &str = "Functions";

/// One row: a Function that its owner has to repair is no fault of the installation, but whoever looks here wants to know.
pub(super) fn finding(facts: &Facts) -> Finding {
    let found = match &facts.functions {
        Err(error) => return Finding::unknown(CHECK, error),
        Ok(found) => found,
    };
    let (mut ready, mut waiting, mut stalled) = (0, BTreeMap::new(), BTreeMap::new());
    for one in found {
        match one.function.as_ref().map(Readiness::of) {
            Some(Readiness::Ready) => ready += 1,
            Some(Readiness::Waiting(reason)) => *waiting.entry(reason).or_insert(0_usize) += 1,
            Some(Readiness::Stalled(reason)) => *stalled.entry(reason).or_insert(0_usize) += 1,
            None => *waiting.entry("cannot be read by this catnap".to_owned()).or_insert(0) += 1,
        }
    }
    let mut message = format!("{ready} of {} ready", found.len());
    for (word, reasons) in [("waiting", &waiting), ("stalled", &stalled)] {
        if !reasons.is_empty() {
            let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            message = format!("{message}; {word}: {}", reasons.join(", "));
        }
    }
    if waiting.is_empty() && stalled.is_empty() {
        return Finding::ok(CHECK, message);
    }
    let advice = "`catnap get --all-namespaces` names them, `catnap describe NAME` tells why";
    Finding::new(CHECK, State::Warning, message).advised(advice)
}
