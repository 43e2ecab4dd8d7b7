/* Sparse Jacobians and Hessians: a pattern and its colours, and the program that computes the nonzeros from derivatives
 * along directions, one for each colour. */
#include "sparse_impl.h"

#include <stdarg.h>

/* A pattern as it was made. */
typedef struct ag_pattern {
    ag_sparsity shown; /* first */
    ag_memory memory;
    ag_entries entries;
    int32_t *row;
    ag_colouring colours;
    bool symmetric;
    char message[640];
} ag_pattern;

static ag_sparsity no_pattern = {.status = AG_ERR_MEMORY, .message = "sparsity: out of memory when it was made"};

static ag_pattern *new_pattern(const ag_program *p) {
    ag_memory memory = {.no_reserve = true};
    if (p) memory = (ag_memory){p->memory.permit, p->memory.context, true, 0};
    ag_pattern *s = ag_memory_zeroed(&memory, sizeof *s);
    if (!s) return NULL;
    s->memory = memory;
    s->shown.message = s->message;
    return s;
}

static void fail(ag_pattern *s, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);
static void fail(ag_pattern *s, ag_status status, const char *format, ...) {
    if (s->shown.status != AG_OK || status == AG_OK) return;
    s->shown = (ag_sparsity){.status = status, .message = s->message};
    va_list args;
    va_start(args, format);
    vsnprintf(s->message, sizeof s->message, format, args);
    va_end(args);
}

static void no_memory(ag_pattern *s) {
    fail(s, AG_ERR_MEMORY, "sparsity: out of memory: it holds %zu bytes", s->memory.held);
}

void ag_sparsity_free(ag_sparsity *shown) {
    if (!shown || shown == &no_pattern) return;
    ag_pattern *s = (ag_pattern *)(void *)shown;
    size_t rows = (size_t)s->entries.rows, columns = (size_t)s->entries.columns;
    ag_memory_free(&s->memory, s->row, (size_t)s->entries.count * sizeof *s->row + 1);
    ag_memory_free(&s->memory, s->colours.row, rows * sizeof *s->colours.row + 1);
    ag_memory_free(&s->memory, s->colours.column, columns * sizeof *s->colours.column + 1);
    ag_entries_close(&s->memory, &s->entries);
    ag_memory memory = s->memory;
    ag_memory_free(&memory, s, sizeof *s);
}

/* ---- patterns ---- */

/* Entry (i, j) where there is (i, j) or (j, i). The rules of some operation may depend on what cancels; a Hessian is
 * symmetric all the same. */
static bool make_symmetric(ag_memory *memory, ag_entries *e) {
    ag_entries t = {0}, both = {0};
    bool ok = ag_entries_transpose(memory, e, &t);
    bool same = ok && memcmp(e->start, t.start, ((size_t)e->rows + 1) * sizeof *e->start) == 0 &&
                (!e->count || memcmp(e->index, t.index, (size_t)e->count * sizeof *e->index) == 0);
    for (int fill = 0; ok && !same && fill < 2; fill++) {
        int64_t n = 0;
        for (int32_t i = 0; i < e->rows; i++) {
            int32_t a = e->start[i], b = t.start[i];
            while (a < e->start[i + 1] || b < t.start[i + 1]) {
                bool has_b = b < t.start[i + 1];
                int32_t j = a < e->start[i + 1] && (!has_b || e->index[a] < t.index[b]) ? e->index[a] : t.index[b];
                a += a < e->start[i + 1] && e->index[a] == j;
                b += has_b && t.index[b] == j;
                if (fill) both.index[n] = j;
                n++;
            }
            if (fill) both.start[i + 1] = (int32_t)n;
        }
        if (!fill) ok = n < INT32_MAX && ag_entries_open(memory, &both, e->rows, e->columns, (uint64_t)n);
    }
    if (ok && !same) {
        ag_entries old = *e;
        *e = both;
        both = old;
    }
    ag_entries_close(memory, &t);
    ag_entries_close(memory, &both);
    return ok;
}

