//! Writes that are asked for at a fixed rate, each from what rests at that moment.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::interval;

use super::subjects::Written;

/// How many there are to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A second.
    pub(super) rate: u32,
    pub(super) seconds: u32,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Paced {
    pub(super) written: Vec<Written>,
    /// Asked for, and never seen.
    pub(super) lost: usize,
    /// Nothing rested when the moment came.
    pub(super) skipped: usize,
}

/// Asks for one write each moment, of the one that has rested for longest out of `count`.
pub(super) async fn paced<R>(
    pace: Pace,
    count: usize,
    rests: impl Fn(usize) -> bool,
    write: impl Fn(usize) -> R,
) -> anyhow::Result<Paced>
where
    R: Future<Output = anyhow::Result<Option<Written>>>,
{
    let mut moments = interval(Duration::from_secs(1) / pace.rate.max(1));
    let mut due = pace.rate * pace.seconds;
    let mut turns: VecDeque<usize> = (0..count).collect();
    let mut under_way = FuturesUnordered::new();
    let mut paced = Paced::default();
    while due > 0 || !under_way.is_empty() {
        tokio::select! {
            _ = moments.tick(), if due > 0 => {
                due -= 1;
                let found = turns.iter().position(|number| rests(*number));
                match found.and_then(|place| turns.remove(place)) {
                    Some(number) => {
                        turns.push_back(number);
                        under_way.push(write(number));
                    }
                    None => paced.skipped += 1,
                }
            }
            Some(outcome) = under_way.next() => match outcome? {
                Some(written) => paced.written.push(written),
                None => paced.lost += 1,
            },
        }
    }
    Ok(paced)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_rests_has_its_turn_and_what_is_lost_or_skipped_is_counted() {
        let asked = RefCell::new(Vec::new());
        let write = |number| {
            asked.borrow_mut().push(number);
            async move {
                let after = Duration::from_millis(3);
                Ok((number != 2).then_some(Written { after, alone: false }))
            }
        };
        let rests = |number| number != 1 && asked.borrow().len() < 4;
        let paced = paced(Pace { rate: 5, seconds: 1 }, 3, rests, write).await.unwrap();
        assert_eq!(*asked.borrow(), [0, 2, 0, 2]);
        assert_eq!((paced.written.len(), paced.lost, paced.skipped), (2, 2, 1));
    }
}
