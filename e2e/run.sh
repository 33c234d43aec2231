#!/bin/bash
# Runs the end-to-end tests: the launcher's own, those that run side by side, then the faults one after the other.
#
# With KUBECONFIG set they run on that cluster, and what needs the launcher is skipped. Otherwise a cluster is started
# and ended here, unless one is up already: that one is used and stays.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/e2e"
rm -f "$target/e2e/skipped.txt"
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
cargo build --package catnap-e2e --bins --tests
# Tests run it as a person does.
cargo build --package catnap
cluster=$target/debug/catnap-cluster

result=0
# A group that fails does not keep the others from running.
group() {
    cargo test --package "$@" || result=$?
}

up=
if [ -z "${KUBECONFIG:-}" ] && ! "$cluster" env >/dev/null 2>&1; then
    # What a machine that was switched off has left of one.
    "$cluster" down
    up=yes
fi
group catnap-e2e --test launcher -- --test-threads 1
if [ -n "$up" ]; then
    trap '"$cluster" down' EXIT
    "$cluster" up
fi
# Helm is there now, if only among the cluster's programs.
CATNAP_REQUIRE_HELM=1 group xtask --test chart
# They wait more than they compute.
cores=$(nproc)
group catnap-e2e --test parallel -- --test-threads "${RUST_TEST_THREADS:-$((cores > 4 ? cores : 4))}"
group catnap-e2e --test faults -- --test-threads 1

if [ -s "$target/e2e/skipped.txt" ]; then
    echo "skipped: $(wc -l <"$target/e2e/skipped.txt") tests" >&2
    cat "$target/e2e/skipped.txt" >&2
fi
exit $result
