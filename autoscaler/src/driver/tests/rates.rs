//! How requests end, from an activator through the driver to an operator that asks.

use catnap_wire::Outcomes as Told;
use catnap_wire::rates::{CountOf, Counted};

use super::*;
use crate::driver::Asked;
use crate::outcomes::{Listener, WAITING_FRAMES, WatcherId};

struct Operator {
    id: WatcherId,
    counted: mpsc::Receiver<Result<Counted, Status>>,
}

impl Process {
    async fn watch(&self) -> Result<Operator, Refusal> {
        let (frames, counted) = mpsc::channel(WAITING_FRAMES);
        let (answer, answered) = oneshot::channel();
        let listener = Listener::new(frames, &CancellationToken::new());
        self.put(Input::Rates(Asked::Watch(listener, answer))).await;
        Ok(Operator { id: soon(answered).await.unwrap()?, counted })
    }

    async fn want(&self, operator: &Operator, revisions: Vec<RevisionId>) {
        self.put(Input::Rates(Asked::Want(operator.id, revisions))).await;
    }

    async fn say(&self, activator: &Activated, frame: ActivatorFrame) {
        self.put(Input::Frame(activator.id, frame, Instant::now())).await;
    }
}

async fn question(activator: &mut Activated) -> Vec<RevisionId> {
    loop {
        if let LeaderFrame::Count { revisions } = soon(activator.frames.recv()).await.unwrap().unwrap() {
            return revisions;
        }
    }
}

async fn counted(operator: &mut Operator) -> Vec<CountOf> {
    soon(operator.counted.recv()).await.unwrap().unwrap().0
}

fn told(ended: u64, errors: u64) -> ActivatorFrame {
    ActivatorFrame::Outcomes(vec![Told { revision: revision(), ended, errors }])
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_asks_activators_are_asked_and_what_they_tell_it_hears() {
    let process = Process::start(|_| Reply::Silence);
    process.sync().await;
    assert_eq!(process.watch().await.err(), Some(Refusal::NotLeading));
    process.elect(1, Duration::from_secs(1_000));
    let began = Instant::now();
    let mut first = process.greet().await;
    tokio::time::advance(Duration::from_millis(1_100)).await;
    let mut operator = process.watch().await.unwrap();
    process.want(&operator, vec![revision()]).await;
    assert_eq!(question(&mut first).await, [revision()]);
    let silent = CountOf { revision: revision(), ended: 0, errors: 0, complete: false };
    assert_eq!(counted(&mut operator).await, std::slice::from_ref(&silent), "nobody told anything yet");
    // Its clock showed a minute.
    let index = 59 + began.elapsed().as_secs();
    process.say(&first, ActivatorFrame::Through { index }).await;
    process.say(&first, told(200, 3)).await;
    let known = CountOf { ended: 200, errors: 3, complete: true, ..silent };
    assert_eq!(counted(&mut operator).await, std::slice::from_ref(&known));
    let shown = &process.state_of(Some("shop/hello")).await["revisions"][0]["outcomes"];
    assert_eq!(*shown, json!({"ended": 200, "errors": 3, "complete": true}));
    // It says nothing more: what is known may not be all.
    assert_eq!(counted(&mut operator).await, [CountOf { complete: false, ..known }]);
    // One that connects later is asked as well.
    let mut second = process.greet().await;
    assert_eq!(question(&mut second).await, [revision()]);
    process.put(Input::Rates(Asked::Leave(operator.id))).await;
    assert!(question(&mut second).await.is_empty(), "nobody asks any more");
    let shown = &process.state_of(Some("shop/hello")).await["revisions"][0];
    assert_eq!((shown["revision"].as_str(), shown.get("outcomes")), (Some("hello-1"), None));
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_lead_any_more_says_so() {
    let process = Process::start(|_| Reply::Silence);
    process.sync().await;
    process.elect(1, Duration::from_secs(1_000));
    let _activator = process.greet().await;
    let mut operator = process.watch().await.unwrap();
    process.election.send_replace(None);
    let ended = soon(operator.counted.recv()).await.unwrap().unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "another process may lead"));
    assert!(soon(operator.counted.recv()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_told_before_the_hello_is_refused() {
    let process = Process::start(|_| Reply::Silence);
    process.sync().await;
    process.elect(1, Duration::from_secs(1_000));
    let operator = process.watch().await.unwrap();
    process.want(&operator, vec![revision()]).await;
    let mut stranger = process.open("a1").await.unwrap();
    process.say(&stranger, told(1, 1)).await;
    let ended = soon(stranger.frames.recv()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::InvalidArgument);
}
