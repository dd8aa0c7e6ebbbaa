#!/bin/sh
# Builds the page into target/page. Needs Rust's standard library for WebAssembly: by
# `rustup target add wasm32-unknown-unknown`, or, on Debian, as source:
# `apt-get install --no-install-recommends rustc-web rust-web-src`.
set -eu
cd "$(dirname "$0")"
target=wasm32-unknown-unknown
sysroot=$(rustc --print sysroot)
export CARGO_TARGET_DIR=target
page=target/page

if [ -d "$sysroot/lib/rustlib/$target/lib" ]; then
    std=
elif [ -d /usr/lib/rustlib/src/rust/library ] && /usr/bin/rustc --version > /dev/null 2>&1; then
    # Debian's compiler builds its own library, and the toolchain that runs cargo has the linker.
    std=-Zbuild-std=std,panic_abort
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$(echo "$sysroot"/lib/rustlib/*/bin/rust-lld)"
else
    echo "no standard library for $target: see the head of build.sh" >&2
    exit 3
fi

cargo build --quiet --locked -p glue
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-C target-feature=+simd128,+bulk-memory"
if [ -n "$std" ]; then
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
fi
cargo build --quiet --release --locked -p browser --target $target $std
mkdir -p $page
target/debug/glue target/$target/release/browser.wasm $page
cp index.html $page
