/* Programs with tensors of no elements, printed as C: they compile without a warning and equal the machine. */
#include "printed.h"

enum { MOST_INPUTS = 6 };

/* A function of inputs some of which have no elements. */
typedef struct empty_case {
    const char *name;
    ag_var (*f)(ag_tape *t, const ag_var *x);
    int n;
    ag_shape in[MOST_INPUTS];
} empty_case;

#define EMPTY(name, expression)                                                                                        \
    static ag_var name(ag_tape *t, const ag_var *x) {                                                                  \
        (void)t, (void)x;                                                                                              \
        return expression;                                                                                             \
    }
#define OVER AG_AXES(0)
#define JOIN(...) ((ag_var[]){__VA_ARGS__})
static const int64_t no_labels[] = {0}, labels[] = {0, 0};

EMPTY(elementwise, ag_fma(ag_sin(x[0]), x[1], ag_select(ag_gt(x[0], x[2]), x[1], x[2])))
EMPTY(broadcast, ag_add(ag_exp(x[0]), ag_at(ag_tanh(x[1]), 1)))
EMPTY(of_a_scalar, ag_mul(x[0], ag_exp(ag_exp(x[1]))))
EMPTY(of_a_computed_tensor, ag_mul(ag_unsqueeze(x[0], 1), ag_cumsum(ag_exp(x[1]), 0)))
EMPTY(sum, ag_sum_over(ag_exp(x[0]), OVER, false))
EMPTY(mean, ag_mean_over(ag_exp(x[0]), OVER, false))
EMPTY(product, ag_prod_over(ag_exp(x[0]), OVER, false))
EMPTY(norm, ag_norm_over(ag_exp(x[0]), OVER, false))
EMPTY(logsumexp, ag_logsumexp_over(ag_exp(x[0]), OVER, false))
EMPTY(most, ag_max_over(ag_exp(x[0]), OVER, false))
EMPTY(softmax, ag_softmax(ag_exp(x[0]), 0))
EMPTY(log_softmax, ag_log_softmax(ag_exp(x[0]), 1))
EMPTY(cumsum, ag_cumsum(ag_exp(x[0]), 0))
EMPTY(argmax, ag_argmax(ag_exp(x[0]), 1))
EMPTY(matmul, ag_matmul(ag_exp(x[0]), ag_exp(x[1])))
EMPTY(linear, ag_linear(ag_exp(x[0]), ag_exp(x[1]), ag_exp(x[2]), ag_num(0)))
EMPTY(activated, ag_linear_activated(ag_exp(x[0]), ag_exp(x[1]), ag_exp(x[2]), AG_TANH))
EMPTY(vdot, ag_vdot(ag_exp(x[0]), ag_exp(x[1])))
EMPTY(outer, ag_outer(ag_exp(x[0]), ag_exp(x[1])))
EMPTY(trace, ag_trace(ag_exp(x[0])))
EMPTY(entropy, ag_cross_entropy(ag_exp(x[0]), no_labels))
EMPTY(entropy_at, ag_cross_entropy_at(ag_exp(x[0]), ag_exp(x[1])))
EMPTY(entropy_soft, ag_cross_entropy_soft(ag_exp(x[0]), ag_softmax(x[1], 1)))
EMPTY(gather, ag_gather(ag_exp(x[0]), 0, labels, 0))
EMPTY(gather_of_none, ag_gather(ag_exp(x[0]), 1, labels, 2))
EMPTY(scatter, ag_scatter_add(ag_exp(x[0]), 0, labels, 4))
EMPTY(gather_at, ag_gather_at(ag_exp(x[0]), 0, ag_exp(x[1])))
EMPTY(scatter_at, ag_scatter_add_at(ag_exp(x[0]), 0, ag_exp(x[1]), 4))
EMPTY(concat, ag_concat(JOIN(ag_exp(x[0]), ag_exp(x[1])), 2, 0))
EMPTY(pad, ag_pad(ag_exp(x[0]), 0, 1, 2))
EMPTY(tile, ag_tile(ag_exp(x[0]), 0, 3))
EMPTY(tile_none, ag_tile(ag_exp(x[0]), 0, 0))
EMPTY(tril, ag_tril(ag_exp(x[0]), 0))
EMPTY(slice, ag_sum(ag_slice(ag_exp(x[0]), 0, 1, 1, 1)))
EMPTY(solve, ag_solve(ag_exp(x[0]), ag_exp(x[1])))
EMPTY(triangular, ag_solve_triangular(ag_exp(x[0]), ag_exp(x[1]), true))
EMPTY(inverse, ag_inverse(ag_exp(x[0])))
EMPTY(determinant, ag_det(ag_exp(x[0])))
EMPTY(logarithm, ag_logdet(ag_exp(x[0])))
EMPTY(cholesky, ag_cholesky(ag_exp(x[0])))
EMPTY(layer_norm, ag_layer_norm(ag_exp(x[0]), 1, ag_exp(x[1]), ag_exp(x[2]), 1e-5))
EMPTY(rms_norm, ag_rms_norm(ag_exp(x[0]), 1, ag_exp(x[1]), 1e-5))
EMPTY(batch_norm, ag_batch_norm(ag_exp(x[0]), ag_exp(x[1]), ag_exp(x[2]), 1e-5))
EMPTY(attention, ag_attention(ag_exp(x[0]), ag_exp(x[1]), ag_exp(x[2]), (ag_attention_options){0}))
EMPTY(dropout, ag_dropout(ag_exp(x[0]), 0.5, 7, ag_exp(x[1])))
EMPTY(uniform, ag_random_uniform(t, AG_SHAPE(0, 2), 7, ag_exp(x[0])))
EMPTY(normal, ag_random_normal(t, AG_SHAPE(0, 2), 7, ag_exp(x[0])))
EMPTY(conv2d, ag_conv2d(ag_exp(x[0]), ag_exp(x[1]), (ag_conv_options){0}))
EMPTY(conv_transpose, ag_conv_transpose2d(ag_exp(x[0]), ag_exp(x[1]), (ag_conv_options){0}))
EMPTY(max_pool, ag_max_pool2d(ag_exp(x[0]), (ag_pool_options){.kernel = {2, 2}}))
EMPTY(avg_pool, ag_avg_pool2d(ag_exp(x[0]), (ag_pool_options){.kernel = {2, 2}}))
EMPTY(lstm, ag_lstm(ag_exp(x[0]), ag_exp(x[1]), ag_exp(x[2]), ag_exp(x[3]), ag_num(0), false))
EMPTY(constant, ag_mul(x[0], ag_zeros(t, AG_SHAPE(0))))
EMPTY(of_constants, ag_concat(JOIN(ag_exp(x[0]), ag_mul(ag_arange(t, 0, 1, 3), 2), ag_zeros(t, AG_SHAPE(0))), 3, 0))

