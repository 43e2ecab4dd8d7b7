/* Elementwise operations on tensors: broadcasting, and kernels over blocks that stay in cache.
 *
 * Kernels see contiguous runs only. An operand that is contiguous and of the result's shape is passed as it is; one of a
 * single element is spread over a block once; any other is gathered block by block. Adjoints go the same way back. */
#include "cursor_impl.h"

enum { BLOCK = 512 };            /* elements; four blocks of f64 are half of a small first-level cache */
enum { LEAST_SHARED = 1 << 17 }; /* elements that are worth a second thread */

typedef union ag_block {
    double f64[BLOCK];
    float f32[BLOCK];
} ag_block;

/* Strides of v broadcast to shape: false if it does not fit. */
static bool broadcast_strides(const ag_view *v, const ag_view *to, int64_t *stride) {
    int lead = to->rank - v->rank;
    for (int i = 0; i < to->rank; i++) {
        int64_t d = i < lead ? 1 : v->dim[i - lead];
        if (d != to->dim[i] && d != 1) return false;
        stride[i] = i < lead || d == 1 ? 0 : v->stride[i - lead];
    }
    return lead >= 0;
}

void ag_cursor_open(ag_cursor *c, const ag_view *v, const ag_view *to) {
    c->access = STRIDED;
    if (v->count == 1) c->access = SINGLE;
    else if (v == to || (v->contiguous && ag_same_shape(v, to))) c->access = DIRECT;
    if (c->access != STRIDED) return;
    int64_t stride[AG_MAX_RANK];
    (void)broadcast_strides(v, to, stride);
    c->rank = 0;
    c->offset = 0;
    for (int i = 0; i < to->rank; i++) {
        if (to->dim[i] == 1) continue;
        int last = c->rank - 1;
        if (last >= 0 && c->stride[last] == stride[i] * to->dim[i]) {
            c->dim[last] *= to->dim[i];
            c->stride[last] = stride[i];
        } else {
            c->dim[c->rank] = to->dim[i];
            c->stride[c->rank] = stride[i];
            c->index[c->rank++] = 0;
        }
    }
    if (v->count > 0 && c->rank == 1 && c->stride[0] == 0) c->access = SINGLE; /* spread by a view */
}

/* From the end of an axis to the next element of those around it. */
static void go_around(ag_cursor *c, int axis) {
    for (int i = axis; i > 0 && c->index[i] == c->dim[i]; i--) {
        c->offset += c->stride[i - 1] - c->dim[i] * c->stride[i];
        c->index[i] = 0;
        c->index[i - 1]++;
    }
}

/* The next run along the innermost axis, of at most n elements; the cursor moves behind it. */
static int64_t next_run(ag_cursor *c, int64_t n, int64_t *offset) {
    int last = c->rank - 1;
    int64_t run = c->dim[last] - c->index[last];
    if (run > n) run = n;
    *offset = c->offset;
    c->offset += run * c->stride[last];
    c->index[last] += run;
    go_around(c, last);
    return run;
}

void ag_cursor_seek(ag_cursor *c, int64_t at) {
    c->offset = 0;
    for (int i = c->rank - 1; i >= 0; i--) {
        c->index[i] = i > 0 ? at % c->dim[i] : at;
        at /= c->dim[i];
        c->offset += c->index[i] * c->stride[i];
    }
}

bool ag_cursor_side_by_side(ag_cursor *c, int64_t n, int64_t *offset) {
    int last = c->rank - 1;
    if (c->stride[last] != 1 || c->dim[last] - c->index[last] < n) return false;
    next_run(c, n, offset);
    return true;
}

static void fill(ag_type type, void *to, int64_t n, const void *value) {
    if (type == AG_F64)
        for (int64_t i = 0; i < n; i++) ((double *)to)[i] = *(const double *)value;
    else
        for (int64_t i = 0; i < n; i++) ((float *)to)[i] = *(const float *)value;
}

/* The next whole rows along the innermost axis, of one of the axis around it, as long as they are short: of at most n
 * elements. How many; the cursor moves behind them. */
static int64_t next_rows(ag_cursor *c, int64_t n, int64_t *offset) {
    enum { SHORT = 32 };
    int last = c->rank - 1;
    if (last == 0 || c->dim[last] > SHORT || c->index[last] != 0) return 0;
    int64_t rows = c->dim[last - 1] - c->index[last - 1];
    if (rows > n / c->dim[last]) rows = n / c->dim[last];
    if (rows == 0) return 0;
    *offset = c->offset;
    c->offset += rows * c->stride[last - 1];
    c->index[last - 1] += rows;
    go_around(c, last - 1);
    return rows;
}

