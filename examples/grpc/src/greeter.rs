//! The greeter: one method of each kind, with no state but the name of its revision.

use std::pin::Pin;
use std::time::Duration;

use tokio_stream::{Stream, StreamExt, iter};
use tonic::{Request, Response, Status, Streaming};

use crate::proto::greeter_server::Greeter;
use crate::proto::{HelloReply, HelloRequest, HellosRequest};

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

/// Answers for one revision.
#[derive(Clone, Debug)]
pub struct Greetings {
    revision: String,
}

impl Greetings {
    /// `revision` is told in each reply.
    pub fn new(revision: String) -> Self {
        Self { revision }
    }

    fn greet(&self, name: &str) -> HelloReply {
        HelloReply { message: format!("Hello, {name}"), revision: self.revision.clone() }
    }
}

#[tonic::async_trait]
impl Greeter for Greetings {
    type SayHellosStream = Replies;
    type ChatStream = Replies;

    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        match request.into_inner().name.as_str() {
            "fail" => Err(Status::failed_precondition("asked to fail")),
            name => Ok(Response::new(self.greet(name))),
        }
    }

    async fn say_hellos(&self, request: Request<HellosRequest>) -> Result<Response<Replies>, Status> {
        let HellosRequest { name, count, interval_ms } = request.into_inner();
        let reply = self.greet(&name);
        let interval = Duration::from_millis(u64::from(interval_ms));
        let replies = iter(0..count).then(move |index| {
            let reply = reply.clone();
            async move {
                if index > 0 {
                    tokio::time::sleep(interval).await;
                }
                Ok(reply)
            }
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn greet_all(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let mut incoming = request.into_inner();
        let mut names = Vec::new();
        while let Some(request) = incoming.message().await? {
            names.push(request.name);
        }
        Ok(Response::new(self.greet(&names.join(", "))))
    }

    async fn chat(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status> {
        let greetings = self.clone();
        let replies = request.into_inner().map(move |message| Ok(greetings.greet(&message?.name)));
        Ok(Response::new(Box::pin(replies)))
    }
}

#[cfg(test)]
mod tests;
