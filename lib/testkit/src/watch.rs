//! Watches: what changed after a version, and from then on what changes, a line each, until the client has enough.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{route::Route, selection::Selection};

/// Those who watch.
#[derive(Default)]
pub(crate) struct Watches(Vec<Watch>);

struct Watch {
    route: Route,
    selection: Selection,
    to: UnboundedSender<Bytes>,
}

/// The body of a watch's answer.
pub(crate) struct Changes(UnboundedReceiver<Bytes>);

impl Watches {
    /// A new one, which is told `missed` first: the changes since the version that it asks from.
    pub(crate) fn begin<'a>(
        &mut self,
        route: Route,
        selection: Selection,
        missed: impl Iterator<Item = (&'static str, &'a Value)>,
    ) -> Changes {
        let (to, changes) = unbounded_channel();
        let watch = Watch { route, selection, to };
        for (change, object) in missed {
            watch.tell(change, object);
        }
        self.0.push(watch);
        Changes(changes)
    }

    /// Tells everybody whom it concerns.
    pub(crate) fn tell(&mut self, collection: &str, change: &'static str, object: &Value) {
        self.0.retain(|watch| !watch.to.is_closed());
        for watch in self.0.iter().filter(|watch| watch.route.covers(collection)) {
            watch.tell(change, object);
        }
    }
}

impl Watch {
    fn tell(&self, change: &str, object: &Value) {
        if self.selection.takes(object) {
            // In the order of the real one: whoever reads an object needs no room to put it until its kind of change is known.
            let line = format!("{{\"type\":\"{change}\",\"object\":{object}}}\n");
            // A client that has gone is forgotten at the next change.
            let _ = self.to.send(line.into());
        }
    }
}

impl Body for Changes {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
