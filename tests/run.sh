#!/usr/bin/env bash
# Installs what is missing, then builds and tests: gcc; gcc with address and undefined-behaviour sanitizers; clang; and
# what uses threads, with the thread sanitizer.
set -euo pipefail
source "$(dirname "$0")/../.cmake/setup.sh"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
run() { # preset, what to build (or nothing: all), what to choose of the tests
    local preset=$1 targets=$2
    shift 2
    echo "==== $preset"
    # shellcheck disable=SC2086
    { cmake --preset "$preset" --log-level=WARNING &&
        cmake --build --preset "$preset" --parallel "$(nproc)" ${targets:+--target $targets} &&
        ctest --preset "$preset" --parallel "$(nproc)" "$@"; } 2>&1 | tee -a "$log" || failed+=("$preset")
}
tests() { printf 'test_%s ' "$@"; }
choose() { printf '^(%s)$' "$(echo "$1" | sed 's/ *$//; s/ /|/g')"; }
# Compilers differ in how they compute.
computing=$(tests convolution elementwise indices kernels normalise optimiser_kernels program reduce rows_threads softmax \
    special strided structural)
threads=$(tests threads rows_threads loader optimisers laws)
run release ""
# What reads documents or prints much runs code that other tests run, too.
run asan "" --exclude-regex "^(test_derivations|test_print_(matrices|nested)|torch_.*)$"
run clang "adcheck nn_shared $computing" --tests-regex "$(choose "$computing")"
run tsan "$threads" --tests-regex "$(choose "$threads")"

echo "==== all together"
awk '/tests passed, .* failed out of/ { failed += $4; all += $NF }
     END { printf "%d%% tests passed, %d tests failed out of %d\n", all ? 100 * (all - failed) / all : 0, failed, all }' "$log"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
