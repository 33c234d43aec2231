//! gRPC: the interoperability tests of grpc-go, its client and its server on either side, and the example by tonic.

use catnap_example_grpc::proto::greeter_client::GreeterClient;
use catnap_example_grpc::proto::{HelloRequest, HellosRequest};
use futures::{StreamExt, channel::mpsc};
use tonic::Code;

use super::function::Function;
use super::programs::{go, run};

/// Of `doc/interop-test-descriptions.md` in grpc/grpc, all that need no accounts of Google and no other transport, but
/// `pick_first_unary`: it asks the server for an identity, which grpc-go's does not give.
const CASES: [&str; 18] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "rpc_soak",
    "channel_soak",
    "orca_per_rpc",
    "orca_oob",
];

/// The client's load balancer that takes part in the two cases of load reports, and in no other.
const LOAD_REPORTS: &str = r#"{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}"#;

#[test]
fn grpc_go_interoperates_through_us() {
    let server = format!("exec {} -port $PORT", go().join("interop-server").display());
    let client = go().join("interop-client");
    let function = Function::start("interop", "H2C", &["sh", "-c", &server]);
    let (host, port) = function.host_and_port();
    // The first one wakes the function.
    for case in CASES {
        let balancer = if case.starts_with("orca_") { LOAD_REPORTS } else { "" };
        run(
            &client,
            &[
                "-service_config_json",
                balancer,
                "-server_host",
                host,
                "-server_port",
                port,
                "-test_case",
                case,
                "-soak_iterations",
                "50",
                "-soak_min_time_ms_between_rpcs",
                "0",
            ],
        );
    }
}

async fn greeter(function: &Function) -> GreeterClient<tonic::transport::Channel> {
    GreeterClient::connect(function.url("")).await.unwrap()
}

fn names(names: &[&str]) -> Vec<HelloRequest> {
    names.iter().map(|name| HelloRequest { name: (*name).to_owned() }).collect()
}

#[tokio::test]
async fn tonic_calls_of_every_kind_pass() {
    let function = Function::start("grpc", "H2C", &["grpc"]);
    let mut client = greeter(&function).await;
    let cold = client.say_hello(names(&["Ada"]).remove(0)).await.unwrap();
    assert!(cold.metadata().get("server-timing").unwrap().to_str().unwrap().starts_with("catnap;desc=cold"));
    assert_eq!(cold.into_inner().message, "Hello, Ada");

    let request = HellosRequest { name: "Ada".into(), count: 100, interval_ms: 0 };
    let replies = client.say_hellos(request).await.unwrap().into_inner();
    assert_eq!(replies.filter(|reply| std::future::ready(reply.is_ok())).count().await, 100);

    let together = client.greet_all(futures::stream::iter(names(&["Ada", "Grace"]))).await.unwrap();
    assert_eq!(together.into_inner().message, "Hello, Ada, Grace");

    let (mut say, said) = mpsc::channel(1);
    let mut chat = client.chat(said).await.unwrap().into_inner();
    for name in ["Ada", "Grace", "Barbara"] {
        // Nothing more is said before the answer is here.
        say.try_send(names(&[name]).remove(0)).unwrap();
        assert_eq!(chat.message().await.unwrap().unwrap().message, format!("Hello, {name}"));
    }
    drop(say);
    assert!(chat.message().await.unwrap().is_none());

    let refused = client.say_hello(names(&["fail"]).remove(0)).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "asked to fail"));
}
