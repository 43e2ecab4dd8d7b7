#!/bin/sh
# Runs benchmarks and draws what they measure: bench/plots/*.svg, which README.md shows.
#
#     bench/plot.sh [--png FOLDER] [BUILD]      BUILD: the build folder, by default build
#     BENCH_TSV=numbers.tsv bench/plot.sh       only draws numbers that are there
#
# --png also writes pictures on a light and on a dark background, to look at.
set -eu
cd "$(dirname "$0")/.."
png=
if [ "${1-}" = --png ]; then
    png=$2
    mkdir -p "$png"
    shift 2
fi
build=${1-build}
for tool in gnuplot awk; do
    command -v "$tool" >/dev/null || {
        echo "bench/plot.sh: $tool is missing (Debian: apt-get install gnuplot-nox mawk)" >&2
        exit 1
    }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${BENCH_TSV-}" ]; then
    BENCH_TSV=$work/numbers.tsv
    export BENCH_TSV
    for bench in ways growth; do
        [ -x "$build/bench/$bench" ] || {
            echo "bench/plot.sh: no $build/bench/$bench: build first" >&2
            exit 1
        }
        "$build/bench/$bench"
    done
fi

# A row of gradients, as multiples of that by hand, for each function: the best tape, program and printed C.
awk -F '\t' '
    $1 != "The same functions in every way" || $4 != "gradient / C" { next }
    !($2 in seen) { seen[$2] = 1; order[++n] = $2 }
    { way = $3; sub(/,.*/, "", way); if (!(($2, way) in best) || $5 < best[$2, way]) best[$2, way] = $5 }
    function cell(f, w) { return (f, w) in best ? best[f, w] : "?" }
    END {
        for (i = 1; i <= n; i++) {
            name = order[i]
            sub(/,.*/, "", name)
            sub(/ of /, " of\\n", name)
            printf "\"%s\"\t%s\t%s\t%s\n", name, cell(order[i], "tape"), cell(order[i], "program"),
                cell(order[i], "printed C")
        }
    }' "$BENCH_TSV" >"$work/ways.tsv"

# curve TABLE COLUMN: size and number
curve() {
    awk -F '\t' -v table="$1" -v column="$2" \
        '$1 == "Cost as problems grow" && index($2, table) == 1 && $4 == column { print $3 "\t" $5 }' "$BENCH_TSV"
}
curve "tape" "1st ns/op" >"$work/record.tsv"
curve "tape" "2nd ns/op" >"$work/sweep.tsv"
curve "program of scalars" "run ns/op" >"$work/scalars.tsv"
curve "program of tensors" "run ns/op" >"$work/tensors.tsv"
curve "map" "run ns/op" >"$work/map.tsv"
curve "scan, 50" "run ns/op" >"$work/scan.tsv"
curve "tape" "MB" >"$work/tape-mb.tsv"
curve "program of tensors" "MB" >"$work/tensors-mb.tsv"
curve "map" "MB" >"$work/map-mb.tsv"
curve "scan, all" "MB" >"$work/all-mb.tsv"
curve "scan, 50" "MB" >"$work/scan-mb.tsv"

# Text and lines are of a grey, and colours of a lightness, that can be read on white and on black.
cat >"$work/style.gp" <<'GP'
grey = "#808890"
set border 3 lc rgb grey lw 1
set tics nomirror tc rgb grey
set grid ytics lc rgb grey lw 0.4 dt (2, 6)
set key textcolor rgb grey samplen 1.5 spacing 1.2
set xlabel textcolor rgb grey
set ylabel textcolor rgb grey
set title textcolor rgb grey
blue = "#3b82e0"; orange = "#e07b1f"; green = "#2fa36b"; purple = "#a366d6"; red = "#d9505a"; teal = "#1fa3b3"
GP

cat >"$work/ways.gp" <<'GP'
set title "Gradient: time / time of C by hand, log scale (lower is faster)"
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.9 noborder
set boxwidth 0.9
set logscale y
set yrange [0.1:100]
set ytics ("0.1" 0.1, "0.3" 0.3, "1" 1, "3" 3, "10" 10, "30" 30, "100" 100)
set xtics scale 0
set xrange [-0.6:5.6]
set bmargin 3.5
set key top right horizontal
set arrow from graph 0, first 1 to graph 1, first 1 nohead lc rgb grey lw 1.5
plot data."/ways.tsv" using 2:xtic(1) title "tape, recorded every time" lc rgb orange, \
     "" using 3 title "program" lc rgb blue, \
     "" using 4 title "printed C" lc rgb green
GP

cat >"$work/growth.gp" <<'GP'
set logscale xy
set format x "10^{%L}"
set xlabel "operations of the function"
set xrange [8e2:1.3e8]
set multiplot layout 1, 2
set title "Gradient: ns an operation"
set yrange [0.3:300]
set ytics ("0.3" 0.3, "1" 1, "3" 3, "10" 10, "30" 30, "100" 100)
set key top right maxrows 3
set style data linespoints
set pointsize 0.6
plot data."/scalars.tsv" title "program of scalars" lc rgb purple lw 2 pt 7, \
     data."/record.tsv" title "tape: record" lc rgb orange lw 2 pt 7, \
     data."/sweep.tsv" title "tape: sweep" lc rgb red lw 2 pt 7, \
     data."/scan.tsv" title "scan, 50 states" lc rgb green lw 2 pt 7, \
     data."/map.tsv" title "map over rows" lc rgb teal lw 2 pt 7, \
     data."/tensors.tsv" title "program of tensors" lc rgb blue lw 2 pt 7
set title "Memory at most, MB"
set yrange [0.3:1e4]
set ytics ("1" 1, "10" 10, "100" 100, "1000" 1000, "10000" 10000)
set key top left maxrows 5
plot data."/tape-mb.tsv" title "tape" lc rgb orange lw 2 pt 7, \
     data."/tensors-mb.tsv" title "program of tensors" lc rgb blue lw 2 pt 7, \
     data."/map-mb.tsv" title "map over rows" lc rgb teal lw 2 pt 7, \
     data."/all-mb.tsv" title "scan, all states kept" lc rgb purple lw 2 pt 7, \
     data."/scan-mb.tsv" title "scan, 50 states kept" lc rgb green lw 2 pt 7
unset multiplot
GP

draw() { # plot, terminal, output
    gnuplot -e "set terminal $2; set output '$3'; data='$work'; load '$work/style.gp'; load '$work/$1.gp'"
}
for plot in ways growth; do
    draw "$plot" "svg size 900, 380 font 'Helvetica, Arial, sans-serif, 13'" "bench/plots/$plot.svg"
    [ -n "$png" ] || continue
    draw "$plot" "pngcairo size 900, 380 font 'Sans, 10' background '#ffffff'" "$png/$plot-light.png"
    draw "$plot" "pngcairo size 900, 380 font 'Sans, 10' background '#0d1117'" "$png/$plot-dark.png"
done
