/* Pooling: values and adjoints of every option against naive loops, edges, derivatives by every route, errors. */
#include "operation_suite.h"

typedef struct pool_case {
    int64_t size[2];
    ag_pool_options o;
    int64_t out[2]; /* as PyTorch has it */
} pool_case;

static const pool_case CASES[] = {
    {{6, 8}, {.kernel = {2, 2}}, {3, 4}},
    {{7, 5}, {.kernel = {2, 2}}, {3, 2}},
    {{28, 28}, {.kernel = {2, 2}}, {14, 14}},
    {{7, 5}, {.kernel = {2, 2}, .ceil_mode = true}, {4, 3}},
    {{7, 8}, {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}}, {4, 4}},
    {{7, 8}, {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}, .ceil_mode = true}, {4, 5}},
    {{7, 8}, {.kernel = {3, 2}, .stride = {1, 3}, .padding = {0, 1}, .exclude_padding = true}, {5, 3}},
    {{6, 5}, {.kernel = {2, 2}, .stride = {3, 3}, .padding = {1, 1}, .ceil_mode = true}, {3, 2}},
    {{5, 6}, {.kernel = {5, 6}}, {1, 1}},
    {{9, 9}, {.kernel = {3, 3}, .stride = {1, 2}, .padding = {1, 0}, .dilation = {2, 3}}, {7, 2}},
    {{1, 1}, {.kernel = {1, 1}}, {1, 1}},
    {{6, 80}, {.kernel = {2, 2}}, {3, 40}},
    {{3, 300}, {.kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1}}, {3, 300}},
    {{5, 301}, {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}}, {3, 151}},
    {{4, 299}, {.kernel = {2, 4}, .stride = {2, 3}}, {2, 99}},
    {{3, 31}, {.kernel = {1, 4}, .stride = {1, 2}, .padding = {0, 2}, .ceil_mode = true}, {3, 17}},
    {{2, 2}, {.kernel = {3, 3}, .stride = {2, 2}, .ceil_mode = true}, {1, 1}}, /* no window is whole */
    {{3, 9}, {.kernel = {4, 3}, .stride = {3, 2}, .ceil_mode = true}, {1, 4}},
    {{20, 2}, {.kernel = {3, 4}, .stride = {2, 3}, .ceil_mode = true, .exclude_padding = true}, {10, 1}},
    {{3, 3}, {.kernel = {2, 2}, .stride = {2, 2}, .dilation = {3, 1}, .ceil_mode = true}, {1, 2}},
};
enum { CASES_COUNT = sizeof CASES / sizeof *CASES, PLANES = 3 };

static int64_t or_else(int64_t n, int64_t other) { return n ? n : other; }

/* One window by definition: the place of its greatest element, its sum and what that is divided by. */
static void naive_window(const pool_case *c, int64_t oy, int64_t ox, const double *x, int64_t *best, double *sum,
                         int64_t *count) {
    int64_t start[2], o[2] = {oy, ox}, inside = 0, padded = 0;
    *best = -1, *sum = 0;
    for (int a = 0; a < 2; a++) start[a] = o[a] * or_else(c->o.stride[a], c->o.kernel[a]) - c->o.padding[a];
    for (int64_t i = 0; i < c->o.kernel[0]; i++)
        for (int64_t j = 0; j < c->o.kernel[1]; j++) {
            int64_t y = start[0] + i * or_else(c->o.dilation[0], 1), z = start[1] + j * or_else(c->o.dilation[1], 1);
            if (y < c->size[0] + c->o.padding[0] && z < c->size[1] + c->o.padding[1]) padded++;
            if (y < 0 || y >= c->size[0] || z < 0 || z >= c->size[1]) continue;
            inside++;
            *sum += x[y * c->size[1] + z];
            if (*best < 0 || x[y * c->size[1] + z] > x[*best]) *best = y * c->size[1] + z;
        }
    *count = c->o.exclude_padding ? inside : padded;
}

