#!/usr/bin/env bash
# Fuzzes the decoders of crates/abe with libFuzzer, on the pinned stable compiler: coverage comes from LLVM's own pass.
#
#   scripts/fuzz.sh [TARGET=EXECUTIONS...]   default: five million in all, most where one costs least
#
# Inputs that found new paths are kept in cargo's target folder (fuzz/corpus/TARGET), findings in fuzz/findings. A
# finding becomes a test in crates/abe/tests before it is mended.
set -euo pipefail

cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- policy=3000000 sealed=1200000 keys=600000 header=200000
target=${CARGO_TARGET_DIR:-$PWD/target}
triple=$(rustc -vV | sed -n 's/^host: //p')

# With --target the flags do not reach build scripts and procedural macros.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-trace-compares"
coverage+=" -Ccodegen-units=1"
manifest=crates/abe/fuzz/Cargo.toml
CARGO_TARGET_DIR=$target/fuzz/plain cargo build --quiet --locked --release --manifest-path "$manifest" --bin seeds
CARGO_TARGET_DIR=$target/fuzz/build RUSTFLAGS="$coverage" cargo build --quiet --locked --release --target "$triple" \
  --manifest-path "$manifest" --bin policy --bin header --bin keys --bin sealed
"$target/fuzz/plain/release/seeds" crates/abe/tests/vectors "$target/fuzz/corpus"

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
