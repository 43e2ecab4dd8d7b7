#!/usr/bin/env bash
# Builds and runs the main example: the derivatives of five documents, checked against a tape.
set -euo pipefail
source "$(dirname "$0")/../.cmake/setup.sh"

{ cmake --preset release --log-level=WARNING && cmake --build build --parallel "$(nproc)" --target derivations; } >&2
exec build/examples/derivations
