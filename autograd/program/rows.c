/* Many rows at a time: the program in scalars, each of them AG_LANES wide.
 *
 * Rows are taken in chunks, and chunks in blocks of lanes. Sums are kept lane by lane within a chunk, then folded and added
 * to the output, chunk after chunk: their order does not depend on who computes a chunk. Workers share nothing that is
 * written but the rows of outputs that are theirs. */
#include "crew_impl.h"
#include "guard_impl.h"
#include "rows_impl.h"

enum { CHUNK = 64 * AG_LANES };

typedef struct ag_batch {
    const ag_runner *r;  /* with the plan for lanes */
    const ag_program *p; /* the caller's: its shapes are those of the columns */
    const ag_column *xs, *ys;
    int64_t rows;
    bool streams; /* outputs are written past the cache */
    bool waits;   /* rows that are added somewhere wait in the worker's buffer until it is the chunk's turn */
} ag_batch;

/* ---- input ---- */

static void *lanes_at(const ag_batch *b, const ag_worker *w, int64_t place) {
    return ag_element(b->r->p->type, w->work, place * AG_LANES);
}

static void spread(const ag_batch *b, const ag_worker *w, int64_t place, const void *numbers, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        b->r->kernels->fill(AG_LANES, lanes_at(b, w, place + i), ag_load(b->r->p->type, numbers, i));
}

static int64_t input_count(const ag_batch *b, uint64_t k) { return ag_row_input_count(b->p, k); }
static int64_t output_count(const ag_batch *b, uint64_t k) { return ag_row_output_count(b->p, k); }

static void load_shared(const ag_batch *b, const ag_worker *w) {
    for (uint64_t k = 0; k < b->p->inputs.count; k++)
        if (b->r->loaded[k] && b->xs[k].along == AG_SHARED)
            spread(b, w, b->r->load_at[k], b->xs[k].data, input_count(b, k));
}

static void load_rows(const ag_batch *b, const ag_worker *w, int64_t row, int64_t n) {
    const ag_runner *r = b->r;
    for (uint64_t k = 0; k < b->p->inputs.count; k++) {
        const ag_column *c = &b->xs[k];
        int64_t count = input_count(b, k);
        if (!r->loaded[k] || c->along == AG_SHARED) continue;
        void *to = lanes_at(b, w, r->load_at[k]);
        if (c->index) r->kernels->gather((size_t)n, (size_t)count, to, AG_LANES, c->data, c->index + row);
        else
            r->kernels->transpose((size_t)n, (size_t)count, to, AG_LANES, ag_element(r->p->type, c->data, row * count),
                                  count, false);
    }
}

/* ---- output ---- */

static void add_indexed(const ag_batch *b, const ag_column *c, const void *lanes, int64_t row, int64_t n,
                        int64_t count) {
    ag_type type = b->r->p->type;
    for (int64_t l = 0; l < n; l++) {
        void *to = ag_element(type, c->data, c->index[row + l] * count);
        for (int64_t i = 0; i < count; i++)
            ag_store(type, to, i, ag_load(type, to, i) + ag_load(type, lanes, i * AG_LANES + l));
    }
}

bool ag_rows_stream(const ag_program *p, int64_t rows, const ag_column *ys) {
    enum { MOST_KEPT = 4 << 20 }; /* bytes: about what a core has of the last cache */
    int64_t numbers = 0;
    for (uint64_t k = 0; k < p->outputs.count; k++)
        if (ys[k].data && ys[k].along == AG_EACH && !ys[k].index) numbers += ag_row_output_count(p, k);
    return numbers && rows >= MOST_KEPT / (int64_t)ag_type_size(p->type) / numbers;
}

void ag_store_rows(ag_type type, const void *lanes, int64_t stride, int64_t n, int64_t count, bool streams, void *to) {
    enum { STAGED = 1 << 14, TILE = 8 };
    const ag_kernels *k = ag_kernels_for(type);
    double staged[STAGED / sizeof(double)];
    size_t size = ag_type_size(type);
    int64_t most = count ? STAGED / (int64_t)size / count / TILE * TILE : 0;
    if (!streams || !most) {
        k->transpose((size_t)count, (size_t)n, to, count, lanes, stride, false);
        return;
    }
    for (int64_t i = 0; i < n; i += most) {
        int64_t m = n - i < most ? n - i : most;
        k->transpose((size_t)count, (size_t)m, staged, count, ag_element(type, (void *)lanes, i), stride, false);
        k->stream((size_t)(m * count), ag_element(type, to, i * count), staged);
    }
}

void ag_end_stream(bool streams) {
    if (streams) atomic_thread_fence(memory_order_seq_cst);
}

