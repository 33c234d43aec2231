//! The operator's side against a scripted autoscaler over real TLS on loopback.

use std::{io::Write, net::SocketAddr};

use catnap_runtime::tls::SelfMade;
use catnap_wire::rates_proto::rates_server::{self, RatesServer};
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

/// As a look does it: what is known, and what is asked from then on.
fn look(book: &RateBook, uid: &str, compared: Option<[&str; 2]>) -> Rates {
    let rates = book.rates(&owner(uid));
    book.ask(&owner(uid), compared.map(|names| names.map(str::to_owned)).as_ref());
    rates
}

fn known(book: &RateBook) -> Rates {
    look(book, "uid", Some(["old", "new"]))
}

fn counts(ended: u64, errors: u64) -> Counts {
    Counts { ended, errors }
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
        known(&self.book)
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
    let rates = bed.until("a part", |rates| rates.counts.len() == 1).await;
    assert_eq!(rates.known_since, None, "not every activator has told");
    stream.tell(vec![count("new", 60, 3, true), count("other", 1, 1, true)]);
    let rates = bed.until("everything", |rates| rates.known_since.is_some()).await;
    let nothing = ["new", "old"].map(|name| (name.to_owned(), counts(0, 0)));
    assert_eq!(rates.counts, BTreeMap::from(nothing));
    assert_eq!(rates.counted_since, rates.known_since);
    assert_eq!(bed.book.count(), (1, 1));
    stream.tell(vec![count("new", 70, 5, true)]);
    bed.until("what ended since", |rates| rates.counts["new"] == counts(10, 2)).await;
    stream.tell(vec![count("new", 60, 3, false)]);
    bed.until("a gap", |rates| rates.known_since.is_none()).await;
    stream.tell(vec![count("new", 75, 5, true)]);
    let rates = bed.until("the end of the gap", |rates| rates.known_since.is_some()).await;
    assert_eq!(rates.counts["new"], counts(15, 2), "nothing of it is lost");
    // Another one leads: nothing is known until it has told, and what it tells first is of before.
    let (second, mut others) = autoscaler("second").await;
    bed.leader.send_replace(Some(second));
    bed.until("nobody who tells", |rates| rates.known_since.is_none()).await;
    let mut other = soon(others.recv()).await.unwrap();
    assert_eq!(other.wanted().await, [id("new"), id("old")]);
    other.tell(vec![count("old", 7_000, 2_000, true), count("new", 500, 400, true)]);
    let rates = bed.until("somebody who tells", |rates| rates.known_since.is_some()).await;
    assert_eq!((rates.counts["old"], rates.counts["new"]), (counts(0, 0), counts(15, 2)));
    other.tell(vec![count("new", 501, 401, true)]);
    bed.until("one more", |rates| rates.counts["new"] == counts(16, 3)).await;
    // Nothing moves any more.
    look(&bed.book, "uid", None);
    assert_eq!(bed.book.rates(&owner("uid")), Rates::default());
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
    bed.until("nobody who tells", |rates| rates.known_since.is_none()).await;
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
    look(&book, "uid", Some(["old", "new"]));
    look(&book, "other", Some(["a", "b"]));
    assert_eq!(book.wanted().len(), 4);
    tokio::time::advance(FORGOTTEN / 2).await;
    look(&book, "other", Some(["b", "c"]));
    tokio::time::advance(FORGOTTEN / 2).await;
    let names: Vec<_> = book.wanted().into_iter().map(|id| id.name.to_string()).collect();
    assert_eq!(names, ["b", "c"]);
}

#[tokio::test]
async fn of_what_is_too_much_to_ask_nothing_is_known() {
    let book = RateBook::default();
    let count = MAX_COUNTED / 2 + 1;
    for uid in 0..count {
        look(&book, &uid.to_string(), Some(["old", "new"]));
    }
    let all = (0..count).flat_map(|uid| {
        ["old", "new"].map(|name| {
            let revision = RevisionId { function_uid: uid.to_string().as_str().into(), ..id(name) };
            CountOf { revision, ended: 1, errors: 0, complete: true }
        })
    });
    book.told(all.collect(), Timestamp::UNIX_EPOCH);
    assert_eq!(book.count(), (count, count));
    let wanted = book.wanted();
    assert_eq!(wanted.len(), MAX_COUNTED);
    assert_eq!(book.count(), (count, count - 1), "its numbers stand still");
    for uid in 0..20 {
        look(&book, &format!("late-{uid}"), Some(["old", "new"]));
    }
    assert_eq!(book.wanted(), wanted, "who comes later takes nobody's place");
    let asked: BTreeSet<_> = wanted.into_iter().map(|id| id.function_uid).collect();
    assert_eq!(asked.len(), count - 1, "of each both revisions, or none");
}

#[tokio::test]
async fn another_revision_makes_what_is_known_unknown() {
    let book = RateBook::default();
    known(&book);
    book.told(vec![count("old", 9, 1, true), count("new", 5, 0, true)], Timestamp::UNIX_EPOCH);
    let rates = look(&book, "uid", Some(["old", "newer"]));
    assert_eq!((rates.known_since, rates.counted_since), (Some(Timestamp::UNIX_EPOCH), rates.known_since));
    let rates = look(&book, "uid", Some(["old", "newer"]));
    let counts = BTreeMap::from([("old".to_owned(), counts(0, 0))]);
    assert_eq!(rates, Rates { counted_since: None, known_since: None, counts });
}

#[tokio::test]
async fn sums_that_begin_anew_only_begin_anew() {
    let book = RateBook::default();
    known(&book);
    let told = |new: [(u64, u64); 2]| {
        for (ended, errors) in new {
            book.told(
                vec![count("old", 0, 0, true), count("new", ended, errors, true)],
                Timestamp::UNIX_EPOCH,
            );
        }
        known(&book).counts["new"]
    };
    assert_eq!(told([(1_000, 10), (1_100, 20)]), counts(100, 10));
    // An activator that is gone is not added up any more.
    assert_eq!(told([(600, 5), (610, 6)]), counts(110, 11));
    // The leader is lost, and what some activators have told of all that they ever did is not new when others have told theirs.
    book.lost();
    book.told(vec![count("new", 20, 0, false), count("old", 0, 0, true)], Timestamp::UNIX_EPOCH);
    assert_eq!(known(&book).known_since, None);
    assert_eq!(told([(900, 300), (901, 301)]), counts(111, 12));
}

#[tokio::test]
async fn who_ends_streams_at_once_is_asked_again_only_after_a_while() {
    let bed = Bed::start();
    let (leader, mut streams) = autoscaler("first").await;
    bed.leader.send_replace(Some(leader));
    bed.look();
    let start = Instant::now();
    for _ in 0..4 {
        let stream = soon(streams.recv()).await.unwrap();
        stream.tell(vec![count("old", 1, 0, true), count("new", 1, 0, true)]);
    }
    // Each wait is at least half of 200, 400 and 800 ms.
    assert!(start.elapsed() >= FIRST_RETRY / 2 * 7, "{:?}", start.elapsed());
}
