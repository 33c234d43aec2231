//! One call to the API server, and the ways in which it fails, each with what to do.

use std::fmt;

use kube::client::AuthError;

use crate::exit::{Exit, Failure};

/// The resource of Functions, as roles name it.
pub(crate) const FUNCTIONS: &str = "functions.catnap.dev";

/// What is asked for, in the words of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Act {
    verb: &'static str,
    resource: &'static str,
    name: Option<Box<str>>,
    namespace: Option<Box<str>>,
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The object does not exist.
    #[error("there is no {}", act.object())]
    NotFound {
        /// What was wanted.
        act: Act,
        /// Names that are like the wanted one.
        similar: Vec<String>,
    },
    /// The kind does not exist.
    #[error("the cluster does not know {}", act.resource)]
    Missing {
        /// What was wanted.
        act: Act,
        /// Address of the API server.
        server: String,
    },
    /// The namespace does not exist.
    #[error("there is no namespace {namespace}: cannot {act}")]
    NoNamespace {
        /// What was wanted.
        act: Act,
        /// Its name.
        namespace: String,
    },
    /// The API server does not know the user.
    #[error("the API server at {server} does not accept your credentials")]
    Unauthorized {
        /// Its address.
        server: String,
        /// What it, or the program that gets credentials, said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The user may not do it.
    #[error("you may not {act}")]
    Forbidden {
        /// What was wanted.
        act: Act,
        /// What the API server said.
        #[source]
        source: Said,
    },
    /// No connection.
    #[error("cannot reach the API server at {server}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer.
    #[error("the API server at {server} has not answered within {seconds} s: cannot {act}")]
    Late {
        /// What was wanted.
        act: Act,
        /// Its address.
        server: Box<str>,
        /// How long it had.
        seconds: f64,
    },
    /// The API server says no for another reason.
    #[error("cannot {act}")]
    Refused {
        /// What was wanted.
        act: Act,
        /// The status of the answer.
        code: u16,
        /// What it said.
        #[source]
        source: Said,
    },
    /// An answer that cannot be understood, or none for a cause of our own.
    #[error("cannot {act}")]
    Broken {
        /// What was wanted.
        act: Act,
        /// What went wrong.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Words of the API server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Said(pub(crate) String);

impl Act {
    /// On all objects of a kind in a namespace, or in all of them.
    pub(crate) fn on_all(verb: &'static str, resource: &'static str, namespace: Option<&str>) -> Self {
        Self { verb, resource, name: None, namespace: namespace.map(Box::from) }
    }

    /// On one object.
    pub(crate) fn on(verb: &'static str, resource: &'static str, namespace: &str, name: &str) -> Self {
        Self { name: Some(name.into()), ..Self::on_all(verb, resource, Some(namespace)) }
    }

    /// On the Function of that name.
    pub(crate) fn on_function(verb: &'static str, namespace: &str, name: &str) -> Self {
        Self::on(verb, FUNCTIONS, namespace, name)
    }

    fn place(&self) -> String {
        self.namespace.as_deref().map_or(" in any namespace".to_owned(), |it| format!(" in namespace {it}"))
    }

    /// `function/hello in namespace default`.
    fn object(&self) -> String {
        let kind = if self.resource == FUNCTIONS { "function" } else { self.resource };
        format!("{kind}/{}{}", self.name.as_deref().unwrap_or_default(), self.place())
    }

    /// The question whether it is allowed, for kubectl.
    fn can_i(&self) -> String {
        let place = match &self.namespace {
            Some(namespace) => format!("--namespace {namespace}"),
            None => "--all-namespaces".to_owned(),
        };
        // What follows a slash is the name of an object to it, unless it is a path.
        let resource = match self.resource.split_once('/') {
            Some((kind, part)) if !kind.is_empty() => format!("{kind} --subresource={part}"),
            _ => self.resource.to_owned(),
        };
        format!("kubectl auth can-i {} {resource} {place}", self.verb)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, name, .. } = self;
        match name {
            Some(_) => write!(formatter, "{verb} {}", self.object()),
            None => write!(formatter, "{verb} {resource}{}", self.place()),
        }
    }
}

impl CallError {
    pub(super) fn new(act: Act, server: &str, error: kube::Error) -> Self {
        let server = server.to_owned();
        match error {
            kube::Error::Api(status) => Self::answered(act, server, status.code, status.message),
            kube::Error::Auth(source) => Self::Unauthorized { server, source: source.into() },
            kube::Error::Service(source) if source.is::<AuthError>() => Self::Unauthorized { server, source },
            kube::Error::Service(source) => Self::Unreachable { server, source },
            kube::Error::HyperError(source) => Self::Unreachable { server, source: source.into() },
            source => Self::Broken { act, source: Box::new(source) },
        }
    }

    fn answered(act: Act, server: String, code: u16, said: String) -> Self {
        // A kind that is not there is not found in words that name no object.
        let names_it = act.name.as_ref().is_some_and(|name| said.contains(&format!("\"{name}\"")));
        let namespace = act.namespace.as_deref().map(str::to_owned);
        let nowhere = namespace.filter(|it| said.contains(&format!("namespaces \"{it}\" not found")));
        match (code, nowhere) {
            (401, _) => Self::Unauthorized { server, source: Said(said).into() },
            (403, _) => Self::Forbidden { act, source: Said(said) },
            (404, Some(namespace)) => Self::NoNamespace { act, namespace },
            (404, None) if names_it => Self::NotFound { act, similar: Vec::new() },
            (404, None) => Self::Missing { act, server },
            _ => Self::Refused { act, code, source: Said(said) },
        }
    }

    /// Whether the object that was asked for does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the user may not do it.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    /// Whether what was asked for is of a state that the API server has forgotten.
    pub(crate) fn is_expired(&self) -> bool {
        matches!(self, Self::Refused { code: 410, .. })
    }

    /// Whether somebody else wrote in between.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }
}

impl Failure for CallError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotFound { .. } | Self::NoNamespace { .. } => Exit::NotFound,
            Self::Unauthorized { .. } | Self::Forbidden { .. } => Exit::NotAllowed,
            Self::Unreachable { .. } | Self::Late { .. } => Exit::Unreachable,
            Self::Missing { .. } | Self::Refused { .. } | Self::Broken { .. } => Exit::Failed,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::NotFound { similar, .. } if !similar.is_empty() => {
                Some(format!("{}?", similar.join(", or ")))
            }
            Self::NotFound { act, .. } if act.resource == FUNCTIONS => Some(
                "`catnap get --all-namespaces` lists every Function; --namespace says where to look"
                    .to_owned(),
            ),
            Self::NoNamespace { namespace, .. } => {
                Some(format!("`kubectl create namespace {namespace}`, or name another --namespace"))
            }
            Self::Missing { act, server } if act.resource == FUNCTIONS => {
                Some(format!("install Catnap's chart on {server}, or name another cluster with --context"))
            }
            Self::Unauthorized { .. } => Some("log in again, or name another --context".to_owned()),
            Self::Forbidden { act, .. } => Some(format!("`{}`, and ask who gives roles for it", act.can_i())),
            Self::Unreachable { .. } => {
                Some("another cluster with --context; `kubectl config get-contexts` lists them".to_owned())
            }
            Self::Late { .. } => Some("a longer --request-timeout".to_owned()),
            Self::NotFound { .. } | Self::Missing { .. } | Self::Refused { .. } | Self::Broken { .. } => None,
        }
    }
}

/// Adds the names that may have been meant.
pub(crate) fn with_similar(error: CallError, similar: Vec<String>) -> CallError {
    match error {
        CallError::NotFound { act, .. } => CallError::NotFound { act, similar },
        other => other,
    }
}

#[cfg(test)]
mod tests;
