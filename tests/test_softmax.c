/* Softmax, its logarithm and the cross-entropies: values against naive loops, edges, derivatives, errors. */
#include "layouts.h"

/* ---- values ---- */

/* Softmax along an axis of row-major values. */
static double *softmax_naively(const double *x, ag_shape s, int axis) {
    int64_t n = shape_count(s), count = s.dim[axis], inner = 1;
    for (int i = axis + 1; i < s.rank; i++) inner *= s.dim[i];
    double *p = new_numbers(n);
    for (int64_t first = 0; first < n; first++) {
        if (first / inner % count != 0) continue;
        double most = -INFINITY, sum = 0;
        for (int64_t i = 0; i < count; i++) most = fmax(most, x[first + i * inner]);
        for (int64_t i = 0; i < count; i++) sum += exp(x[first + i * inner] - most);
        for (int64_t i = 0; i < count; i++) p[first + i * inner] = exp(x[first + i * inner] - most) / sum;
    }
    return p;
}

static void values_match_naive_loops(void **state) {
    (void)state;
    const ag_shape shapes[] = {AG_SHAPE(7),         AG_SHAPE(3, 4),       AG_SHAPE(2, 3, 4),
                               AG_SHAPE(5, 1),      AG_SHAPE(3, 1300),    AG_SHAPE(1300, 3),
                               AG_SHAPE(4, 9, 700), AG_SHAPE(2, 2, 2, 2), AG_SHAPE(0, 3)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        ag_shape s = shapes[i];
        for (int axis = -s.rank; axis < s.rank; axis++) {
            for (layout l = 0; l < LAYOUTS; l++) {
                for (int type = 0; type < 2; type++) {
                    if (shape_count(s) == 0 && l >= EXPANDED_FIRST) continue;
                    double tolerance = type ? 1e-5 : 1e-12;
                    ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
                    ag_var x = layout_view(l, random_tensor(t, layout_leaf_shape(l, s), -4, 4), s);
                    double *values = values_of(x), *p = softmax_naively(values, s, axis < 0 ? axis + s.rank : axis);
                    check_values("softmax", ag_softmax(x, axis), s, p, tolerance);
                    for (int64_t k = 0; k < shape_count(s); k++) p[k] = log(p[k]);
                    check_values("log_softmax", ag_log_softmax(x, axis), s, p, tolerance);
                    free(values);
                    free(p);
                    ag_tape_free(t);
                }
            }
        }
    }
}

static void cross_entropies_match_softmax(void **state) {
    (void)state;
    const ag_shape shapes[] = {AG_SHAPE(4), AG_SHAPE(3, 5), AG_SHAPE(2, 3, 4), AG_SHAPE(5, 700), AG_SHAPE(6, 1)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int type = 0; type < 2; type++) {
            ag_shape s = shapes[i], out = s;
            int64_t classes = s.dim[--out.rank], rows = shape_count(out), labels[8];
            ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
            ag_var x = random_tensor(t, s, -4, 4), q = random_tensor(t, s, 0, 1);
            double *values = values_of(x), *targets = values_of(q), *p = softmax_naively(values, s, s.rank - 1);
            double *hard = new_numbers(rows), *soft = new_numbers(rows);
            for (int64_t r = 0; r < rows; r++) {
                labels[r] = (7 * r + 3) % classes;
                hard[r] = -log(p[r * classes + labels[r]]);
                for (int64_t j = 0; j < classes; j++) soft[r] -= targets[r * classes + j] * log(p[r * classes + j]);
            }
            check_values("cross_entropy", ag_cross_entropy(x, labels), out, hard, type ? 1e-5 : 1e-13);
            check_values("cross_entropy_soft", ag_cross_entropy_soft(x, q), out, soft, type ? 1e-5 : 1e-13);
            free(values), free(targets), free(p), free(hard), free(soft);
            ag_tape_free(t);
        }
    }
}

/* ---- derivatives ---- */

typedef struct softmax_case {
    ag_var (*function)(ag_var x, int axis);
    layout l;
    ag_shape shape;
    int axis;
} softmax_case;

static ag_var softmax_function(ag_tape *t, const ag_var *x, int n, void *context) {
    const softmax_case *c = context;
    (void)t, (void)n;
    return c->function(layout_view(c->l, x[0], c->shape), c->axis);
}

