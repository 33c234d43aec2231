//! The pages of `docs/` that people follow: each is followed as it stands.

use std::{collections::BTreeSet, path::Path};

use catnap_e2e::book::follow;
use catnap_e2e::fixture::{Needs, run};

/// Pages that install and remove Catnap, which those of `faults` may.
const ALONE: [&str; 1] = ["paths/running-a-cluster.md"];

async fn followed(name: &str, page: &str) {
    run(name, Needs::Cluster, async |test| follow(test, page, &[]).await).await;
}

/// A test for each page, and the list of all.
macro_rules! pages {
    ($($name:ident: $page:literal,)*) => {
        const FOLLOWED: &[&str] = &[$($page),*];

        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                followed(stringify!($name), $page).await;
            }
        )*
    };
}

pages! {
    start: "start.md",
    calls_and_streams: "guides/grpc-and-websocket.md",
    coming_from_knative: "paths/coming-from-knative.md",
    deploying: "guides/deploy-and-canary.md",
    finding_out: "guides/does-not-come-up.md",
    hosts_and_tls: "guides/hosts-and-tls.md",
    private_images: "guides/private-images.md",
    scaling: "guides/scale-and-keep-warm.md",
    writing: "guides/write-a-function.md",
    writing_a_function: "paths/writing-a-function.md",
}

#[test]
fn no_guide_and_no_path_is_left_out() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut there = BTreeSet::from(["start.md".to_owned()]);
    for folder in ["guides", "paths"] {
        for entry in std::fs::read_dir(docs.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                there.insert(format!("{folder}/{name}"));
            }
        }
    }
    let followed: BTreeSet<String> = FOLLOWED.iter().chain(&ALONE).map(|page| (*page).to_owned()).collect();
    assert_eq!(there, followed);
}
