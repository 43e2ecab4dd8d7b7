/* Rows one by one, each by a run of the program. Workers have a runner each; what is added somewhere is added in the order
 * of the rows. */
#include "rows_impl.h"

typedef struct ag_one_by_one {
    ag_runner *runner[MOST_WORKERS];
    const ag_program *p;
    const ag_column *xs, *ys;
    int64_t rows;
} ag_one_by_one;

/* Whether an output of a row is written where it belongs: not added to anything. */
static bool is_direct(const ag_column *c, int64_t rows) {
    return c->data && !c->index && (c->along == AG_EACH || rows == 1);
}

/* Where a row of a column is; of what is added somewhere, a place to put it first. */
static void find_row(const ag_one_by_one *b, const ag_runner *r, int64_t row) {
    const ag_program *p = b->p;
    void **at = r->row_at, **to = at + p->inputs.count;
    for (uint64_t k = 0; k < p->inputs.count; k++) {
        const ag_column *c = &b->xs[k];
        int64_t from = c->along == AG_SHARED ? 0 : c->index ? c->index[row] : row;
        at[k] = ag_element(p->type, c->data, from * ag_row_input_count(p, k));
    }
    int64_t place = 0;
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        const ag_column *c = &b->ys[k];
        int64_t count = ag_row_output_count(p, k);
        if (!c->data) to[k] = NULL;
        else if (is_direct(c, b->rows)) to[k] = ag_element(p->type, c->data, row * count);
        else to[k] = ag_element(p->type, r->row_buffer, place);
        place += count;
    }
}

static bool run_row(void *context, int worker, int64_t row, ag_mishap *mishap) {
    const ag_one_by_one *b = context;
    ag_runner *r = b->runner[worker];
    find_row(b, r, row);
    mishap->status =
        ag_runner_run(r, b->p->type, (const void *const *)(const void *)r->row_at, r->row_at + b->p->inputs.count);
    if (mishap->status == AG_OK) return true;
    if (b->rows == 1) snprintf(mishap->message, sizeof mishap->message, "%.600s", ag_runner_message(r));
    else snprintf(mishap->message, sizeof mishap->message, "row %lld: %.600s", (long long)row, ag_runner_message(r));
    return false;
}

static void add_row(void *context, int worker, int64_t row) {
    const ag_one_by_one *b = context;
    const ag_runner *r = b->runner[worker];
    const ag_program *p = b->p;
    void **to = r->row_at + p->inputs.count;
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        const ag_column *c = &b->ys[k];
        int64_t count = ag_row_output_count(p, k);
        if (!c->data || is_direct(c, b->rows)) continue;
        r->kernels->add_to((size_t)count, ag_element(p->type, c->data, c->index ? c->index[row] * count : 0), to[k]);
    }
}

/* Where a runner puts rows. False if there is no memory. */
static bool open_row(ag_runner *r) {
    const ag_program *p = r->p;
    size_t ports = p->inputs.count + p->outputs.count;
    int64_t total = 0;
    for (uint64_t k = 0; k < p->outputs.count; k++) total += ag_row_output_count(p, k);
    if (!r->row_at) r->row_at = ag_memory_zeroed(&r->memory, ports * sizeof *r->row_at + 1);
    if (!r->row_buffer) r->row_buffer = ag_memory_zeroed(&r->memory, (size_t)total * ag_type_size(p->type) + 1);
    return r->row_at && r->row_buffer;
}

/* Runs beside the first, which is the caller's, borrow a runner of the program; how many there are in all. */
static int open_runners(ag_one_by_one *b, ag_runner *r, int n) {
    b->runner[0] = r;
    if (!open_row(r)) return 0;
    for (int i = 1; i < n; i++) {
        b->runner[i] = ag_program_borrow(b->p);
        if (b->runner[i]->status == AG_OK && open_row(b->runner[i])) continue;
        ag_program_give_back(b->p, b->runner[i]);
        return i;
    }
    return n;
}

bool ag_run_row_by_row(ag_runner *r, int64_t rows, const ag_column *xs, const ag_column *ys, ag_mishap *mishap) {
    ag_one_by_one b = {.p = r->p, .xs = xs, .ys = ys, .rows = rows};
    bool adds = false;
    for (uint64_t k = 0; k < r->p->outputs.count; k++) {
        adds |= ys[k].data && !is_direct(&ys[k], rows);
        if (ys[k].data && ys[k].along == AG_SHARED)
            memset(ys[k].data, 0, (size_t)ag_row_output_count(r->p, k) * ag_type_size(r->p->type));
    }
    int n = open_runners(&b, r, ag_workers_for(rows, INT64_MAX));
    if (n == 0) {
        mishap->status = AG_ERR_MEMORY;
        snprintf(mishap->message, sizeof mishap->message, "rows: out of memory");
        return false;
    }
    bool ok = ag_crew_run(&(ag_crew_task){run_row, adds ? add_row : NULL, &b, rows, n}, mishap);
    for (int i = 1; i < n; i++) ag_program_give_back(r->p, b.runner[i]);
    return ok;
}
