//! What a Function's names besides its own become: which hosts it has, which tags get a name, and whom else that concerns.
//!
//! One arbiter decides for the whole cluster, so that two Functions that are looked at in the same moment never get the same
//! host. It remembers what it gave; a new one learns it from the statuses.

use std::collections::{BTreeMap, BTreeSet};

use catnap_crds::{Function, Visibility, names};
use k8s_openapi::jiff::Timestamp;

use super::{
    Book, ClaimState, Claimant, DomainTemplate, Host, HostRules, HostVerdict, HostVerdicts, Suffixes, Wish,
};
use crate::{Problem, Reason, Scope};

/// What the installation says about hosts.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// Who may claim which.
    pub rules: HostRules,
    /// How the names under the installation's domain are made.
    pub template: DomainTemplate,
    /// How clients outside the cluster speak: `http` or `https`. Only for `status.urls`.
    pub scheme: &'static str,
}

/// Decides; see the module.
#[derive(Debug)]
pub struct Arbiter {
    settings: HostSettings,
    book: Book,
    namespaces: BTreeMap<String, Suffixes>,
    /// Functions by the names that their tags would have, and back.
    taggers: BTreeMap<Claimant, BTreeSet<Claimant>>,
    tagged: BTreeMap<Claimant, Vec<Claimant>>,
}

/// A host that a Function asks for.
struct Asked {
    host: String,
    tag: Option<String>,
    /// As it is compared, or why it cannot be given at all.
    wish: Result<Host, Problem>,
}

impl Arbiter {
    /// One that knows nobody.
    pub fn new(settings: HostSettings) -> Self {
        Self {
            settings,
            book: Book::default(),
            namespaces: BTreeMap::new(),
            taggers: BTreeMap::new(),
            tagged: BTreeMap::new(),
        }
    }

