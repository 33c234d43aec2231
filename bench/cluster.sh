#!/bin/bash
# Measures what needs a cluster, `cold`, `burst`, `wake` (whose cluster has kwok) or `scale`: on the cluster of KUBECONFIG with
# Catnap installed there, or else on one of this machine, which is started, gets Catnap from its chart, and is ended again unless
# it was up before. `scale` measures Catnap's programs too, which have to run on this machine. The arguments go to the benchmark.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
cargo build --package catnap-e2e --bins
# Optimised as what it measures: the floor pays for its client too.
cargo programs --package catnap-bench
programs=$target/debug
if [ -z "${KUBECONFIG:-}" ]; then
    if ! "$programs/catnap-cluster" env >/dev/null 2>&1; then
        trap '"$programs/catnap-cluster" down' EXIT
        # To end the cluster is quicker than to delete ten thousand Functions.
        [ "$1" != scale ] || set -- "$@" --keep
        case $1 in
        # Catnap's own pods need one node; those of the functions are pretended.
        scale) "$programs/catnap-cluster" up --nodes 1 --no-coredns >/dev/null ;;
        wake) "$programs/catnap-cluster" up --nodes 1 --no-coredns --kwok >/dev/null ;;
        *) "$programs/catnap-cluster" up >/dev/null ;;
        esac
    fi
    eval "$("$programs/catnap-cluster" env)"
    for image in catnap catnap-examples; do
        timeout 120 "$programs/catnap-cluster" import "$target/images/$image-dev.tar"
    done
    # One of each, as the peers have.
    timeout 180 helm upgrade --install catnap charts/catnap --namespace catnap-system --create-namespace \
        --set operator.replicas=1,activator.replicas=1,autoscaler.replicas=1 \
        --wait --timeout 120s >/dev/null
fi
address=$(timeout 30 kubectl --namespace catnap-system get service catnap-activator --output 'jsonpath={.spec.clusterIP}')
timeout 3000 "$target/image/catnap-bench" "$@" --activator "$address:80" --image catnap-examples:dev
