/* Reductions: values against naive loops for shapes, axes and views of all kinds; edges; derivatives; errors. */
#include "layouts.h"

/* ---- the reductions and naive loops for them ---- */

static double naive_sum(const double *x, int64_t n) {
    double r = 0;
    for (int64_t i = 0; i < n; i++) r += x[i];
    return r;
}
static double naive_mean(const double *x, int64_t n) { return naive_sum(x, n) / (double)n; }
static double naive_prod(const double *x, int64_t n) {
    double r = 1;
    for (int64_t i = 0; i < n; i++) r *= x[i];
    return r;
}
static double naive_max(const double *x, int64_t n) {
    double r = x[0];
    for (int64_t i = 1; i < n; i++) r = x[i] > r ? x[i] : r;
    return r;
}
static double naive_min(const double *x, int64_t n) {
    double r = x[0];
    for (int64_t i = 1; i < n; i++) r = x[i] < r ? x[i] : r;
    return r;
}
static double naive_norm(const double *x, int64_t n) {
    double r = 0;
    for (int64_t i = 0; i < n; i++) r += x[i] * x[i];
    return sqrt(r);
}
static double naive_logsumexp(const double *x, int64_t n) {
    double r = 0;
    for (int64_t i = 0; i < n; i++) r += exp(x[i]);
    return log(r);
}

typedef ag_var reduction(ag_var x, ag_axes axes, bool keep);

static const struct {
    const char *name;
    reduction *reduce;
    double (*naive)(const double *x, int64_t n);
} reductions[] = {
    {"sum", ag_sum_over, naive_sum},
    {"mean", ag_mean_over, naive_mean},
    {"prod", ag_prod_over, naive_prod},
    {"max", ag_max_over, naive_max},
    {"min", ag_min_over, naive_min},
    {"norm", ag_norm_over, naive_norm},
    {"logsumexp", ag_logsumexp_over, naive_logsumexp},
};
enum { REDUCTIONS = sizeof reductions / sizeof *reductions };

static bool is_reduced(ag_axes axes, int rank, int axis) {
    for (int i = 0; i < axes.count; i++) {
        if (axes.axis[i] == axis || axes.axis[i] + rank == axis) return true;
    }
    return axes.count == 0;
}

/* The naive result for a tensor of values; *to_shape is its shape. */
static double *reduce_naively(int which, const double *values, ag_shape s, ag_axes axes, bool keep,
                              ag_shape *to_shape) {
    ag_shape kept = s;
    *to_shape = (ag_shape){.rank = 0};
    int64_t reduced = 1;
    for (int i = 0; i < s.rank; i++) {
        bool gone = is_reduced(axes, s.rank, i);
        if (gone) kept.dim[i] = 1, reduced *= s.dim[i];
        if (!gone || keep) to_shape->dim[to_shape->rank++] = kept.dim[i];
    }
    int64_t outputs = shape_count(kept), index[AG_MAX_RANK];
    double *result = new_numbers(outputs), *row = new_numbers(outputs * reduced);
    int64_t *used = calloc((size_t)outputs + 1, sizeof *used);
    assert_non_null(used);
    for (int64_t i = 0; i < shape_count(s); i++) {
        position_to_index(i, s, index);
        for (int k = 0; k < s.rank; k++) index[k] = kept.dim[k] == 1 ? 0 : index[k];
        int64_t o = index_to_position(index, kept);
        row[o * reduced + used[o]++] = values[i];
    }
    for (int64_t o = 0; o < outputs; o++) result[o] = reductions[which].naive(row + o * reduced, reduced);
    free(row);
    free(used);
    return result;
}

