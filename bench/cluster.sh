#!/bin/bash
# Measures what needs a cluster, `cold`, `burst`, `step`, `trace`, `wake` (whose cluster has kwok) or `scale`: on the cluster of
# KUBECONFIG with Catnap installed there, or else on one of this machine, which is started, gets Catnap from its chart, and is
# ended again unless it was up before. `scale` measures Catnap's programs too, which have to run on this machine. With
# PEERS=knative the first four measure Knative Serving as well, which has to be on the cluster of KUBECONFIG, and is installed on
# one of this machine. The arguments go to the benchmark.
set -euo pipefail
cd "$(dirname "$0")/.."

peers=${PEERS:-}
case $peers:$1 in
:* | knative:cold | knative:burst | knative:step | knative:trace) ;;
knative:*)
    echo "PEERS=knative is for cold, burst, step and trace, not for $1" >&2
    exit 2
    ;;
*)
    echo "PEERS is '$peers'; it may be empty or 'knative'" >&2
    exit 2
    ;;
esac

target=${CARGO_TARGET_DIR:-target}
cargo build --package catnap-e2e --bins
# Optimised as what it measures: the floor pays for its client too.
cargo programs --package catnap-bench
programs=$target/debug
images=(catnap catnap-examples)
# Seconds. A pod of Knative takes half a minute to end, after each of its samples.
limit=3000
if [ "$peers" = knative ]; then
    limit=10800
    if [ -z "${KUBECONFIG:-}" ]; then
        # Before the cluster is there, which would disturb and be disturbed.
        "$programs/catnap-images" knative-serving
        for program in activator autoscaler controller queue webhook; do
            images+=("catnap-knative-$program")
        done
    fi
fi
if [ -z "${KUBECONFIG:-}" ]; then
    if ! "$programs/catnap-cluster" env >/dev/null 2>&1; then
        trap '"$programs/catnap-cluster" down' EXIT
        # To end the cluster is quicker than to delete ten thousand Functions.
        [ "$1" != scale ] || set -- "$@" --keep
        case $1 in
        # Catnap's own pods need one node; those of the functions are pretended.
        scale) "$programs/catnap-cluster" up --nodes 1 --no-coredns >/dev/null ;;
        wake) "$programs/catnap-cluster" up --nodes 1 --no-coredns --kwok >/dev/null ;;
        # With the headroom of the default utilization 143 pods, of which a node of two cores takes 80 by the requests of Knative's.
        step) "$programs/catnap-cluster" up --nodes 3 >/dev/null ;;
        *) "$programs/catnap-cluster" up >/dev/null ;;
        esac
    fi
    eval "$("$programs/catnap-cluster" env)"
    for image in "${images[@]}"; do
        timeout 120 "$programs/catnap-cluster" import "$target/images/$image-dev.tar"
    done
    # One of each, as the peers have.
    timeout 180 helm upgrade --install catnap charts/catnap --namespace catnap-system --create-namespace \
        --set operator.replicas=1,activator.replicas=1,autoscaler.replicas=1 \
        --wait --timeout 120s >/dev/null
    [ "$peers" != knative ] || bench/peers/knative/install.sh
fi
address=$(timeout 30 kubectl --namespace catnap-system get service catnap-activator --output 'jsonpath={.spec.clusterIP}')
if [ "$peers" = knative ]; then
    knative=$(timeout 30 kubectl --namespace knative-serving get service activator-service --output 'jsonpath={.spec.clusterIP}')
    set -- "$@" --knative "$knative:80"
fi
timeout "$limit" "$target/image/catnap-bench" "$@" --activator "$address:80" --image catnap-examples:dev