static void colour(ag_pattern *s) {
    ag_entries *e = &s->entries;
    size_t rows = (size_t)e->rows, columns = (size_t)e->columns;
    ag_colouring *c = &s->colours;
    s->row = ag_memory_resize(&s->memory, NULL, 0, (size_t)e->count * sizeof *s->row + 1);
    c->row = ag_memory_resize(&s->memory, NULL, 0, rows * sizeof *c->row + 1);
    c->column = ag_memory_resize(&s->memory, NULL, 0, columns * sizeof *c->column + 1);
    if (!s->row || !c->row || !c->column) {
        no_memory(s);
        return;
    }
    for (int32_t i = 0; i < e->rows; i++) {
        for (int32_t k = e->start[i]; k < e->start[i + 1]; k++) s->row[k] = i;
        c->row[i] = -1;
    }
    for (int32_t j = 0; j < e->columns; j++) c->column[j] = -1;
    if (!(s->symmetric ? ag_colour_hessian(&s->memory, e, c->column, &c->columns)
                       : ag_colour_jacobian(&s->memory, e, c)))
        no_memory(s);
}

/* The pattern of an output by an input, with colours. NULL if there is no memory for it. */
static ag_pattern *find_pattern(const ag_program *p, int output, int input, bool symmetric) {
    ag_pattern *s = new_pattern(p);
    if (!s) return NULL;
    s->symmetric = symmetric;
    fail(s, ag_program_status(p), "%s", ag_program_message(p));
    if (output < 0 || output >= ag_program_outputs(p))
        fail(s, AG_ERR_VALUE, "sparsity: there is no output %d: there are %d", output, ag_program_outputs(p));
    if (input < 0 || input >= ag_program_inputs(p))
        fail(s, AG_ERR_VALUE, "sparsity: there is no input %d: there are %d", input, ag_program_inputs(p));
    if (s->shown.status != AG_OK) return s;
    ag_status status = ag_program_dependence(p, output, input, &s->memory, &s->entries);
    if (status == AG_ERR_SLOTS) fail(s, status, "sparsity: more than %d nonzeros", INT32_MAX);
    else if (status != AG_OK || (symmetric && !make_symmetric(&s->memory, &s->entries))) no_memory(s);
    else colour(s);
    if (s->shown.status != AG_OK) return s;
    const ag_entries *e = &s->entries;
    s->shown.rows = e->rows;
    s->shown.columns = e->columns;
    s->shown.nonzeros = e->count;
    s->shown.row = s->row;
    s->shown.column = e->index;
    s->shown.start = e->start;
    s->shown.column_colours = s->colours.columns;
    s->shown.row_colours = s->colours.rows;
    s->shown.column_colour = s->colours.column;
    s->shown.row_colour = s->colours.row;
    return s;
}

/* ---- the program ---- */

/* What is traced: output `output` of q by one input, from derivatives along the directions of the colours. */
typedef struct ag_compressing {
    const ag_program *q, *tangents, *adjoints; /* NULL: recorded for each direction; else mapped over the directions */
    int output, input, ny;                     /* outputs 0..ny-1 of q are outputs of the result, too */
    const ag_pattern *s;
} ag_compressing;

/* Row c of n numbers: 1 where an element's colour is c. One row, in the given shape, or all colours'. */
static ag_var seed(ag_tape *t, ag_shape shape, const int32_t *colour, int64_t n, int32_t first, int32_t count) {
    double *data = ag_scratch(t, (size_t)n * (size_t)count * sizeof *data + 1);
    if (!data) return ag_inert(t);
    for (int32_t c = 0; c < count; c++)
        for (int64_t i = 0; i < n; i++) data[c * n + i] = colour[i] == first + c;
    ag_var x = ag_constant_tensor(t, data, shape);
    ag_scratch_free(t, data);
    return x;
}

/* A derivative of q for each colour by a map; flat. `d` is a program of q's inputs and a seed. */
static ag_var map_seeds(ag_tape *t, const ag_program *d, const ag_var *xs, const int32_t *colour, int64_t n,
                        int count) {
    if (ag_program_status(d) != AG_OK) {
        ag_fail(t, ag_program_status(d), "sparse derivative: %s", ag_program_message(d));
        return ag_inert(t);
    }
    int nx = ag_program_inputs(d) - 1;
    ag_shape one = ag_program_input(d, nx).shape, all = {.rank = one.rank + 1, .dim = {count}};
    memcpy(all.dim + 1, one.dim, (size_t)one.rank * sizeof *one.dim);
    ag_var *in = ag_scratch(t, ((size_t)nx + 1) * (sizeof *in + sizeof(ag_along))), r = ag_inert(t);
    if (!in) return r;
    ag_along *along = (ag_along *)(void *)(in + nx + 1);
    for (int k = 0; k <= nx; k++) along[k] = k < nx ? AG_SHARED : AG_EACH;
    for (int k = 0; k < nx; k++) in[k] = xs[k];
    in[nx] = seed(t, all, colour, n, 0, count);
    ag_map(t, d, count, in, along, NULL, &r);
    ag_scratch_free(t, in);
    return ag_reshape(r, AG_SHAPE(-1));
}

