/* Many rows at a time: the program in scalars, each of them AG_LANES wide.
 *
 * Rows are taken in chunks, and chunks in blocks of lanes. Sums are kept lane by lane within a chunk, then folded and added
 * to the output, chunk after chunk: their order does not depend on who computes a chunk. */
#include "guard_impl.h"
#include "runner_impl.h"

enum { CHUNK = 64 * AG_LANES };

typedef struct ag_batch {
    ag_runner *r;        /* with the plan for lanes */
    const ag_program *p; /* the caller's: its shapes are those of the columns */
    const ag_column *xs, *ys;
    int64_t rows;
    ag_tape *tape; /* for errors */
} ag_batch;

/* ---- input ---- */

static void *lanes_at(const ag_runner *r, int64_t place) { return ag_element(r->p->type, r->work, place * AG_LANES); }

static void spread(const ag_runner *r, int64_t place, const void *numbers, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        r->kernels->fill(AG_LANES, lanes_at(r, place + i), ag_load(r->p->type, numbers, i));
}

static void load_indexed(const ag_runner *r, int64_t place, const ag_column *c, int64_t row, int64_t n, int64_t count) {
    for (int64_t l = 0; l < n; l++) {
        const void *from = ag_element(r->p->type, c->data, c->index[row + l] * count);
        if (r->p->type == AG_F64) {
            double *to = (double *)lanes_at(r, place) + l;
            for (int64_t i = 0; i < count; i++) to[i * AG_LANES] = ((const double *)from)[i];
        } else {
            float *to = (float *)lanes_at(r, place) + l;
            for (int64_t i = 0; i < count; i++) to[i * AG_LANES] = ((const float *)from)[i];
        }
    }
}

static int64_t input_count(const ag_batch *b, uint64_t k) {
    return ag_where_count(b->p, ag_pinput_at(b->p, k)->ref.where);
}

static void load_rows(const ag_batch *b, int64_t row, int64_t n) {
    const ag_runner *r = b->r;
    for (uint64_t k = 0; k < b->p->inputs.count; k++) {
        const ag_column *c = &b->xs[k];
        int64_t count = input_count(b, k);
        if (!r->loaded[k] || c->along == AG_SHARED) continue;
        if (c->index) load_indexed(r, r->load_at[k], c, row, n, count);
        else
            r->kernels->transpose((size_t)n, (size_t)count, lanes_at(r, r->load_at[k]), AG_LANES,
                                  ag_element(r->p->type, c->data, row * count), count, false);
    }
}

/* ---- output ---- */

static int64_t output_count(const ag_batch *b, uint64_t k) {
    return ag_where_count(b->p, ag_poutput_at(b->p, k)->ref.where);
}

static void add_indexed(const ag_runner *r, const ag_column *c, int64_t place, int64_t row, int64_t n, int64_t count) {
    for (int64_t l = 0; l < n; l++) {
        void *to = ag_element(r->p->type, c->data, c->index[row + l] * count);
        for (int64_t i = 0; i < count; i++)
            ag_store(r->p->type, to, i, ag_load(r->p->type, to, i) + ag_load(r->p->type, lanes_at(r, place + i), l));
    }
}

static void store_rows(const ag_batch *b, int64_t row, int64_t n) {
    const ag_runner *r = b->r;
    int64_t place = 0;
    for (uint64_t k = 0; k < b->p->outputs.count; k++) {
        const ag_column *c = &b->ys[k];
        int64_t count = output_count(b, k);
        if (!c->data || c->along == AG_SHARED) {
            place += count;
            continue;
        }
        if (c->index) {
            add_indexed(r, c, place, row, n, count);
        } else {
            r->kernels->transpose((size_t)count, (size_t)n, ag_element(r->p->type, c->data, row * count), count,
                                  lanes_at(r, place), AG_LANES, false);
        }
        place += count;
    }
}

/* ---- sums: lane by lane in the places of their outputs ---- */

/* Calls `each` for every sum: its output, which element of it, its place. */
static void for_sums(const ag_batch *b, void (*each)(const ag_batch *b, void *out, int64_t i, int64_t place)) {
    int64_t place = 0;
    for (uint64_t k = 0; k < b->p->outputs.count; k++) {
        int64_t count = output_count(b, k);
        for (int64_t i = 0; b->ys[k].data && b->ys[k].along == AG_SHARED && i < count; i++)
            each(b, b->ys[k].data, i, place + i);
        place += count;
    }
}

static void clear_output(const ag_batch *b, void *out, int64_t i, int64_t place) {
    (void)place;
    ag_store(b->p->type, out, i, 0);
}

static void clear_sum(const ag_batch *b, void *out, int64_t i, int64_t place) {
    (void)out, (void)i;
    memset(lanes_at(b->r, place), 0, AG_LANES * ag_type_size(b->p->type));
}

