//! Functions as the API server has them, read so that nothing is lost that a newer cluster knows and this build does not.

use std::sync::Arc;

use catnap_crds::Function;
use catnap_crds::guarded::{Guarded, LEVELS, Unreadable, is_cut};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams, Preconditions};
use kube::core::{Request, TypeMeta};
use kube::runtime::watcher;
use serde_json::Value;

use crate::connection::Connection;
use crate::connection::call::{Act, CallError, FUNCTIONS, with_similar};
use crate::exit::Failure;
use crate::name;

/// Objects that one answer holds; there may be ten thousand.
const PAGE: u32 = 500;

/// A Function as it is read: one that cannot be does not hide the others.
pub(crate) type GuardedObject = Guarded<DynamicObject>;

/// One Function.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// As it came, without what is nested too deep to be read.
    pub(crate) object: DynamicObject,
    /// As this build understands it; `None` if it does not.
    pub(crate) function: Option<Function>,
    /// Why it does not.
    obstacle: Option<Obstacle>,
}

/// What keeps a Function from being understood.
#[derive(Clone, Debug)]
enum Obstacle {
    Depth,
    Fields(Arc<serde_json::Error>),
}

/// Why a Function cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreadableError {
    /// Something in it is deeper than anything is read.
    #[error(
        "function/{name} has more than {LEVELS} objects and lists inside each other: what is deeper is not read, and no pod can have it"
    )]
    TooDeep {
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// A field that this build does not understand.
    #[error("function/{name} has fields that this catnap cannot read: it is older than the cluster's")]
    Newer {
        /// Its name.
        name: String,
        /// What is wrong with them.
        #[source]
        source: Arc<serde_json::Error>,
    },
}

/// The Functions of a namespace, or of all.
#[derive(Clone)]
pub(crate) struct Functions {
    connection: Connection,
    namespace: Option<String>,
}

impl Functions {
    /// Those of the connection's namespace.
    pub(crate) fn new(connection: &Connection) -> Self {
        Self { connection: connection.clone(), namespace: Some(connection.namespace.clone()) }
    }

    /// Those of all namespaces.
    pub(crate) fn everywhere(connection: &Connection) -> Self {
        Self { connection: connection.clone(), namespace: None }
    }

    /// Their namespace; `None` for all.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// To watch them, and to change them.
    pub(crate) fn api(&self) -> Api<GuardedObject> {
        let (client, resource) = (self.connection.client.clone(), resource());
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }

