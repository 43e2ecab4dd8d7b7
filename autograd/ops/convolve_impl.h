/* How convolutions are computed: what the kernels of convolution_loops.inc work on.
 *
 * An image is laid out in planes, one a channel: its rows with zeros before and after, each split into the columns that
 * are `split` apart (the horizontal stride), so that going to the next result is going to the next number. What a tap of the kernel
 * meets then begins at a fixed offset of the plane. Results are computed in panels of a few vectors of them, which are
 * runs of the rows of planes, copied together: one row of the panel for each channel and tap. */
#ifndef AG_CONVOLVE_IMPL_H
#define AG_CONVOLVE_IMPL_H

#include <stdbool.h>
#include <stdint.h>

enum { PANEL_VECTORS = 3, PANEL_SLACK = 64 }; /* numbers that may be read or written behind planes and panels */
enum { MOST_PANEL_ROWS = 8, MOST_PANEL_COLUMNS = PANEL_VECTORS * 16 };

typedef struct ag_layout {
    int64_t channels, size[2];  /* of the image */
    int64_t before[2];          /* rows and columns of zeros before it; negative: left out */
    int64_t rows, split, width; /* a plane has rows * split * width numbers */
} ag_layout;

typedef struct ag_run_of_columns {
    int64_t from, length;
} ag_run_of_columns;

/* Rows first..end-1 of a panel: row k is channel k / taps, tap k % taps. */
typedef struct ag_panel {
    int64_t first, end, taps, plane, vectors;
    const int64_t *tap; /* offsets in a plane */
    int64_t runs;
    ag_run_of_columns run[MOST_PANEL_COLUMNS];
} ag_panel;

/* Where a block of results goes: `rows` rows of `columns` numbers, `stride` apart. `start`: what each row's sums start
 * from; NULL: 0. */
typedef struct ag_panel_tile {
    void *data;
    int64_t stride, rows, columns;
    const void *start;
    bool add;
} ag_panel_tile;

/* Results that are not packed: vectors of them at `from` of a plane, of which the first `valid` go to `to` of the tile's rows.
 * They meet k = channels * taps rows. */
typedef struct ag_panel_vectors {
    int64_t channels, taps, plane;
    const int64_t *tap;
    int64_t from[PANEL_VECTORS], to[PANEL_VECTORS], valid[PANEL_VECTORS];
} ag_panel_vectors;

/* Taps in turn, each begins at tap[i] and goes along rows of results, row_step apart; `stride` is the length of a row of
 * b and c, a whole number of vectors. */
typedef struct ag_tap_block {
    const void *tap[MOST_PANEL_ROWS];
    int64_t rows, columns, row_step, stride;
} ag_tap_block;

/* Dot products of panel_rows rows with DOT_TAPS others, n numbers each, lane by lane. */
enum { DOT_TAPS = 3 };
typedef struct ag_dots {
    const void *row[MOST_PANEL_ROWS], *tap[DOT_TAPS];
    int64_t n;
} ag_dots;

#endif
