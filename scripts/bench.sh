#!/usr/bin/env bash
# Builds and runs benchmarks; each writes bench/NAME.json in cargo's target folder and prints it as a table:
#
#   scripts/bench.sh [NAME...]      all without names, but for `ledger-join` and `ledger-restart`: they make a chain of
#                                   100,000 blocks with a million batches first, which takes a while
#
# Libraries are measured in the bench profile, each built with its own small tree of dependencies; the services in the
# dev profile, as the demo runs them, with all services built as `make build` does. `abe-dudect` looks for leaks by time.
set -euo pipefail

cd "$(dirname "$0")/.."

libraries() {
  case $1 in
    validate-structure | validate-full | validate-us-core | validate-beside-hl7 | validate-scale | validate-start) echo fhir ;;
    fhirpath) echo fhir ;;
    validate-verdicts) echo fhir-dev ;;
    commitment | ledger-verify) echo ledger ;;
    abe-keygen | abe-encapsulate | abe-decapsulate | abe-records) echo abe ;;
    abe-dudect) echo abe-dudect ;;
    abe-store) echo abe-store ;;
    bft-scale) echo bft ;;
    ledger-throughput | ledger-finality | ledger-records) echo consensus ;;
    ledger-join | ledger-restart) echo state ;;
    decide) echo policy ;;
    ingest-create | ingest-transaction | ingest-read | ingest-search | exchange-read | audit-query) echo services ;;
    *)
      echo "bench: there is no benchmark \`$1\`" >&2
      return 1
      ;;
  esac
}

all=(validate-structure validate-full validate-us-core validate-beside-hl7 validate-scale validate-start validate-verdicts
  fhirpath commitment ledger-verify abe-keygen abe-encapsulate abe-decapsulate
  abe-records abe-store abe-dudect bft-scale ledger-throughput ledger-finality ledger-records decide ingest-create ingest-transaction
  ingest-read ingest-search exchange-read audit-query)
[ $# -gt 0 ] || set -- "${all[@]}"

needed=
for name in "$@"; do
  room=$(libraries "$name")
  [[ " $needed " == *" $room "* ]] || needed+=" $room"
done

for room in $needed; do
  if [ "$room" = services ]; then
    cargo build --locked --workspace --bins
    "${CARGO_TARGET_DIR:-target}/debug/bench" "$@"
  elif [ "$room" = abe ]; then
    # With its peers, in a workspace of its own: nothing else builds them.
    cargo run --quiet --release --manifest-path e2e/peers/abe/Cargo.toml --bin consilium-abe-peers -- "$@"
  elif [ "$room" = state ]; then
    cargo bench --locked -p consilium-consensus --bench state -- "$@"
  elif [ "$room" = abe-dudect ]; then
    # Prints what it finds and fails for a leak; no file.
    cargo run --quiet --release --manifest-path e2e/peers/abe/Cargo.toml --bin dudect
  elif [ "$room" = fhir-dev ]; then
    # Two builds must agree: the dev profile leaves its digest, the bench profile compares.
    cargo bench --locked --profile dev -p consilium-fhir --bench fhir -- validate-verdicts
    cargo bench --locked -p consilium-fhir --bench fhir -- validate-verdicts
  elif [ "$room" = consensus ]; then
    # Four validators as processes; beside CometBFT where Go is there to build it.
    scripts/cometbft.sh
    cargo bench --locked -p consilium-consensus --bench consensus -- "$@"
  elif [ "$room" = abe-store ]; then
    # The way of a record through ingest, in one process with stand-ins for the services that are others; no file.
    cargo test --quiet --locked -p consilium-ingest --lib -- --ignored --nocapture \
      the_share_of_attribute_based_encryption
  else
    cargo bench --locked -p "consilium-$room" --bench "$room" -- "${@/validate-verdicts/}"
  fi
done
