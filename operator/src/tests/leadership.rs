//! What the process tells of who leads, around the loop that acts by it.

use std::{sync::Arc, time::Duration};

use catnap_operator_core::Claims;
use catnap_runtime::{CancellationToken, admin::Readiness, lease::Leadership};
use catnap_testkit::FakeApi;
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};

use super::bench::{NAMESPACE, settings};
use crate::{context::Context, controller, metrics::Metrics, watch::start};

fn leading(registry: &Registry) -> bool {
    let mut scrape = String::new();
    encode(&mut scrape, registry).unwrap();
    let value = |number| format!("\ncatnap_operator_leading {number}\n");
    assert!(scrape.contains(&value(0)) || scrape.contains(&value(1)), "{scrape}");
    scrape.contains(&value(1))
}

async fn becomes(registry: &Registry, wanted: bool) {
    let shown = async {
        while leading(registry) != wanted {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), shown).await.unwrap_or_else(|_| panic!("leading is never {wanted}"));
}

#[tokio::test]
async fn who_leads_says_so_until_another_may_or_it_ends() {
    let client = FakeApi::default().client();
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let watched = start(&client, NAMESPACE, "catnap-activator", settings(Claims::Restricted), 20, &metrics);
    let (publish, leadership) = watch::channel(None);
    let (notices, _taken) = mpsc::channel(1);
    let context = Context::new(client, &watched, leadership.clone(), Arc::default(), notices, metrics);
    let stop = CancellationToken::new();
    let readiness = Readiness::default();
    let process = controller::run(context, watched, leadership, readiness.clone(), 1, stop.clone());
    let term = |number| Some(Leadership::until(number, Instant::now() + Duration::from_secs(3_600)));
    let election = async {
        assert!(!leading(&registry), "nobody was elected");
        publish.send_replace(term(1));
        becomes(&registry, true).await;
        assert!(readiness.get());
        publish.send_replace(None);
        becomes(&registry, false).await;
        publish.send_replace(term(2));
        becomes(&registry, true).await;
        stop.cancel();
    };
    tokio::join!(process, election);
    assert!(!leading(&registry), "what has ended leads nobody");
}
