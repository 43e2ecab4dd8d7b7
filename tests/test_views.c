/* Views: every view operation, alone and in random chains, against a naive list of where each element comes from:
 * values, adjoints (a view shares them with what it views) and recorded derivatives. */
#include "derivatives.h"

enum { MOST = 4096 };

/* A view as a list: element i, row-major, is element at[i] of the base, and element own[i] of the last copy that a
 * reshape had to make, with which it shares adjoints. */
typedef struct model {
    ag_shape shape;
    int64_t count, at[MOST], own[MOST];
} model;

static void model_open(model *m, ag_shape shape) {
    m->shape = shape;
    m->count = shape_count(shape);
    assert_true(m->count <= MOST);
    for (int64_t i = 0; i < m->count; i++) m->at[i] = m->own[i] = i;
}

/* Row-major position of an index, and back. */
static int64_t position_of(ag_shape s, const int64_t *index) {
    int64_t p = 0;
    for (int i = 0; i < s.rank; i++) p = p * s.dim[i] + index[i];
    return p;
}

static void index_of(ag_shape s, int64_t p, int64_t *index) {
    for (int i = s.rank - 1; i >= 0; i--) {
        index[i] = p % s.dim[i];
        p /= s.dim[i];
    }
}

/* The model of a view whose element with index `to` is the old one with the index that `source` makes of it. */
typedef void source_of(const int64_t *to, int64_t *from, const ag_shape *old, const int64_t *p);

static void model_view(model *m, ag_shape shape, source_of *source, const int64_t *p) {
    static model next;
    next.shape = shape;
    next.count = shape_count(shape);
    assert_true(next.count <= MOST);
    for (int64_t i = 0; i < next.count; i++) {
        int64_t to[AG_MAX_RANK + 1] = {0}, from[AG_MAX_RANK + 1] = {0};
        index_of(shape, i, to);
        source(to, from, &m->shape, p);
        int64_t k = position_of(m->shape, from);
        next.at[i] = m->at[k];
        next.own[i] = m->own[k];
    }
    *m = next;
}

/* ---- each view operation on a var and its model ---- */

typedef struct pair {
    ag_var x;
    model m;
} pair;

static void do_reshape(pair *v, ag_shape shape, int unknown) {
    ag_shape asked = shape;
    if (unknown >= 0 && v->m.count > 0) asked.dim[unknown] = -1;
    uint64_t before = ag_tape_stats(ag_tape_of(v->x)).tensor_instructions;
    v->x = ag_reshape(v->x, asked);
    v->m.shape = shape;
    if (ag_tape_stats(ag_tape_of(v->x)).tensor_instructions == before) return;
    for (int64_t i = 0; i < v->m.count; i++) v->m.own[i] = i;
}

static void permuted(const int64_t *to, int64_t *from, const ag_shape *old, const int64_t *p) {
    for (int i = 0; i < old->rank; i++) from[p[i]] = to[i];
}

static void do_permute(pair *v, const int64_t *order, bool negative) {
    ag_shape s = v->m.shape;
    ag_axes axes = {.count = s.rank};
    for (int i = 0; i < s.rank; i++) {
        s.dim[i] = v->m.shape.dim[order[i]];
        axes.axis[i] = (int)(order[i] - (negative ? s.rank : 0));
    }
    v->x = ag_permute(v->x, axes);
    model_view(&v->m, s, permuted, order);
}

static void do_transpose(pair *v) {
    int64_t order[AG_MAX_RANK];
    int rank = v->m.shape.rank;
    v->x = ag_transpose(v->x);
    if (rank < 2) return;
    for (int i = 0; i < rank; i++) order[i] = i;
    order[rank - 1] = rank - 2, order[rank - 2] = rank - 1;
    ag_shape s = v->m.shape;
    s.dim[rank - 1] = v->m.shape.dim[rank - 2], s.dim[rank - 2] = v->m.shape.dim[rank - 1];
    model_view(&v->m, s, permuted, order);
}

/* p: axis, first, step */
static void sliced(const int64_t *to, int64_t *from, const ag_shape *old, const int64_t *p) {
    for (int i = 0; i < old->rank; i++) from[i] = i == p[0] ? p[1] + to[i] * p[2] : to[i];
}

