//! Requests to the API server, which run beside the driver, and what becomes of their answers.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{Input, Reign, Reigns};
use crate::metrics::Metrics;
use crate::scale::Answer;

impl Reign {
    pub(super) fn take_answer(
        &mut self,
        answer: Answer,
        now: Duration,
        metrics: &Metrics,
    ) -> Option<Instant> {
        use catnap_autoscaler_core::WriteOutcome::Written;
        match answer {
            Answer::Read(token, outcome) => {
                self.leader.scale_read(token, outcome, now);
                self.wakes.remove(&token)
            }
            Answer::Written(token, outcome) => {
                let woken_at = self.wakes.remove(&token);
                if let (Some(woken_at), Written { .. }) = (woken_at, &outcome) {
                    metrics.woken(woken_at.elapsed());
                }
                let again = woken_at.filter(|_| !matches!(outcome, Written { .. }));
                self.leader.scale_written(token, outcome, now);
                again
            }
            Answer::Activators(token, activators) => {
                self.leader.activators_listed(token, activators.as_deref(), now);
                None
            }
            Answer::Patterns(done) => {
                self.shelf.done(done, &mut self.leader, now);
                None
            }
        }
    }
}

/// Runs a request beside the driver and hands its answer in.
pub(super) fn ask(
    requests: &TaskTracker,
    answers: &mpsc::Sender<Input>,
    reign: Reigns,
    request: impl Future<Output = Answer> + Send + 'static,
) {
    let answers = answers.clone();
    requests.spawn(async move {
        let answer = request.await;
        // Refused only when the driver has ended, which nobody needs to know.
        let _ = answers.send(Input::Answered(reign, answer)).await;
    });
}
