//! Requests that are held on streams of HTTP/2, as many on a connection as one function may hold there.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;

use crate::load::http2::open;

/// Half of the streams that the activator lets a connection have.
pub(crate) const EACH: usize = 125;

/// Requests under way, in the order in which they were sent.
#[derive(Default)]
pub(crate) struct Streams {
    responses: Vec<ResponseFuture>,
    connections: Vec<SendRequest<Bytes>>,
}

impl Streams {
    /// Sends `count` more for `path`, on a connection of their own.
    pub(crate) async fn send(&mut self, address: SocketAddr, path: &str, count: usize) -> anyhow::Result<()> {
        let mut connection = open(address).await?;
        for _ in 0..count {
            connection = connection.ready().await.context("the connection ended")?;
            let request = Request::builder().uri(format!("http://bench.default{path}")).body(())?;
            self.responses.push(connection.send_request(request, true)?.0);
        }
        self.connections.push(connection);
        Ok(())
    }

    /// Number of requests.
    pub(crate) fn len(&self) -> usize {
        self.responses.len()
    }

    /// Waits for every answer. Gives the bodies of the successes, and `None` for each of the others.
    pub(crate) async fn answers(self) -> Vec<Option<Vec<u8>>> {
        let mut answers = Vec::with_capacity(self.responses.len());
        for response in self.responses {
            answers.push(body(response).await.ok());
        }
        answers
    }
}

async fn body(response: ResponseFuture) -> anyhow::Result<Vec<u8>> {
    let response = response.await?;
    if response.status() != 200 {
        bail!("the response is {}", response.status());
    }
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(body)
}

/// Of requests that were sent in this order, how many came to the pod before one that was sent earlier: each answer is the number of
/// requests that the pod had seen before.
pub(crate) fn overtakers(answers: &[Option<Vec<u8>>]) -> usize {
    let turn = |body: &Vec<u8>| std::str::from_utf8(body).ok()?.parse::<usize>().ok();
    let turns: Vec<usize> = answers.iter().flatten().filter_map(turn).collect();
    turns.windows(2).filter(|pair| pair[1] < pair[0]).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_overtakes_is_counted() {
        let answers =
            |turns: &[&str]| -> Vec<_> { turns.iter().map(|turn| Some(turn.as_bytes().to_vec())).collect() };
        assert_eq!(overtakers(&answers(&["0", "1", "2", "10"])), 0);
        assert_eq!(overtakers(&answers(&["0", "2", "1", "3"])), 1);
        let mut with_lost = answers(&["0", "1"]);
        with_lost.insert(1, None);
        assert_eq!(overtakers(&with_lost), 0, "what was lost is counted elsewhere");
    }
}