static void check_reduction(int which, ag_type type, layout l, ag_shape s, ag_axes axes, bool keep) {
    char label[160];
    snprintf(label, sizeof label, "%s of rank %d, %lld elements, %s, %d axes from %d, %s", reductions[which].name,
             s.rank, (long long)shape_count(s), layout_name(l), axes.count, axes.count ? axes.axis[0] : 0,
             type == AG_F64 ? "f64" : "f32");
    ag_tape *t = ag_tape_new(type);
    double spread = shape_count(s) > 1000 ? 0.03 : 0.3; /* products stay in range */
    ag_var x = layout_view(l, random_tensor(t, layout_leaf_shape(l, s), 1 - spread, 1 + spread), s), y = x;
    double *values = values_of(x);
    ag_shape shape;
    double *want = reduce_naively(which, values, s, axes, keep, &shape);
    y = reductions[which].reduce(x, axes, keep);
    check_values(label, y, shape, want, tolerance_of(type) * (type == AG_F32 && shape_count(s) > 1000 ? 10 : 1));
    free(values);
    free(want);
    ag_tape_free(t);
}

static void values_match_naive_loops(void **state) {
    (void)state;
    const ag_shape shapes[] = {AG_SHAPE(7),          AG_SHAPE(3, 4),
                               AG_SHAPE(1, 5),       AG_SHAPE(6, 1),
                               AG_SHAPE(2, 3, 4),    AG_SHAPE(5, 1, 3),
                               AG_SHAPE(2, 3, 2, 4), AG_SHAPE(3, 700),
                               AG_SHAPE(700, 3),     AG_SHAPE(1300),
                               AG_SHAPE(4, 65, 9),   AG_SHAPE(3, 2, 1030),
                               AG_SHAPE(1, 1, 1, 1), AG_SHAPE(2, 1, 2, 1, 2, 1, 2, 3)};
    const ag_axes sets[] = {ag_all_(),     AG_AXES(0),    AG_AXES(-1),   AG_AXES(1),     AG_AXES(0, -1),
                            AG_AXES(0, 1), AG_AXES(2, 0), AG_AXES(1, 3), AG_AXES(-1, -2)};
    for (int which = 0; which < REDUCTIONS; which++) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
                bool fits = true;
                for (int a = 0; a < sets[k].count; a++) {
                    fits &= sets[k].axis[a] < shapes[i].rank && sets[k].axis[a] >= -shapes[i].rank;
                    for (int b = 0; b < a; b++) {
                        fits &= (sets[k].axis[a] - sets[k].axis[b]) % shapes[i].rank != 0;
                    }
                }
                if (!fits) continue;
                for (layout l = 0; l < LAYOUTS; l++) {
                    check_reduction(which, AG_F64, l, shapes[i], sets[k], (i + k) % 2);
                    check_reduction(which, AG_F32, l, shapes[i], sets[k], (i + k) % 2 == 0);
                }
            }
        }
    }
}

/* ---- derivatives ---- */

typedef struct reduce_case {
    reduction *reduce;
    layout l;
    ag_shape shape;
    ag_axes axes;
    bool keep;
} reduce_case;

static ag_var reduce_case_function(ag_tape *t, const ag_var *x, int n, void *context) {
    const reduce_case *c = context;
    (void)t, (void)n;
    return c->reduce(layout_view(c->l, x[0], c->shape), c->axes, c->keep);
}

static void derivatives_agree(void **state) {
    (void)state;
    const struct {
        ag_shape shape;
        ag_axes axes;
        bool keep;
    } cases[] = {
        {AG_SHAPE(5), ag_all_(), false},          {AG_SHAPE(3, 4), AG_AXES(0), true},
        {AG_SHAPE(3, 4), AG_AXES(-1), false},     {AG_SHAPE(2, 3, 4), AG_AXES(1), false},
        {AG_SHAPE(2, 3, 4), AG_AXES(0, 2), true}, {AG_SHAPE(2, 1, 5), AG_AXES(1), false},
        {AG_SHAPE(2, 3, 2), ag_all_(), true},
    };
    for (int which = 0; which < REDUCTIONS; which++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            for (layout l = 0; l < EXPANDED_FIRST; l++) { /* copies of an element would be ties of max and min */
                reduce_case c = {reductions[which].reduce, l, cases[i].shape, cases[i].axes, cases[i].keep};
                ag_tape *t = ag_tape_new(AG_F64);
                ag_var x = random_tensor(t, layout_leaf_shape(l, c.shape), -2, 2);
                check_derivatives(reductions[which].name, reduce_case_function, &c, &x, 1);
                ag_tape_free(t);
            }
        }
    }
}

