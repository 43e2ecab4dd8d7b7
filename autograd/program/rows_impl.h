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

/* ---- row_by_row.c ---- */
/* What is too large for lanes, or has no scalar form. */
bool ag_run_row_by_row(ag_runner *r, int64_t rows, const ag_column *xs, const ag_column *ys, ag_mishap *mishap);

#endif