/* Derivatives along all directions, flat and one after the other: those of columns, then those of rows. */
static int derive(ag_tape *t, const ag_compressing *m, const ag_var *xs, ag_var y, ag_var *parts) {
    const ag_colouring *c = &m->s->colours;
    ag_var x = xs[m->input], w, r;
    int n = 0;
    int64_t rows = m->s->entries.rows, columns = m->s->entries.columns;
    if (m->tangents && c->columns) parts[n++] = map_seeds(t, m->tangents, xs, c->column, columns, c->columns);
    for (int k = 0; !m->tangents && k < c->columns && t->status == AG_OK; k++) {
        w = seed(t, ag_shape_of(x), c->column, columns, k, 1);
        ag_jvp(&y, 1, &x, &w, 1, &r);
        parts[n++] = ag_reshape(r, AG_SHAPE(rows));
    }
    if (m->adjoints && c->rows) parts[n++] = map_seeds(t, m->adjoints, xs, c->row, rows, c->rows);
    for (int k = 0; !m->adjoints && k < c->rows && t->status == AG_OK; k++) {
        w = seed(t, ag_shape_of(y), c->row, rows, k, 1);
        ag_vjp(&y, &w, 1, &x, 1, &r);
        parts[n++] = ag_reshape(r, AG_SHAPE(columns));
    }
    return n;
}

/* Entry (i, j) of a symmetric matrix is in row i of the product with j's colour, if no other entry of row i is; otherwise
 * in row j with i's colour. `seen` counts the colours of a row, and is left at 0. */
static void places_of_row(const ag_pattern *s, int32_t i, int32_t *seen, int64_t *place) {
    const ag_entries *e = &s->entries;
    const int32_t *colour = s->colours.column;
    for (int32_t k = e->start[i]; k < e->start[i + 1]; k++) seen[colour[e->index[k]]]++;
    for (int32_t k = e->start[i]; k < e->start[i + 1]; k++) {
        int32_t j = e->index[k];
        bool alone = seen[colour[j]] == 1;
        place[k] = (int64_t)(alone ? colour[j] : colour[i]) * e->rows + (alone ? i : j);
    }
    for (int32_t k = e->start[i]; k < e->start[i + 1]; k++) seen[colour[e->index[k]]]--;
}

/* Where each nonzero is in what `derive` gives. NULL after an error. */
static int64_t *places(ag_tape *t, const ag_pattern *s) {
    const ag_entries *e = &s->entries;
    const ag_colouring *c = &s->colours;
    int64_t *place = ag_scratch(t, (size_t)e->count * sizeof *place + 1), columns = (int64_t)c->columns * e->rows;
    int32_t *seen = ag_scratch(t, ((size_t)c->columns + 1) * sizeof *seen);
    if (place && seen) {
        memset(seen, 0, ((size_t)c->columns + 1) * sizeof *seen);
        for (int32_t i = 0; i < e->rows && s->symmetric; i++) places_of_row(s, i, seen, place);
        for (int32_t k = 0; k < e->count && !s->symmetric; k++) {
            int32_t i = s->row[k], j = e->index[k];
            bool by_row = c->rows_first ? c->row[i] >= 0 : c->column[j] < 0;
            place[k] = by_row ? columns + (int64_t)c->row[i] * e->columns + j : (int64_t)c->column[j] * e->rows + i;
        }
    } else {
        ag_scratch_free(t, place);
        place = NULL;
    }
    ag_scratch_free(t, seen);
    return place;
}

static void trace_sparse(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_compressing *m = context;
    const ag_pattern *s = m->s;
    int all = ag_program_outputs(m->q);
    size_t n = (size_t)all + (size_t)s->colours.columns + (size_t)s->colours.rows;
    ag_var *y = ag_scratch(t, n * sizeof *y + 1), *parts = y + all;
    if (!y) return;
    ag_program_call(t, m->q, xs, y);
    for (int k = 0; k < m->ny; k++) ys[k] = y[k];
    if (s->entries.count) {
        int count = derive(t, m, xs, y[m->output], parts);
        int64_t *place = t->status == AG_OK ? places(t, s) : NULL;
        if (place) ys[m->ny] = ag_gather(ag_concat(parts, count, 0), 0, place, s->entries.count);
        ag_scratch_free(t, place);
    } else {
        ys[m->ny] = ag_zeros(t, AG_SHAPE(0));
    }
    ag_scratch_free(t, y);
}