/* Rows of `length`, each `row` behind the one before, whose elements are each `step` apart. */
#define GATHER_ROWS(T)                                                                                                 \
    static void gather_rows_##T(const T *x, int64_t rows, int64_t row, int64_t length, int64_t step, T *y) {           \
        for (int64_t r = 0; r < rows; r++, x += row, y += length)                                                      \
            for (int64_t k = 0; k < length; k++) y[k] = x[k * step];                                                   \
    }
GATHER_ROWS(double)
GATHER_ROWS(float)
#undef GATHER_ROWS

void ag_cursor_gather(ag_type type, ag_cursor *c, const void *from, int64_t n, void *to) {
    int64_t s = c->stride[c->rank - 1], length = c->dim[c->rank - 1];
    for (int64_t i = 0, run, offset; i < n; i += run) {
        int64_t rows = next_rows(c, n - i, &offset), row = rows ? c->stride[c->rank - 2] : 0;
        run = rows ? rows * length : next_run(c, n - i, &offset);
        if (type == AG_F64) {
            const double *x = (const double *)from + offset;
            double *y = (double *)to + i;
            if (rows) gather_rows_double(x, rows, row, length, s, y);
            else if (s == 1) memcpy(y, x, (size_t)run * sizeof *y);
            else if (s == 0) fill(type, y, run, x);
            else gather_rows_double(x, 1, 0, run, s, y);
        } else {
            const float *x = (const float *)from + offset;
            float *y = (float *)to + i;
            if (rows) gather_rows_float(x, rows, row, length, s, y);
            else if (s == 1) memcpy(y, x, (size_t)run * sizeof *y);
            else if (s == 0) fill(type, y, run, x);
            else gather_rows_float(x, 1, 0, run, s, y);
        }
    }
}

static void scatter_add(const ag_tape *t, ag_cursor *c, const void *from, int64_t n, void *to) {
    for (int64_t i = 0, run, offset; i < n; i += run) {
        int64_t s = c->stride[c->rank - 1];
        run = next_run(c, n - i, &offset);
        void *y = ag_element(t->type, to, offset);
        const char *x = (const char *)from + (size_t)i * ag_type_size(t->type);
        if (s == 1) {
            t->kernels->add_to((size_t)run, y, x);
        } else if (s == 0) {
            ag_store(t->type, y, 0, ag_load(t->type, y, 0) + t->kernels->sum((size_t)run, x));
        } else if (t->type == AG_F64) {
            for (int64_t k = 0; k < run; k++) ((double *)y)[k * s] += ((const double *)(const void *)x)[k];
        } else {
            for (int64_t k = 0; k < run; k++) ((float *)y)[k * s] += ((const float *)(const void *)x)[k];
        }
    }
}

/* Operands of one instruction, block by block. */
typedef struct ag_blocks {
    int n;
    ag_cursor cursor[3];
    const char *data[3]; /* of each operand's first element */
    const void *now[3];  /* its current block */
    ag_block space[3];
} ag_blocks;

static void open_blocks(ag_type type, ag_blocks *b, const ag_array *in, int n, const ag_view *to) {
    b->n = n;
    for (int k = 0; k < 3; k++) b->now[k] = NULL;
    for (int k = 0; k < n; k++) {
        ag_cursor_open(&b->cursor[k], in[k].view, to);
        b->data[k] = in[k].data;
        if (b->cursor[k].access == SINGLE) fill(type, &b->space[k], to->count < BLOCK ? to->count : BLOCK, b->data[k]);
        b->now[k] = &b->space[k];
    }
}

static void next_blocks(ag_type type, ag_blocks *b, int64_t at, int64_t n) {
    for (int k = 0; k < b->n; k++) {
        if (b->cursor[k].access == DIRECT) b->now[k] = b->data[k] + (size_t)at * ag_type_size(type);
        else if (b->cursor[k].access == STRIDED) ag_cursor_gather(type, &b->cursor[k], b->data[k], n, &b->space[k]);
    }
}

/* Whether all operands have the one contiguous view of the result (or its constant twin): no blocks are needed. */
static bool all_alike(const ag_array *in, int n, const ag_view *v) {
    for (int k = 0; k < n; k++)
        if (in[k].view != v && !(in[k].view->contiguous && ag_same_shape(in[k].view, v))) return false;
    return true;
}

/* A large tensor and operands like it, which threads share: whole blocks for each. */
typedef struct ag_shares {
    ag_type type;
    int64_t count, each; /* elements, and of one thread */
    const void *in[3];   /* NULL: there is none */
    ag_value_kernel *kernel;
    void *result;
    ag_partial_kernel *partial[3]; /* of adjoints; NULL where nobody asks */
    void *adjoint[3];
    bool fresh[3];
    const void *w, *value;
} ag_shares;

