//! The operator's side against a scripted autoscaler over real TLS on loopback.

use std::{io::Write, net::SocketAddr};

use catnap_runtime::tls::SelfMade;
use catnap_wire::rates_proto::rates_server::{self, RatesServer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Response;

use super::*;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One accepted stream, as the autoscaler sees it.
struct Accepted {
    authorization: String,
    wanted: Streaming<proto::Wanted>,
    counted: mpsc::UnboundedSender<Result<proto::Counted, Status>>,
}

struct Scripted(mpsc::UnboundedSender<Accepted>);

#[tonic::async_trait]
impl rates_server::Rates for Scripted {
    type WatchStream = UnboundedReceiverStream<Result<proto::Counted, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<proto::Wanted>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let authorization = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let authorization = authorization.unwrap_or_default().to_owned();
        let (counted, frames) = mpsc::unbounded_channel();
        self.0.send(Accepted { authorization, wanted: request.into_inner(), counted }).unwrap();
        Ok(Response::new(UnboundedReceiverStream::new(frames)))
    }
}

/// An autoscaler that leads; gives what its Lease says and the streams that it accepts.
async fn autoscaler(holder: &str) -> (Leader, mpsc::UnboundedReceiver<Accepted>) {
    catnap_runtime::tls::install_crypto_provider();
    let certificate = SelfMade::generate(holder).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(certificate.server_config(&[b"h2"]).unwrap());
    let (accept, accepted) = mpsc::unbounded_channel();
    let service = RatesServer::new(Scripted(accept));
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (tls, service) = (tls.clone(), service.clone());
            tokio::spawn(async move {
                let Ok(socket) = tls.accept(socket).await else { return };
                let service = hyper_util::service::TowerToHyperService::new(service);
                let executor = hyper_util::rt::TokioExecutor::new();
                let connection = hyper::server::conn::http2::Builder::new(executor);
                _ = connection.serve_connection(hyper_util::rt::TokioIo::new(socket), service).await;
            });
        }
    });
    let fingerprint = certificate.fingerprint();
    (Leader { lease: 1, holder: holder.into(), transitions: 1, address, fingerprint }, accepted)
}

fn owner(uid: &str) -> Owner {
    Owner { namespace: "shop".into(), name: "hello".into(), uid: uid.into() }
}

fn rollout(from: &str, to: &str) -> RolloutStatus {
    serde_json::from_value(serde_json::json!({
        "from": from, "to": to, "percent": 25, "comingPercent": 50, "steppedAt": Time(Timestamp::UNIX_EPOCH),
    }))
    .unwrap()
}

fn id(name: &str) -> RevisionId {
    RevisionId { namespace: "shop".into(), name: name.into(), function_uid: "uid".into() }
}

fn count(name: &str, ended: u64, errors: u64, complete: bool) -> CountOf {
    CountOf { revision: id(name), ended, errors, complete }
}

struct Bed {
    book: Arc<RateBook>,
    leader: watch::Sender<Option<Leader>>,
    _token: NamedTempFile,
}

impl Bed {
    fn start() -> Self {
        let mut token = NamedTempFile::new().unwrap();
        writeln!(token, "secret").unwrap();
        let book = Arc::<RateBook>::default();
        let (leader, followed) = watch::channel(None);
        tokio::spawn(keep_asking(book.clone(), followed, token.path().to_owned()));
        Self { book, leader, _token: token }
    }

    fn look(&self) -> Rates {
        self.book.look(&owner("uid"), Some(&rollout("old", "new")))
    }

