//! Hosts: how they are written, who may claim which, and who has one.
//!
//! Pure, and the only place that decides it. What a claim is held against (settings, namespaces, other claims) is handed in.

use std::{cmp::Ordering, collections::BTreeSet, fmt};

use crate::Problem;

mod arbiter;
mod book;
mod claimable;
mod template;

pub use arbiter::{Arbiter, HostSettings};
pub use book::{Book, ClaimState, Claimant, Wish};
pub use claimable::{Claims, HostRules, NotAllowed, Suffixes};
pub use template::{DomainTemplate, TemplateError};

/// Longest host name (RFC 1035 section 2.3.4, as text).
const LONGEST_HOST: usize = 253;
/// Longest label of one.
const LONGEST_LABEL: usize = 63;

/// What was decided about the hosts of one Function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostVerdicts {
    /// One for each host that it asks for.
    pub verdicts: Vec<HostVerdict>,
    /// Its addresses outside the cluster.
    pub urls: Vec<String>,
    /// What is wrong besides.
    pub problems: Vec<Problem>,
    /// Tags that get no name, because a Function has it.
    pub taken_tags: BTreeSet<String>,
}

/// What was decided about one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostVerdict {
    /// The host.
    pub host: String,
    /// The tag that it leads to; `None` for all of the traffic.
    pub tag: Option<String>,
    /// Why the Function does not have it; `None` when it does.
    pub refused: Option<Problem>,
}

/// A host name as names are compared: lower case, no port, no dot at the end. `*.` in front stands for one label or more.
///
/// In an ordered set everything below a name stands together.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Host {
    text: Box<str>,
    /// The labels from the last to the first: `com.example.*`.
    reversed: Box<str>,
}

/// Why a text is no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // Said in the messages.
pub enum HostError {
    #[error("a host has at most {LONGEST_HOST} characters")]
    TooLong,
    #[error("a host has no port")]
    Port,
    #[error("a host has only letters, digits, '-' and '.'; others are written in their xn-- form")]
    NotAscii,
    #[error(
        "`{label}` is no label of a host: 1 to {LONGEST_LABEL} letters, digits and '-', which is not at an end"
    )]
    Label { label: String },
    #[error("a host has at least two labels, not counting `*`")]
    OneLabel,
    #[error("an IP address is no host")]
    Address,
    #[error("`{label}` is not the xn-- form of any name")]
    Punycode { label: String },
}

impl Host {
    /// Reads a host as a person or a client writes it.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let host = Self::suffix(text)?;
        if host.base().contains('.') { Ok(host) } else { Err(HostError::OneLabel) }
    }

    /// As [`parse`](Self::parse), for what hosts end in: it may be one label.
    pub fn suffix(text: &str) -> Result<Self, HostError> {
        if !text.is_ascii() {
            return Err(HostError::NotAscii);
        }
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if text.len() > LONGEST_HOST {
            return Err(HostError::TooLong);
        }
        if text.starts_with('[') || text.matches(':').count() > 1 {
            return Err(HostError::Address);
        }
        if text.contains(':') {
            return Err(HostError::Port);
        }
        let base = text.strip_prefix("*.").unwrap_or(&text);
        base.split('.').try_for_each(check_label)?;
        // What browsers take for a number at the end makes the whole an IPv4 address (WHATWG URL, section 3.5).
        let last = base.rsplit('.').next().unwrap_or(base);
        let hexadecimal =
            last.strip_prefix("0x").is_some_and(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        if hexadecimal || last.bytes().all(|it| it.is_ascii_digit()) {
            return Err(HostError::Address);
        }
        let reversed: Vec<_> = text.rsplit('.').collect();
        Ok(Self { reversed: reversed.join(".").into(), text: text.into() })
    }

    /// As it is compared and served.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it stands for every name below another.
    pub fn is_wildcard(&self) -> bool {
        self.text.starts_with("*.")
    }

    /// The name, without `*.`.
    pub fn base(&self) -> &str {
        self.text.strip_prefix("*.").unwrap_or(&self.text)
    }

    /// Whether every name that this stands for is `other`, or below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let below = self.base().strip_suffix(other.base()).is_some_and(|front| front.ends_with('.'));
        below || (self.base() == other.base() && self.is_wildcard() >= other.is_wildcard())
    }

    /// The wildcards that stand for this one too, the nearest first.
    pub fn wildcards_around(&self) -> impl Iterator<Item = Self> + '_ {
        let mut rest = self.base();
        std::iter::from_fn(move || {
            rest = rest.split_once('.')?.1;
            let reversed: Vec<_> = rest.rsplit('.').chain(["*"]).collect();
            Some(Self { text: format!("*.{rest}").into(), reversed: reversed.join(".").into() })
        })
    }

    /// Whether there is a name that both stand for.
    pub fn overlaps(&self, other: &Self) -> bool {
        self == other
            || (self.is_wildcard() && other.is_within(self))
            || (other.is_wildcard() && self.is_within(other))
    }
}

impl Ord for Host {
    fn cmp(&self, other: &Self) -> Ordering {
        self.reversed.cmp(&other.reversed)
    }
}

impl PartialOrd for Host {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Host({})", self.text)
    }
}

fn check_label(label: &str) -> Result<(), HostError> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let well_formed = (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-');
    if !well_formed {
        return Err(HostError::Label { label: label.to_owned() });
    }
    if label.starts_with("xn--") {
        // Only the one form that clients make of a name: of two that look alike to a resolver one would be nobody's.
        let (unicode, valid) = idna::domain_to_unicode(label);
        let again = valid.and_then(|()| idna::domain_to_ascii(&unicode));
        if again.ok().as_deref() != Some(label) {
            return Err(HostError::Punycode { label: label.to_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