#define D0                                                                                                             \
    {                                                                                                                  \
        0, { 0 }                                                                                                       \
    }
#define D1(a)                                                                                                          \
    {                                                                                                                  \
        1, { a }                                                                                                       \
    }
#define D2(a, b)                                                                                                       \
    {                                                                                                                  \
        2, { a, b }                                                                                                    \
    }
#define D3(a, b, c)                                                                                                    \
    {                                                                                                                  \
        3, { a, b, c }                                                                                                 \
    }
#define D4(a, b, c, d)                                                                                                 \
    {                                                                                                                  \
        4, { a, b, c, d }                                                                                              \
    }
static const empty_case cases[] = {
    {"elementwise", elementwise, 3, {D2(0, 3), D2(0, 3), D1(3)}},
    {"broadcast", broadcast, 2, {D2(0, 3), D1(3)}},
    {"of a scalar", of_a_scalar, 2, {D1(0), D0}},
    {"of a computed tensor", of_a_computed_tensor, 2, {D1(0), D1(3)}},
    {"sum", sum, 1, {D2(0, 3)}},
    {"sum", sum, 1, {D2(3, 0)}},
    {"sum", sum, 1, {D1(0)}},
    {"mean", mean, 1, {D2(3, 0)}},
    {"product", product, 1, {D2(0, 3)}},
    {"norm", norm, 1, {D2(0, 3)}},
    {"logsumexp", logsumexp, 1, {D2(0, 3)}},
    {"max", most, 1, {D2(3, 0)}},
    {"softmax", softmax, 1, {D2(3, 0)}},
    {"softmax", softmax, 1, {D2(0, 3)}},
    {"log_softmax", log_softmax, 1, {D2(3, 0)}},
    {"log_softmax", log_softmax, 1, {D2(0, 3)}},
    {"cumsum", cumsum, 1, {D2(0, 3)}},
    {"argmax", argmax, 1, {D2(0, 3)}},
    {"matmul", matmul, 2, {D2(3, 0), D2(0, 2)}},
    {"matmul", matmul, 2, {D2(0, 3), D2(3, 2)}},
    {"matmul", matmul, 2, {D2(2, 3), D2(3, 0)}},
    {"matmul", matmul, 2, {D1(0), D2(0, 2)}},
    {"matmul", matmul, 2, {D3(0, 2, 3), D2(3, 2)}},
    {"linear", linear, 3, {D2(0, 3), D2(2, 3), D1(2)}},
    {"linear", linear, 3, {D2(4, 0), D2(2, 0), D1(2)}},
    {"linear", linear, 3, {D2(4, 3), D2(0, 3), D1(0)}},
    {"activated", activated, 3, {D2(0, 3), D2(2, 3), D1(2)}},
    {"activated", activated, 3, {D2(4, 0), D2(2, 0), D1(2)}},
    {"vdot", vdot, 2, {D1(0), D1(0)}},
    {"outer", outer, 2, {D1(0), D1(3)}},
    {"trace", trace, 1, {D2(0, 0)}},
    {"entropy", entropy, 1, {D2(0, 3)}},
    {"entropy_at", entropy_at, 2, {D2(0, 3), D1(0)}},
    {"entropy_soft", entropy_soft, 2, {D2(0, 3), D2(0, 3)}},
    {"gather", gather, 1, {D2(3, 2)}},
    {"gather of none", gather_of_none, 1, {D2(0, 3)}},
    {"scatter", scatter, 1, {D2(2, 0)}},
    {"gather_at", gather_at, 2, {D2(3, 2), D1(0)}},
    {"gather_at", gather_at, 2, {D2(3, 0), D1(2)}},
    {"scatter_at", scatter_at, 2, {D2(0, 2), D1(0)}},
    {"concat", concat, 2, {D2(0, 2), D2(3, 2)}},
    {"concat", concat, 2, {D2(0, 2), D2(0, 2)}},
    {"pad", pad, 1, {D2(0, 2)}},
    {"tile", tile, 1, {D2(0, 2)}},
    {"tile", tile, 1, {D2(2, 0)}},
    {"tile none", tile_none, 1, {D2(2, 3)}},
    {"tril", tril, 1, {D2(0, 3)}},
    {"slice", slice, 1, {D2(3, 2)}},
    {"solve", solve, 2, {D2(0, 0), D1(0)}},
    {"solve", solve, 2, {D2(2, 2), D2(2, 0)}},
    {"triangular", triangular, 2, {D2(2, 2), D2(2, 0)}},
    {"inverse", inverse, 1, {D2(0, 0)}},
    {"inverse", inverse, 1, {D3(0, 2, 2)}},
    {"determinant", determinant, 1, {D2(0, 0)}},
    {"determinant", determinant, 1, {D3(0, 2, 2)}},
    {"logarithm", logarithm, 1, {D2(0, 0)}},
    {"cholesky", cholesky, 1, {D2(0, 0)}},
    {"layer_norm", layer_norm, 3, {D2(0, 3), D1(3), D1(3)}},
    {"rms_norm", rms_norm, 2, {D2(0, 3), D1(3)}},
    {"batch_norm", batch_norm, 3, {D2(3, 0), D1(0), D1(0)}},
    {"attention", attention, 3, {D4(2, 0, 1, 3), D4(2, 4, 1, 3), D4(2, 4, 1, 2)}},
    {"attention", attention, 3, {D4(2, 3, 1, 2), D4(2, 0, 1, 2), D4(2, 0, 1, 2)}},
    {"attention", attention, 3, {D4(2, 3, 1, 2), D4(2, 4, 1, 2), D4(2, 4, 1, 0)}},
    {"dropout", dropout, 2, {D2(0, 2), D0}},
    {"uniform", uniform, 1, {D0}},
    {"normal", normal, 1, {D0}},
    {"conv2d", conv2d, 2, {D4(0, 1, 3, 3), D4(2, 1, 2, 2)}},
    {"conv2d", conv2d, 2, {D4(2, 0, 3, 3), D4(2, 0, 2, 2)}},
    {"conv2d", conv2d, 2, {D4(2, 1, 3, 3), D4(0, 1, 2, 2)}},
    {"conv_transpose", conv_transpose, 2, {D4(0, 1, 3, 3), D4(1, 1, 2, 2)}},
    {"max_pool", max_pool, 1, {D4(0, 1, 4, 4)}},
    {"avg_pool", avg_pool, 1, {D4(0, 1, 4, 4)}},
    {"lstm", lstm, 4, {D3(0, 2, 4), D2(4, 1), D2(2, 1), D2(2, 1)}},
    {"lstm", lstm, 4, {D3(3, 0, 4), D2(4, 1), D2(0, 1), D2(0, 1)}},
    {"lstm", lstm, 4, {D3(3, 2, 0), D2(0, 0), D2(2, 0), D2(2, 0)}},
    {"constant", constant, 1, {D1(0)}},
    {"of constants", of_constants, 1, {D1(0)}},
};

