#!/usr/bin/env bash
# Builds adcheck and runs it on five hand-written derivations: what holds, what is wrong, and what is wrong with it.
set -euo pipefail
source "$(dirname "$0")/../.cmake/setup.sh"

{ cmake --preset release --log-level=WARNING && cmake --build build --parallel "$(nproc)" --target adcheck; } >&2
cd examples/derivations
status=0
../../build/nn/adcheck 00[0-4]*.ad || status=$?
exit $((status > 1 ? status : 0)) # that claims are wrong is what the derivations are here for
