//! Reads the parts of the page, all at once: each may fail without the others.

use catnap_crds::Function;

use super::page::{Page, Parts, Section};
use super::{cold_starts, events, pods};
use crate::connection::Connection;
use crate::{inside, revisions};

/// The whole page; `system` is the namespace that Catnap is in.
pub(super) async fn page(connection: &Connection, function: &Function, system: &str) -> Page {
    let name = function.metadata.name.as_deref().unwrap_or_default();
    let (revisions, pods, decisions, cold_starts, events) = tokio::join!(
        revisions::read(connection, function),
        pods::read(connection, function),
        inside::decisions(connection, system, name),
        cold_starts::read(connection, system, name),
        events::read(connection, function),
    );
    let parts = Parts {
        revisions: Section::of(revisions),
        pods: Section::of(pods),
        decisions: Section::of(decisions),
        cold_starts: Section::of(cold_starts),
        events: Section::of(events),
    };
    Page::new(function, parts)
}
