use proptest::prelude::*;

use super::histogram::{INTERVALS, Interval, Length};
use super::*;

const TERMS: Terms = Terms { after: Duration::from_secs(30), budget: 50 };

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// What these idle times teach, each after a request of 100 ms.
fn taught(terms: Terms, idle: impl IntoIterator<Item = f64>) -> Learned {
    let mut learned = Learned::default();
    for idle in idle {
        learned.ended(terms, seconds(0.1), seconds(idle));
    }
    learned
}

/// A timer that is a little late or early at times.
fn timer(every: f64, times: u32) -> impl Iterator<Item = f64> {
    (0..times).map(move |turn| every + f64::from(turn % 5) * 0.3)
}

#[test]
fn a_timer_is_learned_and_a_replica_started_shortly_before_it() {
    let mut learned = taught(TERMS, timer(300.0, 20));
    assert!(learned.is_over(TERMS, seconds(2.0)), "nothing is kept after the request");
    let Outlook::Unlikely(passed) = learned.outlook(TERMS, seconds(200.0)) else {
        panic!("none is expected")
    };
    assert_eq!(passed.to_string(), "0 percent of the idle times end within 1 s");
    let from = learned.next_ahead(TERMS, seconds(2.0)).unwrap();
    assert!((285.0..298.0).contains(&from.as_secs_f64()), "{from:?}");
    let Outlook::Likely(hold) = learned.outlook(TERMS, seconds(300.0)) else { panic!("nothing expected") };
    assert!(hold.is_ahead() && hold.percent == 100 && hold.until < seconds(312.0), "{hold:?}");
    assert_eq!(hold.to_string(), "100 percent of such idle times end 291 to 308 s after a request");
    assert!(learned.is_over(TERMS, seconds(330.0)), "the request did not come");
}

#[test]
fn requests_that_follow_soon_keep_the_replica() {
    let mut learned = taught(TERMS, (0..30).map(|turn| 2.0 + f64::from(turn % 7)));
    assert!(!learned.is_over(TERMS, seconds(7.5)));
    assert!(learned.is_over(TERMS, seconds(12.0)), "no idle time was longer than 8 s");
    let Outlook::Likely(hold) = learned.outlook(TERMS, seconds(1.0)) else { panic!("nothing expected") };
    assert_eq!(hold.to_string(), "100 percent of the idle times end within 9 s");
}

#[test]
fn bursts_of_a_timer_are_kept_together_and_the_next_burst_is_expected() {
    let burst = |_| [3.0, 2.0, 4.0, 3.5, 2.5, 590.0];
    let mut learned = taught(TERMS, (0..20).flat_map(burst));
    assert!(!learned.is_over(TERMS, seconds(4.0)));
    assert!(learned.is_over(TERMS, seconds(60.0)));
    assert!(matches!(learned.outlook(TERMS, seconds(589.0)), Outlook::Likely(hold) if hold.is_ahead()));
}

#[test]
fn what_adjoins_is_no_longer_than_one_wait() {
    let intervals =
        [(2.5, 11.8, 108), (23.9, 30.1, 55), (31.8, 32.6, 37), (48.7, 61.7, 19), (66.4, 116.7, 5)];
    let intervals = intervals.map(|(shortest, longest, weight)| {
        let (shortest, longest) = (Length::of(seconds(shortest)), Length::of(seconds(longest)));
        Interval { shortest, longest, weight }
    });
    let mut learned = Learned { histogram: Histogram::of(intervals.to_vec()).unwrap(), ..Learned::default() };
    let Plan::Learned(holds) = learned.plan(TERMS).clone() else { panic!("enough is known") };
    assert_eq!(holds[0].until, seconds(30.0), "{holds:?}");
    assert!(holds[1].from > seconds(33.0), "{holds:?}");
}

#[test]
fn a_replica_that_would_go_and_come_back_at_once_stays() {
    let mut learned = taught(TERMS, (0..30).map(|_| 6.0));
    let Plan::Learned(holds) = learned.plan(TERMS).clone() else { panic!("enough is known") };
    let [hold] = holds[..] else { panic!("one wait: {holds:?}") };
    assert!(hold.from.is_zero() && hold.until < seconds(8.0) && hold.percent == 100, "{hold:?}");
}