/* Python's slice, by walking along it. */
static void do_slice(pair *v, int axis, int64_t start, int64_t stop, int64_t step) {
    int64_t n = v->m.shape.dim[axis], last = stop, i = start < 0 ? start + n : start;
    if (stop == AG_END) last = step > 0 ? n : -1;
    else if (stop < 0) last = stop + n;
    v->x = ag_slice(v->x, axis, start, stop, step);
    if (step > 0 && i < 0) i = 0;
    if (step < 0 && i >= n) i = n - 1;
    const int64_t first = i;
    int64_t count = 0;
    for (; step > 0 ? i < last && i < n : i > last && i >= 0; i += step) count++;
    ag_shape s = v->m.shape;
    s.dim[axis] = count;
    model_view(&v->m, s, sliced, (int64_t[]){axis, first, step});
}

static void do_flip(pair *v, int axis) {
    v->x = ag_flip(v->x, axis);
    model_view(&v->m, v->m.shape, sliced, (int64_t[]){axis, v->m.shape.dim[axis] - 1, -1});
}

static ag_shape without_axis(ag_shape s, int axis) {
    s.rank--;
    for (int i = axis; i < s.rank; i++) s.dim[i] = s.dim[i + 1];
    return s;
}

/* p: axis, position */
static void indexed(const int64_t *to, int64_t *from, const ag_shape *old, const int64_t *p) {
    for (int i = 0; i < old->rank; i++) from[i] = i < p[0] ? to[i] : i == p[0] ? p[1] : to[i - 1];
}

static void do_index(pair *v, int axis, int64_t position) {
    v->x = ag_index(v->x, axis, position);
    if (position < 0) position += v->m.shape.dim[axis];
    model_view(&v->m, without_axis(v->m.shape, axis), indexed, (int64_t[]){axis, position});
}

static void do_squeeze(pair *v, int axis) {
    v->x = ag_squeeze(v->x, axis);
    v->m.shape = without_axis(v->m.shape, axis);
}

static void do_unsqueeze(pair *v, int axis) {
    v->x = ag_unsqueeze(v->x, axis);
    ag_shape s = v->m.shape;
    for (int i = s.rank++; i > axis; i--) s.dim[i] = s.dim[i - 1];
    s.dim[axis] = 1;
    v->m.shape = s;
}

/* p: leading axes that are new */
static void expanded(const int64_t *to, int64_t *from, const ag_shape *old, const int64_t *p) {
    for (int i = 0; i < old->rank; i++) from[i] = old->dim[i] == 1 ? 0 : to[i + p[0]];
}

static void do_expand(pair *v, ag_shape shape) {
    v->x = ag_expand(v->x, shape);
    model_view(&v->m, shape, expanded, (int64_t[]){shape.rank - v->m.shape.rank});
}

static void on_diagonal(const int64_t *to, int64_t *from, const ag_shape *old, const int64_t *p) {
    (void)p;
    for (int i = 0; i < old->rank; i++) from[i] = to[i < old->rank - 1 ? i : i - 1];
}

static void do_diagonal(pair *v) {
    v->x = ag_diagonal(v->x);
    ag_shape s = v->m.shape;
    if (s.dim[s.rank - 1] < s.dim[s.rank - 2]) s.dim[s.rank - 2] = s.dim[s.rank - 1];
    s.rank--;
    model_view(&v->m, s, on_diagonal, NULL);
}

/* ---- random steps ---- */

static int below(uint64_t *state, int n) { return (int)random_number(state, 0, n); }

static ag_shape random_shape(uint64_t *state) {
    ag_shape s = {.rank = below(state, 5)};
    for (int i = 0; i < s.rank; i++) s.dim[i] = below(state, 12) == 0 ? 0 : 1 + below(state, 4);
    return s;
}

static void random_reshape(pair *v, uint64_t *state) {
    ag_shape s = {.rank = 0};
    int64_t rest = v->m.count;
    if (rest == 0) {
        s = AG_SHAPE(2, 0);
    } else {
        while (rest > 1 && s.rank < 6) {
            int64_t d = 1 + below(state, 6);
            if (rest % d) continue;
            s.dim[s.rank++] = d;
            rest /= d;
        }
        if (rest > 1 || s.rank == 0) s.dim[s.rank++] = rest;
    }
    do_reshape(v, s, below(state, 2) ? below(state, s.rank) : -1);
}

