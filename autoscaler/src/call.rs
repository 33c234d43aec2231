//! One call of the API server, of which also the head of the answer is looked at: kube's own calls do not tell `Retry-After`.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// A pause for a 429 that names none, which is also the shortest.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// Nothing is put off for longer, whatever the answer says.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server has too much to do; it did nothing.
    #[error("the API server wants to be left alone for {after:?}")]
    Throttled {
        /// How long.
        after: Duration,
    },
    /// No answer in time.
    #[error("no answer within {within:?}")]
    Timeout {
        /// How long was waited.
        within: Duration,
    },
    /// It answered that it cannot, or nothing that makes sense.
    #[error("the call failed")]
    Failed {
        /// What kube or the API server said.
        #[source]
        source: kube::Error,
    },
}

impl CallError {
    /// The code of a refusal.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Failed { source: kube::Error::Api(status) } => Some(status.code),
            _ => None,
        }
    }
}

/// Sends a request and reads its answer, all within this time.
pub(crate) async fn call<T: DeserializeOwned>(
    client: &Client,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    within: Duration,
) -> Result<T, CallError> {
    let failed = |source| CallError::Failed { source };
    let request = request.map_err(|source| failed(kube::Error::BuildRequest(source)))?;
    let answer = async {
        let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
        Ok((head, body.collect().await?.to_bytes()))
    };
    let (head, body) =
        timeout(within, answer).await.map_err(|_| CallError::Timeout { within })?.map_err(failed)?;
    if head.status == StatusCode::TOO_MANY_REQUESTS {
        return Err(CallError::Throttled { after: pause(&head.headers) });
    }
    if !head.status.is_success() {
        // A proxy, or a filter of the API server, answers in plain text.
        let status = serde_json::from_slice(&body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&body);
            Status::failure(text.trim(), "NoStatus").with_code(head.status.as_u16())
        });
        return Err(failed(kube::Error::Api(Box::new(status))));
    }
    serde_json::from_slice(&body).map_err(|source| failed(kube::Error::SerdeError(source)))
}

/// The API server only ever writes whole seconds.
fn pause(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds.map_or(SHORTEST_PAUSE, Duration::from_secs).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_what_the_answer_says_within_bounds() {
        let said = |value: Option<&'static str>| {
            let value = value.map(|value| (RETRY_AFTER, value.parse().unwrap()));
            pause(&value.into_iter().collect()).as_secs()
        };
        assert_eq!(said(Some("3")), 3);
        assert_eq!(said(Some("0")), 1);
        assert_eq!(said(Some("86400")), 10);
        assert_eq!(said(Some("soon")), 1);
        assert_eq!(said(None), 1);
    }
}
