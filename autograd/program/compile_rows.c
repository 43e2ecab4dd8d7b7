/* A compiled program for many rows: in blocks of lanes, or row by row where it has no function for lanes. */
#include "compile_impl.h"
#include "print/print_impl.h"
#include "rows_impl.h"

/* Whether rows of an output are written where they belong, not added there. */
static bool is_direct(const ag_column *y) { return y->data && y->along == AG_EACH && !y->index; }

static void *row_of(const ag_compiled *c, const ag_column *x, int64_t row, size_t count) {
    int64_t at = x->along == AG_SHARED ? 0 : x->index ? x->index[row] : row;
    return x->data ? (char *)x->data + (size_t)at * count * ag_type_size(c->p->type) : NULL;
}

static ag_status run_row(ag_compiled *c, int64_t row, const ag_column *xs, const ag_column *ys) {
    const ag_program *p = c->p;
    for (uint64_t k = 0; k < p->inputs.count; k++) c->xs[k] = row_of(c, &xs[k], row, (size_t)ag_row_input_count(p, k));
    for (uint64_t k = 0; k < p->outputs.count; k++)
        c->ys[k] =
            is_direct(&ys[k]) ? row_of(c, &ys[k], row, (size_t)ag_row_output_count(p, k)) : ag_compiled_spare(c, k);
    if (c->entry(c->xs, c->ys, c->work)) {
        ag_status status = ag_compiled_run_machine(c, p->type, c->xs, c->ys);
        if (status != AG_OK) return status;
    }
    for (uint64_t k = 0; k < p->outputs.count; k++)
        if (ys[k].data && !is_direct(&ys[k]))
            ag_kernels_for(p->type)->add_to((size_t)ag_row_output_count(p, k),
                                            row_of(c, &ys[k], row, (size_t)ag_row_output_count(p, k)), c->ys[k]);
    return AG_OK;
}

/* What the machine says of rows: their own errors, and which row it was. */
static ag_status fail_rows(ag_compiled *c, ag_status status, int64_t rows, int64_t row) {
    char text[sizeof c->message];
    snprintf(text, sizeof text, "%s", ag_runner_message(c->runner));
    c->run_failed = true;
    if (c->runner->status == AG_OK && rows > 1) {
        ag_tape_recover(c->runner->tape);
        ag_fail(c->runner->tape, status, "row %lld: %.600s", (long long)row, text);
    }
    return status;
}

/* ---- lanes ---- */

static void *in_block(const ag_compiled *c, int64_t element) {
    char *start = (char *)(((uintptr_t)c->block + 63) / 64 * 64);
    return ag_element(c->p->type, start, element * C_LANES);
}

static void load_block(const ag_compiled *c, const ag_column *xs, int64_t row, int64_t n) {
    const ag_program *p = c->p;
    const ag_kernels *kernels = ag_kernels_for(p->type);
    int64_t at = 0;
    for (uint64_t k = 0; k < p->inputs.count; k++) {
        int64_t count = ag_row_input_count(p, k);
        const ag_column *x = &xs[k];
        if (x->along == AG_EACH && !x->index)
            kernels->transpose((size_t)n, (size_t)count, in_block(c, at), C_LANES,
                               ag_element(p->type, x->data, row * count), count, false);
        else if (x->along == AG_EACH)
            kernels->gather((size_t)n, (size_t)count, in_block(c, at), C_LANES, x->data, x->index + row);
        else if (row == 0)
            for (int64_t i = 0; i < count; i++)
                kernels->fill(C_LANES, in_block(c, at + i), ag_load(p->type, x->data, i));
        at += count;
    }
}

static void add_rows(const ag_compiled *c, const ag_column *y, int64_t at, int64_t row, int64_t n, int64_t count) {
    ag_type type = c->p->type;
    for (int64_t l = 0; l < n; l++) {
        void *to = row_of(c, y, row + l, (size_t)count);
        for (int64_t i = 0; i < count; i++)
            ag_store(type, to, i, ag_load(type, to, i) + ag_load(type, in_block(c, at + i), l));
    }
}

static void store_block(const ag_compiled *c, const ag_column *ys, int64_t row, int64_t n, bool streams) {
    const ag_program *p = c->p;
    const ag_kernels *kernels = ag_kernels_for(p->type);
    int64_t at = c->lanes_in;
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        int64_t count = ag_row_output_count(p, k);
        const ag_column *y = &ys[k];
        if (is_direct(y))
            ag_store_rows(p->type, in_block(c, at), C_LANES, n, count, streams,
                          ag_element(p->type, y->data, row * count));
        else if (y->data && y->index) add_rows(c, y, at, row, n, count);
        for (int64_t i = 0; y->data && y->along == AG_SHARED && i < count; i++)
            ag_store(p->type, y->data, i, ag_load(p->type, y->data, i) + kernels->sum((size_t)n, in_block(c, at + i)));
        at += count;
    }
}

static void run_blocks(const ag_compiled *c, int64_t rows, const ag_column *xs, const ag_column *ys) {
    bool streams = ag_rows_stream(c->p, rows, ys);
    for (int64_t row = 0; row < rows; row += C_LANES) {
        int64_t n = rows - row < C_LANES ? rows - row : C_LANES;
        load_block(c, xs, row, n);
        c->lanes(in_block(c, 0), in_block(c, c->lanes_in));
        store_block(c, ys, row, n, streams);
    }
    ag_end_stream(streams);
}

ag_status ag_compiled_run_rows(ag_compiled *c, int64_t rows, const ag_column *xs, const ag_column *ys) {
    if (!c || !c->p) return ag_compiled_status(c);
    const ag_program *p = c->p;
    bool fits = c->status == AG_OK && rows >= 0 && xs && ys;
    for (uint64_t k = 0; fits && k < p->inputs.count && rows > 0; k++) fits &= xs[k].data != NULL;
    c->run_failed = false;
    if (!fits) {
        if (!c->runner) c->runner = ag_runner_new(p);
        ag_status status = ag_run_rows(c->runner, rows, xs, ys);
        c->run_failed = status != AG_OK;
        return status;
    }
    for (uint64_t k = 0; k < p->outputs.count; k++)
        if (ys[k].data && ys[k].along == AG_SHARED)
            memset(ys[k].data, 0, (size_t)ag_row_output_count(p, k) * ag_type_size(p->type));
    if (c->lanes && rows > 1) {
        run_blocks(c, rows, xs, ys);
        return AG_OK;
    }
    for (int64_t row = 0; row < rows; row++) {
        ag_status status = run_row(c, row, xs, ys);
        if (status != AG_OK) return fail_rows(c, status, rows, row);
    }
    return AG_OK;
}
