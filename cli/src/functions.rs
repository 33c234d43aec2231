//! Functions as the API server has them, read so that nothing is lost that a newer cluster knows and this build does not.

use catnap_crds::Function;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::runtime::watcher;
use serde_json::Value;

use crate::connection::Connection;
use crate::connection::call::{Act, CallError, FUNCTIONS, with_similar};
use crate::name;

/// Objects that one answer holds; there may be ten thousand.
const PAGE: u32 = 500;

/// One Function.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// As it came.
    pub(crate) object: DynamicObject,
    /// As this build understands it; `None` if it does not.
    pub(crate) function: Option<Function>,
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

    /// To watch them, and to write.
    pub(crate) fn api(&self) -> Api<DynamicObject> {
        let (client, resource) = (self.connection.client.clone(), resource());
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }

    /// What makes it useless to watch on: the right was taken away, or the kind.
    pub(crate) fn refused(&self, act: Act, error: &watcher::Error) -> Option<CallError> {
        let (watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
        else {
            return None;
        };
        let lasting = matches!(status.code, 401 | 403 | 404);
        lasting.then(|| self.connection.failed(act, kube::Error::Api(status.clone())))
    }

    /// All with these labels, in the order of their names.
    pub(crate) async fn list(&self, labels: Option<&str>) -> Result<Vec<Found>, CallError> {
        let api = self.api();
        let mut parameters = ListParams::default().limit(PAGE);
        parameters.label_selector = labels.map(str::to_owned);
        let mut found = Vec::new();
        loop {
            let act = Act::on_all("list", FUNCTIONS, self.namespace.as_deref());
            let page = self.connection.call(act, api.list(&parameters)).await?;
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

impl From<DynamicObject> for Found {
    fn from(mut object: DynamicObject) -> Self {
        // Of no use to a reader, and half of the text.
        object.metadata.managed_fields = None;
        // Items of a list need not say their kind.
        let ApiResource { api_version, kind, .. } = resource();
        object.types.get_or_insert(kube::core::TypeMeta { api_version, kind });
        let function = serde_json::to_value(&object).and_then(serde_json::from_value).ok();
        Self { object, function }
    }
}

impl Found {
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