static void check_case(const char *label, ag_type type, const pool_case *c, bool mean) {
    ag_tape *t = ag_tape_new(type);
    int64_t area = c->size[0] * c->size[1], out = c->out[0] * c->out[1];
    ag_shape sx = AG_SHAPE(1, PLANES, c->size[0], c->size[1]), sy = AG_SHAPE(1, PLANES, c->out[0], c->out[1]);
    ag_var x = random_tensor(t, sx, -1, 1), u = random_tensor(t, sy, -1, 1);
    double *dx = new_numbers(PLANES * area), *du = new_numbers(PLANES * out), *got = new_numbers(PLANES * area);
    double *want = new_numbers(PLANES * out), *g = new_numbers(PLANES * area);
    ag_read(x, dx);
    ag_read(u, du);
    for (int64_t p = 0; p < PLANES; p++)
        for (int64_t o = 0; o < out; o++) {
            int64_t best, count;
            double sum;
            naive_window(c, o / c->out[1], o % c->out[1], dx + p * area, &best, &sum, &count);
            want[p * out + o] = mean ? sum / (double)count : best < 0 ? -INFINITY : dx[p * area + best];
            if (!mean) g[p * area + best] += du[p * out + o];
            for (int64_t i = 0; mean && i < area; i++) { /* is i in the window? */
                static double one[100 * 100];
                one[i] = 1;
                naive_window(c, o / c->out[1], o % c->out[1], one, &best, &sum, &count);
                g[p * area + i] += sum / (double)count * du[p * out + o];
                one[i] = 0;
            }
        }
    double tolerance = type == AG_F64 ? 1e-14 : 1e-6;
    ag_var y = mean ? ag_avg_pool2d(x, c->o) : ag_max_pool2d(x, c->o);
    check_values(label, y, sy, want, tolerance);
    ag_sweep(&y, &u, 1, AG_RESET);
    ag_read_grad(x, got);
    check_numbers(label, "adjoint", got, g, PLANES * area, tolerance);
    ag_sweep(&y, &u, 1, AG_ACCUMULATE);
    ag_read_grad(x, got);
    for (int64_t i = 0; i < PLANES * area; i++) g[i] *= 2;
    check_numbers(label, "adjoint, twice", got, g, PLANES * area, tolerance);
    free(dx), free(du), free(got), free(want), free(g);
    ag_tape_free(t);
}

static void values(void **unused) {
    (void)unused;
    for (int i = 0; i < CASES_COUNT; i++)
        for (int k = 0; k < 4; k++) {
            char label[48];
            bool mean = k & 2, dilated = CASES[i].o.dilation[0] > 1;
            if (mean && dilated) continue;
            snprintf(label, sizeof label, "%s, case %d, %s", mean ? "mean" : "max", i, k & 1 ? "f32" : "f64");
            check_case(label, k & 1 ? AG_F32 : AG_F64, &CASES[i], mean);
        }
}

static void adaptive(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(5, 7)), line = counting_tensor(t, AG_SHAPE(2, 5));
    check_values("adaptive max", ag_adaptive_max_pool2d(x, 2, 3), AG_SHAPE(2, 3), (double[]){16, 18, 20, 30, 32, 34},
                 0);
    check_values("adaptive mean", ag_adaptive_avg_pool2d(x, 1, 1), AG_SHAPE(1, 1), (double[]){17}, 1e-15);
    check_values("adaptive mean", ag_adaptive_avg_pool2d(x, 2, 3), AG_SHAPE(2, 3), (double[]){8, 10, 12, 22, 24, 26},
                 1e-15);
    check_values("more than there are", ag_adaptive_avg_pool1d(line, 7), AG_SHAPE(2, 7),
                 (double[]){0, 0.5, 1.5, 2, 2.5, 3.5, 4, 5, 5.5, 6.5, 7, 7.5, 8.5, 9}, 1e-15);
    check_values("in one dimension", ag_adaptive_max_pool1d(line, 2), AG_SHAPE(2, 2), (double[]){2, 4, 7, 9}, 0);
    ag_pool_options o = {.kernel = {2}, .stride = {1}, .padding = {1}};
    check_values("max_pool1d", ag_max_pool1d(line, o), AG_SHAPE(2, 6), (double[]){0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 9},
                 0);
    check_values("avg_pool1d", ag_avg_pool1d(line, o), AG_SHAPE(2, 6),
                 (double[]){0, 0.5, 1.5, 2.5, 3.5, 2, 2.5, 5.5, 6.5, 7.5, 8.5, 4.5}, 1e-15);
    ag_tape_free(t);
}

