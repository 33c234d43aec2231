//! Who opens a stream: a service account token is reviewed by the API server, and must be that of the pod of an activator, or of
//! an operator for what only that may know.
//!
//! Answers are remembered for a short time by the token's SHA-256, so that a reconnecting activator costs no review. Whether
//! an activator's pod is still alive is asked of the watch each time, by the driver. Everybody can ask to be let in: what is not even in the
//! form of a token for this audience costs no review, and whoever asks gets a turn.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use catnap_wire::PodUid;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::claims;

const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// A token that was good is good for this long; kubelet replaces them long before they expire.
const REMEMBER_GOOD: Duration = Duration::from_secs(60);
const REMEMBER_BAD: Duration = Duration::from_secs(5);
const MAX_REMEMBERED: usize = 1_024;
const MAX_REVIEWS_AT_ONCE: usize = 8;

/// Whom to let in.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Audience that the token must be for.
    pub(crate) audience: String,
    /// Full user name: `system:serviceaccount:<namespace>:<name>`.
    pub(crate) username: String,
    /// Whose pods have it.
    pub(crate) role: Role,
}

/// Who asks to be let in. The streams of the two are not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Activator,
    Operator,
}

/// Why a token does not open a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthenticationError {
    /// The API server does not know it, or not for this audience.
    #[error("the token is not valid for the audience")]
    BadToken,
    /// It belongs to somebody else, or to no pod.
    #[error("the token belongs to {username}, which is no pod of the right one: {role:?}")]
    Stranger {
        /// Whose it is.
        username: String,
        /// Whose it should be.
        role: Role,
    },
    /// As many reviews as allowed are under way, and stay so.
    #[error("too many tokens are being reviewed")]
    Busy,
    /// The API server could not be asked.
    #[error("cannot review a token")]
    Review {
        /// What it said.
        #[source]
        source: kube::Error,
    },
    /// The API server did not answer in time.
    #[error("no answer about a token in time")]
    Timeout,
}

impl AuthenticationError {
    /// Label of the metric.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::BadToken => "BadToken",
            Self::Stranger { role: Role::Activator, .. } => "NotAnActivator",
            Self::Stranger { role: Role::Operator, .. } => "NotAnOperator",
            Self::Busy => "Busy",
            Self::Review { .. } => "Review",
            Self::Timeout => "Timeout",
        }
    }
}

/// What a review found; the parts of it that do not pass.
#[derive(Clone, Debug)]
enum Verdict {
    Pod(PodUid),
    BadToken,
    Stranger(String),
}

/// Reviews tokens.
pub(crate) struct Authenticator {
    reviews: Api<TokenReview>,
    expected: Expected,
    turns: Semaphore,
    remembered: Mutex<HashMap<[u8; 32], (Verdict, Instant)>>,
}

impl Authenticator {
    pub(crate) fn new(client: Client, expected: Expected) -> Self {
        Self {
            reviews: Api::all(client),
            expected,
            turns: Semaphore::new(MAX_REVIEWS_AT_ONCE),
            remembered: Mutex::default(),
        }
    }

    /// UID of the pod that the token was made for.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<PodUid, AuthenticationError> {
        if !claims::may_be_for(&self.expected.audience, token) {
            return Err(AuthenticationError::BadToken);
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        let verdict = if let Some(verdict) = self.recall(&digest) {
            verdict
        } else {
            let verdict = self.review(token).await?;
            self.remember(digest, verdict.clone());
            verdict
        };
        match verdict {
            Verdict::Pod(pod) => Ok(pod),
            Verdict::BadToken => Err(AuthenticationError::BadToken),
            Verdict::Stranger(username) => {
                Err(AuthenticationError::Stranger { username, role: self.expected.role })
            }
        }
    }

    fn recall(&self, digest: &[u8; 32]) -> Option<Verdict> {
        let remembered = self.remembered.lock();
        let (verdict, until) = remembered.get(digest)?;
        (Instant::now() < *until).then(|| verdict.clone())
    }

    fn remember(&self, digest: [u8; 32], verdict: Verdict) {
        let now = Instant::now();
        let good = matches!(verdict, Verdict::Pod(_));
        let until = now + if good { REMEMBER_GOOD } else { REMEMBER_BAD };
        let mut remembered = self.remembered.lock();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, (_, until)| *until > now);
        }
        if remembered.len() < MAX_REMEMBERED {
            remembered.insert(digest, (verdict, until));
        }
    }

    async fn review(&self, token: &str) -> Result<Verdict, AuthenticationError> {
        // In the order in which they came, so that many bad tokens delay a good one but do not keep it out.
        let turn = timeout(REQUEST_TIMEOUT, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(AuthenticationError::Busy) };
        let review = TokenReview {
            metadata: ObjectMeta::default(),
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![self.expected.audience.clone()]),
            },
            status: None,
        };
        let parameters = PostParams::default();
        match timeout(REQUEST_TIMEOUT, self.reviews.create(&parameters, &review)).await {
            Ok(Ok(review)) => Ok(judge(review.status.unwrap_or_default(), &self.expected)),
            Ok(Err(source)) => Err(AuthenticationError::Review { source }),
            Err(_) => Err(AuthenticationError::Timeout),
        }
    }
}

fn judge(status: TokenReviewStatus, expected: &Expected) -> Verdict {
    // An authenticator that knows no audiences returns none, and then the token is not for ours.
    let audiences = status.audiences.unwrap_or_default();
    if status.authenticated != Some(true) || !audiences.contains(&expected.audience) {
        return Verdict::BadToken;
    }
    let user = status.user.unwrap_or_default();
    let username = user.username.unwrap_or_default();
    let extra: BTreeMap<_, _> = user.extra.unwrap_or_default();
    match extra.get(POD_UID).map(Vec::as_slice) {
        Some([pod]) if username == expected.username => Verdict::Pod(pod.as_str().into()),
        _ => Verdict::Stranger(username),
    }
}