static void random_permute(pair *v, uint64_t *state) {
    int64_t order[AG_MAX_RANK];
    int rank = v->m.shape.rank;
    for (int i = 0; i < rank; i++) {
        int j = below(state, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    do_permute(v, order, below(state, 2));
}

static void random_slice(pair *v, uint64_t *state) {
    int axis = below(state, v->m.shape.rank), n = (int)v->m.shape.dim[axis];
    int64_t step = below(state, 4) ? 1 + below(state, 3) : -1 - below(state, 3);
    int64_t start = below(state, 2 * n + 4) - n - 2, stop = below(state, 2 * n + 4) - n - 2;
    if (below(state, 2)) {
        stop = AG_END;
        start = step > 0 ? below(state, n + 1) : -1;
    }
    do_slice(v, axis, start, stop, step);
}

static void random_expand(pair *v, uint64_t *state) {
    ag_shape s = v->m.shape;
    int lead = s.rank < 6 ? below(state, 2) : 0;
    for (int i = s.rank - 1; i >= 0; i--) s.dim[i + lead] = s.dim[i] == 1 ? 1 + below(state, 3) : s.dim[i];
    s.rank += lead;
    if (lead) s.dim[0] = 1 + below(state, 3);
    if (shape_count(s) <= MOST / 4) do_expand(v, s);
}

static void random_step(pair *v, uint64_t *state) {
    int rank = v->m.shape.rank, axis = rank ? below(state, rank) : 0;
    int64_t n = rank ? v->m.shape.dim[axis] : 0;
    switch (below(state, 12)) {
    case 0: random_reshape(v, state); return;
    case 1: random_permute(v, state); return;
    case 2: do_transpose(v); return;
    case 3:
    case 4:
        if (rank) random_slice(v, state);
        return;
    case 5:
        if (rank && n) do_flip(v, axis);
        return;
    case 6:
        if (rank > 1 && n) do_index(v, axis, below(state, (int)(2 * n)) - n);
        return;
    case 7:
        if (n == 1) do_squeeze(v, axis);
        return;
    case 8:
        if (rank < 7) do_unsqueeze(v, below(state, rank + 1));
        return;
    case 9:
    case 10: random_expand(v, state); return;
    default:
        if (rank > 1) do_diagonal(v);
        return;
    }
}

/* ---- the checks ---- */

static void check_pair_values(const char *label, const pair *v, const double *base) {
    double *want = new_numbers(v->m.count);
    for (int64_t i = 0; i < v->m.count; i++) want[i] = base[v->m.at[i]];
    check_values(label, v->x, v->m.shape, want, 0);
    if (v->m.count > 0) {
        int64_t i = v->m.count * 2 / 3;
        assert_true(ag_value(ag_at(v->x, i)) == want[i]);
    }
    check_values(label, ag_contiguous(v->x), v->m.shape, want, 0);
    check_values(label, ag_detach(v->x), v->m.shape, want, 0);
    free(want);
}

/* s = <w, exp(view)>: adjoints and recorded gradient by the base, gradient by the view, tangent. */
static void check_pair_derivatives(const char *label, const pair *v, ag_var base_var, const double *base, int64_t n) {
    ag_tape *t = ag_tape_of(base_var);
    uint64_t state = 5;
    double *w = new_numbers(v->m.count), *want = new_numbers(n), *at_view = new_numbers(v->m.count), tangent = 0;
    double *got = new_numbers(n), *got_view = new_numbers(v->m.count), *direction = new_numbers(n);
    for (int64_t i = 0; i < v->m.count; i++) {
        w[i] = (double)(float)random_number(&state, -1, 1);
        want[v->m.at[i]] += w[i] * exp(base[v->m.at[i]]);
    }
    static double own[MOST];
    memset(own, 0, sizeof own);
    for (int64_t i = 0; i < v->m.count; i++) own[v->m.own[i]] += w[i] * exp(base[v->m.at[i]]);
    for (int64_t i = 0; i < v->m.count; i++) at_view[i] = own[v->m.own[i]];
    for (int64_t i = 0; i < n; i++) tangent += want[i] * (direction[i] = (double)(float)random_number(&state, -1, 1));

    double tolerance = ag_tape_type(t) == AG_F64 ? 1e-12 : 1e-4;
    ag_var s = ag_sum(ag_mul(ag_exp(v->x), ag_constant_tensor(t, w, v->m.shape))), g[2], d;
    ag_backward(s);
    ag_read_grad(base_var, got);
    check_numbers(label, "adjoint of the base", got, want, n, tolerance);
    ag_read_grad(v->x, got_view);
    check_numbers(label, "adjoint of the view", got_view, at_view, v->m.count, tolerance);
    ag_var both[2] = {base_var, v->x}, along = ag_constant_tensor(t, direction, ag_shape_of(base_var));
    ag_gradient(s, both, 2, g);
    check_fine(label, t);
    check_values(label, g[0], ag_shape_of(base_var), want, tolerance);
    check_values(label, g[1], v->m.shape, at_view, tolerance);
    ag_jvp(&s, 1, &base_var, &along, 1, &d);
    check_values(label, d, (ag_shape){0}, &tangent, tolerance * 10);
    ag_var weights = ag_constant_tensor(t, w, v->m.shape);
    ag_sweep(&v->x, &weights, 1, AG_RESET);
    memset(want, 0, (size_t)n * sizeof *want);
    for (int64_t i = 0; i < v->m.count; i++) want[v->m.at[i]] += w[i];
    ag_read_grad(base_var, got);
    check_numbers(label, "sweep from the view", got, want, n, tolerance);
    check_fine(label, t);
    free(w), free(want), free(at_view), free(got), free(got_view), free(direction);
}

/* The base is a leaf or the result of an operation. */
static void check_chain(ag_tape *t, int seed, pair *v, ag_var base_var) {
    char label[48];
    snprintf(label, sizeof label, "views, seed %d", seed);
    check_fine(label, t);
    int64_t n = ag_count(base_var);
    double *base = new_numbers(n);
    ag_read(base_var, base);
    check_pair_values(label, v, base);
    check_pair_derivatives(label, v, base_var, base, n);
    free(base);
}

static void random_chains(void **unused) {
    (void)unused;
    static pair v;
    ag_tape *tapes[2] = {ag_tape_new(AG_F64), ag_tape_new(AG_F32)};
    for (int seed = 1; seed <= 1500; seed++) {
        uint64_t state = (uint64_t)seed;
        ag_tape *t = tapes[seed % 2];
        ag_tape_clear(t);
        ag_shape shape = random_shape(&state);
        double *data = new_numbers(shape_count(shape));
        for (int64_t i = 0; i < shape_count(shape); i++) data[i] = (double)(float)random_number(&state, -1, 1);
        ag_var base = ag_tensor(t, data, shape);
        free(data);
        if (seed % 3 == 0) base = ag_sin(base);
        v.x = base;
        model_open(&v.m, shape);
        int steps = 1 + below(&state, 6);
        for (int i = 0; i < steps; i++) random_step(&v, &state);
        check_chain(t, seed, &v, base);
    }
    ag_tape_free(tapes[0]);
    ag_tape_free(tapes[1]);
}

/* Reshapes of a transposed matrix with axes of length 1 in every place: these neither allow nor forbid a view. */
static void reshapes_with_axes_of_length_one(void **unused) {
    (void)unused;
    static pair v;
    ag_tape *t = ag_tape_new(AG_F64);
    const double data[6] = {0, 1, 2, 3, 4, 5};
    const ag_shape targets[] = {AG_SHAPE(6),    AG_SHAPE(2, 3),    AG_SHAPE(3, 2),
                                AG_SHAPE(1, 6), AG_SHAPE(3, 1, 2), AG_SHAPE(2, 1, 3, 1)};
    for (int axis = 0; axis < 3; axis++) {
        for (int again = 0; again < 4; again++) {
            for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
                ag_tape_clear(t);
                ag_var base = ag_tensor(t, data, AG_SHAPE(2, 3));
                v.x = base;
                model_open(&v.m, AG_SHAPE(2, 3));
                do_transpose(&v);
                do_unsqueeze(&v, axis);
                if (again < 3) do_unsqueeze(&v, again);
                do_reshape(&v, targets[i], -1);
                check_chain(t, axis * 100 + again * 10 + (int)i, &v, base);
            }
        }
    }
    ag_tape_free(t);
}

/* ---- derivatives by views, and through several views of one base ---- */

typedef ag_var view_function(ag_var x);

static ag_var neighbours(ag_var x) { return ag_mul(ag_slice(x, 0, 0, 3, 1), ag_slice(x, 0, 1, 4, 1)); }
static ag_var mirrored(ag_var x) { return ag_mul(ag_exp(x), ag_flip(x, 0)); }
static ag_var elements(ag_var x) { return ag_mul(ag_at(x, 1), ag_sin(ag_mul(ag_at(x, 2), ag_index(x, 0, -1)))); }
static ag_var element_and_whole(ag_var x) { return ag_mul(ag_square(x), ag_at(x, 2)); }
static ag_var windows(ag_var x) {
    ag_var sum = ag_num(0);
    for (int i = 0; i < 3; i++)
        sum = ag_add(sum, ag_mul(ag_slice(x, 0, i, i + 2, 1), ag_expand(ag_at(x, i), AG_SHAPE(2))));
    return sum;
}
static ag_var outer_by_views(ag_var x) { return ag_mul(ag_unsqueeze(x, 0), ag_exp(ag_unsqueeze(x, 1))); }
static ag_var square_matrix(ag_var x) {
    ag_var m = ag_reshape(x, AG_SHAPE(2, 2));
    return ag_add(ag_matmul(m, ag_transpose(m)), ag_mul(ag_diagonal(m), ag_sum(ag_index(m, 1, 0))));
}
static ag_var empty_parts(ag_var x) { return ag_add(ag_square(x), ag_sum(ag_slice(x, 0, 4, AG_END, 1))); }
static ag_var deep(ag_var x) {
    ag_var e = ag_sin(x);
    return ag_mul(ag_slice(ag_mul(e, ag_flip(e, 0)), 0, 3, AG_END, -2), ag_at(e, 3));
}

static view_function *const FUNCTIONS[] = {
    neighbours, mirrored, elements, element_and_whole, windows, outer_by_views, square_matrix, empty_parts, deep};
enum { FUNCTION_COUNT = sizeof FUNCTIONS / sizeof *FUNCTIONS };

static ag_var call_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return FUNCTIONS[*(int *)context](x[0]);
}

