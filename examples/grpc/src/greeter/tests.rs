//! Each kind of call over a real connection on the loopback.

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request};

use super::*;
use crate::proto::greeter_client::GreeterClient;
use crate::proto::greeter_server::GreeterServer;

async fn client() -> GreeterClient<Channel> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let greeter = GreeterServer::new(Greetings::new("hello-1".to_owned()));
    tokio::spawn(
        Server::builder().add_service(greeter).serve_with_incoming(TcpListenerStream::new(listener)),
    );
    GreeterClient::connect(format!("http://{address}")).await.unwrap()
}

fn names(names: &[&str]) -> impl Stream<Item = HelloRequest> + use<> {
    let requests: Vec<_> = names.iter().map(|name| HelloRequest { name: (*name).to_owned() }).collect();
    iter(requests)
}

#[tokio::test]
async fn one_call_is_greeted_by_the_revision() {
    let reply = client().await.say_hello(HelloRequest { name: "Ada".to_owned() }).await.unwrap().into_inner();
    assert_eq!(reply, HelloReply { message: "Hello, Ada".to_owned(), revision: "hello-1".to_owned() });
}

#[tokio::test]
async fn a_failure_keeps_its_code() {
    let status = client().await.say_hello(HelloRequest { name: "fail".to_owned() }).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_server_stream_has_as_many_replies_as_asked() {
    let request = HellosRequest { name: "Ada".to_owned(), count: 3, interval_ms: 1 };
    let replies = client().await.say_hellos(request).await.unwrap().into_inner();
    let replies: Result<Vec<_>, _> = replies.collect().await;
    assert_eq!(replies.unwrap().len(), 3);
}

#[tokio::test]
async fn a_client_stream_is_answered_once() {
    let reply = client().await.greet_all(Request::new(names(&["Ada", "Grace"]))).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello, Ada, Grace");
}

#[tokio::test]
async fn a_chat_answers_each_name_in_order() {
    let replies = client().await.chat(Request::new(names(&["Ada", "Grace"]))).await.unwrap().into_inner();
    let replies: Result<Vec<_>, _> = replies.map(|reply| reply.map(|reply| reply.message)).collect().await;
    assert_eq!(replies.unwrap(), ["Hello, Ada", "Hello, Grace"]);
}
