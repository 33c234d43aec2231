//! Requests shared out among the revisions of a function, and revisions with names of their own.

use anyhow::Context as _;
use catnap_crds::Function;
use catnap_e2e::fixture::{Context, Needs, eventually, run, within};
use futures::future::{try_join, try_join_all};
use serde_json::{Value, json};

use catnap_e2e::functions::{
    PATIENCE, apply, body, deploy, deployments, get, hello, is_cold, known_to_activators, url,
};

/// Requests that a share is counted over, and how many are under way at once: beside other tests a flood would leave the activator too
/// little of its CPU, and it would refuse part of it.
///
/// The standard deviation is √(4,000 × 0.1 × 0.9) = 19 at 10 percent: 0 or 20 percent would be 400 requests off, 21 of them. At 99
/// percent it is 6.3: 100 would be 40 off, 6.4 of them each time, for then nothing is drawn. Half as many requests could not tell 99
/// from 100.
const REQUESTS: usize = 4_000;
const CALLERS: usize = 8;
/// Standard deviations that chance may be off by: more come once in some hundred thousand counts of a part as small as 1 percent.
const CHANCE: f64 = 5.0;

/// Two revisions of one function, the older one first.
struct Pair {
    first: String,
    second: String,
}

fn marked(value: &str, spec: Value) -> Value {
    let mut manifest = hello("hello", spec);
    manifest["spec"]["env"] = json!([{"name": "MARK", "value": value}]);
    manifest
}

fn ready_revision(function: &Function) -> String {
    function.status.as_ref().and_then(|status| status.latest_ready_revision.clone()).unwrap_or_default()
}

impl Pair {
    async fn deploy(test: &Context) -> anyhow::Result<Self> {
        let first = ready_revision(&deploy(test, &marked("one", json!({}))).await?);
        let second = ready_revision(&deploy(test, &marked("two", json!({}))).await?);
        anyhow::ensure!(first != second, "the edit made no revision");
        Ok(Self { first, second })
    }

    /// Gives the second revision so much of the requests, and the tag `next`; waits until every activator splits them so.
    async fn split(&self, test: &Context, percent: i32) -> anyhow::Result<()> {
        let traffic = json!([
            {"revision": self.first, "percent": 100 - percent},
            {"revision": self.second, "percent": percent, "tag": "next"},
        ]);
        let manifest = marked("two", json!({"traffic": traffic}));
        apply(test, &manifest).await?;
        let name = manifest["metadata"]["name"].as_str().context("a name")?;
        within(PATIENCE, &test.api::<Function>(), name, |function| {
            let status = function.status.as_ref();
            let share = |revision: &str| {
                let shares = status.iter().flat_map(|status| &status.traffic);
                shares.filter(|share| share.revision == revision).map(|share| share.percent).sum::<i32>()
            };
            share(&self.second) == percent && share(&self.first) == 100 - percent
        })
        .await?;
        eventually("every activator splits the requests so", PATIENCE, async || {
            let known = known_to_activators(test, name).await?;
            let told = known.iter().all(|state| self.is_split(state, percent));
            Ok((told && !known.is_empty()).then_some(()))
        })
        .await
    }

    /// Whether an activator in this state splits the requests so.
    fn is_split(&self, state: &Value, percent: i32) -> bool {
        let shares = state["functions"][0]["traffic"].as_array().into_iter().flatten();
        let share = |revision: &str| {
            let of = shares.clone().filter(|share| share["revision"] == revision);
            of.filter_map(|share| share["percent"].as_i64()).sum::<i64>()
        };
        share(&self.second) == i64::from(percent) && share(&self.first) == i64::from(100 - percent)
    }

    /// Which of the two has answered.
    fn of(&self, answer: &str) -> anyhow::Result<usize> {
        let revision = answer.trim().strip_prefix("Hello from ").context("no greeting")?;
        [&self.first, &self.second]
            .iter()
            .position(|known| *known == revision)
            .with_context(|| format!("{revision} has answered"))
    }

    /// Answers of each revision.
    async fn count(&self, test: &Context, requests: usize) -> anyhow::Result<[usize; 2]> {
        let caller = async || {
            let mut counts = [0; 2];
            for _ in 0..requests / CALLERS {
                counts[self.of(&body(get(test, "hello", "/").await?).await?)?] += 1;
            }
            anyhow::Ok(counts)
        };
        let all = try_join_all((0..CALLERS).map(|_| caller())).await?;
        Ok(all.into_iter().fold([0; 2], |sum, counts| [sum[0] + counts[0], sum[1] + counts[1]]))
    }
}

