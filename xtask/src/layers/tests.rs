//! The workspace keeps its layers, and each rule finds what breaks it.

use super::*;
use crate::workspace::{self, Dependency};

fn package(name: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Package {
    let dependencies = dependencies.iter().map(|(name, kind, in_workspace)| Dependency {
        name: (*name).to_owned(),
        kind: kind.map(str::to_owned),
        path: in_workspace.then(|| (*name).into()),
    });
    Package { name: name.to_owned(), dependencies: dependencies.collect() }
}

#[test]
fn the_workspace_keeps_its_layers() {
    let packages = workspace::packages(workspace::root()).unwrap();
    let findings = findings(&packages);
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn the_table_names_only_packages_that_exist() {
    let packages = workspace::packages(workspace::root()).unwrap();
    let names: BTreeSet<_> = packages.iter().map(|package| package.name.as_str()).collect();
    for layer in LAYERS {
        for name in layer.may_use.iter().chain([&layer.package]) {
            assert!(names.contains(name), "{name}");
        }
    }
}

#[test]
fn a_core_that_reaches_kubernetes_through_another_crate_is_found() {
    let packages = [
        package("catnap-wire", &[("kube", None, false)]),
        package("catnap-activator-core", &[("catnap-wire", None, true)]),
    ];
    assert_eq!(
        findings(&packages),
        ["catnap-wire must not know kube", "catnap-activator-core must not know kube"]
    );
}

#[test]
fn a_dependency_against_the_direction_is_found() {
    let packages = [package("catnap-crds", &[("catnap-operator-core", None, true)])];
    assert_eq!(findings(&packages), ["catnap-crds must not depend on catnap-operator-core"]);
}

#[test]
fn a_test_may_use_another_core_but_no_program() {
    let core = package("catnap-autoscaler-core", &[("catnap-activator-core", Some("dev"), true)]);
    assert_eq!(findings(&[core]), Vec::<String>::new());
    let core = package("catnap-autoscaler-core", &[("catnap-operator", Some("dev"), true)]);
    assert_eq!(findings(&[core]), ["catnap-autoscaler-core must not depend on catnap-operator"]);
}

#[test]
fn what_the_table_allows_is_allowed_to_tests_too() {
    let tests = package("catnap-e2e", &[("catnap-example-grpc", Some("dev"), true)]);
    assert_eq!(findings(&[tests]), Vec::<String>::new());
    let tests = package("catnap-e2e", &[("catnap-example-hello", Some("dev"), true)]);
    assert_eq!(findings(&[tests]), ["catnap-e2e must not depend on catnap-example-hello"]);
}

#[test]
fn a_new_crate_must_be_given_a_layer() {
    let findings = findings(&[package("catnap-news", &[])]);
    assert_eq!(findings, ["catnap-news is in no layer: add it to the table in xtask/src/layers.rs"]);
}
