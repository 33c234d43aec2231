#!/bin/bash
# Installs Knative Serving on the cluster of KUBECONFIG, or brings it up to date: the manifests of the modules that serving/go.mod
# pins, with the images of `catnap-images knative-serving`, which the nodes have to have. README.md says what is left out.
set -euo pipefail
cd "$(dirname "$0")/serving"

go mod download knative.dev/serving knative.dev/networking knative.dev/caching
# The folder of a module's manifests.
manifests() {
    go list -m -f '{{.Dir}}/config' "knative.dev/$1"
}
serving=$(manifests serving)/core
networking=$(manifests networking)
caching=$(manifests caching)

kubectl() {
    timeout 200 "$(type -P kubectl)" "$@"
}

# apply FILE... with the programs' sources replaced by their images, as Knative's own releases do.
apply() {
    for file in "$@"; do
        echo ---
        sed -E 's|ko://knative.dev/serving/cmd/([a-z]+)|catnap-knative-\1:dev|' "$file"
    done | kubectl apply --server-side --force-conflicts --filename - >/dev/null
}

kinds=("$serving"/300-resources/*.yaml "$networking"/{certificate,domain-claim,ingress,serverlessservice}.yaml "$caching/image.yaml")
apply "$serving/100-namespace.yaml" "${kinds[@]}"
for file in "${kinds[@]}"; do
    kubectl wait --for condition=Established --timeout 60s --filename "$file" >/dev/null
done
apply "$serving"/200-*.yaml "$serving"/200-roles/*.yaml "$serving/300-knativecertificate.yaml" "$serving/999-cache.yaml" \
    "$serving"/configmaps/*.yaml "$networking/config-network.yaml"
# Images come from no registry that could be asked for the digest of a tag.
kubectl --namespace knative-serving patch configmap config-deployment --type merge \
    --patch '{"data": {"registries-skipping-tag-resolving": "index.docker.io"}}' >/dev/null
apply "$serving"/deployments/*.yaml "$serving"/webhooks/*.yaml
kubectl --namespace knative-serving wait --for condition=Available --timeout 180s deployment --all >/dev/null

# Its webhooks answer a moment after their pods are ready.
probe='{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "probe", "namespace": "default"},
  "spec": {"template": {"spec": {"containers": [{"image": "catnap-examples:dev"}]}}}}'
for _ in $(seq 60); do
    if refused=$(kubectl create --dry-run=server --filename - <<<"$probe" 2>&1); then
        exit 0
    fi
    sleep 1
done
echo "Knative Serving takes no Service: $refused" >&2
exit 1