static ag_var cumsum_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_cumsum(ag_transpose(ag_square(x[0])), *(const int *)context);
}

static ag_var mixed_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    ag_var r = ag_norm_over(x[0], AG_AXES(0), true), m = ag_max_over(ag_sin(x[0]), AG_AXES(-1), true);
    return ag_logsumexp(ag_add(ag_div(x[0], r), ag_mul(m, ag_prod_over(x[0], AG_AXES(1), true))));
}

static void compositions_agree(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = random_tensor(t, AG_SHAPE(3, 4), 0.5, 2);
    for (int axis = -2; axis < 2; axis++) check_derivatives("cumsum", cumsum_function, &axis, &x, 1);
    check_derivatives("composition", mixed_function, NULL, &x, 1);
    ag_tape_free(t);
}

/* ---- edges: value and derivative at given points, by every route ---- */

static ag_var all_function(ag_tape *t, const ag_var *x, int n, void *context) {
    reduction *const *reduce = context;
    (void)t, (void)n;
    return (*reduce)(x[0], ag_all_(), false);
}

/* Two equal columns, reduced down. */
static ag_var columns_function(ag_tape *t, const ag_var *x, int n, void *context) {
    reduction *const *reduce = context;
    (void)t, (void)n;
    ag_var columns = ag_contiguous(ag_transpose(ag_expand(x[0], AG_SHAPE(2, ag_count(x[0])))));
    return ag_index((*reduce)(columns, AG_AXES(0), false), 0, 1);
}

/* Equal rows, many and short. */
static ag_var rows_function(ag_tape *t, const ag_var *x, int n, void *context) {
    reduction *const *reduce = context;
    (void)t, (void)n;
    ag_var rows = ag_contiguous(ag_expand(x[0], AG_SHAPE(6, ag_count(x[0]))));
    return ag_index((*reduce)(rows, AG_AXES(1), false), 0, 5);
}

/* The random weight of the first output of routes_weighted. */
static double first_weight(void) {
    uint64_t state = 99;
    return random_number(&state, 0.5, 1.5);
}

static void check_edge(const char *label, reduction *reduce, const double *x, int64_t n, double value,
                       const double *g) {
    const ag_function ways[] = {all_function, columns_function, rows_function};
    for (int way = 0; way < 3; way++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var in = ag_tensor(t, x, AG_SHAPE(n));
        routes_case c = routes_case_new(label, ways[way], &reduce, &in, 1);
        memcpy(c.x, x, (size_t)n * sizeof *x); /* not rounded */
        routes r = routes_of(&c, AG_F64);
        double scaled[16];
        for (int64_t i = 0; i < n; i++) scaled[i] = g[i] * first_weight();
        check_numbers(label, "value", r.value, &value, 1, 1e-14);
        check_numbers(label, "ag_backward", r.backward, scaled, n, 1e-13);
        check_numbers(label, "ag_gradient", r.gradient, scaled, n, 1e-13);
        check_numbers(label, "ag_jvp", r.jvp, scaled, n, 1e-13);
        routes_agree(&c, "f64", &r, &r, 1e-10);
        routes_free(&r);
        routes_case_free(&c);
        ag_tape_free(t);
    }
}
#define CHECK_EDGE(reduce, value, x, g)                                                                                \
    check_edge(#reduce " of " #x, reduce, (const double[])NUMBERS x,                                                   \
               sizeof((const double[])NUMBERS x) / sizeof(double), value, (const double[])NUMBERS g)
