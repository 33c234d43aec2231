//! What becomes of what is under way when the process stops.

use super::*;

/// The list of activators for every GET, and `put` for every write.
fn activators_and(put: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> impl Fn(&Call) -> Reply {
    move |call| {
        if call.method == "PUT" {
            return put(call);
        }
        let metadata = json!({ "name": "a1", "uid": "a1" });
        let pods = [json!({ "metadata": metadata, "status": { "phase": "Running", "podIP": "10.0.0.1" } })];
        Reply::Json(200, json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods }))
    }
}

impl Process {
    /// A revision that goes to zero, with its gate closing.
    async fn closing(&self) -> (Activated, catnap_wire::GateId) {
        self.sync_with(Stage::Retiring, 1).await;
        self.elect(1, LONG);
        let mut activated = self.greet().await;
        let gate = soon(async {
            loop {
                if let LeaderFrame::Close { gate, .. } = activated.frames.recv().await.unwrap().unwrap() {
                    return gate;
                }
            }
        })
        .await;
        (activated, gate)
    }

    async fn acknowledge(&self, activated: &Activated, gate: catnap_wire::GateId) {
        let acknowledged = ActivatorFrame::Ack { revision: revision(), gate };
        self.put(Input::Frame(activated.id, acknowledged, Instant::now())).await;
    }

    /// Time passes until the write is on its way; it is paused, so each turn is one question.
    async fn written(&self) {
        soon(async {
            while !self.calls.lock().iter().any(|call| call.method == "PUT") {
                self.state().await;
            }
        })
        .await;
    }

    /// Stops it; how long that took, and whether all is settled.
    async fn stopped(self) -> (Duration, bool) {
        let begin = Instant::now();
        self.stop.cancel();
        let settled = timeout(Duration::from_secs(20), self.run).await.unwrap().unwrap();
        (begin.elapsed(), settled)
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_stopped_has_no_state_and_says_so_at_once() {
    let process = Process::start(|_| Reply::Silence);
    let inputs = process.inputs.clone();
    let while_it_runs = soon(describe(inputs.clone(), DebugQuery::default())).await;
    assert_eq!(while_it_runs()["leading"], false);
    process.stopped().await;
    let render = soon(describe(inputs, DebugQuery::default())).await;
    assert!(render().is_null());
}

#[tokio::test(start_paused = true)]
async fn a_process_with_nothing_under_way_stops_at_once() {
    let leader = Process::start(|_| Reply::Silence);
    leader.sync().await;
    leader.elect(1, LONG);
    let mut activated = leader.greet().await;
    assert_eq!(leader.stopped().await, (Duration::ZERO, true));
    let ended = soon(activated.frames.recv()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);

    let candidate = Process::start(|_| Reply::Silence);
    candidate.sync().await;
    assert_eq!(candidate.stopped().await, (Duration::ZERO, true));
}

/// A raise without an answer harms nobody, whenever it lands: the next leader does not wait for it.
#[tokio::test(start_paused = true)]
async fn a_raise_without_an_answer_does_not_hold_up_the_next_leader() {
    let process = Process::start(|_| Reply::Silence);
    process.sync().await;
    process.elect(1, LONG);
    let mut activated = process.greet().await;
    process.wake(&activated).await;
    answer_of(&mut activated, |answer| *answer == WakeAnswer::Queued).await;
    let (took, settled) = process.stopped().await;
    assert!(settled && took <= LAST_ANSWERS + TICK, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_round_that_is_not_committed_is_given_up() {
    let process = Process::start(activators_and(|_| Reply::Silence));
    let (mut activated, gate) = process.closing().await;
    let calls = Arc::clone(&process.calls);
    let (took, settled) = process.stopped().await;
    assert!(settled && took <= LAST_ANSWERS + TICK, "{took:?}");
    let mut opened = false;
    while let Some(Ok(frame)) = soon(activated.frames.recv()).await {
        opened |= matches!(frame, LeaderFrame::Open(verdict) if verdict.gate >= gate);
    }
    assert!(opened, "the activator would wait for the next leader");
    assert!(calls.lock().iter().all(|call| call.method != "PUT"), "{:?}", calls.lock());
}

/// The answer comes late, but it comes: then the Lease is given back, and the activators know of the zero.
#[tokio::test(start_paused = true)]
async fn a_zero_under_way_is_finished_first() {
    let process = Process::start(activators_and(|call| {
        let mut object = call.body.clone();
        object["metadata"]["resourceVersion"] = json!("11");
        Reply::Later(Duration::from_millis(700), 200, object)
    }));
    let (mut activated, gate) = process.closing().await;
    process.acknowledge(&activated, gate).await;
    process.written().await;
    let (took, settled) = process.stopped().await;
    assert!(settled, "it was answered");
    assert!(took > LAST_ANSWERS && took <= Duration::from_millis(750), "{took:?}");
    let mut zero = false;
    while let Some(Ok(frame)) = soon(activated.frames.recv()).await {
        zero |= matches!(frame, LeaderFrame::Zero(_));
        assert!(!matches!(frame, LeaderFrame::Open(_)), "{frame:?}");
    }
    assert!(zero, "nobody was told");
}

#[tokio::test(start_paused = true)]
async fn a_zero_that_is_never_answered_is_not_settled() {
    let process = Process::start(activators_and(|_| Reply::Silence));
    let (activated, gate) = process.closing().await;
    process.acknowledge(&activated, gate).await;
    process.written().await;
    let zero = process.calls.lock().last().unwrap().body["spec"]["replicas"].clone();
    assert_eq!(zero, json!(0));
    let (took, settled) = process.stopped().await;
    assert!(!settled, "the zero may still land");
    assert!(took >= LAST_ZEROS && took <= LAST_ZEROS + TICK, "{took:?}");
}
