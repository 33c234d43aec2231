# What a person types. Each target installs what it needs on Debian when run as root, or says what is missing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Nodes of the test cluster, 1 to 3.
NODES ?= 2

cluster := $(CARGO) run --quiet --package catnap-e2e --bin catnap-cluster --
images := $(CARGO) run --quiet --package catnap-e2e --bin catnap-images --

.PHONY: help
help: ## Show this.
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.PHONY: deps deps-build deps-cluster deps-peers
deps: ## Install what is needed to build and to test.
	@deploy/dependencies.sh build cluster
deps-build:
	@deploy/dependencies.sh build
deps-cluster:
	@deploy/dependencies.sh build cluster
deps-peers:
	@deploy/dependencies.sh build peers

.PHONY: promtool
promtool: ## Fetch Prometheus' reader of rules, with which the chart's tests try the alerts.
	@deploy/promtool.sh

.PHONY: check
check: deps-build ## Format, lint, and every test that needs no cluster.
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --package catnap-runtime --features failpoints --all-targets -- -D warnings
	$(CARGO) test --workspace --exclude catnap-e2e
	$(CARGO) test --package catnap-runtime --features failpoints
	$(CARGO) test --package catnap-e2e --lib --bins
	$(MAKE) loom

.PHONY: loom
loom: deps-build ## The queue, the slots and the gate under every order of their threads that matters.
	RUSTFLAGS="--cfg loom" $(CARGO) test --package catnap-activator-core --test loom --target-dir "$${CARGO_TARGET_DIR:-target}/loom"

.PHONY: counts
counts: deps-build ## System calls, allocations, copies and instructions of a request, held against their bounds.
	@deploy/dependencies.sh counts
	$(CARGO) programs --package catnap-bench
	"$${CARGO_TARGET_DIR:-target}/image/catnap-bench" counts --activator "$${CARGO_TARGET_DIR:-target}/image/catnap-activator"

.PHONY: peers
peers: deps-peers ## Clients, load generators and conformance checkers of other people, without a cluster.
	$(CARGO) test --package catnap-e2e --test third_party

.PHONY: test
test: check counts peers e2e ## Everything: `check`, `counts`, `peers`, then `e2e`.

.PHONY: e2e
e2e: deps-cluster images-all ## The end-to-end tests, on a cluster of this machine or that of KUBECONFIG.
	@# Where it cannot be had, the tests that need it pass without it.
	@deploy/promtool.sh || echo "no promtool: Prometheus does not judge the alerts in this run" >&2
	e2e/run.sh

.PHONY: images images-all
images: deps-cluster ## Build the images into target/images.
	$(images)
images-all: deps-cluster
	$(images) all

.PHONY: cluster-up cluster-down cluster-env cluster-status
cluster-up: deps-cluster ## Start a Kubernetes cluster of NODES nodes on this machine.
	$(cluster) up --nodes $(NODES)
cluster-down: ## End it.
	$(cluster) down
cluster-env: ## Print the lines that make kubectl and helm use it: eval "$$(make -s cluster-env)"
	@$(cluster) env
cluster-status: ## Show what runs of it.
	@$(cluster) status

.PHONY: cluster-import
cluster-import: images ## Build the images and give them to the cluster.
	$(cluster) import "$${CARGO_TARGET_DIR:-target}"/images/catnap-dev.tar "$${CARGO_TARGET_DIR:-target}"/images/catnap-examples-dev.tar

.PHONY: fuzz
# Seconds for each parser.
FUZZ_SECONDS ?= 10
fuzz: deps-build ## Try every parser with inputs that libFuzzer makes, FUZZ_SECONDS each.
	fuzz/run.sh $(FUZZ_SECONDS)

.PHONY: demo
demo: ## A function that wakes, grows and rests on this machine, without a cluster.
	@deploy/dependencies.sh build demo
	$(CARGO) build --package catnap --package catnap-example-hello
	examples/demo.sh

# With PEERS=knative, bench-cold, bench-burst, bench-step and bench-trace measure Knative Serving too, see bench/peers/knative.
PEERS ?=
export PEERS

.PHONY: bench-cold
bench-cold: deps-cluster images ## Measure cold starts against a bare Deployment.
	bench/cluster.sh cold $(ARGS)

.PHONY: bench-burst
bench-burst: deps-cluster images ## Measure many cold starts at once against bare Deployments.
	bench/cluster.sh burst $(ARGS)

.PHONY: bench-step
bench-step: deps-cluster images ## Measure how a function follows a step of its load from one request to a hundred.
	bench/cluster.sh step $(ARGS)

.PHONY: bench-trace
bench-trace: deps-cluster images ## Replay a day's rise and fall, and bursts, of a recorded trace with real pods.
	bench/cluster.sh trace $(ARGS)

.PHONY: bench-wake
bench-wake: deps-cluster images ## Measure the time from requests to writes of /scale, against plain writes by one client.
	bench/cluster.sh wake $(ARGS)

.PHONY: bench-scale
bench-scale: deps-cluster images ## Measure what ten thousand Functions at rest cost.
	bench/cluster.sh scale $(ARGS)

# Those below need no cluster. ARGS goes to the benchmark, of those above too.
bench := "$${CARGO_TARGET_DIR:-target}/release/catnap-bench"
activator := "$${CARGO_TARGET_DIR:-target}/release/catnap-activator"

.PHONY: bench-programs
bench-programs: deps-build
	@deploy/dependencies.sh bench
	$(CARGO) build --release --package catnap-activator --package catnap-bench

.PHONY: bench-proxy
bench-proxy: bench-programs ## Measure the CPU of a proxied request against nginx and HAProxy.
	$(bench) proxy --activator $(activator) $(ARGS)

.PHONY: bench-latency
bench-latency: bench-programs ## Measure latency at fixed rates against nginx and HAProxy.
	$(bench) latency --activator $(activator) $(ARGS)

.PHONY: bench-fairness
bench-fairness: bench-programs ## Measure what a flood and slow clients do to the callers of another function.
	$(bench) fairness --activator $(activator) $(ARGS)

.PHONY: bench-held
bench-held: bench-programs ## Measure the memory of idle connections and held requests, and the order of their release.
	$(bench) held --activator $(activator) $(ARGS)

.PHONY: bench-decide
bench-decide: deps-build ## Time the decisions for 10,000 active revisions.
	$(CARGO) run --quiet --release --package catnap-bench -- decide

.PHONY: bench-policy
bench-policy: deps-build ## Hold the learned keep-alive against others on a recorded trace.
	$(CARGO) run --quiet --package catnap-bench -- policy

.PHONY: bench-page
bench-page: deps-build ## Write docs/performance.md from the newest results.
	$(CARGO) run --quiet --package catnap-bench -- page