/* Rows row..row+n-1 of the outputs; `in` of them are before it in its chunk. */
static void store_rows(const ag_batch *b, ag_worker *w, int64_t row, int64_t n, int64_t in) {
    const ag_runner *r = b->r;
    ag_type type = r->p->type;
    int64_t place = 0, waiting = 0;
    for (uint64_t k = 0; k < b->p->outputs.count; k++) {
        const ag_column *c = &b->ys[k];
        int64_t count = output_count(b, k);
        const void *lanes = lanes_at(b, w, place);
        place += count;
        if (!c->data || c->along == AG_SHARED) continue;
        if (c->index && !b->waits) {
            add_indexed(b, c, lanes, row, n, count);
        } else {
            void *to = c->index ? ag_element(type, w->waiting, waiting * CHUNK + in * count)
                                : ag_element(type, c->data, row * count);
            ag_store_rows(type, lanes, AG_LANES, n, count, b->streams && !c->index, to);
        }
        waiting += c->index ? count : 0;
    }
}

/* ---- sums: lane by lane in the places of their outputs ---- */

/* Calls `each` for every sum: its output, which element of it, its place. */
typedef void ag_each_sum(const ag_batch *b, const ag_worker *w, void *out, int64_t i, int64_t place);
static void for_sums(const ag_batch *b, const ag_worker *w, ag_each_sum *each) {
    int64_t place = 0;
    for (uint64_t k = 0; k < b->p->outputs.count; k++) {
        int64_t count = output_count(b, k);
        for (int64_t i = 0; b->ys[k].data && b->ys[k].along == AG_SHARED && i < count; i++)
            each(b, w, b->ys[k].data, i, place + i);
        place += count;
    }
}

static void clear_output(const ag_batch *b, const ag_worker *w, void *out, int64_t i, int64_t place) {
    (void)w, (void)place;
    ag_store(b->p->type, out, i, 0);
}

static void clear_sum(const ag_batch *b, const ag_worker *w, void *out, int64_t i, int64_t place) {
    (void)out, (void)i;
    memset(lanes_at(b, w, place), 0, AG_LANES * ag_type_size(b->p->type));
}

static void add_sum(const ag_batch *b, const ag_worker *w, void *out, int64_t i, int64_t place) {
    double sum = b->r->kernels->sum(AG_LANES, lanes_at(b, w, place));
    ag_store(b->p->type, out, i, ag_load(b->p->type, out, i) + sum);
}

static void *aside(const ag_batch *b, const ag_worker *w, int64_t place) {
    return ag_element(b->p->type, w->sums, place * AG_LANES);
}

static void copy_aside(const ag_batch *b, const ag_worker *w, void *out, int64_t i, int64_t place) {
    (void)out, (void)i;
    memcpy(aside(b, w, place), lanes_at(b, w, place), AG_LANES * ag_type_size(b->p->type));
}

static void take_back(const ag_batch *b, const ag_worker *w, void *out, int64_t i, int64_t place) {
    (void)out, (void)i;
    memcpy(lanes_at(b, w, place), aside(b, w, place), AG_LANES * ag_type_size(b->p->type));
}

static void put_aside(const ag_batch *b, const ag_worker *w, void *out, int64_t i, int64_t place) {
    copy_aside(b, w, out, i, place);
    clear_sum(b, w, out, i, place);
}

/* Of the last block, the lanes that are rows. */
static void add_rows(const ag_batch *b, const ag_worker *w, void *out, int64_t i, int64_t place) {
    b->r->kernels->add_to((size_t)(b->rows % AG_LANES), aside(b, w, place), lanes_at(b, w, place));
    take_back(b, w, out, i, place);
}

/* ---- rows that waited ---- */

static void add_waiting(const ag_batch *b, const ag_worker *w, int64_t row, int64_t n) {
    ag_type type = b->p->type;
    int64_t waiting = 0;
    for (uint64_t k = 0; k < b->p->outputs.count; k++) {
        const ag_column *c = &b->ys[k];
        int64_t count = output_count(b, k);
        if (!c->data || !c->index) continue;
        const char *from = ag_element(type, w->waiting, waiting * CHUNK);
        for (int64_t i = 0; i < n; i++)
            b->r->kernels->add_to((size_t)count, ag_element(type, c->data, c->index[row + i] * count),
                                  from + (size_t)(i * count) * ag_type_size(type));
        waiting += count;
    }
}

/* ---- guards ---- */