/// The binomial distribution's standard deviations between what was counted and what was to be expected.
fn deviations(counted: usize, percent: i32) -> f64 {
    let (requests, part) = (REQUESTS as f64, f64::from(percent) / 100.0);
    (counted as f64 - requests * part).abs() / (requests * part * (1.0 - part)).sqrt()
}

/// Waits until no revision has replicas.
async fn all_rest(test: &Context) -> anyhow::Result<()> {
    eventually("all revisions rest at zero", PATIENCE, async || {
        let replicas = deployments(test, "hello").await?.into_iter().map(|deployment| {
            deployment.status.and_then(|status| status.replicas).unwrap_or(0)
                + deployment.spec.and_then(|spec| spec.replicas).unwrap_or(0)
        });
        Ok((replicas.sum::<i32>() == 0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_split_by_percent_warm_and_from_cold() {
    run("split_by_percent", Needs::Cluster, async |test| {
        let pair = Pair::deploy(test).await?;
        for (percent, cold) in [(10, false), (10, true), (99, false), (99, true)] {
            pair.split(test, percent).await?;
            if cold {
                all_rest(test).await?;
            }
            let [first, second] = pair.count(test, REQUESTS).await?;
            anyhow::ensure!(first + second == REQUESTS);
            let off = deviations(second, percent);
            anyhow::ensure!(
                off < CHANCE,
                "{second} of {REQUESTS} at {percent} percent (cold: {cold}): {off:.1} standard deviations"
            );
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_a_name_of_one_revision_until_a_function_takes_it() {
    run("tag", Needs::Cluster, async |test| {
        let pair = Pair::deploy(test).await?;
        pair.split(test, 0).await?;
        all_rest(test).await?;
        let tagged = get(test, "next-hello", "/").await?;
        anyhow::ensure!(is_cold(&tagged), "the revision did not sleep");
        anyhow::ensure!(pair.of(&body(tagged).await?)? == 1);
        let awake = deployments(test, "hello").await?.into_iter().filter(|deployment| {
            deployment.spec.as_ref().and_then(|spec| spec.replicas).is_some_and(|replicas| replicas > 0)
        });
        let awake: Vec<_> = awake.filter_map(|deployment| deployment.metadata.name).collect();
        anyhow::ensure!(awake == [pair.second.clone()], "{awake:?} are awake, not the tag's revision alone");
        for _ in 0..50 {
            anyhow::ensure!(pair.of(&body(get(test, "hello", "/").await?).await?)? == 0);
            anyhow::ensure!(pair.of(&body(get(test, "next-hello", "/").await?).await?)? == 1);
        }
        let unknown = get(test, "other-hello", "/").await?;
        anyhow::ensure!(unknown.status() == 404, "{unknown:?}");

        let own = ready_revision(&deploy(test, &hello("next-hello", json!({}))).await?);
        let answer = body(get(test, "next-hello", "/").await?).await?;
        anyhow::ensure!(answer.contains(&own), "{answer} is no answer of the function of that name");
        test.kubectl(&["delete", "function", "next-hello", "--wait=true", "--timeout=60s"], "").await?;
        eventually("the tag has its name again", PATIENCE, async || {
            let answer = get(test, "next-hello", "/").await?;
            let status = answer.status();
            let text = answer.text().await?;
            // The function of that name says so itself while it is on its way out.
            Ok((status == 200 && pair.of(&text).is_ok_and(|which| which == 1)).then_some(()))
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_weights_change() {
    run("weights_change", Needs::Cluster, async |test| {
        let pair = Pair::deploy(test).await?;
        pair.split(test, 50).await?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let load = |client: reqwest::Client| {
            let (pair, stopped, address) = (&pair, stopped.clone(), url(test, "hello", "/"));
            async move {
                let mut count = 0_usize;
                while !*stopped.borrow() {
                    pair.of(&body(client.get(&address).send().await?).await?)?;
                    count += 1;
                }
                anyhow::Ok(count)
            }
        };
        let stream = async {
            while !*stopped.borrow() {
                let answer = get(test, "hello", "/stream?chunks=20&interval_ms=100").await?;
                body(answer).await?;
            }
            Ok(())
        };
        let changes = async {
            for percent in [0, 100, 1, 99, 50, 100, 0, 50] {
                pair.split(test, percent).await?;
                pair.count(test, 400).await?;
            }
            stop.send_replace(true);
            anyhow::Ok(())
        };
        let clients = [&test.http.http1, &test.http.h2c].map(|client| load(client.clone()));
        let ((counts, ()), ()) = try_join(try_join(try_join_all(clients), stream), changes).await?;
        anyhow::ensure!(counts.iter().sum::<usize>() > 100, "only {counts:?} requests were sent meanwhile");
        Ok(())
    })
    .await;
}
