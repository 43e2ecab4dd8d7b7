#!/usr/bin/env bash
# Builds adcheck and runs it on five hand-written derivations: what holds, what is wrong, and what is wrong with it; as
# text, and as a page for a browser.
set -euo pipefail
source "$(dirname "$0")/../.cmake/setup.sh"

{ cmake --preset release --log-level=WARNING && cmake --build build --parallel "$(nproc)" --target adcheck; } >&2
page=$PWD/build/derivations.html
cd examples/derivations
status=0
../../build/nn/adcheck --html "$page" 00[0-4]*.ad || status=$?
if [ $status -le 1 ]; then echo "The same with formulas and drawings, for a browser: $page"; fi
exit $((status > 1 ? status : 0)) # that claims are wrong is what the derivations are here for