static bool check_guard(const ag_batch *b, const ag_worker *w, const ag_pguard *g, int64_t row, int64_t n,
                        ag_mishap *mishap) {
    ag_type type = b->p->type;
    const void *condition = lanes_at(b, w, g->at[0]);
    for (int64_t l = 0; l < n; l++) {
        if ((ag_load(type, condition, l) != 0) == (g->guard->expected != 0)) continue;
        double values[3];
        for (int k = 0; k < 3; k++) values[k] = ag_load(type, lanes_at(b, w, g->at[k]), l);
        mishap->status = AG_ERR_GUARD;
        snprintf(mishap->message, sizeof mishap->message, "row %lld: %s", (long long)(row + l),
                 ag_guard_sentence(g->guard, values).text);
        return false;
    }
    return true;
}

static bool check_guards(const ag_batch *b, const ag_worker *w, int64_t row, int64_t n, ag_mishap *mishap) {
    const ag_pguard *g = (const ag_pguard *)(const void *)b->r->guards.range.base;
    bool ok = true;
    for (uint64_t i = 0; i < b->r->guards.count && ok; i++) ok = check_guard(b, w, &g[i], row, n, mishap);
    return ok;
}

/* ---- blocks ---- */

static void run_code(const ag_batch *b, const ag_list *code, const ag_worker *w) {
    b->r->kernels->straight_lanes((const ag_straight *)(const void *)code->range.base, code->count, w->work);
}

/* Chains are computed as products first, and as chains only if some output is NaN then. */
static void run_block(const ag_batch *b, const ag_worker *w, bool full) {
    const ag_runner *r = b->r;
    void *outputs = w->work;
    if (!full || r->chains) for_sums(b, w, full ? copy_aside : put_aside);
    if (r->native_lanes) r->native_lanes(w->work, NULL);
    else run_code(b, &r->straight, w);
    if (r->chains && r->kernels->any_nan(1, &outputs, (size_t)r->p->outputs.count * AG_LANES)) {
        for_sums(b, w, full ? take_back : clear_sum);
        run_code(b, &r->exact, w);
    }
    if (!full) for_sums(b, w, add_rows);
}

/* ---- chunks ---- */

static int64_t end_of(const ag_batch *b, int64_t chunk) {
    return b->rows - chunk * CHUNK < CHUNK ? b->rows : (chunk + 1) * CHUNK;
}

static bool run_chunk(void *context, int worker, int64_t chunk, ag_mishap *mishap) {
    const ag_batch *b = context;
    const ag_runner *r = b->r;
    ag_worker *w = &r->workers[worker];
    int64_t first = chunk * CHUNK, end = end_of(b, chunk);
    for_sums(b, w, clear_sum);
    for (int64_t row = first; row < end; row += AG_LANES) {
        int64_t n = end - row < AG_LANES ? end - row : AG_LANES;
        load_rows(b, w, row, n);
        run_block(b, w, n == AG_LANES);
        if (!check_guards(b, w, row, n, mishap)) return false;
        store_rows(b, w, row, n, row - first);
    }
    ag_end_stream(b->streams);
    return true;
}

static void add_chunk(void *context, int worker, int64_t chunk) {
    const ag_batch *b = context;
    const ag_worker *w = &b->r->workers[worker];
    for_sums(b, w, add_sum);
    if (b->waits) add_waiting(b, w, chunk * CHUNK, end_of(b, chunk) - chunk * CHUNK);
}

/* ---- workers ---- */

static size_t sums_size(const ag_runner *lanes) {
    return lanes->p->outputs.count * AG_LANES * ag_type_size(lanes->p->type) + 64;
}

/* Memory of a worker: the work array with its constants, sums, and the rows that wait. The first has the runner's. */
static bool open_worker(ag_runner *lanes, ag_worker *w, size_t waiting) {
    ag_memory *m = &lanes->memory;
    bool first = w == lanes->workers;
    if (!w->block) {
        size_t work = first ? 0 : lanes->block_size;
        w->block = ag_memory_zeroed(m, work + sums_size(lanes));
        if (!w->block) return false;
        w->size = work + sums_size(lanes);
        w->work = first ? lanes->work : (char *)(((uintptr_t)w->block + 63) / 64 * 64);
        w->sums = (char *)w->block + work;
        if (!first) memcpy(w->work, lanes->work, lanes->block_size - 64);
    }
    if (w->waiting_size >= waiting) return true;
    char *more = ag_memory_resize(m, w->waiting, w->waiting_size, waiting);
    if (!more) return false;
    w->waiting = more;
    w->waiting_size = waiting;
    return true;
}

void ag_close_workers(ag_runner *r) {
    for (int i = 0; r->workers && i < MOST_WORKERS; i++) {
        ag_memory_free(&r->memory, r->workers[i].block, r->workers[i].size);
        ag_memory_free(&r->memory, r->workers[i].waiting, r->workers[i].waiting_size);
    }
    ag_memory_free(&r->memory, r->workers, MOST_WORKERS * sizeof *r->workers);
}