/* Of equals the first; of several NaN the last, as it is greater than all; a window of -inf has a place, too. */
static void edges(void **unused) {
    (void)unused;
    static const struct {
        double x[4], y, g[4];
    } all[] = {
        {{1, 1, 1, 1}, 1, {1, 0, 0, 0}},     {{0, 2, 2, 1}, 2, {0, 1, 0, 0}},
        {{0, 1, 2, 2}, 2, {0, 0, 1, 0}},     {{-INFINITY, -INFINITY, -INFINITY, -INFINITY}, -INFINITY, {1, 0, 0, 0}},
        {{0, NAN, 2, 1}, NAN, {0, 1, 0, 0}}, {{NAN, 5, INFINITY, 1}, NAN, {1, 0, 0, 0}},
        {{1, 5, 2, NAN}, NAN, {0, 0, 0, 1}}, {{0.0, -0.0, 0.0, -0.0}, 0, {1, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int k = 0; k < 4; k++) { /* the fast path for 2 x 2, and the other */
            ag_tape *t = ag_tape_new(k & 1 ? AG_F32 : AG_F64);
            ag_var x = ag_tensor(t, all[i].x, AG_SHAPE(1, 2, 2)), g;
            ag_var y = ag_max_pool2d(x, (ag_pool_options){.kernel = {2, 2}, .ceil_mode = k & 2});
            double swept[4];
            check_values("edge", y, AG_SHAPE(1, 1, 1), &all[i].y, 0);
            ag_gradient(ag_sum(y), &x, 1, &g);
            ag_backward(ag_sum(y));
            ag_read_grad(x, swept);
            check_numbers("edge", "swept", swept, all[i].g, 4, 0);
            check_values("edge, recorded", g, AG_SHAPE(1, 2, 2), all[i].g, 0);
            ag_tape_free(t);
        }
}

/* ---- derivatives ---- */

static ag_var max_pool(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_square(ag_max_pool2d(ag_sin(x[0]), *(const ag_pool_options *)context));
}
static ag_var avg_pool(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_square(ag_avg_pool2d(ag_sin(x[0]), *(const ag_pool_options *)context));
}
static ag_var adaptive_pools(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    ag_var a = ag_adaptive_max_pool2d(ag_transpose(x[0]), 2, 2), b = ag_adaptive_avg_pool2d(x[0], 2, 2);
    return ag_add(ag_mul(a, b), ag_sum_over(ag_square(ag_adaptive_avg_pool1d(x[0], 2)), AG_AXES(-2), true));
}
static ag_var one_dimension(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    ag_pool_options o = {.kernel = {2}, .ceil_mode = true};
    return ag_mul(ag_max_pool1d(x[0], o), ag_avg_pool1d(ag_exp(x[0]), o));
}

static void derivatives(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = random_tensor(t, AG_SHAPE(2, 4, 3), -1, 1);
    ag_pool_options twos = {.kernel = {2, 2}},
                    o = {.kernel = {2, 3}, .stride = {2, 1}, .padding = {1, 1}, .ceil_mode = true};
    check_operation("max_pool2d of twos", max_pool, &twos, &x, 1);
    check_operation("max_pool2d", max_pool, &o, &x, 1);
    check_operation("avg_pool2d of twos", avg_pool, &twos, &x, 1);
    if (SHARE == 1) check_operation("avg_pool2d", avg_pool, &o, &x, 1);
    o.exclude_padding = true;
    check_operation("avg_pool2d without padding", avg_pool, &o, &x, 1);
    if (SHARE == 1) check_operation("adaptive", adaptive_pools, NULL, &x, 1);
    check_operation("pooling in one dimension", one_dimension, NULL, &x, 1);
    ag_tape_free(t);
}

/* ---- errors ---- */

static void errors(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(2, 3, 4)), v = counting_tensor(t, AG_SHAPE(4));
    ag_pool_options o = {.kernel = {2, 2}};
    check_failure(t, ag_max_pool2d(v, o), AG_ERR_SHAPE, "max_pool2d: shape (4) has not 2 axes to pool over");
    check_failure(t, ag_avg_pool1d(ag_input(t, 1), o), AG_ERR_SHAPE,
                  "avg_pool1d: shape () has not 1 axes to pool over");
    o = (ag_pool_options){.kernel = {2, 0}};
    check_failure(t, ag_max_pool2d(x, o), AG_ERR_VALUE,
                  "max_pool2d: a horizontal kernel of 0 is outside 1..1073741824");
    o = (ag_pool_options){.kernel = {2, 2}, .stride = {-1, 1}};
    check_failure(t, ag_avg_pool2d(x, o), AG_ERR_VALUE, "avg_pool2d: a vertical stride of -1 is outside 1..1073741824");
    o = (ag_pool_options){.kernel = {3, 3}, .padding = {1, 2}};
    check_failure(t, ag_max_pool2d(x, o), AG_ERR_VALUE, "max_pool2d: a horizontal padding of 2 is outside 0..1");
    o = (ag_pool_options){.kernel = {4, 2}};
    check_failure(t, ag_max_pool2d(x, o), AG_ERR_SHAPE,
                  "max_pool2d: a vertical window of 4 does not fit into shape (2, 3, 4) with a padding of 0");
    o = (ag_pool_options){.kernel = {5, 2}, .stride = {2, 2}, .ceil_mode = true};
    check_failure(t, ag_max_pool2d(x, o), AG_ERR_SHAPE,
                  "max_pool2d: a vertical window of 5 does not fit into shape (2, 3, 4) with a padding of 0");
    o = (ag_pool_options){.kernel = {2, 2}, .dilation = {2, 2}};
    check_failure(t, ag_avg_pool2d(x, o), AG_ERR_VALUE, "avg_pool2d: means have no dilation, not 2");
    check_failure(t, ag_adaptive_max_pool2d(x, 0, 2), AG_ERR_SHAPE,
                  "adaptive_max_pool2d: 0 x 2 results of shape (2, 3, 4)");
    check_failure(t, ag_adaptive_avg_pool1d(ag_zeros(t, AG_SHAPE(2, 0)), 2), AG_ERR_SHAPE,
                  "adaptive_avg_pool1d: 1 x 2 results of shape (2, 0)");
    check_values("no planes", ag_max_pool2d(ag_zeros(t, AG_SHAPE(0, 2, 2)), (ag_pool_options){.kernel = {2, 2}}),
                 AG_SHAPE(0, 1, 1), NULL, 0);
    assert_true(ag_is_inert(ag_max_pool2d(ag_num(1), o)) && ag_is_inert(ag_adaptive_avg_pool1d(ag_num(1), 1)));
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),      cmocka_unit_test(adaptive), cmocka_unit_test(edges),
        cmocka_unit_test(derivatives), cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