#define NUMBERS(...)                                                                                                   \
    { __VA_ARGS__ }

static void extremes_at_ties_and_nan(void **state) {
    (void)state;
    CHECK_EDGE(ag_max_over, 2, (1, 2, 2, 0), (0, 0.5, 0.5, 0));
    CHECK_EDGE(ag_min_over, 1, (1, 1, 1, 2), (1. / 3, 1. / 3, 1. / 3, 0));
    CHECK_EDGE(ag_max_over, NAN, (1, NAN, 2), (0, 0, 0));
    CHECK_EDGE(ag_min_over, NAN, (NAN, 3, 2), (0, 0, 0));
    CHECK_EDGE(ag_max_over, INFINITY, (1, INFINITY, 2), (0, 1, 0));
    CHECK_EDGE(ag_max_over, -INFINITY, (-INFINITY, -INFINITY), (0.5, 0.5));
    CHECK_EDGE(ag_max_over, -1, (-1), (1));
}

static void norms_at_extremes(void **state) {
    (void)state;
    CHECK_EDGE(ag_norm_over, 0, (0, 0, 0), (0, 0, 0));
    CHECK_EDGE(ag_norm_over, 5, (3, 0, -4), (0.6, 0, -0.8));
    CHECK_EDGE(ag_norm_over, 5e200, (3e200, 4e200), (0.6, 0.8));
    CHECK_EDGE(ag_norm_over, 5e-320, (3e-320, 4e-320), (3e-320 / 5e-320, 4e-320 / 5e-320));
    CHECK_EDGE(ag_norm_over, 13e-200, (3e-200, 4e-200, 12e-200), (3. / 13, 4. / 13, 12. / 13));
    CHECK_EDGE(ag_norm_over, NAN, (1, NAN), (NAN, NAN));
    ag_tape *t = ag_tape_new(AG_F32);
    const double x[] = {3e30, 4e30}, small[] = {3e-40, 4e-40};
    ag_var y = ag_norm(ag_tensor(t, x, AG_SHAPE(2)));
    assert_true(fabs(ag_value(y) / 5e30 - 1) < 1e-6);
    y = ag_norm(ag_tensor(t, small, AG_SHAPE(2)));
    assert_true(fabs(ag_value(y) / 5e-40 - 1) < 1e-4);
    ag_tape_free(t);
}

static void logsumexp_at_extremes(void **state) {
    (void)state;
    CHECK_EDGE(ag_logsumexp_over, 1000 + 0.69314718055994530942, (1000, 1000), (0.5, 0.5));
    CHECK_EDGE(ag_logsumexp_over, -1000 + 0.69314718055994530942, (-1000, -1000), (0.5, 0.5));
    CHECK_EDGE(ag_logsumexp_over, 1e300, (1e300, 0), (1, 0));
    /* the sum's logarithm is lost in the result, but not in the derivative */
    CHECK_EDGE(ag_logsumexp_over, 1e17, (1e17, 1e17, 1e17, 1e17), (0.25, 0.25, 0.25, 0.25));
    CHECK_EDGE(ag_logsumexp_over, -1e30, (-1e30, -1e30), (0.5, 0.5));
    CHECK_EDGE(ag_logsumexp_over, 2, (-INFINITY, 2, -INFINITY), (0, 1, 0));
    CHECK_EDGE(ag_logsumexp_over, -INFINITY, (-INFINITY, -INFINITY), (0, 0));
    CHECK_EDGE(ag_logsumexp_over, INFINITY, (1, INFINITY), (0, 1));
    CHECK_EDGE(ag_logsumexp_over, INFINITY, (INFINITY, 3, INFINITY), (0.5, 0, 0.5));
    CHECK_EDGE(ag_logsumexp_over, NAN, (1, NAN), (NAN, NAN));
}