    /// Makes one in the connection's namespace.
    pub(crate) async fn create(
        &self,
        parameters: &PostParams,
        object: &DynamicObject,
    ) -> Result<Found, CallError> {
        let Connection { client, namespace, .. } = &self.connection;
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource());
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let act = Act::on_function("create", namespace, name);
        let created = self.connection.call(act, api.create(parameters, object)).await?;
        Ok(Found::from(Guarded(Ok(created))))
    }

    /// Deletes the one that was found, and not another that was made since under its name.
    pub(crate) async fn delete(&self, found: &Found) -> Result<(), CallError> {
        let name = found.name();
        let preconditions = Preconditions { uid: found.object.metadata.uid.clone(), resource_version: None };
        let parameters = DeleteParams::background().preconditions(preconditions);
        let act = Act::on_function("delete", &self.connection.namespace, name);
        let (url, client) = (self.api().resource_url().to_owned(), &self.connection.client);
        let deleting = async {
            let request = Request::new(url).delete(name, &parameters).map_err(kube::Error::BuildRequest)?;
            // The answer may be the whole object, which may be nested too deep to be read.
            client.request_text(request).await
        };
        self.connection.call(act, deleting).await.map(|_| ())
    }

    /// What makes it useless to watch on: the right was taken away, or the kind.
    pub(crate) fn refused(&self, act: Act, error: &watcher::Error) -> Option<CallError> {
        self.connection.refused(act, error)
    }

    /// All with these labels, in the order of their names.
    pub(crate) async fn list(&self, labels: Option<&str>) -> Result<Vec<Found>, CallError> {
        let api = self.api();
        let mut parameters = ListParams::default().limit(PAGE);
        parameters.label_selector = labels.map(str::to_owned);
        let mut found = Vec::new();
        loop {
            let act = Act::on_all("list", FUNCTIONS, self.namespace.as_deref());
            let page = match self.connection.call(act, api.list(&parameters)).await {
                // The state that the pages are of is forgotten after some minutes: then all in one answer.
                Err(error) if error.is_expired() && parameters.continue_token.is_some() => {
                    found.clear();
                    (parameters.limit, parameters.continue_token) = (None, None);
                    continue;
                }
                page => page?,
            };
            found.extend(page.items.into_iter().map(Found::from));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    /// One of the connection's namespace; if it is not there, with the names that are like it.
    pub(crate) async fn get(&self, name: &str) -> Result<Found, CallError> {
        let act = Act::on_function("get", &self.connection.namespace, name);
        match self.connection.call(act, self.api().get(name)).await {
            Err(error) if error.is_not_found() => {
                // Only to help: whatever goes wrong here is not what went wrong.
                let others = self.list(None).await.unwrap_or_default();
                let names = others.iter().filter_map(|other| other.object.metadata.name.clone());
                Err(with_similar(error, name::similar(name, names)))
            }
            answer => Ok(Found::from(answer?)),
        }
    }
}

impl From<GuardedObject> for Found {
    fn from(Guarded(read): GuardedObject) -> Self {
        let (mut object, read) = match read {
            Ok(object) => (object, Ok(())),
            Err(Unreadable { metadata, source }) => {
                let mut outline = DynamicObject::new("", &resource());
                outline.metadata = metadata;
                (outline, Err(Obstacle::Fields(source)))
            }
        };
        // Of no use to a reader, and half of the text.
        object.metadata.managed_fields = None;
        // Items of a list need not say their kind.
        let ApiResource { api_version, kind, .. } = resource();
        object.types.get_or_insert(TypeMeta { api_version, kind });
        match read.and_then(|()| understood(&object)) {
            Ok(function) => Self { object, function: Some(function), obstacle: None },
            Err(obstacle) => Self { object, function: None, obstacle: Some(obstacle) },
        }
    }
}

/// The Function that an object is.
fn understood(object: &DynamicObject) -> Result<Function, Obstacle> {
    if is_cut(&object.data) {
        return Err(Obstacle::Depth);
    }
    let function = serde_json::to_value(object).and_then(serde_json::from_value);
    function.map_err(|error| Obstacle::Fields(Arc::new(error)))
}

impl Found {
    /// The Function, or why there is none to work with.
    pub(crate) fn understood(&self) -> Result<&Function, UnreadableError> {
        let (name, namespace) = (self.name().to_owned(), self.namespace().to_owned());
        match (&self.function, &self.obstacle) {
            (Some(function), _) => Ok(function),
            (None, Some(Obstacle::Fields(source))) => {
                Err(UnreadableError::Newer { name, source: Arc::clone(source) })
            }
            (None, Some(Obstacle::Depth) | None) => Err(UnreadableError::TooDeep { name, namespace }),
        }
    }

    /// Whether something of it is missing in the object: it is nested too deep to be read.
    pub(crate) fn is_too_deep(&self) -> bool {
        matches!(self.obstacle, Some(Obstacle::Depth))
    }

    pub(crate) fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.object.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// As JSON, for output.
    pub(crate) fn value(&self) -> Value {
        serde_json::to_value(&self.object).unwrap_or_default()
    }
}

/// Functions among the API's resources.
pub(crate) fn resource() -> ApiResource {
    ApiResource::erase::<Function>(&())
}

impl Failure for UnreadableError {
    fn advice(&self) -> Option<String> {
        match self {
            Self::TooDeep { name, namespace } => Some(format!(
                "`kubectl delete functions.catnap.dev {name} --namespace {namespace}`, and make it again with another podTemplate"
            )),
            Self::Newer { .. } => {
                Some("a newer catnap, of the version that is installed in the cluster".to_owned())
            }
        }
    }
}
