/* An LSTM over steps, computed. The rows of a batch have nothing to do with each other, so that threads take some each, for
 * all steps; the weights are packed once for all. */
#include "lstm_impl.h"

enum {
    LEAST_WORK = 1 << 18,
    SLACK = 64
}; /* multiplications worth a thread; numbers that may be read behind an array */

typedef struct steps {
    const ag_kernels *kernels;
    ag_type type;
    const ag_lstm_params *p;
    ag_lstm_sizes n;
    const ag_lstm_arrays *a;
    char *forth, *back,
        *space; /* weights, packed for h weight^T and for dgates weight; a row of gates for each of the batch */
    int threads;
} steps;

/* Row `row` of step `place` of an array with `width` numbers in a row. */
static char *at(const steps *s, const void *data, int64_t place, int64_t row, int64_t width) {
    return ag_element(s->type, (char *)(uintptr_t)data, (place * s->n.batch + row) * width);
}

/* The states before the step after `done` others: h (part 0) or c (part 1). */
static const char *before(const steps *s, int part, int64_t done, int64_t row) {
    if (done == 0) return at(s, part ? s->a->c_first : s->a->h_first, 0, row, s->n.hidden);
    return at(s, s->a->result, part * s->n.steps + ag_lstm_place(s->p, s->n.steps, done - 1), row, s->n.hidden);
}

static const char *after(const steps *s, int part, int64_t done, int64_t row) { return before(s, part, done + 1, row); }

static ag_matrix rows_of(const void *data, int64_t width) { return (ag_matrix){(void *)(uintptr_t)data, width, 1}; }

/* Gates before their functions, for `rows` rows from `row` on. */
static void sum_gates(const steps *s, int64_t done, int64_t row, int64_t rows, char *to) {
    int64_t width = 4 * s->n.hidden, place = ag_lstm_place(s->p, s->n.steps, done);
    ag_matrix h = rows_of(before(s, 0, done, row), s->n.hidden), gates = rows_of(to, width);
    ag_addend plus = {.row = s->a->bias, .rows = rows_of(at(s, s->a->gates, place, row, width), width)};
    s->kernels->product_packed(rows, width, s->n.hidden, &h, s->forth, &gates, &plus);
}

/* Activations of a step, and where they go to: the arrays, or space. */
static char *acts_of(const steps *s, int64_t done, int64_t row) {
    int64_t width = 4 * s->n.hidden;
    return s->a->acts ? at(s, s->a->acts, ag_lstm_place(s->p, s->n.steps, done), row, width)
                      : at(s, s->space, 0, row, width);
}

static void share(const steps *s, int thread, int64_t *row, int64_t *rows) {
    int64_t unit = s->kernels->panel_rows, blocks = (s->n.batch + unit - 1) / unit;
    int64_t end = (thread + 1) * blocks / s->threads * unit;
    *row = thread * blocks / s->threads * unit;
    *rows = (end < s->n.batch ? end : s->n.batch) - *row;
}

static void run_forth(void *context, int thread) {
    const steps *s = context;
    int64_t row, rows;
    share(s, thread, &row, &rows);
    for (int64_t done = 0; done < s->n.steps; done++) {
        char *acts = acts_of(s, done, row);
        sum_gates(s, done, row, rows, acts);
        s->kernels->lstm((size_t)rows, (size_t)s->n.hidden, acts, before(s, 1, done, row),
                         (char *)(uintptr_t)after(s, 1, done, row), (char *)(uintptr_t)after(s, 0, done, row));
    }
}

/* In reverse. Without activations the gates are summed up again, and the states that they give go where adjoints will: to
 * the gates' adjoints, of which there are four for each state. */
static void run_back(void *context, int thread) {
    const steps *s = context;
    int64_t row, rows, hidden = s->n.hidden, width = 4 * hidden;
    share(s, thread, &row, &rows);
    char *h = at(s, s->a->to_h, 0, row, hidden), *c = at(s, s->a->to_c, 0, row, hidden);
    memset(h, 0, (size_t)(rows * hidden) * ag_type_size(s->type));
    memset(c, 0, (size_t)(rows * hidden) * ag_type_size(s->type));
    for (int64_t done = s->n.steps; done-- > 0;) {
        int64_t place = ag_lstm_place(s->p, s->n.steps, done);
        char *acts = acts_of(s, done, row), *to = at(s, s->a->to_gates, place, row, width);
        if (!s->a->acts) {
            sum_gates(s, done, row, rows, acts);
            s->kernels->lstm((size_t)rows, (size_t)hidden, acts, before(s, 1, done, row), to,
                             ag_element(s->type, to, rows * hidden));
        }
        s->kernels->lstm_back((size_t)rows, (size_t)hidden, acts, before(s, 1, done, row), after(s, 1, done, row),
                              at(s, s->a->w, place, row, hidden), at(s, s->a->w, s->n.steps + place, row, hidden), h, c,
                              to);
        ag_matrix gates = rows_of(to, width), states = rows_of(h, hidden);
        s->kernels->product_packed(rows, hidden, width, &gates, s->back, &states, NULL);
    }
}

static int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/* Numbers of scratch memory; the sizes are those of tensors that exist. */
static char *numbers(const ag_call *call, int64_t rows, int64_t columns) {
    int64_t count;
    if (!ag_multiply_sizes(rows, columns, &count) || count > INT64_MAX / 16) count = INT64_MAX / 16;
    return ag_scratch(call->tape, (size_t)(count + SLACK) * ag_type_size(call->type));
}

static bool run(const ag_call *call, const ag_lstm_params *p, ag_lstm_sizes n, const ag_lstm_arrays *a, bool back) {
    steps s = {ag_kernels_for(call->type), call->type, p, n, a, NULL, NULL, NULL, 1};
    int64_t width = 4 * n.hidden, lanes = s.kernels->lanes;
    double work = (double)n.steps * (double)n.batch * (double)width * (double)n.hidden;
    int64_t blocks = (n.batch + s.kernels->panel_rows - 1) / s.kernels->panel_rows, most = ag_threads();
    bool forth = !back || !a->acts;
    if (work >= LEAST_WORK) s.threads = (int)(most < blocks ? most : blocks);
    s.forth = forth ? numbers(call, n.hidden, round_up(width, lanes)) : NULL;
    s.back = back ? numbers(call, width, round_up(n.hidden, lanes)) : NULL;
    s.space = a->acts ? NULL : numbers(call, n.batch, width);
    bool ok = (!forth || s.forth) && (!back || s.back) && (a->acts || s.space);
    if (ok && s.forth) s.kernels->pack_columns(n.hidden, width, s.forth, a->weight, 1, n.hidden);
    if (ok && s.back) s.kernels->pack_columns(width, n.hidden, s.back, a->weight, n.hidden, 1);
    if (ok) ag_parallel(s.threads, back ? run_back : run_forth, &s);
    ag_scratch_free(call->tape, s.space);
    ag_scratch_free(call->tape, s.back);
    ag_scratch_free(call->tape, s.forth);
    return ok;
}

bool ag_lstm_forth(const ag_call *call, const ag_lstm_params *p, ag_lstm_sizes s, const ag_lstm_arrays *a) {
    return run(call, p, s, a, false);
}

bool ag_lstm_back(const ag_call *call, const ag_lstm_params *p, ag_lstm_sizes s, const ag_lstm_arrays *a) {
    return run(call, p, s, a, true);
}