static void softmax_derivatives_agree(void **state) {
    (void)state;
    const ag_shape shapes[] = {AG_SHAPE(4), AG_SHAPE(3, 4), AG_SHAPE(2, 3, 2)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int axis = 0; axis < shapes[i].rank; axis++) {
            for (layout l = 0; l < LAYOUTS; l++) {
                for (int logs = 0; logs < 2; logs++) {
                    softmax_case c = {logs ? ag_log_softmax : ag_softmax, l, shapes[i], axis};
                    ag_tape *t = ag_tape_new(AG_F64);
                    ag_var x = random_tensor(t, layout_leaf_shape(l, c.shape), -2, 2);
                    check_derivatives(logs ? "log_softmax" : "softmax", softmax_function, &c, &x, 1);
                    ag_tape_free(t);
                }
            }
        }
    }
}

static ag_var labels_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_cross_entropy(ag_transpose(x[0]), context);
}

static ag_var soft_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)context;
    return ag_cross_entropy_soft(x[0], n == 2 ? x[1] : ag_softmax(ag_transpose(x[0]), 0)); /* the logits, twice */
}

static ag_var own_targets_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_cross_entropy_soft(x[0], x[0]);
}

static void cross_entropy_derivatives_agree(void **state) {
    (void)state;
    int64_t labels[] = {2, 0, 2, 1};
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = random_tensor(t, AG_SHAPE(3, 4), -2, 2), row = random_tensor(t, AG_SHAPE(1, 3), -2, 2);
    ag_var pair[] = {random_tensor(t, AG_SHAPE(2, 3), -2, 2), random_tensor(t, AG_SHAPE(2, 3), 0.1, 1)};
    ag_var single[] = {random_tensor(t, AG_SHAPE(4), -2, 2), random_tensor(t, AG_SHAPE(4), 0.1, 1)};
    ag_var square = random_tensor(t, AG_SHAPE(3, 3), -2, 2);
    check_derivatives("cross_entropy", labels_function, labels, &x, 1);
    check_derivatives("cross_entropy of columns", labels_function, (int64_t[]){0, 0, 0}, &row, 1);
    check_derivatives("cross_entropy_soft", soft_function, NULL, pair, 2);
    check_derivatives("cross_entropy_soft of vectors", soft_function, NULL, single, 2);
    check_derivatives("cross_entropy_soft of own softmax", soft_function, NULL, &square, 1);
    check_derivatives("cross_entropy_soft of its logits", own_targets_function, NULL, &square, 1);
    ag_tape_free(t);
}

/* The adjoint of an operand that was used before is added to, not set: rows, short rows, columns. */
static ag_var used_twice_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)n, (void)context;
    int64_t *labels = calloc(16, sizeof *labels);
    assert_non_null(labels);
    ag_var sum = ag_sum(x[0]), v = x[0];
    for (int k = 0; k < 2; k++) {
        ag_var w = ag_arange(t, k, 1, 2);
        for (int axis = 0; axis < 2; axis++) {
            sum = ag_add(sum, ag_sum(ag_mul(ag_softmax(v, axis), w)));
            sum = ag_add(sum, ag_sum(ag_mul(ag_log_softmax(v, axis), w)));
            sum = ag_add(sum, ag_sum(ag_mul(ag_cumsum(v, axis), w)));
            sum = ag_add(sum, ag_sum(ag_square(ag_scatter_add(v, axis, labels, 1 + k))));
            sum = ag_add(sum, ag_sum(ag_square(ag_logsumexp_over(v, AG_AXES(axis), false))));
        }
        sum = ag_add(sum, ag_sum(ag_cross_entropy(v, labels)));
        sum = ag_add(sum, ag_sum(ag_cross_entropy_soft(v, ag_softmax(v, 1))));
    }
    free(labels);
    return sum;
}

static void used_twice(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var tall = random_tensor(t, AG_SHAPE(6, 2), -1, 1), flat = random_tensor(t, AG_SHAPE(3, 2), -1, 1);
    check_derivatives("used twice", used_twice_function, NULL, &tall, 1);
    check_derivatives("used twice", used_twice_function, NULL, &flat, 1);
    ag_tape_free(t);
}

/* ---- edges ---- */