static void add_sum(const ag_batch *b, void *out, int64_t i, int64_t place) {
    double sum = b->r->kernels->sum(AG_LANES, lanes_at(b->r, place));
    ag_store(b->p->type, out, i, ag_load(b->p->type, out, i) + sum);
}

static void *aside(const ag_batch *b, int64_t place) { return ag_element(b->p->type, b->r->sums, place * AG_LANES); }

static void put_aside(const ag_batch *b, void *out, int64_t i, int64_t place) {
    memcpy(aside(b, place), lanes_at(b->r, place), AG_LANES * ag_type_size(b->p->type));
    clear_sum(b, out, i, place);
}

/* Of the last block, the lanes that are rows. */
static void add_rows(const ag_batch *b, void *out, int64_t i, int64_t place) {
    (void)out, (void)i;
    b->r->kernels->add_to((size_t)(b->rows % AG_LANES), aside(b, place), lanes_at(b->r, place));
    memcpy(lanes_at(b->r, place), aside(b, place), AG_LANES * ag_type_size(b->p->type));
}

/* ---- guards ---- */

static bool check_guard(const ag_batch *b, const ag_pguard *g, int64_t row, int64_t n) {
    const ag_runner *r = b->r;
    const void *condition = lanes_at(r, g->at[0]);
    for (int64_t l = 0; l < n; l++) {
        if ((ag_load(r->p->type, condition, l) != 0) == (g->guard->expected != 0)) continue;
        double values[3];
        for (int k = 0; k < 3; k++) values[k] = ag_load(r->p->type, lanes_at(r, g->at[k]), l);
        ag_fail(b->tape, AG_ERR_GUARD, "row %lld: %s", (long long)(row + l), ag_guard_sentence(g->guard, values).text);
        return false;
    }
    return true;
}

static bool check_guards(const ag_batch *b, int64_t row, int64_t n) {
    const ag_pguard *g = (const ag_pguard *)(const void *)b->r->guards.range.base;
    for (uint64_t i = 0; i < b->r->guards.count; i++)
        if (!check_guard(b, &g[i], row, n)) return false;
    return true;
}

/* ---- rows ---- */

static bool run_chunk(const ag_batch *b, int64_t row, int64_t end) {
    const ag_runner *r = b->r;
    for_sums(b, clear_sum);
    for (; row < end; row += AG_LANES) {
        int64_t n = end - row < AG_LANES ? end - row : AG_LANES;
        load_rows(b, row, n);
        if (n < AG_LANES) for_sums(b, put_aside);
        r->kernels->straight_lanes((const ag_straight *)(const void *)r->straight.range.base, r->straight.count,
                                   r->work);
        if (n < AG_LANES) for_sums(b, add_rows);
        if (!check_guards(b, row, n)) return false;
        store_rows(b, row, n);
    }
    for_sums(b, add_sum);
    return true;
}

/* ---- row by row: what is too large for lanes, or has no scalar form ---- */

/* Whether an output of a row is written where it belongs: not added to anything. */
static bool is_direct(const ag_column *c, int64_t rows) {
    return c->data && !c->index && (c->along == AG_EACH || rows == 1);
}

/* Where a row of a column is; of sums, and of rows that are added somewhere, a place to put them first. */
static bool run_row(ag_runner *r, int64_t rows, int64_t row, const ag_column *xs, const ag_column *ys) {
    const ag_program *p = r->p;
    ag_batch b = {.p = p};
    void **at = r->row_at;
    char *buffer = r->row_buffer;
    void **to = at + p->inputs.count;
    for (uint64_t k = 0; k < p->inputs.count; k++) {
        int64_t from = xs[k].along == AG_SHARED ? 0 : xs[k].index ? xs[k].index[row] : row;
        at[k] = ag_element(p->type, xs[k].data, from * input_count(&b, k));
    }
    int64_t place = 0;
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        const ag_column *c = &ys[k];
        bool direct = is_direct(c, rows);
        to[k] = !c->data ? NULL
                         : ag_element(p->type, direct ? c->data : buffer, direct ? row * output_count(&b, k) : place);
        place += output_count(&b, k);
    }
    ag_status status = ag_runner_run(r, p->type, (const void *const *)(const void *)at, to);
    for (uint64_t k = 0; status == AG_OK && k < p->outputs.count; k++) {
        const ag_column *c = &ys[k];
        int64_t count = output_count(&b, k);
        if (!c->data || is_direct(c, rows)) continue;
        r->kernels->add_to((size_t)count, ag_element(p->type, c->data, c->index ? c->index[row] * count : 0), to[k]);
    }
    return status == AG_OK;
}

/* An error says in which row it was. */
static void name_row(ag_tape *t, int64_t rows, int64_t row) {
    char said[sizeof t->message];
    ag_status status = t->status;
    if (rows == 1) return;
    memcpy(said, t->message, sizeof said);
    ag_tape_recover(t);
    ag_fail(t, status, "row %lld: %s", (long long)row, said);
}

