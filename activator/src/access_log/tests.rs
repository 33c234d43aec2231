//! What a line says, which requests get one, and what becomes of those that find no room.

use std::io;
use std::sync::Mutex;

use catnap_activator_core::Reason;
use http::HeaderValue;
use serde_json::Value;

use super::*;

fn details() -> Details {
    Details {
        method: "GET",
        version: "1.1",
        tls: true,
        request_id: HeaderValue::from_static("order-17/a"),
        path_length: 12,
        pod: Some("pod-uid".into()),
        trace: None,
    }
}

fn end(log: &AccessLog, outcome: Outcome) {
    let phases = Phases { cold: true, wake: Duration::from_millis(30), ..Phases::default() };
    log.ended(&Ended {
        function: None,
        revision: None,
        status: Some(503),
        grpc_status: None,
        outcome,
        duration: Duration::from_micros(20_500),
        first_byte: None,
        held: Some(Duration::from_millis(31)),
        phases: Some(phases),
        attempts: 1,
        request_bytes: 3,
        response_bytes: 4,
        details: Some(&details()),
    });
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the log writes of these requests, line by line.
fn written(log: AccessLog, mut lines: Receiver<Line>) -> Vec<Value> {
    drop(log);
    let written = Written::default();
    let lines_apart = telemetry::apart(LogFormat::Json, Mutex::new(written.clone()));
    tracing::dispatcher::with_default(&lines_apart, || write(&mut lines));
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_says_what_happened_and_nothing_raw() {
    let (log, lines) = AccessLog::new(1.0, 0, 8, Arc::default());
    end(&log, Outcome::Refused(Reason::ActivationTimeout));
    end(&log, Outcome::Answered);
    let lines = written(log, lines);
    assert_eq!(lines.len(), 2);
    let fields = [
        ("target", "access".into()),
        ("level", "INFO".into()),
        ("message", "request".into()),
        ("method", "GET".into()),
        ("version", "1.1".into()),
        ("tls", true.into()),
        ("path_length", 12.into()),
        ("request_id", "order-17/a".into()),
        ("pod", "pod-uid".into()),
        ("status", 503.into()),
        ("reason", Value::from("ActivationTimeout")),
        ("attempts", 1.into()),
        ("duration_ms", 20.5.into()),
        ("held_ms", 31.0.into()),
        ("cold", true.into()),
        ("wake_ms", 30.0.into()),
        ("queue_ms", 0.0.into()),
        ("request_bytes", 3.into()),
        ("response_bytes", 4.into()),
    ];
    for (name, value) in &fields {
        assert_eq!(&lines[0][name], value, "{name} of {}", lines[0]);
    }
    assert_eq!(
        lines[0].as_object().unwrap().len(),
        fields.len() + 4,
        "and three phases, the time: {}",
        lines[0]
    );
    assert!(lines[1].get("reason").is_none(), "the function answered");
}

fn waiting(lines: &mut Receiver<Line>) -> usize {
    std::iter::from_fn(|| lines.try_recv().ok()).count()
}

#[test]
fn a_sample_is_taken_and_errors_up_to_their_rate() {
    let (log, mut lines) = AccessLog::new(0.0, 2, 100, Arc::default());
    for _ in 0..10 {
        end(&log, Outcome::Answered);
        end(&log, Outcome::BrokenOff);
    }
    let count = waiting(&mut lines);
    // The second may have ended in between.
    assert!((2..=4).contains(&count), "{count}");
    let (log, mut lines) = AccessLog::new(0.25, 0, 4_000, Arc::default());
    (0..2_000).for_each(|_| end(&log, Outcome::Refused(Reason::QueueFull)));
    let count = waiting(&mut lines);
    assert!((350..650).contains(&count), "{count}");
}

#[test]
fn the_rate_is_per_second() {
    let errors = PerSecond::new(3);
    let taken = |now| (0..10).filter(|_| errors.takes(now)).count();
    assert_eq!(taken(errors.started), 3);
    assert_eq!(taken(errors.started + Duration::from_millis(999)), 0);
    assert_eq!(taken(errors.started + Duration::from_secs(1)), 3);
    // A worker that looked at the clock before.
    assert_eq!(taken(errors.started), 0);
    assert_eq!(taken(errors.started + Duration::from_secs(60)), 3);
    assert!(!PerSecond::new(0).takes(Instant::now()));
}

#[test]
fn nobody_waits_for_a_full_queue() {
    let losses = Arc::<Losses>::default();
    let (log, lines) = AccessLog::new(1.0, 0, 5, Arc::clone(&losses));
    (0..12).for_each(|_| end(&log, Outcome::Answered));
    assert_eq!(losses.lines.load(Relaxed), 7);
    assert_eq!(written(log, lines).len(), 5);
}

#[test]
fn it_is_off_unless_asked_for() {
    let off = AccessLogArgs { access_log_sample: 0.0, access_log_errors: 0 };
    assert!(AccessLog::start(&off, LogFormat::Json, Arc::default()).unwrap().is_none());
    assert_eq!(part("0.5"), Ok(0.5));
    assert!(part("2").is_err() && part("NaN").is_err() && part("some").is_err());
}

/// Lines on their way to a reader that takes none before it is told to.
struct Stuck(std::sync::mpsc::Receiver<()>, Written);

impl io::Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_is_stuck_is_in_nobodys_way_but_the_logs() {
    let (log, mut lines) = AccessLog::new(1.0, 0, 8, Arc::default());
    let (go, gone) = std::sync::mpsc::channel();
    let read = Written::default();
    let stuck = Stuck(gone, read.clone());
    let writing = std::thread::spawn(move || {
        let lines_apart = telemetry::apart(LogFormat::Json, Mutex::new(stuck));
        tracing::dispatcher::with_default(&lines_apart, || write(&mut lines));
    });
    let other = Written::default();
    // The rest of the process logs warnings only, and is not kept waiting.
    let others = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer({
            let other = other.clone();
            move || other.clone()
        })
        .finish();
    tracing::subscriber::with_default(others, || {
        (0..12).for_each(|_| end(&log, Outcome::Answered));
        tracing::warn!("elsewhere");
    });
    let text = String::from_utf8(other.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("elsewhere") && !text.contains("request_id"), "{text}");
    drop(log);
    drop(go);
    writing.join().unwrap();
    let lines = String::from_utf8(read.0.lock().unwrap().clone()).unwrap();
    assert!(lines.lines().count() >= 8, "every line that found room is written: {lines}");
}

#[tokio::test]
async fn the_last_lines_are_waited_for_and_not_for_ever() {
    let (tell, told) = oneshot::channel();
    let written = tokio::spawn(Writing(told).ended(Duration::from_secs(600)));
    tell.send(()).unwrap();
    written.await.unwrap();
    let (_stuck, told) = oneshot::channel();
    Writing(told).ended(Duration::from_millis(1)).await;
}