    /// One that knows the same namespaces and nobody, to be filled with [`note`](Self::note) and to
    /// [take over](Self::take_over).
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { namespaces: self.namespaces.clone(), ..Self::new(self.settings.clone()) }
    }

    /// Forgets all that it knew for what `anew` was told about the Functions that `exist`.
    pub fn take_over(&mut self, anew: Self, exist: impl Fn(&Claimant) -> bool) {
        let Self { settings: _, book, namespaces: _, taggers, tagged } = anew;
        (self.book, self.taggers, self.tagged) = (book, taggers, tagged);
        self.retain(exist);
        self.book.settle();
    }

    /// Takes in what a Function asks for, for the next decision.
    pub fn note(&mut self, function: &Function, exists: impl Fn(&str) -> bool) {
        self.ask(function, &exists);
    }

    /// Decides about `function`, in a namespace where the names `exist` are Functions; also tells for which others something
    /// changed by that. `None` for a Function that was never stored.
    pub fn judge(
        &mut self,
        function: &Function,
        exists: impl Fn(&str) -> bool,
    ) -> Option<(HostVerdicts, BTreeSet<Claimant>)> {
        let who = claimant(function)?;
        let new = !function.metadata.uid.as_ref().is_some_and(|uid| self.book.knows(&who, uid));
        let (asked, mut verdicts) = self.ask(function, &exists)?;
        let mut concerned = self.book.settle();
        // Those that have a tag of this name lose it.
        concerned.extend(self.taggers.get(&who).filter(|_| new).into_iter().flatten().cloned());
        concerned.remove(&who);
        for Asked { host, tag, wish } in asked {
            let refused = match wish {
                Err(problem) => Some(problem),
                Ok(host) => match self.book.verdict(&who, &host) {
                    ClaimState::Has => None,
                    ClaimState::Taken { host: other, by } => Some(taken(&who, &host, &other, &by)),
                    // It is being deleted and gets nothing new.
                    ClaimState::Unsettled => continue,
                },
            };
            if refused.is_none() && !host.starts_with("*.") {
                verdicts.urls.push(format!("{}://{host}", self.settings.scheme));
            }
            verdicts.verdicts.push(HostVerdict { host, tag, refused });
        }
        Some((verdicts, concerned))
    }

    /// A Function is gone. Tells for whom that changes something.
    pub fn forget(&mut self, who: &Claimant) -> BTreeSet<Claimant> {
        self.book.forget(who);
        self.tag(who, Vec::new());
        let mut concerned = self.book.settle();
        concerned.extend(self.taggers.get(who).into_iter().flatten().cloned());
        concerned
    }

    /// Forgets those that do not `exist`. Tells for whom that changes something.
    pub fn retain(&mut self, exist: impl Fn(&Claimant) -> bool) -> BTreeSet<Claimant> {
        let gone: Vec<_> = self.book.claimants().filter(|who| !exist(who)).cloned().collect();
        gone.iter().flat_map(|who| self.forget(who)).collect()
    }

    /// A namespace is there, with this annotation about suffixes, or is not. Whether that changes anything.
    pub fn observe_namespace(&mut self, name: &str, annotation: Option<Option<&str>>) -> bool {
        match annotation.map(|annotation| annotation.map(Suffixes::parse).unwrap_or_default()) {
            None => self.namespaces.remove(name).is_some(),
            Some(suffixes) if self.namespaces.get(name) == Some(&suffixes) => false,
            Some(suffixes) => {
                self.namespaces.insert(name.to_owned(), suffixes);
                true
            }
        }
    }

    /// The namespaces that are known.
    pub fn namespaces(&self) -> impl Iterator<Item = &String> {
        self.namespaces.keys()
    }

    /// Notes the names that the tags of `who` would have.
    fn tag(&mut self, who: &Claimant, services: Vec<Claimant>) {
        for service in self.tagged.remove(who).into_iter().flatten() {
            if let Some(taggers) = self.taggers.get_mut(&service) {
                taggers.remove(who);
                if taggers.is_empty() {
                    self.taggers.remove(&service);
                }
            }
        }
        for service in &services {
            self.taggers.entry(service.clone()).or_default().insert(who.clone());
        }
        if !services.is_empty() {
            self.tagged.insert(who.clone(), services);
        }
    }

    /// Enters what `function` asks for in the book. The verdicts are those about no host.
    fn ask(
        &mut self,
        function: &Function,
        exists: &impl Fn(&str) -> bool,
    ) -> Option<(Vec<Asked>, HostVerdicts)> {
        let who = claimant(function)?;
        let uid = function.metadata.uid.clone()?;
        let created = function.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
        let leaving = function.metadata.deletion_timestamp.is_some();
        let first = !self.book.knows(&who, &uid);
        let mut verdicts = taken_tags(function, &who, exists);
        let mut asked = self.given(function, &who, first, &mut verdicts);
        asked.extend(self.claimed(function, &who, first));
        let mut seen = BTreeSet::new();
        // A status has each host once. What the installation gives needs no claim.
        asked.retain(|asked| seen.insert(asked.host.clone()));
        let wishes = asked.iter().filter_map(|asked| {
            let host = asked.wish.as_ref().ok()?.clone();
            // Once it is in the book, the book knows better than a status.
            let had = first && accepted(function, host.as_str());
            let stays = had || self.book.verdict(&who, &host) == ClaimState::Has;
            (stays || !leaving).then_some(Wish { host, had })
        });
        let wishes: Vec<_> = wishes.collect();
        self.book.observe(&who, &uid, created, wishes);
        let services = function.tags().into_iter().map(|tag| Claimant {
            namespace: who.namespace.clone(),
            name: names::tag_service(tag, &who.name),
        });
        self.tag(&who, services.collect());
        Some((asked, verdicts))
    }

    /// The names under the installation's domain.
    fn given(
        &self,
        function: &Function,
        who: &Claimant,
        first: bool,
        verdicts: &mut HostVerdicts,
    ) -> Vec<Asked> {
        if function.spec.http.visibility != Visibility::External {
            return Vec::new();
        }
        let Some(domain) = &self.settings.rules.domain else {
            let message = "http.visibility: External needs a domain, and this installation has none; an administrator can set the \
                           chart's value domain";
            verdicts.problems.push(Problem::lasting(Reason::HostNotAllowed, Scope::Hosts, message));
            return Vec::new();
        };
        let tags = function.spec.traffic.iter().filter_map(|target| target.tag.as_deref());
        let tags = tags.filter(|tag| !verdicts.taken_tags.contains(*tag)).map(Some);
        let given = std::iter::once(None).chain(tags).map(|tag| {
            let host = self.settings.template.host(who, tag, domain);
            let not_given = |why: &str| {
                let message = format!(
                    "{host} cannot be given: {why}; choose shorter or other names, or a host of its own"
                );
                Problem::lasting(Reason::HostNotAllowed, Scope::Hosts, message)
            };
            let wish = match Host::parse(&host) {
                Err(error) => Err(not_given(&error.to_string())),
                Ok(parsed) if self.is_anothers(&parsed, who) && !self.has(function, who, &parsed, first) => {
                    Err(not_given("it is a name of another namespace, one with a longer name"))
                }
                Ok(parsed) => Ok(parsed),
            };
            Asked { host, tag: tag.map(str::to_owned), wish }
        });
        given.collect()
    }

    /// Whether a name under the installation's domain is another namespace's: of those that it could be of it is that with the
    /// longest name. By age a tenant could take the names of another's namespace before that has them.
    fn is_anothers(&self, host: &Host, who: &Claimant) -> bool {
        let label = host.as_str().split('.').next().unwrap_or_default();
        let mut possible = self.settings.template.possible_namespaces(label);
        possible.any(|other| other.len() > who.namespace.len() && self.namespaces.contains_key(other))
    }

    /// Whether it has the host already. `first`: it is not in the book yet, and its status says so.
    fn has(&self, function: &Function, who: &Claimant, host: &Host, first: bool) -> bool {
        self.book.verdict(who, host) == ClaimState::Has || (first && accepted(function, host.as_str()))
    }

    /// The hosts of `spec.http.hosts`.
    fn claimed(&self, function: &Function, who: &Claimant, first: bool) -> Vec<Asked> {
        // A namespace that is not seen yet will be, and its Functions are looked at then.
        let Some(suffixes) = self.namespaces.get(&who.namespace) else { return Vec::new() };
        let is_namespace = |name: &str| self.namespaces.contains_key(name);
        let not_allowed = |message| Problem::lasting(Reason::HostNotAllowed, Scope::Hosts, message);
        let claim = |text: &String| {
            let host = match Host::parse(text) {
                Ok(host) => host,
                Err(error) => {
                    let wish = Err(not_allowed(format!("{text} cannot be claimed: {error}")));
                    return Asked { host: text.clone(), tag: None, wish };
                }
            };
            let wish = match self.settings.rules.check(&host, suffixes, is_namespace) {
                Err(refusal)
                    if refusal.ends_what_was_accepted() || !self.has(function, who, &host, first) =>
                {
                    Err(not_allowed(refusal.to_string()))
                }
                Ok(()) | Err(_) => Ok(host.clone()),
            };
            Asked { host: host.to_string(), tag: None, wish }
        };
        function.spec.http.hosts.iter().map(claim).collect()
    }
}

