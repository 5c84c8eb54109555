#!/usr/bin/env bash
# Installs CometBFT, the peer of the ledger benchmarks, and its load tools into .tools/bin/cometbft-VERSION. Needs Go;
# the module proxy's checksum database fixes every byte.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=0.38.25
bin=${CONSILIUM_TOOLS:-$root/.tools}/bin/cometbft-$version
[ -x "$bin/cometbft" ] && [ -x "$bin/load" ] && [ -x "$bin/report" ] && exit 0
command -v go >/dev/null || { echo "cometbft: Go is missing: the benchmarks run without this peer" >&2; exit 0; }
mkdir -p "$bin"
for program in cmd/cometbft test/loadtime/cmd/load test/loadtime/cmd/report; do
  GOBIN=$bin go install "github.com/cometbft/cometbft/$program@v$version"
done