static ag_var call_on_result(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return FUNCTIONS[*(int *)context](ag_mul(x[0], ag_add(x[0], 1)));
}

static void through_several_views(void **unused) {
    (void)unused;
    const double data[4] = {0.5, -0.75, 1.25, 2};
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, data, AG_SHAPE(4));
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        char label[32];
        snprintf(label, sizeof label, "view function %d", i);
        check_derivatives(label, call_function, &i, &x, 1);
        check_derivatives(label, call_on_result, &i, &x, 1);
    }
    ag_tape_free(t);
}

/* Gradients by several overlapping views at once: each is the base's gradient seen through it. */
static void gradients_by_overlapping_views(void **unused) {
    (void)unused;
    const double data[4] = {0.5, -0.75, 1.25, 2};
    for (int i = 0; i < 2 * FUNCTION_COUNT; i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x = ag_tensor(t, data, AG_SHAPE(4));
        if (i % 2) x = ag_mul(x, 1.5);
        ag_var s = ag_sum(ag_square(FUNCTIONS[i / 2](x))), g[7];
        const ag_var xs[7] = {ag_slice(x, 0, 1, 3, 1),
                              ag_flip(x, 0),
                              ag_at(x, 2),
                              ag_expand(ag_at(x, 1), AG_SHAPE(3)),
                              x,
                              ag_slice(x, 0, 0, 0, 1),
                              ag_expand(x, AG_SHAPE(2, 4))};
        static const int64_t from[7][8] = {
            {1, 2}, {3, 2, 1, 0}, {2}, {1, 1, 1}, {0, 1, 2, 3}, {0}, {0, 1, 2, 3, 0, 1, 2, 3}};
        ag_backward(s);
        double whole[4], want[8], got[8];
        ag_read_grad(x, whole);
        ag_gradient(s, xs, 7, g);
        check_fine("overlapping views", t);
        for (int k = 0; k < 7; k++) {
            for (int64_t e = 0; e < ag_count(xs[k]); e++) want[e] = whole[from[k][e]];
            check_values("gradient by a view", g[k], ag_shape_of(xs[k]), want, 1e-13);
            ag_read_grad(xs[k], got);
            check_numbers("adjoint of a view", "all", got, want, ag_count(xs[k]), 1e-13);
        }
        /* tangents add up where views overlap */
        ag_var ones[7], d;
        for (int k = 0; k < 7; k++) ones[k] = ag_num(1);
        ag_jvp(&s, 1, xs, ones, 7, &d);
        double sum = 0;
        for (int k = 0; k < 7; k++)
            for (int64_t e = 0; e < ag_count(xs[k]); e++) sum += whole[from[k][e]];
        check_values("tangent of views", d, (ag_shape){0}, &sum, 1e-12);
        ag_tape_free(t);
    }
}

