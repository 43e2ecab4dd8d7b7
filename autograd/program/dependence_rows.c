/* Which elements depend on which through a program over rows (a map) or steps (a scan): the program's own pattern is found
 * once and then passed on from row to row and from step to step, so that a scan's is the pattern of as many products of
 * its step as there are steps. */
#include "dependence_impl.h"
#include "scan_impl.h"

/* What runs the program: a scan, or a map, which is one without a state whose outputs may be sums over the rows. */
typedef struct ag_repeating {
    const ag_program *p;
    const uint8_t *in, *out;
    int64_t steps;
    int carries, nx, ny;
    bool backward;
} ag_repeating;

static bool find_call(const ag_following *f, const ag_code *c, ag_repeating *m) {
    const ag_pcall *call = ag_pcall_at(f->p, c->extra);
    const void *params = ag_pparams_at(f->p, call->params);
    if (call->operation == &ag_scan_operation) {
        const ag_scanning *s = params;
        *m = (ag_repeating){s->p, s->along, NULL, s->steps, s->carries, s->nx, s->ny, s->backward};
        return true;
    }
    *m = (ag_repeating){0};
    m->p = ag_mapped_program(call->operation, params, &m->steps, &m->in);
    if (!m->p) return false;
    m->nx = ag_program_inputs(m->p);
    m->ny = ag_program_outputs(m->p);
    m->out = m->in + m->nx;
    return true;
}

static bool is_each(const ag_repeating *m, int k) { return k >= m->carries && m->in[k] == AG_EACH; }
static int64_t in_count(const ag_repeating *m, int k) { return ag_rows_count(ag_program_input(m->p, k), 1, AG_SHARED); }
static int64_t out_count(const ag_repeating *m, int k) {
    return ag_rows_count(ag_program_output(m->p, k), 1, AG_SHARED);
}

/* ---- constants ---- */

/* A call's operands that are the same constant in every row, or in the first step: a state, too. */
typedef struct ag_binding {
    const ag_following *f;
    const ag_code *c;
    const ag_repeating *m;
    bool first;
} ag_binding;

static bool is_constant(const ag_binding *b, int k) {
    ag_ref r = *ag_ref_at(b->f->p, b->c->in + (uint32_t)k);
    double number;
    if ((k < b->m->carries && !b->first) || ag_code_at(b->f->p, r.value)->op != CODE_CONSTANT) return false;
    return !is_each(b->m, k) || ag_ref_number(b->f->p, r, &number);
}

static ag_var constant_of(ag_tape *t, const ag_binding *b, int k) {
    ag_ref r = *ag_ref_at(b->f->p, b->c->in + (uint32_t)k);
    ag_shape shape = ag_program_input(b->m->p, k).shape;
    int64_t count = in_count(b->m, k), index[AG_MAX_RANK] = {0};
    double number;
    if (is_each(b->m, k)) return ag_full(t, ag_ref_number(b->f->p, r, &number) ? number : 0, shape);
    double *data = ag_scratch(t, (size_t)count * sizeof *data + 1);
    if (!data) return ag_inert(t);
    ag_walker w = ag_walker_of(b->f, r, shape);
    for (int64_t i = 0; i < count; i++) {
        data[i] = w.constant[w.at];
        ag_walk_on(&w, 1, shape, index);
    }
    ag_var x = ag_constant_tensor(t, data, shape);
    ag_scratch_free(t, data);
    return x;
}

static void trace_bound(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_binding *b = context;
    ag_var *in = ag_scratch(t, (size_t)b->m->nx * sizeof *in + 1);
    if (!in) return;
    for (int k = 0; k < b->m->nx; k++) in[k] = is_constant(b, k) ? constant_of(t, b, k) : xs[k];
    ag_program_call(t, b->m->p, in, ys);
    ag_scratch_free(t, in);
}

