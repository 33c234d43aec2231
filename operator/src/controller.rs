//! The loop around reconciliations: stands by until this process leads, then works through what the watches touch.

use std::{convert::Infallible, sync::Arc};

use catnap_runtime::{CancellationToken, admin::Readiness, lease::Leadership};
use futures::{StreamExt, stream};
use kube::runtime::{
    controller::{Config, applier},
    reflector::ObjectRef,
};
use tokio::sync::watch;

use crate::{
    context::Context,
    reconcile::{after_failure, reconcile},
    touches::Touches,
    watch::{GuardedFunction, Watched},
};

/// Runs until `stop`. When it returns, nothing acts any more.
pub(crate) async fn run(
    context: Arc<Context>,
    mut watched: Watched,
    mut leadership: watch::Receiver<Option<Leadership>>,
    readiness: Readiness,
    concurrency: u16,
    stop: CancellationToken,
) {
    tokio::select! {
        () = watched.ready() => readiness.set(true),
        () = stop.cancelled() => return,
    }
    loop {
        tokio::select! {
            leads = stand_by(&mut leadership, &mut watched.touched) => if !leads { return },
            () = stop.cancelled() => return,
        }
        tracing::info!("leading");
        context.metrics.leading(true);
        // Dropping the work is what ends it: every write is conditional, so one that lands later does no harm.
        let stands_by = tokio::select! {
            () = work(&context, &mut watched.touched, concurrency) => false,
            () = deposed(&mut leadership) => true,
            () = stop.cancelled() => false,
        };
        context.metrics.leading(false);
        if !stands_by {
            return;
        }
        tracing::warn!("no longer leading");
    }
}

/// Waits for leadership; what is touched meanwhile is another's to look at. False when there is no election any more.
async fn stand_by(
    leadership: &mut watch::Receiver<Option<Leadership>>,
    touched: &mut Touches<ObjectRef<GuardedFunction>>,
) -> bool {
    loop {
        tokio::select! {
            elected = leadership.wait_for(Option::is_some) => return elected.is_ok(),
            function = touched.next() => if function.is_none() { return false },
        }
    }
}

async fn deposed(leadership: &mut watch::Receiver<Option<Leadership>>) {
    // An election that ended leads nobody either.
    let _ = leadership.wait_for(Option::is_none).await;
}

async fn work(context: &Arc<Context>, touched: &mut Touches<ObjectRef<GuardedFunction>>, concurrency: u16) {
    context.claims.take_over(&context.client).await;
    let all = context.functions.state();
    let all: Vec<_> = all.iter().map(|function| ObjectRef::from_obj(function.as_ref())).collect();
    let touched = stream::iter(all).chain(touched);
    let results = applier(
        |function, context| Box::pin(reconcile(function, context)),
        |function, error, context| after_failure(&function, error, &context),
        context.clone(),
        context.functions.clone(),
        touched.map(Ok::<_, Infallible>),
        Config::default().concurrency(concurrency),
    );
    // Failures were told where they were dealt with; a Function that is gone is no failure.
    results.for_each(|_| std::future::ready(())).await;
}
