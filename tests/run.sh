#!/usr/bin/env bash
# Installs what is missing, then builds and tests: gcc, gcc with address and undefined-behaviour sanitizers, clang.
set -euo pipefail
source "$(dirname "$0")/../.cmake/setup.sh"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
for preset in release asan clang; do
    echo "==== $preset"
    { cmake --preset "$preset" --log-level=WARNING && cmake --build --preset "$preset" --parallel "$(nproc)" &&
        ctest --preset "$preset" --parallel "$(nproc)"; } 2>&1 | tee -a "$log" || failed+=("$preset")
done

echo "==== release, asan and clang together"
awk '/tests passed, .* failed out of/ { failed += $4; all += $NF }
     END { printf "%d%% tests passed, %d tests failed out of %d\n", all ? 100 * (all - failed) / all : 0, failed, all }' "$log"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
