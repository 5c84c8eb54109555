#!/usr/bin/env bash
# Builds static binaries and, where buildah is installed, images from scratch:
#
#   deploy/build-images.sh [SERVICE...]      default: ingest validate consensus keys audit
#
# Results: target/images/SERVICE/ (the context, with the binary) and target/images/consilium-SERVICE.tar (an
# OCI archive: `skopeo copy oci-archive:FILE docker://...` puts it into a registry, `podman load` onto a node).
#   TAG      tag of the images, default: the workspace's version
#   BINARY   a ready static binary, for one SERVICE; nothing is compiled
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
out=$target/images
triple=x86_64-unknown-linux-gnu
tag=${TAG:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)}
services=("$@")
[ ${#services[@]} -gt 0 ] || services=(ingest validate consensus keys audit)
if [ -n "${BINARY:-}" ] && [ ${#services[@]} -ne 1 ]; then
  echo "build-images: BINARY is one binary: name one SERVICE" >&2
  exit 2
fi

say() { printf 'build-images: %s\n' "$*"; }
mkdir -p "$out"
scripts/setup.sh demo

for service in "${services[@]}"; do
  context=$out/$service
  rm -rf "$context"
  mkdir -p "$context/fhir"
  if [ -n "${BINARY:-}" ]; then
    install -m 755 "$BINARY" "$context/service"
  else
    say "compiling consilium-$service"
    # One package at a time, so that no other package's features get in. The explicit target keeps the
    # static C library away from proc-macros, which cannot be built with it.
    CONSILIUM_REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown) \
      RUSTFLAGS='-C target-feature=+crt-static' \
      cargo build --locked --release --target "$triple" -p "consilium-$service"
    install -m 755 "$target/$triple/release/consilium-$service" "$context/service"
  fi
  if [ "$(od -An -tx1 -N4 "$context/service" | tr -d ' ')" != 7f454c46 ]; then
    say "the binary of $service is no ELF file"
    exit 1
  fi
  if readelf -l "$context/service" | grep -q 'program interpreter'; then
    say "the binary of $service needs a dynamic linker: it would not start from scratch"
    exit 1
  fi
  install -m 644 /etc/ssl/certs/ca-certificates.crt "$context/ca-certificates.crt"
  # ingest checks what it is given before it asks validate.
  case $service in
    ingest | validate) install -m 644 .tools/fhir/hl7.fhir.r4.core.tgz "$context/fhir/" ;;
  esac
done

if ! command -v buildah >/dev/null; then
  say "buildah is not installed: static binaries only, in ${out#"$root"/}/SERVICE/service"
  exit 0
fi

# buildah and podman may choose different storage drivers, and images vanish: one file says it for both.
if [ -z "${CONTAINERS_STORAGE_CONF:-}" ]; then
  export CONTAINERS_STORAGE_CONF=$out/storage.conf
  printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' \
    "$out/store" "$out/run" >"$CONTAINERS_STORAGE_CONF"
fi
for service in "${services[@]}"; do
  image=consilium/$service:$tag
  buildah bud -q --isolation chroot --timestamp 0 --build-arg "SERVICE=$service" \
    -f deploy/Containerfile -t "$image" "$out/$service" >/dev/null
  rm -f "$out/consilium-$service.tar"
  buildah push -q "$image" "oci-archive:$out/consilium-$service.tar:$image"
  say "$image in ${out#"$root"/}/consilium-$service.tar ($(du -h "$out/consilium-$service.tar" | cut -f1))"
done
