//! The API server of a benchmark of one process: it lists one Function and its pod, lets `/scale` be read and written, and its
//! watches never say anything.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Objects of each collection, by the end of its path.
pub(super) type Collections = HashMap<&'static str, Vec<Value>>;

/// Serves on a free port until the task is aborted.
pub(super) async fn serve(collections: Collections) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
    let address = listener.local_addr().context("no free port")?;
    let collections = Arc::new(collections);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let collections = Arc::clone(&collections);
            tokio::spawn(async move {
                // A caller that left wants no answer.
                let _ = answer(stream, &collections).await;
            });
        }
    });
    Ok((address, task))
}

async fn answer(stream: TcpStream, collections: &Collections) -> std::io::Result<()> {
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
            // Silent until the caller has enough.
            stream.read_line(&mut String::new()).await?;
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