/* The program with these constants inside, where their zeros count. NULL: there are none. */
static ag_program *bind(const ag_binding *b) {
    const ag_repeating *m = b->m;
    int constants = 0;
    for (int k = b->first ? 0 : m->carries; k < (b->first ? m->carries : m->nx); k++) constants += is_constant(b, k);
    if (!constants) return NULL;
    size_t size = (size_t)m->nx * sizeof(ag_port);
    ag_port *ports = ag_memory_resize(b->f->memory, NULL, 0, size);
    if (!ports) return ag_program_failed(m->p, AG_ERR_MEMORY, "sparsity: out of memory");
    for (int k = 0; k < m->nx; k++) ports[k] = ag_program_input(m->p, k);
    ag_program *q = ag_trace_like(m->p, trace_bound, (void *)(uintptr_t)b, ports, m->nx, NULL, m->ny);
    ag_memory_free(b->f->memory, ports, size);
    return q;
}

/* ---- steps ---- */

/* Sets of the operands that are followed, of the program's inputs in a step and the one before, and of its outputs. */
typedef struct ag_passing {
    ag_following *f;
    const ag_repeating *m;
    const uint8_t *followed; /* of each input */
    ag_entries e, first;     /* the program's; where a constant state's zeros count, that of the first step */
    const ag_entries *now;   /* one of these */
    uint32_t *operands, *x, *before, *y;
    size_t size;
} ag_passing;

static int64_t operand_count(const ag_passing *s, int k) {
    return s->followed[k] ? in_count(s->m, k) * (is_each(s->m, k) ? s->m->steps : 1) : 0;
}

static bool open_passing(ag_passing *s, const ag_code *c) {
    const ag_entries *e = &s->e;
    size_t total = 0, columns = (size_t)e->columns, rows = (size_t)e->rows;
    for (int k = 0; k < s->m->nx; k++) total += (size_t)operand_count(s, k);
    s->size = (total + 2 * columns + rows) * sizeof *s->x + 1;
    s->operands = ag_memory_zeroed(s->f->memory, s->size);
    if (!s->operands) return false;
    s->x = s->operands + total;
    s->before = s->x + columns;
    s->y = s->before + columns;
    uint32_t *to = s->operands;
    for (int k = 0; k < s->m->nx; k++) {
        ag_ref r = *ag_ref_at(s->f->p, c->in + (uint32_t)k);
        ag_shape shape = ag_where_shape(s->f->p, r.where);
        int64_t index[AG_MAX_RANK] = {0};
        ag_walker w = ag_walker_of(s->f, r, shape);
        for (int64_t i = 0, n = operand_count(s, k); i < n; i++, to++) {
            if (!w.set) continue;
            *to = w.set[w.at];
            ag_walk_on(&w, 1, shape, index);
        }
    }
    return true;
}

/* The program's inputs in a row; the state is what the step before gave. */
static void set_inputs(ag_passing *s, int64_t done, int64_t place) {
    const uint32_t *from = s->operands, *state = s->y;
    uint32_t *to = s->x;
    for (int k = 0; k < s->m->nx; k++) {
        if (!s->followed[k]) continue;
        int64_t count = in_count(s->m, k);
        bool carried = k < s->m->carries && done > 0;
        memcpy(to, carried ? state : from + (is_each(s->m, k) ? place * count : 0), (size_t)count * sizeof *to);
        if (carried) state += count;
        from += operand_count(s, k);
        to += count;
    }
}

/* Rows that are equal to the one before, as those of a dense matrix, are not united again. */
static void pass_on(ag_passing *s) {
    const ag_entries *e = s->now;
    const int32_t *last = NULL;
    int32_t last_n = -1;
    for (int32_t i = 0; i < e->rows; i++) {
        int32_t n = e->start[i + 1] - e->start[i];
        const int32_t *row = n ? e->index + e->start[i] : NULL;
        if (n && n == last_n && memcmp(row, last, (size_t)n * sizeof *row) == 0) {
            s->y[i] = s->y[i - 1];
            continue;
        }
        uint32_t set = 0;
        for (int32_t k = 0; k < n; k++) set = ag_sets_union(&s->f->sets, set, s->x[row[k]]);
        s->y[i] = set;
        last = row;
        last_n = n;
    }
}