enum { CASES = sizeof cases / sizeof *cases };

/* The result, and what else is made of it: something that is used, and a scalar. */
static void record_case(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const empty_case *c = context;
    y[1] = c->f(t, x);
    y[0] = ag_add(ag_sum(ag_square(y[1])), 1.0);
    y[2] = ag_sin(y[1]);
}

static ag_program *trace_case(ag_type type, const empty_case *c) {
    ag_port in[MOST_INPUTS];
    for (int k = 0; k < c->n; k++) in[k] = ag_in(NULL, c->in[k]);
    ag_program *p = ag_program_trace(type, record_case, (void *)(uintptr_t)c, in, c->n, NULL, 3);
    if (ag_program_status(p) != AG_OK) print_error("%s: %s\n", c->name, ag_program_message(p));
    return p;
}

static void print_derived(const char *name, ag_program *p) {
    print_too(name, p, NULL, true);
    ag_program_free(p);
}

static void printed(void **unused) {
    (void)unused;
    for (int i = 0; i < CASES; i++) {
        ag_program *p = trace_case(i % 2 ? AG_F64 : AG_F32, &cases[i]);
        ag_program *batch = ag_program_batch(p, i % 3, NULL, NULL);
        print_derived(cases[i].name, ag_program_gradient(p, NULL, 0));
        print_derived(cases[i].name, ag_program_jvp(p, NULL, 0));
        print_derived(cases[i].name, ag_program_vjp(batch, NULL, 0));
        print_derived(cases[i].name, batch);
        print_derived(cases[i].name, p);
    }
}