static void products_with_zeros(void **state) {
    (void)state;
    CHECK_EDGE(ag_prod_over, 24, (2, 3, 4), (12, 8, 6));
    CHECK_EDGE(ag_prod_over, 0, (2, 0, 4), (0, 8, 0));
    CHECK_EDGE(ag_prod_over, 0, (0, 3, 0, 5), (0, 0, 0, 0));
    CHECK_EDGE(ag_prod_over, 0, (0), (1));
    CHECK_EDGE(ag_prod_over, 0, (1e-200, 1e-200), (1e-200, 1e-200));
    CHECK_EDGE(ag_prod_over, 1e-10, (1e-310, 1e300), (1e300, 1e-310));
}

/* The Hessian of a product with zeros: the entry for i, j is the product of the others. */
static void second_derivatives_of_products(void **state) {
    (void)state;
    const double points[][4] = {{2, 3, 5, 7}, {0, 3, 5, 7}, {0, 3, 0, 7}, {0, 0, 0, 7}};
    for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x = ag_tensor(t, points[p], AG_SHAPE(4));
        double want[16];
        for (int i = 0; i < 16; i++) {
            want[i] = i / 4 != i % 4;
            for (int k = 0; k < 4; k++) want[i] *= k == i / 4 || k == i % 4 ? 1 : points[p][k];
        }
        check_values("Hessian of prod", ag_hessian(ag_prod(x), x), AG_SHAPE(4, 4), want, 0);
        ag_tape_free(t);
    }
    for (int64_t n = 1000; n < 1003; n++) { /* more than fits on the stack, with a zero */
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x = random_tensor(t, AG_SHAPE(n), 0.9, 1.1), g;
        ((double *)ag_data(x))[n / 2] = 0;
        ag_var r = ag_prod(x);
        double *swept = new_numbers(n);
        ag_backward(r);
        ag_read_grad(x, swept);
        ag_gradient(r, &x, 1, &g);
        check_values("gradient of a long prod", g, AG_SHAPE(n), swept, 1e-12);
        assert_true(swept[n / 2] != 0 && swept[0] == 0);
        free(swept);
        ag_tape_free(t);
    }
    for (int64_t n = 1; n < 40; n++) { /* all lengths of the tree */
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x = random_tensor(t, AG_SHAPE(n), 0.5, 1.5), r = ag_prod(x), g;
        double *values = values_of(x);
        ag_gradient(r, &x, 1, &g);
        for (int64_t i = 0; i < n; i++) values[i] = ag_value(r) / values[i];
        check_values("gradient of prod", g, AG_SHAPE(n), values, 1e-13);
        free(values);
        ag_tape_free(t);
    }
}