/* To the results, which lie one after the other: the last state, rows, and sums over them. */
static void give(ag_passing *s, int64_t place, uint32_t *out) {
    const ag_repeating *m = s->m;
    const uint32_t *y = s->y;
    for (int k = 0; k < m->ny; k++) {
        int64_t count = out_count(m, k);
        bool rows = k >= m->carries && (!m->out || m->out[k] == AG_EACH), sum = k >= m->carries && !rows;
        uint32_t *to = out + (rows ? place * count : 0);
        for (int64_t i = 0; i < count; i++) to[i] = sum ? ag_sets_union(&s->f->sets, to[i], y[i]) : y[i];
        y += count;
        out += rows ? m->steps * count : count;
    }
}

static void run_steps(ag_passing *s, uint32_t *out) {
    const ag_repeating *m = s->m;
    size_t bytes = (size_t)s->e.columns * sizeof *s->x;
    for (int64_t done = 0; done < m->steps && !s->f->sets.failed; done++) {
        int64_t place = m->backward ? m->steps - 1 - done : done;
        uint32_t *x = s->before;
        s->before = s->x;
        s->x = x;
        set_inputs(s, done, place);
        s->now = done || !s->first.start ? &s->e : &s->first;
        if (done < 2 || memcmp(s->x, s->before, bytes) != 0) pass_on(s); /* else it gives what it gave */
        give(s, place, out);
    }
    const uint32_t *from = s->operands;
    for (int k = 0; k < m->carries && m->steps == 0; k++)
        for (int64_t i = 0; i < in_count(m, k); i++) *out++ = *from++;
}

/* The pattern of the program, with constants of the call in it; nothing if those of the first step are no others. */
static ag_status find_entries(ag_passing *s, const ag_code *c, bool first, ag_entries *e) {
    ag_binding b = {s->f, c, s->m, first};
    ag_program *bound = bind(&b);
    ag_status status = bound ? ag_program_status(bound) : AG_OK;
    const ag_program *p = bound && status == AG_OK ? bound : s->m->p;
    if (status != AG_ERR_MEMORY && (bound || !first))
        status = ag_program_dependences(p, 0, s->m->ny, s->followed, s->f->memory, e);
    ag_program_free(bound);
    return status;
}

static ag_status follow_steps(ag_following *f, const ag_code *c, const ag_repeating *m, uint32_t *out) {
    uint8_t *followed = ag_memory_zeroed(f->memory, (size_t)m->nx + 1);
    if (!followed) return AG_ERR_MEMORY;
    ag_passing s = {.f = f, .m = m, .followed = followed};
    for (int k = 0; k < m->nx; k++)
        followed[k] = k < m->carries || f->needed[ag_ref_at(f->p, c->in + (uint32_t)k)->value] & ACTIVE;
    ag_status status = find_entries(&s, c, false, &s.e);
    if (status == AG_OK) status = find_entries(&s, c, true, &s.first);
    if (status == AG_OK && !open_passing(&s, c)) status = AG_ERR_MEMORY;
    if (status == AG_OK) run_steps(&s, out);
    ag_memory_free(f->memory, s.operands, s.size);
    ag_entries_close(f->memory, &s.first);
    ag_entries_close(f->memory, &s.e);
    ag_memory_free(f->memory, followed, (size_t)m->nx + 1);
    return status;
}

bool ag_follow_rows(ag_following *f, const ag_code *c, uint32_t *out, ag_status *status) {
    ag_repeating m;
    if (!find_call(f, c, &m)) return false;
    *status = follow_steps(f, c, &m, out);
    return true;
}
