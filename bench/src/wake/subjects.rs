//! Functions that requests wake, and Deployments that one client raises by hand: the same objects, seen by the same watch.

use std::time::Duration;

use anyhow::Context;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::observer::{Observer, Raise};
use crate::cluster::ClusterArgs;
use crate::cluster::floor::Floor;
use crate::cluster::function::ColdFunction;

/// Objects that are made, and connections that are opened, at once.
const AT_ONCE: usize = 16;
/// As long as a Function here stays after its last request.
const IDLE: Duration = Duration::from_secs(1);
/// As long where all are woken at once: none goes before the last has come, for none of the floor's does.
const IDLE_OF_ALL: Duration = Duration::from_secs(30);

/// A Function and its Deployment.
struct Woken {
    function: ColdFunction,
    deployment: String,
}

/// As many of each.
pub(super) struct Subjects {
    functions: Vec<Woken>,
    floors: Vec<Floor>,
    observer: Observer,
    /// Calls of the one client that are under way at once.
    writers: usize,
}

/// One write that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// From the moment before the request was sent, or the call was made, until the watch showed the write.
    pub(super) after: Duration,
    /// An activator wrote it itself.
    pub(super) alone: bool,
}

impl Written {
    fn since(start: Instant, raise: Raise) -> Self {
        Self { after: raise.seen - start, alone: raise.alone }
    }
}

impl Subjects {
    /// Makes them and waits until all rest at zero.
    pub(super) async fn prepare(
        client: &Client,
        cluster: &ClusterArgs,
        count: usize,
        writers: usize,
    ) -> anyhow::Result<Self> {
        let special = json!({"scale": {"initial": 0, "idle": {"after": format!("{}s", IDLE.as_secs())}}});
        let functions = (0..count).map(async |number| {
            let name = format!("hello-{number}");
            let function = ColdFunction::apply(client, cluster, &name, &special).await?;
            let deployment = function.deployment().await?;
            let name = deployment.metadata.name.clone().context("a Deployment without a name")?;
            anyhow::Ok((Woken { function, deployment: name }, deployment))
        });
        let made = stream::iter(functions).buffer_unordered(AT_ONCE);
        let (functions, originals): (Vec<_>, Vec<_>) =
            made.try_collect::<Vec<_>>().await?.into_iter().unzip();
        let floors = originals.iter().enumerate().map(async |(number, original)| {
            Floor::like(client, &cluster.namespace, &format!("floor-{number}"), original).await
        });
        let floors = stream::iter(floors).buffer_unordered(AT_ONCE).try_collect().await?;
        let observer = Observer::start(client, &cluster.namespace).await?;
        let subjects = Self { functions, floors, observer, writers };
        subjects.quiet().await?;
        Ok(subjects)
    }

    /// Waits until nothing of all this is there and nobody changes anything.
    pub(super) async fn quiet(&self) -> anyhow::Result<()> {
        self.observer.quiet().await
    }

    /// Whether this Function rests.
    pub(super) fn function_rests(&self, number: usize) -> bool {
        self.functions.get(number).is_some_and(|woken| self.observer.rests(&woken.deployment))
    }

    /// Whether this Deployment rests.
    pub(super) fn floor_rests(&self, number: usize) -> bool {
        self.floors.get(number).is_some_and(|floor| self.observer.rests(floor.name()))
    }

    /// Sends one request and leaves when its write is seen; `None` when there was none, or an answer before it.
    pub(super) async fn wake(&self, number: usize) -> anyhow::Result<Option<Written>> {
        let Woken { function, deployment } = self.functions.get(number).context("no such Function")?;
        let mut caller = function.connect().await?;
        let start = Instant::now();
        ask(&mut caller, function).await?;
        let raise = self.observer.raised(deployment, start).await?;
        Ok(raise.filter(|_| is_held(&caller)).map(|raise| Written::since(start, raise)))
    }

    /// Raises one Deployment by hand.
    pub(super) async fn write(&self, number: usize) -> anyhow::Result<Option<Written>> {
        let floor = self.floors.get(number).context("no such Deployment")?;
        let start = Instant::now();
        floor.update(1).await?;
        let raise = self.observer.raised(floor.name(), start).await?;
        Ok(raise.map(|raise| Written::since(start, raise)))
    }

    /// As [`Self::write`], and lowers it again after the time after which a Function goes.
    pub(super) async fn write_and_lower(&self, number: usize) -> anyhow::Result<Option<Written>> {
        let written = self.write(number).await?;
        sleep(IDLE).await;
        self.lower(number).await?;
        Ok(written)
    }

    /// Lowers one Deployment by hand.
    pub(super) async fn lower(&self, number: usize) -> anyhow::Result<()> {
        self.floors.get(number).context("no such Deployment")?.update(0).await
    }

    /// From now on Functions stay until all of them have come.
    pub(super) async fn stay_for_all(&self) -> anyhow::Result<()> {
        self.stay(IDLE_OF_ALL).await
    }

    /// From now on Functions go as soon as at the beginning.
    pub(super) async fn stay_for_each(&self) -> anyhow::Result<()> {
        self.stay(IDLE).await
    }

    async fn stay(&self, after: Duration) -> anyhow::Result<()> {
        let told = self.functions.iter().map(|woken| woken.function.stay(after));
        stream::iter(told).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Sends a request to every Function in the same moment; what followed from each, counted from the first.
    pub(super) async fn wake_all(&self) -> anyhow::Result<Vec<Option<Written>>> {
        let connecting = self.functions.iter().map(|woken| woken.function.connect());
        let mut callers: Vec<TcpStream> = stream::iter(connecting).buffered(AT_ONCE).try_collect().await?;
        let start = Instant::now();
        for (woken, caller) in self.functions.iter().zip(&mut callers) {
            ask(caller, &woken.function).await?;
        }
        let leaving = self.functions.iter().zip(callers).map(async |(woken, caller)| {
            let raise = self.observer.raised(&woken.deployment, start).await?;
            // It leaves here: an activator that goes on asking for a pod's answer would be measured too.
            anyhow::Ok(raise.filter(|_| is_held(&caller)).map(|raise| Written::since(start, raise)))
        });
        try_join_all(leaving).await
    }

    /// Raises every Deployment by hand, as fast as one client with a bounded number of calls at once can.
    pub(super) async fn write_all(&self) -> anyhow::Result<Vec<Option<Written>>> {
        let start = Instant::now();
        self.update_all(1).await?;
        let raises = self.floors.iter().map(|floor| self.observer.raised(floor.name(), start));
        let raises = try_join_all(raises).await?;
        Ok(raises.into_iter().map(|raise| raise.map(|raise| Written::since(start, raise))).collect())
    }

    /// Lowers every Deployment by hand.
    pub(super) async fn lower_all(&self) -> anyhow::Result<()> {
        self.update_all(0).await
    }

    async fn update_all(&self, replicas: i32) -> anyhow::Result<()> {
        let updates = self.floors.iter().map(|floor| floor.update(replicas));
        stream::iter(updates).buffer_unordered(self.writers).try_collect().await
    }
}

async fn ask(caller: &mut TcpStream, function: &ColdFunction) -> anyhow::Result<()> {
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", function.host());
    caller.write_all(request.as_bytes()).await.context("cannot send a request")
}

/// Nothing was answered: pretended pods do not, so an answer would be a refusal.
fn is_held(caller: &TcpStream) -> bool {
    let read = caller.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