/* An adjoint of inf does not reach what has partial 0, and one of 0 reaches nothing. */
static void zeros_stop_adjoints(void **state) {
    (void)state;
    const struct {
        reduction *reduce;
        double x[3], w, g[3];
    } cases[] = {
        {ag_max_over, {0, 3, 3}, INFINITY, {0, INFINITY, INFINITY}},
        {ag_norm_over, {0, 0, 0}, INFINITY, {0, 0, 0}},
        {ag_norm_over, {0, -2, 0}, INFINITY, {0, -INFINITY, 0}},
        {ag_logsumexp_over, {-INFINITY, 2, 0}, INFINITY, {0, INFINITY, INFINITY}},
        {ag_prod_over, {0, 0, 3}, INFINITY, {0, 0, 0}},
        {ag_prod_over, {0, 2, 3}, INFINITY, {INFINITY, 0, 0}},
        {ag_prod_over, {INFINITY, 2, 3}, 0, {0, 0, 0}},
        {ag_norm_over, {INFINITY, 2, 3}, 0, {0, 0, 0}},
        {ag_logsumexp_over, {NAN, 2, 3}, 0, {0, 0, 0}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x = ag_tensor(t, cases[k].x, AG_SHAPE(3)), y = cases[k].reduce(x, ag_all_(), false), g;
        ag_var w = ag_constant(t, cases[k].w);
        double swept[3];
        ag_sweep(&y, &w, 1, AG_RESET);
        ag_read_grad(x, swept);
        check_numbers("infinite adjoint", "swept", swept, cases[k].g, 3, 0);
        ag_vjp(&y, &w, 1, &x, 1, &g);
        check_values("infinite adjoint", g, AG_SHAPE(3), cases[k].g, 0);
        ag_tape_free(t);
    }
}

/* ---- argmax and cumulative sums ---- */

static void argmax_finds_the_first(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        const double x[] = {1, 5, 5, 0, NAN, 9, -INFINITY, -INFINITY, -INFINITY, 4, 3, 2};
        ag_var v = ag_tensor(t, x, AG_SHAPE(4, 3));
        check_values("argmax 1", ag_argmax(v, 1), AG_SHAPE(4), (const double[]){1, 1, 0, 0}, 0);
        check_values("argmax -2", ag_argmax(v, -2), AG_SHAPE(3), (const double[]){3, 1, 1}, 0);
        check_values("argmax of a view", ag_argmax(ag_transpose(v), 0), AG_SHAPE(4), (const double[]){1, 1, 0, 0}, 0);
        assert_true(ag_is_constant(ag_argmax(v, 1)));
        ag_var wide = random_tensor(t, AG_SHAPE(3, 40, 700), -1, 1), at = ag_argmax(wide, 1);
        double *values = values_of(wide), *got = values_of(at);
        for (int64_t i = 0; i < 3 * 700; i++) {
            int64_t best = 0, o = i / 700, j = i % 700;
            for (int64_t k = 1; k < 40; k++) {
                if (values[(o * 40 + k) * 700 + j] > values[(o * 40 + best) * 700 + j]) best = k;
            }
            assert_true(got[i] == (double)best);
        }
        free(values);
        free(got);
        ag_tape_free(t);
    }
}

static void cumsum_matches_naive_loops(void **state) {
    (void)state;
    const ag_shape shapes[] = {AG_SHAPE(5), AG_SHAPE(3, 4), AG_SHAPE(2, 3, 4), AG_SHAPE(2, 30, 700), AG_SHAPE(1, 1)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int axis = -shapes[i].rank; axis < shapes[i].rank; axis++) {
            for (layout l = 0; l < LAYOUTS; l++) {
                ag_tape *t = ag_tape_new(l % 2 ? AG_F32 : AG_F64);
                ag_shape s = shapes[i];
                ag_var x = layout_view(l, random_tensor(t, layout_leaf_shape(l, s), -1, 1), s);
                double *want = values_of(x);
                int64_t index[AG_MAX_RANK];
                int at = axis < 0 ? axis + s.rank : axis;
                for (int64_t k = 0; k < shape_count(s); k++) {
                    position_to_index(k, s, index);
                    if (index[at]-- == 0) continue;
                    want[k] += want[index_to_position(index, s)];
                }
                check_values("cumsum", ag_cumsum(x, axis), s, want, tolerance_of(l % 2 ? AG_F32 : AG_F64));
                free(want);
                ag_tape_free(t);
            }
        }
    }
}

/* ---- empty tensors and errors ---- */

