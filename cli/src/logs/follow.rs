//! `catnap logs --follow`: the logs of all pods as they are written, those of pods and containers that come later too.

use std::collections::BTreeSet;
use std::pin::pin;

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher::watcher};
use tokio::sync::mpsc;

use super::{LogsError, Source, cannot, line, prefix, write};
use crate::pods;
use crate::terminal::Terminal;

/// Lines on their way; a terminal that is slow makes the readers wait, not grow.
const LINES: usize = 256;

/// What a reader has to say.
enum Said {
    Line { pod: String, index: usize, line: Vec<u8> },
    Trouble(String),
}

/// The containers that are read.
struct Readers {
    source: Source,
    to: mpsc::Sender<Said>,
    /// UID of the pod, and how often its container was started anew.
    begun: BTreeSet<(String, i32)>,
    pods: Vec<String>,
}

/// What is wrong with the watch, as it was told last: one that is refused is asked for again and again.
#[derive(Default)]
struct Interruption(Option<String>);

/// Writes what `pods`, and those that come later, write; until Ctrl-C.
pub(super) async fn run(source: Source, pods: &[Pod], terminal: &mut Terminal) -> Result<(), LogsError> {
    let client = source.connection.client.clone();
    let api: Api<Pod> = Api::namespaced(client, &source.connection.namespace);
    let config = watcher::Config::default().labels(&pods::selector(&source.function));
    let changes = watcher(api, config).default_backoff();
    tokio::select! {
        followed = follow(source, pods, changes, terminal) => followed,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// The same for any stream of changes, until it ends or nobody reads.
pub(super) async fn follow(
    source: Source,
    pods: &[Pod],
    changes: impl Stream<Item = watcher::Result<Event<Pod>>>,
    terminal: &mut Terminal,
) -> Result<(), LogsError> {
    let mut changes = pin!(changes);
    let mut interruption = Interruption::default();
    let (to, mut lines) = mpsc::channel(LINES);
    let mut readers = Readers { source, to, begun: BTreeSet::new(), pods: Vec::new() };
    for pod in pods {
        readers.read(pod, false);
    }
    loop {
        tokio::select! {
            change = changes.try_next() => match change {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => {
                    interruption.end_with(&event);
                    if let Event::Apply(pod) | Event::InitApply(pod) = event {
                        readers.read(&pod, true);
                    }
                }
                Err(error) => {
                    if let Some(news) = interruption.news(&error) {
                        terminal.note(news);
                    }
                }
            },
            said = lines.recv() => match said {
                Some(Said::Line { pod, index, line }) => {
                    write(&prefix(&pod, index, terminal.look()), &line, terminal)?;
                }
                Some(Said::Trouble(note)) => terminal.note(&note),
                None => return Ok(()),
            },
        }
    }
}

impl Interruption {
    /// What to say of an error, unless that was said last.
    fn news(&mut self, error: &watcher::Error) -> Option<&str> {
        let text = format!("later pods may be missed: {error}");
        if self.0.as_ref() == Some(&text) {
            return None;
        }
        Some(self.0.insert(text).as_str())
    }

    /// Whoever may list pods and not watch them gets lists in between: only a change tells that the watch goes on.
    fn end_with(&mut self, event: &Event<Pod>) {
        if matches!(event, Event::Apply(_) | Event::Delete(_)) {
            self.0 = None;
        }
    }
}

impl Readers {
    /// Begins to read a pod's container, once each time that it was started; `new`: it may have begun since we looked.
    fn read(&mut self, pod: &Pod, new: bool) {
        let Some(uid) = pod.metadata.uid.clone().filter(|_| self.source.takes(pod)) else { return };
        let Some(starts) = starts(pod, &self.source.arguments.container) else { return };
        if !self.begun.insert((uid, starts)) {
            return;
        }
        let name = pod.metadata.name.clone().unwrap_or_default();
        let index = self.pods.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.pods.push(name.clone());
            self.pods.len() - 1
        });
        let (source, to) = (self.source.clone(), self.to.clone());
        tokio::spawn(async move {
            if let Err(note) = copy(&source, &name, index, new, &to).await {
                // Whoever listened is gone, or hears why.
                let _ = to.send(Said::Trouble(note)).await;
            }
        });
    }
}

/// How often a container was started anew; `None` before it runs for the first time.
fn starts(pod: &Pod, container: &str) -> Option<i32> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let found = all.into_iter().find(|status| status.name == container)?;
    let state = found.state.as_ref()?;
    (state.running.is_some() || state.terminated.is_some()).then_some(found.restart_count)
}

async fn copy(
    source: &Source,
    pod: &str,
    index: usize,
    new: bool,
    to: &mpsc::Sender<Said>,
) -> Result<(), String> {
    let opened = source.open(pod, &source.parameters(new)).await;
    let mut lines = pin!(opened.map_err(|error| cannot(pod, &error))?);
    loop {
        let line = match line(&mut lines).await {
            Ok(None) => return Ok(()),
            Ok(Some(line)) => line,
            Err(error) => return Err(format!("the log of pod {pod} breaks off: {error}")),
        };
        if to.send(Said::Line { pod: pod.to_owned(), index, line }).await.is_err() {
            return Ok(());
        }
    }
}