/* Some cases as one program, so that it is compiled once. */
enum { GROUP = 7 };

static void record_group(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const empty_case *first = context;
    for (int k = 0, at = 0; k < GROUP && first + k < cases + CASES; at += first[k++].n) y[k] = first[k].f(t, x + at);
}

static void compiled(void **unused) {
    (void)unused;
    for (int i = 0; i < CASES; i += GROUP) {
        ag_port in[GROUP * MOST_INPUTS];
        int n = 0, count = CASES - i < GROUP ? CASES - i : GROUP;
        for (int k = 0; k < count; k++)
            for (int j = 0; j < cases[i + k].n; j++) in[n++] = ag_in(NULL, cases[i + k].in[j]);
        ag_program *p = ag_program_trace(AG_F64, record_group, (void *)(uintptr_t)&cases[i], in, n, NULL, count);
        check(cases[i].name, ag_program_vjp(p, NULL, 0));
        ag_program_free(p);
    }
}

/* A map with a guard is there though it has no rows. */
static void guarded(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_guard(ag_lt(x[0], 5.0), NULL) ? ag_sin(x[0]) : x[0];
}

static void guarded_by_none(void **unused) {
    (void)unused;
    double x = 1;
    ag_port in = {"x", {0}, &x};
    ag_program *p = ag_program_trace(AG_F64, guarded, NULL, &in, 1, NULL, 1);
    check("guarded", ag_program_batch(p, 0, NULL, NULL));
    ag_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printed),
        cmocka_unit_test(compiled),
        cmocka_unit_test(guarded_by_none),
        cmocka_unit_test(clean),
    };
    return cmocka_run_group_tests(tests, open_printed, close_folder);
}
