//! Schedules on a real clock: one that opens within the test's minute holds its floor, and lets go when it closes.

use std::time::Duration;

use catnap_e2e::fixture::{Needs, eventually, run};
use k8s_openapi::{
    api::events::v1::Event,
    jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone},
};
use kube::api::ListParams;
use serde_json::json;

use catnap_e2e::functions::{PATIENCE, deploy, deploy_resting, hello, replicas, resting};

/// The minute that has just begun, or the next one.
fn minute() -> anyhow::Result<Zoned> {
    // Windows open at whole seconds.
    let now = Timestamp::from_second(Timestamp::now().as_second())?.to_zoned(TimeZone::UTC);
    let within = SignedDuration::from_secs(now.second().into());
    let begun = now.checked_sub(within)?;
    Ok(if now.second() < 30 { begun } else { begun.checked_add(SignedDuration::from_mins(1))? })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_holds_its_floor_while_it_is_open() {
    run("schedule", Needs::Cluster, async |test| {
        deploy_resting(test, &hello("hello", json!({}))).await?;
        let opens = minute()?;
        let schedule = json!({
            "name": "now", "cron": format!("{} {} * * *", opens.minute(), opens.hour()), "duration": "1m", "min": 2,
        });
        // Another one, which can never open, must not keep it from that.
        let never = json!({"cron": "0 0 30 2 *", "duration": "1h", "min": 5});
        deploy(test, &hello("hello", json!({"scale": {"schedules": [schedule, never]}}))).await?;
        eventually("the floor of the schedule", PATIENCE, async || {
            Ok((replicas(test, "hello").await? == 2).then_some(()))
        })
        .await?;
        anyhow::ensure!(Timestamp::now() >= opens.timestamp(), "it opened before its time");
        // There is no request, and the idle time of a second passes many times.
        eventually("the end of the schedule", Duration::from_secs(100), async || {
            Ok((replicas(test, "hello").await? < 2).then_some(()))
        })
        .await?;
        let closes = opens.timestamp().checked_add(SignedDuration::from_mins(1))?;
        anyhow::ensure!(Timestamp::now() >= closes, "it let go before {closes}");
        resting(test, "hello").await?;
        let events = test.api::<Event>().list(&ListParams::default()).await?.items;
        let note = "from 0 to 2 replicas: ";
        let told = events.iter().filter_map(|event| event.note.as_deref()).find(|told| told.contains(note));
        anyhow::ensure!(
            told.is_some_and(|told| told.contains("schedule now is open: not below 2")),
            "{told:?}"
        );
        Ok(())
    })
    .await;
}