fn claimant(function: &Function) -> Option<Claimant> {
    let metadata = &function.metadata;
    metadata.uid.as_ref()?;
    Some(Claimant { namespace: metadata.namespace.clone()?, name: metadata.name.clone()? })
}

/// Which of them get no name, because a Function has it.
fn taken_tags(function: &Function, who: &Claimant, exists: &impl Fn(&str) -> bool) -> HostVerdicts {
    let mut verdicts = HostVerdicts::default();
    for tag in function.tags() {
        let service = names::tag_service(tag, &who.name);
        if exists(&service) {
            let message = format!(
                "the tag {tag} gets no name: {service} is the name of a Function; choose another tag"
            );
            verdicts.problems.push(Problem::lasting(Reason::TagNotRouted, Scope::Hosts, message));
            verdicts.taken_tags.insert(tag.to_owned());
        }
    }
    verdicts
}

fn accepted(function: &Function, host: &str) -> bool {
    function.status.iter().flat_map(|status| &status.hosts).any(|it| it.accepted && it.host == host)
}

/// Tells who asks why not. Of other namespaces a tenant learns no names.
fn taken(who: &Claimant, host: &Host, other: &Host, by: &Claimant) -> Problem {
    let owner = if by.namespace == who.namespace {
        format!("the Function {}", by.name)
    } else {
        "a Function of another namespace".to_owned()
    };
    let message = if host == other {
        format!("{host} belongs to {owner}; choose another host, or have it given up there")
    } else {
        format!(
            "{host} overlaps {other}, which belongs to {owner}; choose another host, or have that one given up"
        )
    };
    Problem::lasting(Reason::HostTaken, Scope::Hosts, message)
}

#[cfg(test)]
mod tests;
