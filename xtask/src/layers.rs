//! Which crate may depend on which. Dependencies point one way: definitions, then cores that decide without
//! I/O, then programs. Nothing depends on a program.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::Package;

/// A crate, and the crates of the workspace that it may be built from. Its tests may use more: all but programs.
struct Layer {
    package: &'static str,
    may_use: &'static [&'static str],
    /// Crates from elsewhere that it must not reach, not even through another crate of the workspace.
    without: &'static [&'static str],
}

const KUBERNETES: &[&str] = &["kube", "kube-client", "kube-core", "kube-runtime", "k8s-openapi"];
const KUBERNETES_AND_HYPER: &[&str] =
    &["kube", "kube-client", "kube-core", "kube-runtime", "k8s-openapi", "hyper", "hyper-util"];

const LAYERS: &[Layer] = &[
    Layer { package: "catnap-crds", may_use: &[], without: &[] },
    Layer { package: "catnap-wire", may_use: &[], without: KUBERNETES },
    Layer { package: "catnap-runtime", may_use: &["catnap-crds"], without: &[] },
    Layer { package: "catnap-testkit", may_use: &["catnap-crds"], without: &[] },
    Layer { package: "catnap-autoscaler-core", may_use: &["catnap-wire"], without: KUBERNETES_AND_HYPER },
    // What joins the API to the autoscaler's core: between the two, without a client.
    Layer {
        package: "catnap-autoscaler-api",
        may_use: &["catnap-autoscaler-core", "catnap-crds"],
        without: &["hyper", "kube-client"],
    },
    Layer { package: "catnap-activator-core", may_use: &["catnap-wire"], without: KUBERNETES_AND_HYPER },
    Layer {
        package: "catnap-activator-http",
        may_use: &["catnap-activator-core", "catnap-wire"],
        without: KUBERNETES,
    },
    Layer { package: "catnap-operator-core", may_use: &["catnap-crds"], without: &["hyper", "kube-client"] },
    Layer {
        package: "catnap-operator",
        may_use: &["catnap-crds", "catnap-operator-core", "catnap-runtime", "catnap-wire"],
        without: &[],
    },
    Layer {
        package: "catnap-activator",
        may_use: &[
            "catnap-activator-core",
            "catnap-activator-http",
            "catnap-crds",
            "catnap-runtime",
            "catnap-wire",
        ],
        without: &[],
    },
    Layer {
        package: "catnap-autoscaler",
        may_use: &[
            "catnap-autoscaler-api",
            "catnap-autoscaler-core",
            "catnap-crds",
            "catnap-runtime",
            "catnap-wire",
        ],
        without: &[],
    },
    Layer {
        package: "catnap",
        may_use: &[
            "catnap-activator-core",
            "catnap-activator-http",
            "catnap-autoscaler-api",
            "catnap-autoscaler-core",
            "catnap-crds",
            "catnap-wire",
        ],
        without: &[],
    },
    Layer { package: "catnap-example-hello", may_use: &[], without: KUBERNETES },
    Layer { package: "catnap-example-grpc", may_use: &[], without: KUBERNETES },
    Layer { package: "catnap-example-slow-start", may_use: &[], without: KUBERNETES },
    // Its tests call the example as any client would, by the types of its protocol.
    Layer { package: "catnap-e2e", may_use: &["catnap-crds", "catnap-example-grpc"], without: &[] },
    // It runs recorded traces through the autoscaler's simulator, and counts the instructions of parts of the activator's core.
    Layer {
        package: "catnap-bench",
        may_use: &["catnap-activator-core", "catnap-autoscaler-core", "catnap-wire"],
        without: &[],
    },
    Layer { package: "xtask", may_use: &["catnap-crds"], without: &[] },
];

/// Programs and what only they need: not even a test of another crate depends on one, unless the table says so.
const PROGRAMS: &[&str] = &[
    "catnap-operator",
    "catnap-activator",
    "catnap-autoscaler",
    "catnap",
    "catnap-example-hello",
    "catnap-example-grpc",
    "catnap-example-slow-start",
    "catnap-e2e",
    "catnap-bench",
    "xtask",
];

/// What breaks the layers, a line each.
pub(crate) fn findings(packages: &[Package]) -> Vec<String> {
    let layers: BTreeMap<_, _> = LAYERS.iter().map(|layer| (layer.package, layer)).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let Some(layer) = layers.get(name) else {
            findings.push(format!("{name} is in no layer: add it to the table in xtask/src/layers.rs"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let used = dependency.name.as_str();
            let for_tests = dependency.kind.as_deref() == Some("dev");
            let may = layer.may_use.contains(&used) || (for_tests && !PROGRAMS.contains(&used));
            if !may {
                findings.push(format!("{name} must not depend on {used}"));
            }
        }
        let reached = reached(packages, name);
        for unwanted in layer.without.iter().filter(|unwanted| reached.contains(**unwanted)) {
            findings.push(format!("{name} must not know {unwanted}"));
        }
    }
    findings
}

/// Every crate that the manifests of a package, and of the workspace's packages it is built from, name.
fn reached<'packages>(packages: &'packages [Package], name: &'packages str) -> BTreeSet<&'packages str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![name];
    while let Some(name) = open.pop() {
        let dependencies =
            packages.iter().filter(|package| package.name == name).flat_map(|package| &package.dependencies);
        for dependency in dependencies.filter(|dependency| dependency.kind.as_deref() != Some("dev")) {
            if reached.insert(dependency.name.as_str()) && dependency.path.is_some() {
                open.push(&dependency.name);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests;