static void run_row_by_row(ag_runner *r, int64_t rows, const ag_column *xs, const ag_column *ys) {
    const ag_program *p = r->p;
    ag_batch b = {.p = p};
    int64_t total = 0;
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        total += output_count(&b, k);
        if (ys[k].data && ys[k].along == AG_SHARED)
            memset(ys[k].data, 0, (size_t)output_count(&b, k) * ag_type_size(p->type));
    }
    size_t ports = p->inputs.count + p->outputs.count;
    if (!r->row_at) r->row_at = ag_memory_zeroed(&r->memory, ports * sizeof *r->row_at + 1);
    if (!r->row_buffer) r->row_buffer = ag_memory_zeroed(&r->memory, (size_t)total * ag_type_size(p->type) + 1);
    if (!r->row_at || !r->row_buffer) ag_fail(r->tape, AG_ERR_MEMORY, "rows: out of memory");
    for (int64_t row = 0; row < rows && r->tape->status == AG_OK; row++)
        if (!run_row(r, rows, row, xs, ys)) name_row(r->tape, rows, row);
}

/* ---- which way ---- */

/* Scalar instructions over lanes that are worth it: their operands have to stay in cache. */
enum { MOST_STRAIGHT = 1 << 16, MOST_BYTES = 1 << 26 /* to find out */ };

/* Whether the lanes that are planned add up what these columns want added up. */
static bool is_planned(const ag_runner *r, const ag_column *ys) {
    for (uint64_t k = 0; r->lanes && k < r->p->outputs.count; k++)
        if (r->summed[k] != (ys[k].along == AG_SHARED)) return false;
    return r->lanes != NULL;
}

static void plan_lanes(ag_runner *r, const ag_column *ys) {
    const ag_program *p = r->p;
    ag_runner_free(r->lanes);
    r->lanes = NULL;
    if (!r->summed) r->summed = ag_memory_zeroed(&r->memory, p->outputs.count + 1);
    if (!r->summed) return;
    for (uint64_t k = 0; k < p->outputs.count; k++) r->summed[k] = ys[k].along == AG_SHARED;
    ag_program *scalars = ag_program_row_scalars(p, r->summed, MOST_BYTES);
    r->lanes = ag_runner_plan(scalars, true);
    ag_program_free(scalars);
    if (r->lanes->status != AG_OK) return;
    r->lanes->sums =
        ag_memory_zeroed(&r->lanes->memory, r->lanes->p->outputs.count * AG_LANES * ag_type_size(p->type) + 64);
    if (!r->lanes->sums) ag_runner_fail(r->lanes, AG_ERR_MEMORY, "rows: out of memory");
}

/* Whether lanes can do it; plans them on the first call. */
static bool open_lanes(ag_runner *r, const ag_column *ys) {
    if (!is_planned(r, ys)) plan_lanes(r, ys);
    if (!r->lanes) ag_fail(r->tape, AG_ERR_MEMORY, "rows: out of memory");
    return r->lanes && r->lanes->status == AG_OK && r->lanes->straight.count <= MOST_STRAIGHT;
}

static bool check_columns(ag_runner *r, int64_t rows, const ag_column *xs) {
    if (rows < 0) ag_fail(r->tape, AG_ERR_VALUE, "rows: their number is %lld", (long long)rows);
    for (uint64_t k = 0; k < r->p->inputs.count && rows > 0; k++)
        if (!xs[k].data && input_count(&(ag_batch){.p = r->p}, k))
            ag_fail(r->tape, AG_ERR_VALUE, "rows: input %s has no data", ag_program_input(r->p, (int)k).name);
    return r->tape->status == AG_OK;
}

ag_status ag_run_rows(ag_runner *r, int64_t rows, const ag_column *xs, const ag_column *ys) {
    if (!r) return AG_ERR_VALUE;
    if (r->status != AG_OK) return r->status;
    ag_tape_recover(r->tape);
    if (!check_columns(r, rows, xs)) return r->tape->status;
    if (rows == 1 || !open_lanes(r, ys)) {
        if (r->tape->status == AG_OK) run_row_by_row(r, rows, xs, ys);
        return r->tape->status;
    }
    ag_batch b = {r->lanes, r->p, xs, ys, rows, r->tape};
    for (uint64_t k = 0; k < r->p->inputs.count; k++)
        if (b.r->loaded[k] && xs[k].along == AG_SHARED && rows > 0)
            spread(b.r, b.r->load_at[k], xs[k].data, input_count(&b, k));
    for_sums(&b, clear_output);
    for (int64_t row = 0; row < rows; row += CHUNK)
        if (!run_chunk(&b, row, rows - row < CHUNK ? rows : row + CHUNK)) break;
    return r->tape->status;
}