/* How many threads share so many elements, and how many of them are of each. */
static int threads_for(int64_t count) { return count < LEAST_SHARED ? 1 : ag_threads(); }
static int64_t share_of(int64_t count, int threads) {
    return ((count + threads - 1) / threads + BLOCK - 1) / BLOCK * BLOCK;
}

static const void *from(const ag_shares *s, const void *data, int64_t at) {
    return data ? (const char *)data + (size_t)at * ag_type_size(s->type) : NULL;
}

static void share_value(void *context, int thread) {
    const ag_shares *s = context;
    int64_t at = thread * s->each, n = s->count - at < s->each ? s->count - at : s->each;
    if (n > 0)
        s->kernel((size_t)n, ag_element(s->type, s->result, at), from(s, s->in[0], at), from(s, s->in[1], at),
                  from(s, s->in[2], at));
}

/* All operands are like the result. */
static void value_alike(ag_value_kernel *kernel, ag_type type, const ag_array *in, int n, ag_array out) {
    const void *x[3] = {NULL, NULL, NULL};
    int64_t count = out.view->count;
    int threads = threads_for(count);
    for (int k = 0; k < n; k++) x[k] = in[k].data;
    if (threads == 1) {
        kernel((size_t)count, out.data, x[0], x[1], x[2]);
        return;
    }
    ag_shares s = {type, count, share_of(count, threads), {x[0], x[1], x[2]}, kernel, .result = out.data};
    ag_parallel(threads, share_value, &s);
}

void ag_elementwise_value(const ag_kernels *kernels, ag_type type, ag_opcode op, const ag_array *in, int n,
                          ag_array out) {
    ag_value_kernel *kernel = kernels->value[op];
    const ag_view *v = out.view;
    if (all_alike(in, n, v)) {
        value_alike(kernel, type, in, n, out);
        return;
    }
    ag_blocks b;
    open_blocks(type, &b, in, n, v);
    for (int64_t i = 0; i < v->count; i += BLOCK) {
        int64_t m = v->count - i < BLOCK ? v->count - i : BLOCK;
        next_blocks(type, &b, i, m);
        kernel((size_t)m, ag_element(type, out.data, i), b.now[0], b.now[1], b.now[2]);
    }
}

static void values_of(const ag_tape *t, const ag_operand *in, int n, ag_array *out) {
    for (int k = 0; k < n; k++) out[k] = (ag_array){ag_value_at(t, in[k].slot), ag_view_at(t, in[k].view)};
}

/* ---- recording ---- */

/* The shape that operands broadcast to, as a view; VIEW_INERT after an error. */
static uint32_t broadcast_view(ag_tape *t, ag_opcode op, const ag_operand *in, int n, bool constant) {
    ag_shape s = {0};
    bool fits = true;
    for (int k = 0; k < n; k++) {
        const ag_view *v = ag_view_at(t, in[k].view);
        if (v->rank > s.rank) {
            for (int i = s.rank - 1; i >= 0; i--) s.dim[i + v->rank - s.rank] = s.dim[i];
            for (int i = 0; i < v->rank - s.rank; i++) s.dim[i] = 1;
            s.rank = v->rank;
        }
        int64_t *dim = s.dim + s.rank - v->rank;
        for (int i = 0; i < v->rank; i++) {
            if (dim[i] == 1) dim[i] = v->dim[i];
            else fits &= v->dim[i] == 1 || v->dim[i] == dim[i];
        }
    }
    int64_t count;
    if (fits && ag_shape_count(s, &count)) return ag_intern_shape(t, s, constant);
    char shapes[400] = "";
    for (int k = 0; k < n; k++) {
        strncat(shapes, k == 0 ? "" : k + 1 < n ? ", " : " and ", sizeof shapes - strlen(shapes) - 1);
        strncat(shapes, ag_show_view(ag_view_at(t, in[k].view)).text, sizeof shapes - strlen(shapes) - 1);
    }
    ag_fail(t, AG_ERR_SHAPE, "%s: shapes %s do not broadcast together", ag_op_table[op].name, shapes);
    return VIEW_INERT;
}

/* Whether v broadcasts to a shape without changing it. */
static bool fits_in(const ag_view *v, const ag_view *to) {
    int lead = to->rank - v->rank;
    if (lead < 0) return false;
    for (int i = 0; i < v->rank; i++)
        if (v->dim[i] != to->dim[i + lead] && v->dim[i] != 1) return false;
    return true;
}

