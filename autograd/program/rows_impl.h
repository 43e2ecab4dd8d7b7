/* What the ways to run rows share. */
#ifndef AG_ROWS_IMPL_H
#define AG_ROWS_IMPL_H

#include "crew_impl.h"

enum { MOST_WORKERS = 64 };

static inline int64_t ag_row_input_count(const ag_program *p, uint64_t k) {
    return ag_where_count(p, ag_pinput_at(p, k)->ref.where);
}
static inline int64_t ag_row_output_count(const ag_program *p, uint64_t k) {
    return ag_where_count(p, ag_poutput_at(p, k)->ref.where);
}

/* ---- rows.c ---- */
/* How many workers it takes for chunks of so much work in all: 1 if it is not worth more. */
int ag_workers_for(int64_t chunks, int64_t work);

/* Whether outputs of that many rows are so large that they would push each other out of the cache: then they are written past
 * it, in half of the time. */
bool ag_rows_stream(const ag_program *p, int64_t rows, const ag_column *ys);
/* n rows of `count` numbers each from lanes: number i of row l is lanes[i * stride + l]. */
void ag_store_rows(ag_type type, const void *lanes, int64_t stride, int64_t n, int64_t count, bool streams, void *to);
/* After the last of them, before other threads look. */
void ag_end_stream(bool streams);

/* ---- row_by_row.c ---- */
/* What is too large for lanes, or has no scalar form. */
bool ag_run_row_by_row(ag_runner *r, int64_t rows, const ag_column *xs, const ag_column *ys, ag_mishap *mishap);

#endif
