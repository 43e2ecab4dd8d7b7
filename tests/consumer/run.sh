#!/usr/bin/env bash
# usage: run.sh BUILD_DIR. Installs that build to a temporary place and builds and runs a program against it: by the CMake
# package and by pkg-config, each with the shared and the static library.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-cc}

cmake --install "$1" --prefix "$work/prefix" >/dev/null
libdir=$(dirname "$(find "$work/prefix" -name libautograd.a)")

cmake -S "$here" -B "$work/build" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$work/prefix" --log-level=WARNING
cmake --build "$work/build" >/dev/null
"$work/build/consumer"
"$work/build/consumer_static"

export PKG_CONFIG_PATH="$libdir/pkgconfig"
build() { # build NAME PKG_CONFIG_OPTIONS: a program by pkg-config
    "$cc" -std=c11 -o "$work/$1" -DEXPECTED_VERSION="\"$(pkg-config --modversion nn)\"" "$here/main.c" \
        $(pkg-config --cflags --libs "${@:2}" nn) -lm
}
build shared
LD_LIBRARY_PATH="$libdir" "$work/shared"
rm "$libdir"/*.so*
build static --static
"$work/static"