static void empty_tensors(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, NULL, AG_SHAPE(2, 0)), g;
    const double zeros[] = {0, 0}, ones[] = {1, 1}, infinities[] = {-INFINITY, -INFINITY};
    check_values("sum", ag_sum_over(x, AG_AXES(1), false), AG_SHAPE(2), zeros, 0);
    check_values("prod", ag_prod_over(x, AG_AXES(1), false), AG_SHAPE(2), ones, 0);
    check_values("norm", ag_norm_over(x, AG_AXES(1), false), AG_SHAPE(2), zeros, 0);
    check_values("logsumexp", ag_logsumexp_over(x, AG_AXES(1), false), AG_SHAPE(2), infinities, 0);
    check_values("max", ag_max_over(x, AG_AXES(0), false), AG_SHAPE(0), zeros, 0);
    check_values("cumsum", ag_cumsum(x, 1), AG_SHAPE(2, 0), zeros, 0);
    reduction *const all[] = {ag_sum_over, ag_prod_over, ag_norm_over, ag_logsumexp_over};
    for (int i = 0; i < 4; i++) {
        ag_var y = ag_sum(all[i](x, AG_AXES(1), false));
        ag_backward(y);
        ag_gradient(y, &x, 1, &g);
        check_values("gradient of nothing", g, AG_SHAPE(2, 0), zeros, 0);
    }
    check_failure(t, ag_max_over(x, AG_AXES(1), false), AG_ERR_SHAPE,
                  "max: nothing to reduce along axis 1 of shape (2, 0)");
    check_failure(t, ag_min(ag_min_over(x, ag_all_(), true), 1.0), AG_ERR_SHAPE,
                  "min: nothing to reduce along axis 1 of shape (2, 0)");
    check_failure(t, ag_argmax(x, 1), AG_ERR_SHAPE, "argmax: nothing to reduce along axis 1 of shape (2, 0)");
    check_failure(t, ag_mean(x), AG_ERR_SHAPE, "mean: no elements to take the mean of in shape (2, 0)");
    ag_tape_free(t);
}

static void wrong_axes(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(2, 3)), s = ag_input(t, 4);
    check_failure(t, ag_sum_over(x, AG_AXES(2), false), AG_ERR_SHAPE,
                  "sum: axis 2 of a tensor of shape (2, 3), which has 2 axes");
    check_failure(t, ag_mean_over(x, AG_AXES(-3), false), AG_ERR_SHAPE,
                  "mean: axis -3 of a tensor of shape (2, 3), which has 2 axes");
    check_failure(t, ag_norm_over(x, AG_AXES(1, -1), false), AG_ERR_VALUE,
                  "norm: axis 1 of shape (2, 3) is given twice");
    check_failure(t, ag_prod_over(x, (ag_axes){.count = 9}, false), AG_ERR_VALUE, "prod: 9 axes of shape (2, 3)");
    check_failure(t, ag_cumsum(s, 0), AG_ERR_SHAPE, "cumsum: axis 0 of a tensor of shape (), which has 0 axes");
    check_failure(t, ag_argmax(x, 5), AG_ERR_SHAPE, "argmax: axis 5 of a tensor of shape (2, 3), which has 2 axes");
    /* scalars reduce to themselves */
    reduction *const all[] = {ag_sum_over, ag_mean_over, ag_prod_over, ag_max_over, ag_norm_over, ag_logsumexp_over};
    for (int i = 0; i < 6; i++) {
        ag_var y = all[i](s, ag_all_(), true);
        check_values("of a scalar", y, ag_shape_of(s), (const double[]){4}, 0);
        ag_backward(y);
        assert_true(ag_grad(s) == 1);
    }
    ag_fail(t, AG_ERR_VALUE, "stop");
    assert_true(ag_is_inert(ag_sum(x)) && ag_is_inert(ag_argmax(x, 0)) && ag_is_inert(ag_cumsum(x, 0)));
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_match_naive_loops),
        cmocka_unit_test(derivatives_agree),
        cmocka_unit_test(compositions_agree),
        cmocka_unit_test(extremes_at_ties_and_nan),
        cmocka_unit_test(norms_at_extremes),
        cmocka_unit_test(logsumexp_at_extremes),
        cmocka_unit_test(products_with_zeros),
        cmocka_unit_test(second_derivatives_of_products),
        cmocka_unit_test(zeros_stop_adjoints),
        cmocka_unit_test(argmax_finds_the_first),
        cmocka_unit_test(cumsum_matches_naive_loops),
        cmocka_unit_test(empty_tensors),
        cmocka_unit_test(wrong_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