/* Value and gradient by all routes, also as columns, where the adjoint of the result is w. */
static void check_edge(const char *label, ag_var (*function)(ag_var x, int axis), const double *x, const double *w,
                       const double *value, const double *gradient) {
    for (int way = 0; way < 4; way++) { /* a row, a column, a wide column block, many short rows */
        ag_shape s = way == 0 ? AG_SHAPE(3) : way == 1 ? AG_SHAPE(3, 1) : way == 2 ? AG_SHAPE(3, 2) : AG_SHAPE(9, 3);
        int across = way < 3;
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var in = ag_tensor(t, x, AG_SHAPE(3)), seed = ag_constant_tensor(t, w, AG_SHAPE(3)), g;
        ag_var thin = ag_reshape(in, across ? AG_SHAPE(3, 1) : AG_SHAPE(1, 3));
        ag_var wide = way ? ag_contiguous(ag_expand(thin, s)) : in;
        ag_var y = function(wide, across ? 0 : 1), pick = way ? ag_index(y, across, across ? 0 : 8) : y;
        double swept[3];
        check_values(label, pick, AG_SHAPE(3), value, 1e-14);
        ag_sweep(&pick, &seed, 1, AG_RESET);
        ag_read_grad(in, swept);
        check_numbers(label, "swept", swept, gradient, 3, 1e-14);
        ag_vjp(&pick, &seed, 1, &in, 1, &g);
        check_values(label, g, AG_SHAPE(3), gradient, 1e-14);
        for (int i = 0; i < 3; i++) {
            double direction[3] = {0};
            direction[i] = 1;
            ag_var v = ag_constant_tensor(t, direction, AG_SHAPE(3)), d;
            ag_jvp(&pick, 1, &in, &v, 1, &d);
            double along = ag_value(ag_sum(ag_chain(d, seed)));
            check_numbers(label, "forward", &along, &gradient[i], 1, 1e-14);
        }
        check_fine(label, t);
        ag_tape_free(t);
    }
}

#define NUMBERS(...) ((const double[]){__VA_ARGS__})

static void masked_entries(void **state) {
    (void)state;
    const double inf = INFINITY, ln2 = 0.69314718055994530942;
    check_edge("softmax, one masked", ag_softmax, NUMBERS(1, -inf, 1), NUMBERS(1, 5, 3), NUMBERS(0.5, 0, 0.5),
               NUMBERS(-0.5, 0, 0.5));
    check_edge("softmax, infinite adjoint of what is masked", ag_softmax, NUMBERS(1, -inf, 1), NUMBERS(1, inf, 3),
               NUMBERS(0.5, 0, 0.5), NUMBERS(-0.5, 0, 0.5));
    check_edge("softmax, all masked", ag_softmax, NUMBERS(-inf, -inf, -inf), NUMBERS(1, 2, 3), NUMBERS(0, 0, 0),
               NUMBERS(0, 0, 0));
    check_edge("softmax of inf", ag_softmax, NUMBERS(inf, 7, -inf), NUMBERS(1, 2, 3), NUMBERS(1, 0, 0),
               NUMBERS(0, 0, 0));
    check_edge("softmax of large numbers", ag_softmax, NUMBERS(1e300, 1e300, -1e300), NUMBERS(1, 3, 3),
               NUMBERS(0.5, 0.5, 0), NUMBERS(-0.5, 0.5, 0));
    check_edge("softmax of NaN", ag_softmax, NUMBERS(1, NAN, 1), NUMBERS(1, 1, 1), NUMBERS(NAN, NAN, NAN),
               NUMBERS(NAN, NAN, NAN));
    check_edge("log_softmax, one masked", ag_log_softmax, NUMBERS(1, -inf, 1), NUMBERS(1, 5, 3),
               NUMBERS(-ln2, -inf, -ln2), NUMBERS(-1, 0, 1));
    check_edge("log_softmax, infinite adjoint of what is masked", ag_log_softmax, NUMBERS(1, -inf, 1),
               NUMBERS(1, inf, 3), NUMBERS(-ln2, -inf, -ln2), NUMBERS(-1, 0, 1));
    check_edge("log_softmax, all masked", ag_log_softmax, NUMBERS(-inf, -inf, -inf), NUMBERS(1, 2, 3),
               NUMBERS(-inf, -inf, -inf), NUMBERS(0, 0, 0));
    check_edge("log_softmax of large numbers", ag_log_softmax, NUMBERS(1e10, 1e10, 1e10 - 1), NUMBERS(0, 0, 0),
               NUMBERS(-log(2 + exp(-1)), -log(2 + exp(-1)), -1 - log(2 + exp(-1))), NUMBERS(0, 0, 0));
    check_edge("log_softmax of a low probability", ag_log_softmax, NUMBERS(0, -1000, -2000), NUMBERS(0, 1, 0),
               NUMBERS(0, -1000, -2000), NUMBERS(-1, 1, 0));
    check_edge("log_softmax of NaN", ag_log_softmax, NUMBERS(1, NAN, 1), NUMBERS(1, 1, 1), NUMBERS(NAN, NAN, NAN),
               NUMBERS(NAN, NAN, NAN));
}

