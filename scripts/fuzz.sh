#!/usr/bin/env bash
# Fuzzes with libFuzzer, on the pinned stable compiler: coverage comes from LLVM's own pass.
#
#   scripts/fuzz.sh [TARGET=EXECUTIONS...]   default: five million for each crate, most where one costs least
#
# Targets: policy, header, keys, sealed (decoders of crates/abe); json, validator, fhirpath (crates/fhir, seeded from the
# test data where it is there). Inputs that found new paths are kept in cargo's target folder (fuzz/corpus/TARGET),
# findings in fuzz/findings. A finding becomes a test of its crate before it is mended.
set -euo pipefail

cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- policy=3000000 sealed=1200000 keys=600000 header=200000 \
  json=3500000 fhirpath=1000000 validator=500000
target=${CARGO_TARGET_DIR:-$PWD/target}
triple=$(rustc -vV | sed -n 's/^host: //p')
data=${CONSILIUM_TEST_DATA:-$PWD/../shared/data}
# The validator knows US Core too, where it is there.
packages=${CONSILIUM_FHIR_PACKAGES:-$PWD/.tools/fhir}/hl7.fhir.r4.core.tgz
[ ! -e "$data/fhir/us-core/us_core_610.tgz" ] || packages+=,$data/fhir/us-core/us_core_610.tgz
export CONSILIUM_FUZZ_PACKAGES=${CONSILIUM_FUZZ_PACKAGES:-$packages}

room() {
  case $1 in
    policy | header | keys | sealed) echo abe ;;
    json | validator | fhirpath) echo fhir ;;
    *)
      echo "fuzz: there is no target \`$1\`" >&2
      return 1
      ;;
  esac
}

# With --target the flags do not reach build scripts and procedural macros.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-trace-compares"
coverage+=" -Ccodegen-units=1"

needed=
declare -A bins=()
for each in "$@"; do
  room=$(room "${each%%=*}")
  [[ " $needed " == *" $room "* ]] || needed+=" $room"
  bins[$room]+=" --bin ${each%%=*}"
done
for room in $needed; do
  manifest=crates/$room/fuzz/Cargo.toml
  if [ "$room" = abe ]; then
    seeds=seeds from=crates/abe/tests/vectors
  else
    seeds=fhir-seeds from=$data
  fi
  read -ra chosen <<<"${bins[$room]}"
  CARGO_TARGET_DIR=$target/fuzz/plain cargo build --quiet --locked --release --manifest-path "$manifest" --bin "$seeds"
  CARGO_TARGET_DIR=$target/fuzz/build RUSTFLAGS="$coverage" cargo build --quiet --locked --release \
    --target "$triple" --manifest-path "$manifest" "${chosen[@]}"
  "$target/fuzz/plain/release/$seeds" "$from" "$target/fuzz/corpus"
done

mkdir -p "$target/fuzz/findings"
for each in "$@"; do
  name=${each%%=*} executions=${each#*=}
  mkdir -p "$target/fuzz/corpus/$name"
  echo "fuzz: $name, $executions executions"
  "$target/fuzz/build/$triple/release/$name" -runs="$executions" -max_len=3072 -timeout=60 -print_final_stats=1 \
    -artifact_prefix="$target/fuzz/findings/$name-" "$target/fuzz/corpus/$name" 2>"$target/fuzz/$name.log" ||
    { tail -n 40 "$target/fuzz/$name.log" >&2; exit 1; }
  grep -E "^(Done|stat::)" "$target/fuzz/$name.log"
done