static ag_program *failed(const ag_program *p, ag_status status, const char *message) {
    return ag_program_failed(p, status, "%s", message);
}

/* p's inputs; its outputs and the nonzeros. */
static ag_program *trace(const ag_program *p, const char *prefix, ag_compressing *m) {
    ag_memory memory = {p->memory.permit, p->memory.context, true, 0};
    int nx = ag_program_inputs(p);
    m->ny = ag_program_outputs(p);
    const char *input = ag_program_input(p, m->input).name;
    size_t n = (size_t)nx + (size_t)m->ny + 1, size = n * sizeof(ag_port) + strlen(prefix) + strlen(input) + 1;
    ag_port *ports = ag_memory_resize(&memory, NULL, 0, size);
    if (!ports) return failed(p, AG_ERR_MEMORY, "sparse derivative: out of memory");
    char *name = (char *)(ports + n);
    strcat(strcpy(name, prefix), input);
    for (int k = 0; k < nx; k++) ports[k] = ag_program_input(p, k);
    for (int k = 0; k < m->ny; k++) ports[nx + k] = ag_program_output(p, k);
    ports[nx + m->ny] = (ag_port){.name = name};
    ag_program *r = ag_trace_like(p, trace_sparse, m, ports, nx, ports + nx, m->ny + 1);
    ag_memory_free(&memory, ports, size);
    return r;
}

/* The derivatives of one output as programs that can be mapped over seeds. */
static void derive_programs(ag_compressing *m, ag_program *made[3]) {
    const int derivative = 1;
    made[0] = ag_program_select(m->q, &m->output, 1);
    if (m->s->colours.columns) {
        ag_program *all = ag_program_jvp(made[0], &m->input, 1);
        m->tangents = made[1] = ag_program_select(all, &derivative, 1);
        ag_program_free(all);
    }
    if (m->s->colours.rows) {
        ag_program *all = ag_program_vjp(made[0], &m->input, 1);
        m->adjoints = made[2] = ag_program_select(all, &derivative, 1);
        ag_program_free(all);
    }
}

/* Whether the program for each direction is small enough to be written down once for each. */
static bool is_written_out(const ag_compressing *m) {
    enum { FEW = 16, MOST_INSTRUCTIONS = 1 << 18 };
    int64_t n = (int64_t)m->s->colours.columns + m->s->colours.rows;
    int rank = ag_program_input(m->q, m->input).shape.rank, out = ag_program_output(m->q, m->output).shape.rank;
    return n <= FEW || n * ag_program_size(m->q) <= MOST_INSTRUCTIONS || rank == AG_MAX_RANK || out == AG_MAX_RANK;
}

/* The nonzeros of output `output` of q, which has p's outputs first. */
static ag_program *sparse(const ag_program *p, const ag_program *q, int output, int input, bool symmetric,
                          ag_sparsity **pattern) {
    ag_pattern *s = find_pattern(q, output, input, symmetric);
    ag_sparsity *shown = s ? &s->shown : &no_pattern;
    ag_program *made[3] = {NULL}, *r;
    if (shown->status == AG_OK) {
        ag_compressing m = {.q = q, .output = output, .input = input, .s = s};
        if (!is_written_out(&m)) derive_programs(&m, made);
        r = trace(p, symmetric ? "h_" : "d_", &m);
    } else {
        r = failed(p, shown->status, shown->message);
    }
    for (int i = 0; i < 3; i++) ag_program_free(made[i]);
    if (pattern) *pattern = shown;
    else ag_sparsity_free(shown);
    return r;
}

/* ---- public ---- */

ag_sparsity *ag_program_jacobian_sparsity(const ag_program *p, int output, int input) {
    ag_pattern *s = find_pattern(p, output, input, false);
    return s ? &s->shown : &no_pattern;
}

ag_program *ag_program_sparse_jacobian(const ag_program *p, int output, int input, ag_sparsity **pattern) {
    return sparse(p, p, output, input, false, pattern);
}

ag_sparsity *ag_program_hessian_sparsity(const ag_program *p, int input) {
    ag_program *g = ag_program_gradient(p, &input, 1);
    ag_pattern *s = find_pattern(g, ag_program_outputs(p), input, true);
    ag_program_free(g);
    return s ? &s->shown : &no_pattern;
}

ag_program *ag_program_sparse_hessian(const ag_program *p, int input, ag_sparsity **pattern) {
    ag_program *g = ag_program_gradient(p, &input, 1);
    ag_program *r = sparse(p, g, ag_program_outputs(p), input, true, pattern);
    ag_program_free(g);
    return r;
}
