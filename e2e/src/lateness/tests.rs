//! Which spans of time a late CPU disturbs, and what becomes of a measurement in them.

use super::*;

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// One that was late from 100 ms to 700 ms after its start, not since, and is due at 801 ms.
fn sleeper(start: Instant) -> Sleeper {
    let mut sleeper = Sleeper { due: start + milliseconds(100), late: Vec::new() };
    sleeper.woke(start + milliseconds(700));
    // As late as a sleep always is.
    sleeper.woke(start + milliseconds(702));
    sleeper.due = start + milliseconds(801);
    sleeper
}

#[test]
fn only_what_overlaps_a_span_counts_and_all_of_it() {
    let start = Instant::now();
    let sleeper = sleeper(start);
    let now = start + milliseconds(801);
    let most = |from, until| sleeper.most(&(start + milliseconds(from)..start + milliseconds(until)), now);
    assert_eq!(sleeper.late.len(), 1);
    assert_eq!(most(0, 100), Duration::ZERO);
    assert_eq!(most(0, 101), milliseconds(600));
    assert_eq!(most(300, 310), milliseconds(600));
    assert_eq!(most(699, 900), milliseconds(600));
    assert_eq!(most(700, 900), Duration::ZERO);
}

#[test]
fn one_that_has_not_woken_yet_is_late_already() {
    let start = Instant::now();
    let sleeper = sleeper(start);
    let span = start + milliseconds(750)..start + milliseconds(1_000);
    assert_eq!(sleeper.most(&span, start + milliseconds(800)), Duration::ZERO);
    assert_eq!(sleeper.most(&span, start + milliseconds(1_301)), milliseconds(500));
    let before = start + milliseconds(720)..start + milliseconds(800);
    assert_eq!(sleeper.most(&before, start + milliseconds(1_301)), Duration::ZERO);
}

#[test]
fn a_short_measurement_is_disturbed_by_less() {
    let start = Instant::now();
    let late_by = |late| Lateness {
        cpus: vec![Arc::new(Mutex::new(Sleeper {
            due: start + Duration::from_secs(60),
            late: vec![start..start + milliseconds(late)],
        }))],
        threads: Vec::new(),
        stopped: Arc::default(),
    };
    for (late, measured, disturbed) in
        [(9, 50, false), (11, 50, true), (99, 1_000, false), (101, 1_000, true), (101, 9_000, true)]
    {
        let span = start..start + milliseconds(measured);
        assert_eq!(late_by(late).disturbed(&span), disturbed, "{late} of {measured}");
    }
}

/// CPUs that were late by 400 ms explain an end that comes 1,600 ms too late, and not another.
#[test]
fn only_what_a_late_cpu_explains_is_excused() {
    let start = Instant::now();
    let sleeper = |late| Sleeper { due: start + Duration::from_secs(60), late };
    // 50 ms disturb nothing, and what comes after the bound holds up what is late already.
    let late = [(0, 150), (500, 550), (1_200, 1_450)];
    let late = late.map(|(from, until)| start + milliseconds(from)..start + milliseconds(until)).to_vec();
    let cpus = [sleeper(late), sleeper(Vec::new())].map(|cpu| Arc::new(Mutex::new(cpu)));
    let lateness = Lateness { cpus: cpus.into(), threads: Vec::new(), stopped: Arc::default() };
    let excuses = |begin, took| {
        let missed = less_than(Duration::from_secs(1), begin, milliseconds(took), "it").unwrap_err();
        lateness.excuses(&missed)
    };
    assert!(excuses(start, 2_600));
    assert!(!excuses(start, 2_601));
    assert!(!excuses(start + milliseconds(160), 1_001));
    let first = start..start + milliseconds(100);
    assert!(lateness.excuses(&Missed::new(first.clone(), "too few")));
    assert!(lateness.excuses(&Missed::by_late_cpu(first.clone(), milliseconds(150), "free")));
    assert!(!lateness.excuses(&Missed::by_late_cpu(first, milliseconds(151), "free")));
}

#[test]
fn every_cpu_of_this_process_is_looked_at() {
    let lateness = Lateness::watch().unwrap();
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let count = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap()).count();
    assert_eq!((lateness.cpus.len(), lateness.threads.len()), (count, count));
    let before = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
    assert!(!lateness.disturbed(&(before..before + Duration::from_secs(1))));
}

#[test]
fn a_bound_reaches_up_to_itself() {
    let (begin, bound) = (Instant::now(), Duration::from_secs(1));
    assert!(less_than(bound, begin, milliseconds(999), "it").is_ok());
    let missed = less_than(bound, begin, milliseconds(1_500), "it").unwrap_err();
    assert_eq!(missed.span, begin..begin + bound);
    assert_eq!(missed.what, "it: 1.5s, not less than 1s");
}

fn missed<T>() -> Result<T, Missed> {
    let now = Instant::now();
    Err(Missed::new(now..now, "by far"))
}

#[tokio::test]
async fn what_was_disturbed_is_measured_again() {
    let third = async |attempt| Ok(if attempt == 2 { Ok(attempt) } else { missed() });
    assert_eq!(undisturbed("it", |_| true, third).await.unwrap(), 2);
}

#[tokio::test]
async fn what_was_not_disturbed_is_measured_once() {
    let mut taken = 0;
    let take = async |_| {
        taken += 1;
        Ok(missed::<()>())
    };
    assert_eq!(undisturbed("it", |_| false, take).await.unwrap_err().to_string(), "it: by far");
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn what_was_always_disturbed_fails() {
    let mut taken = 0;
    let take = async |_| {
        taken += 1;
        Ok(missed::<()>())
    };
    let said = undisturbed("it", |_| true, take).await.unwrap_err().to_string();
    assert_eq!(said, "it: this machine stood still during each of 5 measurements");
    assert_eq!(taken, 5);
}

#[tokio::test]
async fn what_cannot_be_measured_fails_at_once() {
    let take = async |_| -> anyhow::Result<Result<(), Missed>> { anyhow::bail!("no answer") };
    assert_eq!(undisturbed("it", |_| true, take).await.unwrap_err().to_string(), "no answer");
}