/// Waiting while a floor keeps the replica anyway is nobody's waste.
#[test]
fn idle_times_beside_a_floor_teach_and_cost_nothing() {
    let mut learned = taught(TERMS, timer(300.0, 10));
    let credit = learned.credit(TERMS);
    learned.kept(seconds(500.0));
    assert!((learned.credit(TERMS) - credit).abs() < f64::EPSILON);
    learned.wasted(TERMS, seconds(30.0));
    assert!((learned.credit(TERMS) - (credit - 30.0)).abs() < f64::EPSILON);
}

#[test]
fn few_idle_times_change_nothing() {
    let mut learned = taught(TERMS, [300.0, 300.0, 300.0]);
    assert_eq!(learned.outlook(TERMS, seconds(10.0)), Outlook::Unknown);
    assert!(!learned.is_over(TERMS, seconds(29.0)) && learned.is_over(TERMS, seconds(30.0)));
    assert_eq!(learned.next_ahead(TERMS, seconds(60.0)), None);
}

#[test]
fn idle_times_without_a_pattern_keep_little() {
    // Hours apart, and never the same: nothing that waits half a minute is worth it.
    let mut learned = taught(TERMS, (0..12).map(|turn| 3_000.0 * 1.3_f64.powi(turn)));
    assert!(learned.is_over(TERMS, seconds(2.0)));
    assert_eq!(learned.next_ahead(TERMS, seconds(2.0)), None);
}

#[test]
fn a_changed_pattern_is_learned_anew() {
    let likely = |mut learned: Learned, at| matches!(learned.outlook(TERMS, seconds(at)), Outlook::Likely(_));
    let after = |times| taught(TERMS, timer(120.0, 200).chain(timer(45.0, times)));
    assert!(likely(after(0), 120.0) && !likely(after(0), 45.0));
    assert!(likely(after(130), 45.0));
    assert!(!likely(after(600), 120.0), "the old one has faded");
}

#[test]
fn a_timer_that_ended_uses_the_budget_up_and_is_tried_again_later() {
    let terms = Terms { after: seconds(600.0), budget: 20 };
    let mut learned = taught(terms, timer(300.0, 40));
    let mut spent = 0;
    for turn in 0..60 {
        learned.ended(terms, seconds(0.1), seconds(800.0 + f64::from(turn * 37 % 400)));
        spent += u32::from(learned.outlook(terms, seconds(1.0)) == Outlook::Spent);
    }
    // Whatever the plan is by then, it never waited for long without a request.
    assert!(learned.credit(terms) > -terms.after.as_secs_f64(), "{}", learned.credit(terms));
    assert!(spent < 60);
}

#[test]
fn terms_that_change_change_the_plan() {
    let mut learned = taught(TERMS, (0..30).map(|turn| 60.0 + f64::from(turn % 9)));
    let longer = Terms { after: seconds(120.0), ..TERMS };
    assert!(learned.is_over(TERMS, seconds(40.0)));
    assert!(!learned.is_over(longer, seconds(40.0)));
    assert!(learned.is_over(TERMS, seconds(40.0)));
}

#[test]
fn what_is_stored_is_small_and_comes_back_the_same() {
    let learned = taught(TERMS, (0..500).map(|turn| 1.5 * 1.02_f64.powi(turn)));
    let stored = learned.stored();
    assert!(stored.len() <= STORED_BYTES && STORED_BYTES <= 64, "{}", stored.len());
    let restored = Learned::restored(&stored).unwrap();
    assert_eq!(restored.histogram, learned.histogram);
    assert_eq!(restored.stored(), stored);
}

#[test]
fn what_this_version_never_writes_is_refused() {
    let stored = taught(TERMS, [2.0, 300.0]).stored();
    assert_eq!(Learned::restored(&[]).unwrap_err(), Malformed::Size(0));
    assert_eq!(
        Learned::restored(&stored[..stored.len() - 1]).unwrap_err(),
        Malformed::Size(stored.len() - 1)
    );
    let mut newer = stored.clone();
    newer[0] = 2;
    assert_eq!(Learned::restored(&newer).unwrap_err(), Malformed::Version(2));
    let mut reversed = stored.clone();
    let (first, second) = reversed[5..].split_at_mut(5);
    first.swap_with_slice(second);
    assert_eq!(Learned::restored(&reversed).unwrap_err(), Malformed::Intervals);
    let mut many = stored;
    many.extend(std::iter::repeat_n(0, 5 * INTERVALS));
    assert_eq!(Learned::restored(&many).unwrap_err(), Malformed::Intervals);
    // Their weights come to more than the total can tell.
    many.extend(std::iter::repeat_n(u8::MAX, 5 * 300));
    assert_eq!(Learned::restored(&many).unwrap_err(), Malformed::Intervals);
}

