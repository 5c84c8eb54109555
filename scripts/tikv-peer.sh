#!/usr/bin/env bash
# Builds a TiKV cluster for the tests of the TiKV adapter into .tools/bin/tikv-peer: TiKV's placement driver, and in the
# place of its stores unistore, which speaks their protocol. Needs Go; the module proxy's checksum database fixes every
# byte. The stores themselves are Rust and in no package registry (docs/adr/0023).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=${CONSILIUM_TOOLS:-$root/.tools}/bin/tikv-peer
[ -x "$bin/pd-server" ] && [ -x "$bin/unistore-server" ] && exit 0
command -v go >/dev/null || { echo "tikv-peer: Go is missing" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The versions that one TiDB of December 2020 names together.
cat >"$work/go.mod" <<'MOD'
module tikv-peer

go 1.16

require (
	github.com/ngaut/unistore v0.0.0-20201208082126-4766545aa5b5
	github.com/pingcap/tidb v1.1.0-beta.0.20201216120335-040a03229e97
	github.com/tikv/pd v1.1.0-beta.0.20201125070607-d4b90eee0c70
)

replace go.etcd.io/etcd => github.com/zhangjinpeng1987/etcd v0.5.0-alpha.5.0.20201117041249-9487a87e2cbd
MOD
mkdir -p "$bin"
cd "$work"
# One of their dependencies reaches into Go's runtime, which newer linkers refuse unless told not to look.
GOFLAGS=-mod=mod go build -trimpath -ldflags=-checklinkname=0 -tags without_dashboard -o "$bin/" \
  github.com/tikv/pd/cmd/pd-server github.com/ngaut/unistore/cmd/unistore-server