/* The view of an operand that all others broadcast to and that the result may have; VIEW_INERT if there is none. */
static uint32_t view_of_largest(const ag_tape *t, const ag_operand *in, int n, bool constant) {
    for (int k = 0; k < n; k++) {
        const ag_view *v = ag_view_at(t, in[k].view);
        bool fits = v->contiguous && v->constant == constant && v->rank > 0;
        for (int j = 0; j < n && fits; j++) fits = j == k || fits_in(ag_view_at(t, in[j].view), v);
        if (fits) return in[k].view;
    }
    return VIEW_INERT;
}

/* The view of the result; the usual cases, operands of one contiguous shape and what broadcasts to it, without a search. */
static uint32_t result_view(ag_tape *t, ag_opcode op, const ag_operand *in, int n) {
    bool constant = true, same = true;
    const ag_operand *tensor = NULL;
    for (int k = 0; k < n; k++) {
        constant &= ag_view_at(t, in[k].view)->constant;
        if (in[k].view <= VIEW_CONSTANT) continue;
        if (!tensor) tensor = &in[k];
        same &= in[k].view == tensor->view;
    }
    constant |= ag_is_pausing(t);
    const ag_view *v = ag_view_at(t, tensor->view);
    if (same && v->contiguous && v->constant == constant) return tensor->view;
    uint32_t largest = view_of_largest(t, in, n, constant);
    return largest != VIEW_INERT ? largest : broadcast_view(t, op, in, n, constant);
}

ag_var ag_elementwise(ag_tape *t, ag_opcode op, const ag_operand *in, int n) {
    const char *what = ag_op_table[op].name;
    uint32_t view = result_view(t, op, in, n), node = NOTHING;
    if (view == VIEW_INERT) return ag_inert(t);
    const ag_view *v = ag_view_at(t, view);
    ag_pending p;
    if (!ag_reserve_tensor(t, what, view, &p)) return ag_inert(t);
    if (!v->constant) {
        if (!ag_reserve_node(t, what, (uint32_t)n, 0, 0, &node)) return ag_inert(t);
        ag_node *r = ag_node_at(t, node);
        r->code = op;
        r->slot = p.slot;
        r->view = view;
        memcpy(r->in, in, (size_t)n * sizeof *in);
    }
    ag_array x[3];
    values_of(t, in, n, x);
    if (v->constant || !t->abstract)
        ag_elementwise_value(t->kernels, t->type, op, x, n, (ag_array){ag_value_at(t, p.slot), v});
    return ag_commit_tensor(t, p, node, view);
}

/* ---- adjoints ---- */

/* Where one operand's adjoint goes. */
typedef struct ag_target {
    void *adjoint;
    bool fresh;       /* DIRECT only: to be stored, not added to */
    ag_cursor cursor; /* its own position: values are gathered at another */
    double sum;       /* SINGLE: over all blocks, added at the end */
} ag_target;

static void add_block(ag_tape *t, ag_target *to, ag_partial_kernel *kernel, const ag_blocks *b, const void *w,
                      const void *r, int64_t at, int64_t n) {
    size_t size = ag_type_size(t->type);
    if (to->cursor.access == DIRECT) {
        char *acc = (char *)to->adjoint + (size_t)at * size;
        if (to->fresh) memset(acc, 0, (size_t)n * size);
        kernel((size_t)n, acc, w, b->now[0], b->now[1], b->now[2], r);
        return;
    }
    ag_block part;
    memset(&part, 0, (size_t)n * size);
    kernel((size_t)n, &part, w, b->now[0], b->now[1], b->now[2], r);
    if (to->cursor.access == SINGLE) to->sum += t->kernels->sum((size_t)n, &part);
    else scatter_add(t, &to->cursor, &part, n, to->adjoint);
}

static void open_targets(ag_tape *t, const ag_node *node, ag_target target[3]) {
    const ag_view *v = ag_view_at(t, node->view);
    bool asked[3], all_direct = true;
    for (int k = 0; k < (int)node->n; k++) {
        const ag_view *x = ag_view_at(t, node->in[k].view);
        asked[k] = !x->constant && t->kernels->partial[node->code][k];
        if (asked[k]) ag_cursor_open(&target[k].cursor, x, v);
        all_direct &= !asked[k] || target[k].cursor.access == DIRECT;
    }
    /* An operand may share its base with another that is gathered: only runs in step may store block by block. */
    for (int k = 0; k < (int)node->n; k++) {
        target[k].sum = 0;
        target[k].adjoint = asked[k] ? ag_adjoint_of(t, node->in[k], all_direct, &target[k].fresh) : NULL;
    }
}