fn terms() -> impl Strategy<Value = Terms> {
    (1_u64..7_200, 1_u32..=100)
        .prop_map(|(after, budget)| Terms { after: Duration::from_secs(after), budget })
}

/// Idle times of every size, with stretches of the same one.
fn idle_times() -> impl Strategy<Value = Vec<f64>> {
    let stretch = (0.0..11.0_f64, 1..40_usize, 0.0..0.2_f64).prop_map(|(size, times, noise)| {
        let each = move |turn: usize| size.exp() * (1.0 + noise * (turn % 7) as f64 / 7.0);
        (0..times).map(each).collect::<Vec<_>>()
    });
    prop::collection::vec(stretch, 0..12).prop_map(|stretches| stretches.concat())
}

proptest! {
    #[test]
    fn holds_keep_to_the_bounds(terms in terms(), idle in idle_times()) {
        let mut learned = taught(terms, idle);
        let Plan::Learned(holds) = learned.plan(terms).clone() else { return Ok(()) };
        let mut end = Duration::ZERO;
        for hold in holds {
            prop_assert!(hold.from >= end && hold.until > hold.from, "{hold:?} after {end:?}");
            let longest = terms.after.max(LEAST) + Duration::from_micros(1);
            prop_assert!(hold.until <= hold.from + longest, "{hold:?}");
            prop_assert!(hold.percent <= 100);
            // So that no two of them make one wait that is longer than the owner allows.
            let apart = Duration::from_millis(2_900);
            prop_assert!(!hold.is_ahead() || hold.from >= end + apart, "{hold:?} after {end:?}");
            end = hold.until;
        }
        prop_assert!(end >= LEAST);
    }

    #[test]
    fn the_stored_form_comes_back(terms in terms(), idle in idle_times()) {
        let learned = taught(terms, idle);
        let stored = learned.stored();
        prop_assert!(stored.len() <= STORED_BYTES);
        prop_assert_eq!(Learned::restored(&stored).unwrap().stored(), stored);
    }

    #[test]
    fn garbage_never_breaks_anything(bytes in prop::collection::vec(any::<u8>(), 0..80), terms in terms()) {
        let mut bytes = bytes;
        if let Some(version) = bytes.first_mut() {
            *version %= 2;
        }
        if let Ok(mut learned) = Learned::restored(&bytes) {
            prop_assert_eq!(learned.stored(), bytes);
            learned.outlook(terms, Duration::from_secs(100));
            learned.ended(terms, Duration::ZERO, Duration::from_secs(100));
        }
    }

    /// Whatever comes, time waited in vain stays within the budget, the share for trials and what was saved up.
    #[test]
    fn waiting_in_vain_stays_within_the_budget(terms in terms(), idle in idle_times()) {
        let mut learned = Learned::default();
        let (mut vain, mut used, mut all, mut worst) = (0.0, 0.0, 0.0, 0.0_f64);
        for idle in idle.into_iter().map(seconds) {
            let busy = Duration::from_millis(100);
            let spent = learned.is_spent(terms);
            let waited = learned.plan(terms).waited(idle);
            if spent {
                used += LEAST.min(idle).as_secs_f64();
            } else {
                vain += waited.vain.as_secs_f64();
                used += waited.all.as_secs_f64();
                worst = worst.max(waited.vain.as_secs_f64());
            }
            used += busy.as_secs_f64();
            all += idle.as_secs_f64();
            learned.ended(terms, busy, idle);
            let allowed = used * f64::from(terms.budget) / 100.0 + all * TRIAL + most_credit(terms) + worst;
            prop_assert!(vain <= allowed + 1e-6, "{vain} s in vain, {allowed} s allowed");
        }
    }
}