static void views_of_constants_are_constants(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var c = ag_zeros(t, AG_SHAPE(2, 2)), x = ag_tensor(t, NULL, AG_SHAPE(2, 2)), s = ag_constant(t, 1);
    const ag_var views[] = {ag_reshape(c, AG_SHAPE(4)),
                            ag_transpose(c),
                            ag_permute(c, AG_AXES(1, 0)),
                            ag_flip(c, 0),
                            ag_slice(c, 0, 0, 1, 1),
                            ag_index(c, 0, 0),
                            ag_at(c, 0),
                            ag_expand(c, AG_SHAPE(3, 2, 2)),
                            ag_unsqueeze(c, 0),
                            ag_diagonal(c),
                            ag_expand(s, AG_SHAPE(2)),
                            ag_reshape(s, AG_SHAPE(1))};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        assert_true(ag_is_constant(views[i]));
        assert_true(ag_is_constant(ag_exp(views[i])) && ag_is_constant(ag_contiguous(views[i])));
    }
    assert_false(ag_is_constant(ag_transpose(x)) || ag_is_constant(ag_at(x, 0)) ||
                 ag_is_constant(ag_expand(x, AG_SHAPE(2, 2, 2))));
    assert_int_equal(ag_tape_stats(t).tensor_instructions + ag_tape_stats(t).scalar_instructions, 0);
    ag_tape_free(t);
}

