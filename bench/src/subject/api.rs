//! The API server of a benchmark: it keeps what it is given and what activators write of themselves, lets `/scale` be read and
//! written, and its watches say what is new.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The running server, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) address: SocketAddr,
    store: Arc<Store>,
    serving: JoinHandle<()>,
}

/// Every version of every object, oldest first, each with the end of its collection's path: the n-th has the resource version
/// n + 1, as a watcher takes 0 for none.
#[derive(Debug)]
struct Store {
    versions: Mutex<Vec<(String, Value)>>,
    count: watch::Sender<usize>,
}

impl Api {
    /// Serves on a free port.
    pub(super) async fn serve() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let address = listener.local_addr().context("no free port")?;
        let store = Arc::new(Store { versions: Mutex::default(), count: watch::Sender::new(0) });
        let served = Arc::clone(&store);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let store = Arc::clone(&served);
                // A caller that left wants no answer.
                tokio::spawn(async move { drop(answer(stream, &store).await) });
            }
        });
        Ok(Self { address, store, serving })
    }

    /// A new object, or a new version of one.
    pub(super) fn add(&self, collection: &str, object: Value) {
        self.store.write(collection, object);
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Store {
    fn write(&self, collection: &str, mut object: Value) -> Value {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        object["metadata"]["resourceVersion"] = (versions.len() + 2).to_string().into();
        versions.push((collection.to_owned(), object.clone()));
        let count = versions.len();
        drop(versions);
        self.count.send_replace(count);
        object
    }

    /// What this path shows from version `since` on, and the version that it shows up to.
    fn since(&self, path: &str, query: &str, since: usize) -> (Vec<Value>, usize) {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        // The only field that anybody selects by.
        let name = query.split('&').find_map(|one| one.strip_prefix("fieldSelector=metadata.name%3D"));
        let shown = versions.iter().skip(since.saturating_sub(1)).filter(|(collection, object)| {
            path.ends_with(collection) && name.is_none_or(|name| object["metadata"]["name"] == name)
        });
        (shown.map(|(_, object)| object.clone()).collect(), versions.len() + 1)
    }
}

async fn answer(stream: TcpStream, store: &Store) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if stream.read_line(&mut request).await? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut field = String::new();
            if stream.read_line(&mut field).await? <= 2 {
                break;
            }
            if let Some(("content-length", value)) = field.split_once(':') {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if query.contains("watch=true") {
            return watch(&mut stream, path, query, store).await;
        }
        let answer = if path.ends_with("/scale") {
            // Whoever asks for replicas has them already.
            let spec = json!({"replicas": 1});
            json!({"metadata": {"name": "bench-1", "namespace": "default", "resourceVersion": "1"}, "spec": spec, "status": spec})
        } else if method == "PATCH" {
            let (collection, _) = path.rsplit_once('/').unwrap_or((path, ""));
            store.write(collection, serde_json::from_slice(&body)?)
        } else {
            list(path, query, store)
        };
        let body = answer.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
    }
}

/// The newest version of each object.
fn list(path: &str, query: &str, store: &Store) -> Value {
    let (versions, shown) = store.since(path, query, 0);
    let named = versions.into_iter().map(|object| (object["metadata"]["name"].to_string(), object));
    let newest: BTreeMap<String, Value> = named.collect();
    let items: Vec<Value> = newest.into_values().collect();
    json!({"metadata": {"resourceVersion": shown.to_string()}, "items": items})
}

async fn watch(
    stream: &mut BufReader<TcpStream>,
    path: &str,
    query: &str,
    store: &Store,
) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").await?;
    let since = query.split('&').find_map(|one| one.strip_prefix("resourceVersion="));
    let mut since = since.and_then(|since| since.parse().ok()).unwrap_or(0);
    let mut changed = store.count.subscribe();
    loop {
        let (objects, shown) = store.since(path, query, since);
        since = shown;
        for object in objects {
            let event = format!("{}\n", json!({"type": "ADDED", "object": object}));
            stream.write_all(event.as_bytes()).await?;
        }
        if changed.changed().await.is_err() {
            return Ok(());
        }
    }
}
