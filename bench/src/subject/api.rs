//! The API server of a benchmark of one process: it lists what it is given, lets `/scale` be read and written, and its watches
//! say what the benchmark adds later.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// Objects of each collection, by the end of its path.
pub(super) type Collections = HashMap<&'static str, Vec<Value>>;

/// The running server, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) address: SocketAddr,
    added: broadcast::Sender<Added>,
    serving: JoinHandle<()>,
}

/// An object that is new, and the end of its collection's path.
type Added = (&'static str, Value);

impl Api {
    /// Serves on a free port.
    pub(super) async fn serve(collections: Collections) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let address = listener.local_addr().context("no free port")?;
        let collections = Arc::new(collections);
        let (added, _) = broadcast::channel(16);
        let watched = added.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let collections = Arc::clone(&collections);
                let watched = watched.clone();
                tokio::spawn(async move {
                    // A caller that left wants no answer.
                    let _ = answer(stream, &collections, &watched).await;
                });
            }
        });
        Ok(Self { address, added, serving })
    }

    /// Tells those who watch of a new object.
    pub(super) fn add(&self, collection: &'static str, object: Value) {
        // Nobody watches: nobody needs to know.
        let _ = self.added.send((collection, object));
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    stream: TcpStream,
    collections: &Collections,
    watched: &broadcast::Sender<Added>,
) -> std::io::Result<()> {
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
        tokio::io::copy(&mut (&mut stream).take(length), &mut tokio::io::sink()).await?;
        let target = request.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if query.contains("watch=true") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").await?;
            let mut added = watched.subscribe();
            while let Ok((end, object)) = added.recv().await {
                if path.ends_with(end) {
                    let event = format!("{}\n", json!({"type": "ADDED", "object": object}));
                    stream.write_all(event.as_bytes()).await?;
                }
            }
            return Ok(());
        }
        let items = collections.iter().find(|(end, _)| path.ends_with(**end)).map(|(_, items)| items);
        let answer = if path.ends_with("/scale") {
            // Whoever asks for replicas has them already.
            let spec = json!({"replicas": 1});
            json!({"metadata": {"name": "bench-1", "namespace": "default", "resourceVersion": "1"}, "spec": spec, "status": spec})
        } else {
            json!({"metadata": {"resourceVersion": "1"}, "items": items.map_or(&[][..], Vec::as_slice)})
        };
        let body = answer.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
    }
}
