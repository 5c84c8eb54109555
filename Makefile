# Consilium. `make` alone lists the targets. Each installs what it needs (scripts/setup.sh) and asks nothing.
#
#   CARGO_TARGET_DIR             where cargo builds (default: target); everything here uses this one folder
#   CONSILIUM_TEST_DATA          folder of the real test data (default: ../shared/data)
#   CONSILIUM_REQUIRE_TEST_DATA  1 = a test whose data or tool is absent fails; otherwise it says "skipped"

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export CARGO_TARGET_DIR ?= $(CURDIR)/target
export CONSILIUM_REQUIRE_TEST_DATA
export CONSILIUM_FHIR_PACKAGES ?= $(CURDIR)/.tools/fhir
export CONSILIUM_STAGES ?= $(CARGO_TARGET_DIR)/stages.txt

STAGE := scripts/stage.sh
CONSILIUM := $(CARGO_TARGET_DIR)/debug/consilium

# How the demo is started; override on the command line: make demo ORGS=7 PATIENTS=20
ORGS ?= 4
PATIENTS ?= 20
DEMO_DIR ?= .demo
# How much of the real test data demo-check loads: --quick or --all
DATA ?= --quick

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- running ---------------------------------------------------------------------------------------
.PHONY: setup
setup: ## install nats-server and the FHIR definitions into .tools/
	@scripts/setup.sh demo

# Always the whole workspace (here and in `test`): a build of single packages would select other
# features of the shared dependencies and compile those again.
.PHONY: build
build: setup ## build all services and the consilium command (dev profile)
	@$(STAGE) build cargo build --locked --workspace --bins

.PHONY: demo
demo: build ## four hospitals on this machine, with patients; Ctrl-C stops them
	@CONSILIUM=$(CONSILIUM) scripts/demo.sh $(DEMO_DIR) $(ORGS) $(PATIENTS)

.PHONY: demo-check
demo-check: build ## the demo without a person: the whole story with assertions, exit status 0 or 1; DATA=--all loads all test data
	@$(STAGE) demo-check $(CARGO_TARGET_DIR)/debug/demo-check $(DATA)

# --- testing ---------------------------------------------------------------------------------------
# Stages in order of cost, so that the cheapest mistake is found first. Stops at the first failure. All targets are
# built at once: binaries alone would select other features of the shared dependencies and compile those twice.
.PHONY: test
test: ## everything: format, lints, all tests, chart, demo-check
	@mkdir -p $(CARGO_TARGET_DIR) && : > $(CONSILIUM_STAGES)
	@trap 'echo; echo "make test, stage by stage:"; cat $(CONSILIUM_STAGES)' EXIT; \
	$(STAGE) setup scripts/setup.sh test; \
	$(STAGE) format cargo fmt --all --check; \
	$(STAGE) tidy cargo test --locked --workspace --test tidy; \
	$(STAGE) clippy cargo clippy --locked --workspace --all-targets -- -D warnings; \
	$(STAGE) build cargo build --locked --workspace --all-targets; \
	$(STAGE) tests cargo test --locked --workspace --no-fail-fast; \
	$(STAGE) demo-check $(CARGO_TARGET_DIR)/debug/demo-check $(DATA)

.PHONY: lint
lint: ## format and lints only; also shellcheck and cargo deny where installed
	@$(STAGE) format cargo fmt --all --check
	@$(STAGE) clippy cargo clippy --locked --workspace --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then \
	  $(STAGE) shellcheck shellcheck .ci/run scripts/*.sh deploy/*.sh; \
	else echo "lint: shellcheck is not installed: skipped"; fi
	@if cargo deny --version >/dev/null 2>&1; then \
	  $(STAGE) deny cargo deny --locked check; \
	else echo "lint: cargo-deny is not installed: skipped"; fi

.PHONY: chart
chart: ## chart tests only: both helms, values matrix, strict schemas, policy
	@scripts/setup.sh test
	@$(STAGE) chart cargo test --locked -p consilium-e2e --test chart

.PHONY: e2e
e2e: build ## long whole-system tests (those that make test leaves out)
	@scripts/setup.sh test
	@$(STAGE) e2e cargo test --locked -p consilium-e2e -- --include-ignored --nocapture

.PHONY: sim
sim: ## long simulations of consensus and ledger under faults
	@$(STAGE) sim cargo test --locked -p consilium-bft -p consilium-ledger -p consilium-consensus -- --include-ignored sim

.PHONY: bench
bench: setup ## benchmarks, one JSON file each in target/bench/; ONLY="name …" for some
	@$(STAGE) bench scripts/bench.sh $(ONLY)

.PHONY: fuzz
fuzz: setup ## fuzz decoders, JSON, validator and FHIRPath; ONLY="target=executions …" for some
	@$(STAGE) fuzz scripts/fuzz.sh $(ONLY)

.PHONY: fhirpath-peer
fhirpath-peer: setup ## compare FHIRPath with fhirpath.js (needs node and npm) on the real test data
	@$(STAGE) fhirpath-peer scripts/fhirpath-peer.sh

# Not in `make test`: the cluster takes minutes to build, and the feature another build of store and services.
.PHONY: tikv
tikv: setup ## the TiKV adapter and a validator on it, against a small cluster (needs Go)
	@$(STAGE) tikv-peer scripts/tikv-peer.sh
	@$(STAGE) tikv cargo test --locked --workspace --features consilium-store/tikv --test tikv -- --include-ignored

# --- changing --------------------------------------------------------------------------------------
.PHONY: fmt
fmt: ## format all Rust code
	@cargo fmt --all

.PHONY: gen
gen: ## generate again what is committed: protobuf messages, sums of new migrations, chart golden
	@$(STAGE) proto env CONSILIUM_BLESS=1 cargo test --locked -p consilium-contracts generated
	@scripts/setup.sh test
	@$(STAGE) sums env CONSILIUM_BLESS=1 cargo test --locked -p consilium-e2e --test tidy migrations
	@$(STAGE) golden env CONSILIUM_BLESS=1 cargo test --locked -p consilium-e2e --test chart golden

.PHONY: images
images: ## static binaries, and images built from scratch where buildah is installed
	@deploy/build-images.sh