static void missing_dims_of_nothing(void **unused) {
    static const struct {
        ag_shape from, to;
        int64_t dim;
    } cases[] = {{{.rank = 4, .dim = {0, 2, 3, 4}}, {.rank = 2, .dim = {0, -1}}, 24},
                 {{.rank = 3, .dim = {0, 4, 3}}, {.rank = 3, .dim = {0, -1, 6}}, 2},
                 {{.rank = 3, .dim = {2, 0, 3}}, {.rank = 2, .dim = {-1, 0}}, 6},
                 {{.rank = 2, .dim = {0, 4}}, {.rank = 3, .dim = {0, -1, 3}}, 1},
                 {{.rank = 2, .dim = {0, 4}}, {.rank = 2, .dim = {-1, 4}}, 0},
                 {{.rank = 2, .dim = {INT64_MAX, 0}}, {.rank = 2, .dim = {0, -1}}, INT64_MAX}};
    (void)unused;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_shape got = ag_shape_of(ag_reshape(ag_tensor(t, NULL, cases[k].from), cases[k].to));
        assert_string_equal(ag_tape_message(t), "");
        assert_int_equal(got.rank, cases[k].to.rank);
        for (int i = 0; i < got.rank; i++)
            assert_int_equal(got.dim[i], cases[k].to.dim[i] == -1 ? cases[k].dim : cases[k].to.dim[i]);
        ag_tape_free(t);
    }
}

static void views_take_no_instruction(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, NULL, AG_SHAPE(4, 1, 6)), m = ag_squeeze(x, 1);
    ag_stats before = ag_tape_stats(t);
    (void)ag_reshape(x, AG_SHAPE(2, 2, -1));
    (void)ag_reshape(ag_slice(m, 0, 0, 4, 2), AG_SHAPE(2, 3, 2));
    (void)ag_reshape(ag_transpose(m), AG_SHAPE(2, 3, 2, 2));
    (void)ag_reshape(ag_flip(ag_flip(m, 0), 1), AG_SHAPE(24));
    (void)ag_reshape(ag_expand(ag_at(m, 3), AG_SHAPE(3, 4)), AG_SHAPE(12));
    (void)ag_diagonal(ag_permute(x, AG_AXES(2, 1, 0)));
    (void)ag_contiguous(ag_slice(m, 0, 1, 3, 1));
    ag_stats after = ag_tape_stats(t);
    assert_int_equal(after.tensor_instructions, before.tensor_instructions);
    assert_int_equal(after.slots, before.slots);
    (void)ag_reshape(ag_transpose(m), AG_SHAPE(24));
    assert_int_equal(ag_tape_stats(t).tensor_instructions, before.tensor_instructions + 1);
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_chains),
        cmocka_unit_test(reshapes_with_axes_of_length_one),
        cmocka_unit_test(through_several_views),
        cmocka_unit_test(gradients_by_overlapping_views),
        cmocka_unit_test(views_of_constants_are_constants),
        cmocka_unit_test(missing_dims_of_nothing),
        cmocka_unit_test(views_take_no_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
