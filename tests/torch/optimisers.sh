#!/usr/bin/env bash
# What PyTorch computes here and now, in place of what is kept: optimisers.sh <folder of the tests' programs>.
set -euo pipefail
for python in python3 /usr/bin/python3 none; do
    "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' 2>/dev/null && break
done
if [ "$python" = none ]; then
    echo "No PyTorch (python3-torch): not compared with it."
    exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" "$(dirname "$0")/optimisers.py" "$folder/optimisers.txt"
for program in test_optimisers test_schedules test_lbfgs; do
    TORCH_NUMBERS=$folder "$1/$program" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
done
