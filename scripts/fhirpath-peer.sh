#!/usr/bin/env bash
# Compares the FHIRPath engine with fhirpath.js on the real test data: all constraints and search expressions of R4 core
# and the HL7 suite. Needs node and npm; versions and hashes of the peer are those of its package-lock.json.
#
#   scripts/fhirpath-peer.sh        exit 0: every disagreement has its reason in e2e/peers/fhirpath/disagreements.json
set -euo pipefail

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
data=${CONSILIUM_TEST_DATA:-$PWD/../shared/data}
core=${CONSILIUM_FHIR_PACKAGES:-$PWD/.tools/fhir}/hl7.fhir.r4.core.tgz
work=$target/fhirpath-peer

mkdir -p "$work/core"
cp e2e/peers/fhirpath/* "$work/"
npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund --silent
tar xzf "$core" -C "$work/core" --strip-components=1 --wildcards 'package/StructureDefinition-*' 'package/SearchParameter-*'
node "$work/compare.mjs" jobs "$data" "$work/core" "$work"
cargo run --quiet --locked -p consilium-fhir --example fhirpath_answers -- \
  "$core" "$work/resources.ndjson" "$work/jobs.ndjson" >"$work/ours.ndjson"
node "$work/compare.mjs" compare "$work"
