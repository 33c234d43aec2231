//! `catnap reach`: whether activators answer at an address, which `helm test` asks from within the cluster.
//!
//! It asks for a host that no function has, so that none wakes, and takes Catnap's own refusal for the answer.

use std::io;

use bytes::Bytes;
use catnap_activator_core::Reason;
use catnap_crds::Duration;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{self, Instant};

use crate::exit::{Exit, Failure};
use crate::terminal::{Terminal, WriteError};

/// A top-level domain that nobody gets (RFC 6761). More labels than a function's name in the cluster has.
const NOBODY: &str = "nobody.catnap.test.invalid";
/// Header in which an activator says why it refuses.
const REASON: &str = "catnap-reason";
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);

/// Flags of `catnap reach`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where activators are meant to be, such as catnap-activator.catnap-system:80.
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// When to ask for the last time.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    timeout: Duration,
}

/// Why no activator is known to be there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    /// None has answered.
    #[error("no activator has answered at {address} after {timeout}")]
    TimeOver {
        /// Where it was looked for.
        address: String,
        /// For how long.
        timeout: Duration,
        /// What came of the last question.
        #[source]
        source: AnswerError,
    },
    /// Nobody reads it.
    #[error(transparent)]
    Write {
        /// Why.
        source: WriteError,
    },
}

/// What came instead of an activator's answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// No connection.
    #[error("nobody can be connected to there")]
    Connect {
        /// Why.
        source: io::Error,
    },
    /// No HTTP.
    #[error("what is there does not answer with HTTP")]
    Ask {
        /// What went wrong.
        source: hyper::Error,
    },
    /// A question that cannot be asked.
    #[error("the question cannot be asked")]
    Question {
        /// Why.
        source: hyper::http::Error,
    },
    /// Somebody else's answer.
    #[error("what is there answered {status}, and not as an activator does")]
    Other {
        /// Of the answer.
        status: StatusCode,
    },
    /// None at all.
    #[error("what is there has not answered")]
    Late,
}

/// Asks until an activator answers.
pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<(), ReachError> {
    let Arguments { address, timeout } = arguments;
    let end = Instant::now() + timeout.get();
    loop {
        let answer = time::timeout(PATIENCE.get(), ask(&address)).await;
        let Err(source) = answer.unwrap_or(Err(AnswerError::Late)) else { break };
        if Instant::now() + PAUSE.get() >= end {
            return Err(ReachError::TimeOver { address, timeout, source });
        }
        time::sleep(PAUSE.get()).await;
    }
    let said = format!("an activator answers at {address}\n");
    terminal.write(&said).map_err(|source| ReachError::Write { source })
}

async fn ask(address: &str) -> Result<(), AnswerError> {
    let stream = TcpStream::connect(address).await.map_err(|source| AnswerError::Connect { source })?;
    let failed = |source| AnswerError::Ask { source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Its errors are those of the request.
    let connection = tokio::spawn(connection);
    let request = Request::get("/").header(HOST, NOBODY).body(Empty::<Bytes>::new());
    let request = request.map_err(|source| AnswerError::Question { source })?;
    let response = sender.send_request(request).await;
    connection.abort();
    let response = response.map_err(failed)?;
    let reason = response.headers().get(REASON);
    if reason.is_some_and(|reason| reason == Reason::UnknownHost.name()) {
        return Ok(());
    }
    Err(AnswerError::Other { status: response.status() })
}

impl Failure for ReachError {
    fn exit(&self) -> Exit {
        match self {
            Self::TimeOver { .. } => Exit::TimeOver,
            Self::Write { source } => source.exit(),
        }
    }

    fn advice(&self) -> Option<String> {
        let Self::TimeOver { address, .. } = self else { return None };
        let host = address.split(':').next().unwrap_or_default();
        let mut labels = host.split('.');
        let service = labels.next()?;
        // An address has no names in it.
        let namespace = labels.next().filter(|label| label.parse::<u8>().is_err())?;
        Some(format!("`kubectl --namespace {namespace} get pods,endpointslices`, for those of {service}"))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::terminal::fake::FakeTerminal;

    const ACTIVATOR: &str =
        "HTTP/1.1 404 Not Found\r\ncatnap-reason: UnknownHost\r\ncontent-length: 0\r\n\r\n";

    const STARTING: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

    /// A server that gives these answers, a connection each; its address.
    async fn server(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = Vec::new();
                while !question.ends_with(b"\r\n\r\n") {
                    question.push(stream.read_u8().await.unwrap());
                }
                let question = String::from_utf8(question).unwrap();
                assert!(question.contains(NOBODY), "{question}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    async fn reached(address: &str, timeout: &str) -> Result<String, ReachError> {
        let mut fake = FakeTerminal::piped();
        let arguments = Arguments { address: address.to_owned(), timeout: timeout.parse().unwrap() };
        run(arguments, &mut fake.terminal).await?;
        Ok(fake.out.take())
    }

    #[tokio::test]
    async fn an_activators_refusal_is_what_is_looked_for() {
        let address = server(&[ACTIVATOR]).await;
        assert_eq!(reached(&address, "1m").await.unwrap(), format!("an activator answers at {address}\n"));
    }

    #[tokio::test]
    async fn it_asks_again_until_one_is_there() {
        let address = server(&["", STARTING, ACTIVATOR]).await;
        assert!(reached(&address, "1m").await.is_ok());
    }

    #[tokio::test]
    async fn somebody_else_is_no_activator() {
        let address = server(&["HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"]).await;
        let error = reached(&address, "1ms").await.unwrap_err();
        assert_eq!(error.exit(), Exit::TimeOver);
        assert_eq!(error.to_string(), format!("no activator has answered at {address} after 1ms"));
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "what is there answered 404 Not Found, and not as an activator does");
    }

    #[tokio::test]
    async fn nobody_is_told_of_with_what_to_look_at() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = reached(&address, "1ms").await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "nobody can be connected to there");
        assert_eq!(error.advice(), None);
        let error = ReachError::TimeOver {
            address: "catnap-activator.catnap-system.svc:80".to_owned(),
            timeout: PATIENCE,
            source: AnswerError::Late,
        };
        let advice = error.advice().unwrap();
        assert!(advice.starts_with("`kubectl --namespace catnap-system get pods"), "{advice}");
    }
}