static void losses_at_edges(void **state) {
    (void)state;
    const double inf = INFINITY, ln2 = 0.69314718055994530942;
    const struct {
        const char *name;
        double x[3], q[3]; /* a label, or probabilities */
        double loss, g[3];
    } cases[] = {
        {"plain", {1, 1, -inf}, {0, 1, 0}, ln2, {0.5, -0.5, 0}},
        {"label masked", {1, 1, -inf}, {0, 0, 1}, inf, {0, 0, 0}},
        {"all masked", {-inf, -inf, -inf}, {0, 0, 1}, inf, {0, 0, 0}},
        {"certain", {800, 0, -inf}, {1, 0, 0}, 0, {0, 0, 0}},
        {"certain and wrong", {800, 0, -inf}, {0, 1, 0}, 800, {1, -1, 0}},
        {"two infinite", {inf, 0, inf}, {1, 0, 0}, ln2, {-0.5, 0, 0.5}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        for (int soft = 0; soft < 2; soft++) {
            if (soft && k >= 5) continue; /* softmax's convention has no logarithm for it */
            ag_tape *t = ag_tape_new(AG_F64);
            int64_t label = cases[k].q[0] == 1 ? 0 : cases[k].q[1] == 1 ? 1 : 2;
            ag_var x = ag_tensor(t, cases[k].x, AG_SHAPE(3)), q = ag_constant_tensor(t, cases[k].q, AG_SHAPE(3)), g;
            ag_var y = soft ? ag_cross_entropy_soft(x, q) : ag_cross_entropy(x, &label);
            double swept[3];
            check_fine(cases[k].name, t);
            assert_true(number_error(ag_value(y), cases[k].loss) < 1e-14);
            ag_backward(y);
            ag_read_grad(x, swept);
            check_numbers(cases[k].name, "swept", swept, cases[k].g, 3, 1e-14);
            ag_gradient(y, &x, 1, &g);
            check_values(cases[k].name, g, AG_SHAPE(3), cases[k].g, 1e-14);
            for (int i = 0; i < 3; i++) {
                double direction[3] = {0};
                direction[i] = 1;
                ag_var v = ag_constant_tensor(t, direction, AG_SHAPE(3)), d;
                ag_jvp(&y, 1, &x, &v, 1, &d);
                assert_true(number_error(ag_value(d), cases[k].g[i]) < 1e-14);
            }
            ag_tape_free(t);
        }
    }
}

/* Infinite adjoints stop where the partial is 0. */
static void infinite_adjoints_of_losses(void **state) {
    (void)state;
    const struct {
        double x[3], q[3], g[3];
    } cases[] = {
        {{1, 1, -INFINITY}, {0, 1, 0}, {INFINITY, -INFINITY, 0}},
        {{800, 0, -INFINITY}, {1, 0, 0}, {0, 0, 0}},
        {{1, 1, -INFINITY}, {0, 0, 1}, {0, 0, 0}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        for (int soft = 0; soft < 2; soft++) {
            ag_tape *t = ag_tape_new(AG_F64);
            int64_t label = cases[k].q[0] == 1 ? 0 : cases[k].q[1] == 1 ? 1 : 2;
            ag_var x = ag_tensor(t, cases[k].x, AG_SHAPE(3)), q = ag_tensor(t, cases[k].q, AG_SHAPE(3)), g[2];
            ag_var y = soft ? ag_cross_entropy_soft(x, q) : ag_cross_entropy(x, &label), w = ag_num(INFINITY);
            ag_var both[] = {x, q};
            double swept[3], recorded[3];
            ag_sweep(&y, &w, 1, AG_RESET);
            ag_read_grad(x, swept);
            check_numbers("infinite adjoint", "swept", swept, cases[k].g, 3, 0);
            ag_vjp(&y, &w, 1, both, 2, g);
            check_values("infinite adjoint", g[0], AG_SHAPE(3), cases[k].g, 0);
            ag_read_grad(q, swept);
            ag_read(g[1], recorded);
            check_numbers("infinite adjoint", "targets", swept, recorded, 3, 0);
            ag_tape_free(t);
        }
    }
}

/* Targets that are exactly 0 and 1, and a masked class that nobody asks for. */
static void targets_of_zero(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, NUMBERS(0, 0, -INFINITY), AG_SHAPE(3)), q = ag_tensor(t, NUMBERS(0.5, 0.5, 0), AG_SHAPE(3));
    ag_var y = ag_cross_entropy_soft(x, q), both[] = {x, q}, g[2];
    const double ln2 = 0.69314718055994530942;
    double swept[3];
    assert_true(fabs(ag_value(y) - ln2) < 1e-15);
    ag_backward(y);
    ag_read_grad(x, swept);
    check_numbers("logits", "swept", swept, NUMBERS(0, 0, 0), 3, 1e-15);
    ag_read_grad(q, swept);
    check_numbers("targets", "swept", swept, NUMBERS(ln2, ln2, INFINITY), 3, 1e-15);
    ag_gradient(y, both, 2, g);
    check_values("logits", g[0], AG_SHAPE(3), NUMBERS(0, 0, 0), 1e-15);
    check_values("targets", g[1], AG_SHAPE(3), NUMBERS(ln2, ln2, INFINITY), 1e-15);
    ag_tape_free(t);
}

/* ---- long rows, whose adjoints go in several blocks, against the recorded derivative ---- */

static void long_rows(void **state) {
    (void)state;
    for (int64_t n = 500; n < 1600; n += 523) {
        for (int axis = 0; axis < 2; axis++) {
            for (int which = 0; which < 4; which++) {
                ag_tape *t = ag_tape_new(AG_F64);
                ag_shape s = axis ? AG_SHAPE(2, n) : AG_SHAPE(n, 2);
                ag_var x = random_tensor(t, s, -3, 3), w = random_tensor(t, s, -1, 1), q = random_tensor(t, s, 0, 1), y,
                       g;
                int64_t *labels = calloc((size_t)n, sizeof *labels);
                assert_non_null(labels);
                if (which == 0) y = ag_softmax(x, axis);
                else if (which == 1) y = ag_log_softmax(x, axis);
                else if (which == 2) y = ag_cross_entropy(x, labels);
                else y = ag_cross_entropy_soft(x, q);
                ag_var loss = ag_sum(which < 2 ? ag_mul(y, w) : y);
                ag_backward(loss);
                double *swept = new_numbers(2 * n);
                ag_read_grad(x, swept);
                ag_gradient(loss, &x, 1, &g);
                check_values("long rows", g, s, swept, 1e-13);
                free(swept);
                free(labels);
                ag_tape_free(t);
            }
        }
    }
}

/* ---- errors ---- */

static void errors(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(2, 3)), s = ag_input(t, 1), q = counting_tensor(t, AG_SHAPE(2, 4));
    const int64_t labels[] = {2, 3}, negative[] = {-1, 0};
    check_failure(t, ag_softmax(x, 2), AG_ERR_SHAPE, "softmax: axis 2 of a tensor of shape (2, 3), which has 2 axes");
    check_failure(t, ag_log_softmax(s, 0), AG_ERR_SHAPE,
                  "log_softmax: axis 0 of a tensor of shape (), which has 0 axes");
    check_failure(t, ag_cross_entropy(x, labels), AG_ERR_VALUE,
                  "cross_entropy: label 3 of row 1 is not one of 3 classes (0..2)");
    check_failure(t, ag_cross_entropy(x, negative), AG_ERR_VALUE,
                  "cross_entropy: label -1 of row 0 is not one of 3 classes (0..2)");
    check_failure(t, ag_cross_entropy(x, NULL), AG_ERR_VALUE, "cross_entropy: no labels for 2 rows");
    check_failure(t, ag_cross_entropy(s, labels), AG_ERR_SHAPE,
                  "cross_entropy: logits are a scalar, not one for each class");
    check_failure(t, ag_cross_entropy_soft(x, q), AG_ERR_SHAPE,
                  "cross_entropy_soft: logits have shape (2, 3), probabilities (2, 4)");
    check_failure(t, ag_cross_entropy_soft(s, s), AG_ERR_SHAPE,
                  "cross_entropy_soft: logits are a scalar, not one for each class");
    check_failure(t, ag_cross_entropy_soft(x, ag_num(1)), AG_ERR_SHAPE,
                  "cross_entropy_soft: logits have shape (2, 3), probabilities ()");
    assert_int_equal(ag_tape_status(t), AG_OK);
    ag_fail(t, AG_ERR_VALUE, "stop");
    assert_true(ag_is_inert(ag_softmax(x, 0)) && ag_is_inert(ag_cross_entropy(x, labels)));
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_match_naive_loops),
        cmocka_unit_test(cross_entropies_match_softmax),
        cmocka_unit_test(softmax_derivatives_agree),
        cmocka_unit_test(cross_entropy_derivatives_agree),
        cmocka_unit_test(used_twice),
        cmocka_unit_test(infinite_adjoints_of_losses),
        cmocka_unit_test(masked_entries),
        cmocka_unit_test(losses_at_edges),
        cmocka_unit_test(targets_of_zero),
        cmocka_unit_test(long_rows),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
