#!/usr/bin/env bash
# Installs what is missing, then builds and tests: gcc; gcc with address and undefined-behaviour sanitizers; clang; and
# what uses threads, with the thread sanitizer.
set -euo pipefail
source "$(dirname "$0")/../.cmake/setup.sh"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
run() { # preset [ctest's and the build's choice: one test program]
    echo "==== $1"
    { cmake --preset "$1" --log-level=WARNING &&
        cmake --build --preset "$1" --parallel "$(nproc)" ${2:+--target "$2"} &&
        ctest --preset "$1" --parallel "$(nproc)" ${2:+-R "^$2\$"}; } 2>&1 | tee -a "$log" || failed+=("$1")
}
run release
run asan
run clang
run tsan test_threads
run tsan test_rows_threads
run tsan test_loader
run tsan test_optimisers

echo "==== all together"
awk '/tests passed, .* failed out of/ { failed += $4; all += $NF }
     END { printf "%d%% tests passed, %d tests failed out of %d\n", all ? 100 * (all - failed) / all : 0, failed, all }' "$log"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