/* Opens as many workers as there is memory for; 0: none. */
static int open_workers(ag_runner *lanes, int n, size_t waiting) {
    if (!lanes->workers) lanes->workers = ag_memory_zeroed(&lanes->memory, MOST_WORKERS * sizeof *lanes->workers);
    if (!lanes->workers) return 0;
    for (int i = 0; i < n; i++)
        if (!open_worker(lanes, &lanes->workers[i], n > 1 ? waiting : 0)) return i;
    return n;
}

int ag_workers_for(int64_t chunks, int64_t work) {
    enum { WORTH_IT = 1 << 17 }; /* numbers computed: some ten microseconds */
    if (chunks < 2 || work < WORTH_IT) return 1;
    int n = ag_threads();
    if (n > MOST_WORKERS) n = MOST_WORKERS;
    return n < chunks ? n : (int)chunks;
}

static bool run_lanes(ag_runner *r, int64_t rows, const ag_column *xs, const ag_column *ys, ag_mishap *mishap) {
    ag_batch b = {r->lanes, r->p, xs, ys, rows, ag_rows_stream(r->p, rows, ys), false};
    int64_t chunks = (rows + CHUNK - 1) / CHUNK, waiting = 0, work;
    bool adds = false;
    for (uint64_t k = 0; k < r->p->outputs.count; k++) {
        adds |= ys[k].data && (ys[k].along == AG_SHARED || ys[k].index);
        waiting += ys[k].data && ys[k].along == AG_EACH && ys[k].index ? output_count(&b, k) : 0;
    }
    if (!ag_multiply_sizes(rows, (int64_t)b.r->straight.count + 1, &work)) work = INT64_MAX;
    int n = open_workers(r->lanes, ag_workers_for(chunks, work), (size_t)(waiting * CHUNK) * ag_type_size(r->p->type));
    if (n == 0) {
        mishap->status = AG_ERR_MEMORY;
        snprintf(mishap->message, sizeof mishap->message, "rows: out of memory");
        return false;
    }
    b.waits = n > 1 && waiting;
    for_sums(&b, NULL, clear_output);
    for (int i = 0; i < n && rows; i++) load_shared(&b, &r->lanes->workers[i]);
    return ag_crew_run(&(ag_crew_task){run_chunk, adds ? add_chunk : NULL, &b, chunks, n}, mishap);
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
    r->lanes = ag_runner_plan(scalars, true, AG_FAR);
    ag_program_free(scalars);
}

/* Whether lanes can do it; plans them on the first call. */
static bool open_lanes(ag_runner *r, const ag_column *ys) {
    if (!is_planned(r, ys)) plan_lanes(r, ys);
    if (!r->lanes) ag_fail(r->tape, AG_ERR_MEMORY, "rows: out of memory");
    return r->lanes && r->lanes->status == AG_OK && r->lanes->straight.count <= MOST_STRAIGHT;
}

static bool check_columns(ag_runner *r, int64_t rows, const ag_column *xs, const ag_column *ys) {
    if (rows < 0) ag_fail(r->tape, AG_ERR_VALUE, "rows: their number is %lld", (long long)rows);
    if ((r->p->inputs.count && !ag_given(r->tape, "rows", "the array of inputs", xs)) ||
        (r->p->outputs.count && !ag_given(r->tape, "rows", "the array of outputs", ys)))
        return false;
    for (uint64_t k = 0; k < r->p->inputs.count && rows > 0; k++)
        if (!xs[k].data && ag_row_input_count(r->p, k))
            ag_fail(r->tape, AG_ERR_VALUE, "rows: input %s has no data", ag_program_input(r->p, (int)k).name);
    return r->tape->status == AG_OK;
}

ag_status ag_run_rows(ag_runner *r, int64_t rows, const ag_column *xs, const ag_column *ys) {
    if (!r) return AG_ERR_VALUE;
    if (r->status != AG_OK) return r->status;
    ag_tape_recover(r->tape);
    if (!check_columns(r, rows, xs, ys)) return r->tape->status;
    bool lanes = rows != 1 && open_lanes(r, ys);
    if (r->tape->status != AG_OK) return r->tape->status;
    ag_mishap mishap;
    bool ok = lanes ? run_lanes(r, rows, xs, ys, &mishap) : ag_run_row_by_row(r, rows, xs, ys, &mishap);
    if (ok) return AG_OK;
    ag_tape_recover(r->tape);
    ag_fail(r->tape, mishap.status, "%s", mishap.message);
    return mishap.status;
}
