#!/usr/bin/env bash
# Plays GradBench's own cases to the tool, the quick ones: gradbench_cases.sh TOOL. They are not part of this repository:
# exits 77 where they are not beside it.
set -euo pipefail
cases="${GRADBENCH:-$(dirname "${BASH_SOURCE[0]}")/../../shared/gradbench}"
if [ ! -x "$cases/drive.py" ] || ! command -v python3 >/dev/null; then
    echo "skipped: no python3 or no $cases/drive.py"
    exit 77
fi
quick='^(hello|det_l6|particle.rr|saddle.ff|((ba_1|lstm|ht_comp|gmm_d10)[^.]*.jacobian)|((llsq_n256|ode|lse_n10000)[^.]*.gradient)|kmeans.*dir)'
exec "$cases/drive.py" --only "$quick" "$cases/cases" -- "$1"