    /// Looks until it is as it should be.
    async fn until(&self, what: &str, holds: impl Fn(&Rates) -> bool) -> Rates {
        let looking = async {
            loop {
                let rates = self.look();
                if holds(&rates) {
                    return rates;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{what} in time"))
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it must happen soon")
}

impl Accepted {
    async fn wanted(&mut self) -> Vec<RevisionId> {
        let message = soon(self.wanted.message()).await.unwrap().unwrap();
        Wanted::try_from(message).unwrap().0
    }

    fn tell(&self, counts: Vec<CountOf>) {
        self.counted.send(Ok((&Counted(counts)).into())).unwrap();
    }
}

#[tokio::test]
async fn what_moves_is_asked_about_and_known_when_all_of_it_is() {
    let bed = Bed::start();
    let (first, mut streams) = autoscaler("first").await;
    bed.leader.send_replace(Some(first));
    assert_eq!(bed.look(), Rates::default());
    let mut stream = soon(streams.recv()).await.unwrap();
    assert_eq!(stream.authorization, "Bearer secret");
    assert_eq!(stream.wanted().await, [id("new"), id("old")]);
    stream.tell(vec![count("old", 200, 1, true), count("new", 50, 2, false)]);
    let rates = bed.until("counts", |rates| rates.counts.len() == 2).await;
    assert_eq!(rates.known_since, None, "not every activator has told");
    assert_eq!(rates.counts["new"], Counts { ended: 50, errors: 2 });
    stream.tell(vec![count("new", 60, 3, true), count("other", 1, 1, true)]);
    let known = bed.until("everything", |rates| rates.known_since.is_some()).await;
    assert_eq!(known.counts["new"], Counts { ended: 60, errors: 3 });
    assert_eq!(known.counts.len(), 2);
    assert_eq!(bed.book.count(), (1, 1));
    stream.tell(vec![count("new", 60, 3, false)]);
    bed.until("a gap", |rates| rates.known_since.is_none()).await;
    stream.tell(vec![count("new", 60, 3, true)]);
    bed.until("the end of the gap", |rates| rates.known_since.is_some()).await;
    // Another one leads: nothing is known until it has told.
    let (second, mut others) = autoscaler("second").await;
    bed.leader.send_replace(Some(second));
    bed.until("a new beginning", |rates| *rates == Rates::default()).await;
    let mut other = soon(others.recv()).await.unwrap();
    assert_eq!(other.wanted().await, [id("new"), id("old")]);
    other.tell(vec![count("old", 7, 0, true), count("new", 5, 0, true)]);
    bed.until("all anew", |rates| rates.known_since.is_some() && rates.counts["new"].ended == 5).await;
    // Nothing moves any more.
    assert_eq!(bed.book.look(&owner("uid"), None), Rates::default());
    assert!(soon(other.wanted.message()).await.is_ok_and(|message| message.is_none()), "nobody asks");
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_and_nothing_is_known_meanwhile() {
    let bed = Bed::start();
    let (first, mut streams) = autoscaler("first").await;
    bed.leader.send_replace(Some(first));
    bed.look();
    let mut stream = soon(streams.recv()).await.unwrap();
    stream.wanted().await;
    stream.tell(vec![count("old", 1, 0, true), count("new", 1, 0, true)]);
    bed.until("everything", |rates| rates.known_since.is_some()).await;
    stream.counted.send(Err(Status::unavailable("another process may lead"))).unwrap();
    bed.until("nothing", |rates| *rates == Rates::default()).await;
    let again = async {
        loop {
            bed.look();
            tokio::select! {
                stream = streams.recv() => return stream.unwrap(),
                () = tokio::task::yield_now() => {}
            }
        }
    };
    let mut stream = soon(again).await;
    assert_eq!(stream.wanted().await, [id("new"), id("old")]);
    // What cannot be is refused, and ends it.
    stream.tell(vec![count("new", 1, 2, true)]);
    assert!(soon(stream.wanted.message()).await.is_ok_and(|message| message.is_none()));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_looks_at_is_not_asked_about() {
    let book = RateBook::default();
    book.look(&owner("uid"), Some(&rollout("old", "new")));
    book.look(&owner("other"), Some(&rollout("a", "b")));
    assert_eq!(book.wanted().len(), 4);
    tokio::time::advance(FORGOTTEN / 2).await;
    book.look(&owner("other"), Some(&rollout("b", "c")));
    tokio::time::advance(FORGOTTEN / 2).await;
    let names: Vec<_> = book.wanted().into_iter().map(|id| id.name.to_string()).collect();
    assert_eq!(names, ["b", "c"]);
}

#[tokio::test]
async fn another_revision_makes_what_is_known_unknown() {
    let book = RateBook::default();
    book.look(&owner("uid"), Some(&rollout("old", "new")));
    book.told(vec![count("old", 9, 1, true), count("new", 5, 0, true)], Timestamp::UNIX_EPOCH);
    let rates = book.look(&owner("uid"), Some(&rollout("old", "new")));
    assert_eq!(rates.known_since, Some(Timestamp::UNIX_EPOCH));
    let rates = book.look(&owner("uid"), Some(&rollout("old", "newer")));
    let counts = BTreeMap::from([("old".to_owned(), Counts { ended: 9, errors: 1 })]);
    assert_eq!(rates, Rates { known_since: None, counts });
}