static void share_adjoint(void *context, int thread) {
    const ag_shares *s = context;
    int64_t end = (thread + 1) * s->each < s->count ? (thread + 1) * s->each : s->count;
    for (int64_t at = thread * s->each; at < end; at += BLOCK) {
        size_t n = (size_t)(end - at < BLOCK ? end - at : BLOCK);
        for (int k = 0; k < 3; k++) {
            if (!s->partial[k]) continue;
            void *acc = ag_element(s->type, s->adjoint[k], at);
            if (s->fresh[k]) memset(acc, 0, n * ag_type_size(s->type));
            s->partial[k](n, acc, from(s, s->w, at), from(s, s->in[0], at), from(s, s->in[1], at),
                          from(s, s->in[2], at), from(s, s->value, at));
        }
    }
}

/* Whether two operands share some slots, but are not the same: neighbouring blocks add to the same numbers then. */
static bool operands_overlap(const ag_node *node, int64_t count) {
    for (uint32_t k = 0; k < node->n; k++)
        for (uint32_t j = 0; j < k; j++) {
            int64_t apart = (int64_t)node->in[k].slot - (int64_t)node->in[j].slot;
            if (apart != 0 && apart < count && apart > -count) return true;
        }
    return false;
}

/* The adjoint of a large tensor whose operands are like it, by several threads; false if they cannot, or there is one. */
static bool adjoint_by_threads(ag_tape *t, const ag_node *node, const ag_view *v) {
    int threads = threads_for(v->count);
    if (threads == 1 || operands_overlap(node, v->count)) return false;
    ag_shares s = {t->type, v->count, share_of(v->count, threads), .w = ag_result_adjoint(t, node)};
    s.value = ag_value_at(t, node->slot);
    for (uint32_t k = 0; k < node->n; k++) {
        s.in[k] = ag_value_at(t, node->in[k].slot);
        if (ag_is_constant_view(t, node->in[k].view)) continue;
        s.partial[k] = t->kernels->partial[node->code][k];
        if (s.partial[k]) s.adjoint[k] = ag_adjoint_of(t, node->in[k], true, &s.fresh[k]);
    }
    ag_parallel(threads, share_adjoint, &s);
    return true;
}

/* The same without blocks, for few elements of one view: the cost of small tensors. */
static void adjoint_alike(ag_tape *t, const ag_node *node, const ag_view *v) {
    const void *x[3] = {NULL, NULL, NULL};
    for (uint32_t k = 0; k < node->n; k++) x[k] = ag_value_at(t, node->in[k].slot);
    const void *w = ag_result_adjoint(t, node), *r = ag_value_at(t, node->slot);
    for (uint32_t k = 0; k < node->n; k++) {
        ag_partial_kernel *kernel = t->kernels->partial[node->code][k];
        if (!kernel || ag_is_constant_view(t, node->in[k].view)) continue;
        bool fresh;
        void *acc = ag_adjoint_of(t, node->in[k], true, &fresh);
        if (fresh) memset(acc, 0, (size_t)v->count * ag_type_size(t->type));
        kernel((size_t)v->count, acc, w, x[0], x[1], x[2], r);
    }
}

bool ag_elementwise_adjoint(ag_tape *t, ag_node *node) {
    const ag_view *v = ag_view_at(t, node->view);
    int n = (int)node->n;
    ag_array x[3];
    values_of(t, node->in, n, x);
    if (v->count <= BLOCK && all_alike(x, n, v)) {
        adjoint_alike(t, node, v);
        return true;
    }
    if (v->count >= LEAST_SHARED && all_alike(x, n, v) && adjoint_by_threads(t, node, v)) return true;
    size_t size = ag_type_size(t->type);
    ag_target target[3];
    open_targets(t, node, target);
    ag_blocks b;
    open_blocks(t->type, &b, x, n, v);
    const char *w = ag_result_adjoint(t, node), *r = ag_value_at(t, node->slot);
    for (int64_t i = 0; i < v->count; i += BLOCK) {
        int64_t m = v->count - i < BLOCK ? v->count - i : BLOCK;
        next_blocks(t->type, &b, i, m);
        for (int k = 0; k < n; k++)
            if (target[k].adjoint)
                add_block(t, &target[k], t->kernels->partial[node->code][k], &b, w + (size_t)i * size,
                          r + (size_t)i * size, i, m);
    }
    for (int k = 0; k < n; k++) {
        if (!target[k].adjoint || target[k].cursor.access != SINGLE) continue;
        ag_store(t->type, target[k].adjoint, 0, ag_load(t->type, target[k].adjoint, 0) + target[k].sum);
    }
    return true;
}
