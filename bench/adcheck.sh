#!/bin/sh
# Times adcheck on files of 1,000 checks over 100 x 100 matrices, and on the five documents.
#
#     bench/adcheck.sh [BUILD]      BUILD: the build folder, by default build. OMP_NUM_THREADS is respected.
set -eu
cd "$(dirname "$0")/.."
build=${1-build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

names='X ~ normal(100, 100)
W ~ normal(100, 100)
Y ~ normal(100, 100)
b ~ normal(100)
Z = X @ W
L = mse(Z, Y)
S = sum(sigmoid(Z))
N = sum(X ^ 2)
'

# file NAME NAMES CHECK...: 1,000 of these checks in turn, with %d as their number. "; " begins another line.
file() {
    name=$work/$1
    shift
    {
        printf '%s\n' "$1"
        shift
        printf '%s\n' "$@" | awk '
            { check[NR] = $0 }
            END {
                for (i = 1; i <= 1000; i++) {
                    text = check[(i - 1) % NR + 1]
                    gsub(/%d/, i, text)
                    gsub(/; /, "\n", text)
                    print text
                }
            }'
    } >"$name"
}

row() {
    start=$(date +%s%N)
    "$build/nn/adcheck" "$2" >"$work/out" || true
    end=$(date +%s%N)
    printf '%-58s %8.2f s   %s\n' "$1" "$(echo "$start $end" | awk '{print ($2 - $1) / 1e9}')" "$(tail -n 1 "$work/out")"
}

square="check grad(%d * N, X) == 2 * %d * X"
sigmoid="check grad(%d * S, Z) == %d * sigmoid(Z) * (1 - sigmoid(Z))"
product="check grad(%d * sum(Z * Y), W) == X' @ (%d * Y)"
products="check grad(%d * L, W) == %d * 2 / 10000 * X' @ (Z - Y)"
file square "$names" "$square"
file sigmoid "$names" "$sigmoid"
file product "$names" "$product"
file products "$names" "$products"
file sheet "$names" "$square" "$sigmoid" "$product" "$products" "check grad(%d * L, Z) == %d / 5000 * (Z - Y)" \
    "check grad(%d * L, X) == %d / 5000 * (Z - Y) @ W'" "check grad(%d * sum(X @ b), b) == %d * sum(X, 1)" \
    "check grad(%d * logsumexp(Z), Z) == %d * softmax(Z)"
a="A%d ~ normal(100, 100)"
ab="$a; B%d ~ normal(100, 100)"
file own "$names" "$a; check grad(sum(A%d * Y), A%d) == Y"
file own2 "$names" "$ab; check grad(sum((A%d @ B%d) * Y), A%d) == Y @ B%d'"
file own3 "$names" "$ab; C%d ~ normal(100, 100); check grad(mse(A%d @ B%d, C%d), B%d) == 2 / 10000 * A%d' @ (A%d @ B%d - C%d)"
wrong="check grad(%d * L, W) == %d * 2 / 10000 * X"
file unknown "$names" "check grad(%d * sum(Z * Y), W) == X @ (%d * Y)"
file unknown2 "$names" "check grad(sum(((%d * X) @ W) * Y), W) == (%d * X) @ Y"
file factor "$names" "$wrong' @ (Y - Z)" "check grad(%d * L, W) == %d * X' @ (Z - Y)"
file mistakes "$names" "$wrong' @ (Y - Z)" "$wrong @ (Z - Y)" "check grad(%d * L, X) == %d / 10000 * (Z - Y) @ W'" \
    "check grad(%d * S, W) == %d * X' @ sigmoid(Z)" "check grad(%d * L, X) == %d / 5000 * (Z - Y) @ W" \
    "check grad(%d * L, Z) == %d / 5000 * (Z - Y)'"
file given 'n = 100
X = eye(100) + ones(100, 100) / n
W = 2 * eye(100) - ones(100, 100) / n
L = sum((X @ W) ^ 2)' "check grad(%d * L, W) == %d * 2 * X' @ (X @ W)"

printf '== 1,000 checks over 100 x 100 matrices, most with a factor of their own; laws are tested at 200 draws\n   %s threads, %s\n\n' \
    "${OMP_NUM_THREADS-$(nproc)}" "$("$build/nn/adcheck" --version | head -n 1)"
row 'sum(X ^ 2)' "$work/square"
row 'sum(sigmoid(Z)), Z = X @ W' "$work/sigmoid"
row 'sum(Z * Y)' "$work/product"
row 'mse(Z, Y) by W: three products a draw' "$work/products"
row 'these and others, in turn' "$work/sheet"
row 'given matrices' "$work/given"
row 'a name of its own in each law' "$work/own"
row 'two names of its own and two products of theirs' "$work/own2"
row 'three names of its own and three products of theirs' "$work/own3"
row 'wrong: X for the transpose of X' "$work/unknown"
row 'the same, with two products that no other law has' "$work/unknown2"
row 'wrong: a sign, a factor' "$work/factor"
row 'wrong: signs, factors, transposes, what is forgotten' "$work/mistakes"
