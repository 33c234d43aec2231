//! The last Events about a Function.

use catnap_crds::Function;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use serde::Serialize;

use crate::connection::Connection;
use crate::connection::call::{Act, CallError};

/// Events that are told; what is older is in the audit log of whoever keeps one.
const LAST: usize = 10;

/// An Event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Happened {
    /// When it happened last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) warning: bool,
    /// How often it happened.
    pub(crate) count: i32,
}

/// The last ones, the latest first.
pub(super) async fn read(connection: &Connection, function: &Function) -> Result<Vec<Happened>, CallError> {
    let namespace = function.metadata.namespace.as_deref().unwrap_or(&connection.namespace);
    let api: Api<Event> = Api::namespaced(connection.client.clone(), namespace);
    let uid = function.metadata.uid.as_deref().unwrap_or_default();
    let parameters = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let act = Act::on_all("list", "events", Some(namespace));
    let list = connection.call(act, api.list(&parameters)).await?;
    let mut happened: Vec<_> = list.items.into_iter().map(Happened::from).collect();
    happened.sort_by_key(|event| std::cmp::Reverse(event.at));
    happened.truncate(LAST);
    Ok(happened)
}

impl From<Event> for Happened {
    fn from(event: Event) -> Self {
        let series = event.series.as_ref();
        let at = series
            .and_then(|series| series.last_observed_time.as_ref())
            .or(event.event_time.as_ref())
            .map(|time| time.0)
            .or(event.last_timestamp.as_ref().map(|time| time.0));
        Self {
            at,
            warning: event.type_.as_deref() == Some("Warning"),
            count: series.and_then(|series| series.count).or(event.count).unwrap_or(1),
            reason: event.reason.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        }
    }
}
