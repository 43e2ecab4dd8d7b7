/* Programs in files: what is loaded is what was saved; whatever is damaged is an error with a sentence. */
#include "program_files.h"

#include <malloc.h>

/* ---- programs ---- */

static void everything(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    static const int64_t index[] = {2, 0, 1, 2}, labels[] = {1, 0, 2};
    (void)t, (void)context;
    ag_var a = x[0], b = x[1], sum = ag_num(0);
    ag_var all[] = {ag_matmul(a, ag_transpose(b)),
                    ag_gather(a, 0, index, 4),
                    ag_scatter_add(ag_gather(a, 1, index, 4), 1, index, 5),
                    ag_concat((ag_var[]){a, b, ag_transpose(a)}, 3, 0),
                    ag_pad(a, 1, 1, 2),
                    ag_tril(a, 0),
                    ag_triu(a, 1),
                    ag_softmax(a, 1),
                    ag_log_softmax(a, 0),
                    ag_cumsum(b, 1),
                    ag_logsumexp_over(a, AG_AXES(0), true),
                    ag_norm_over(a, AG_AXES(1), false),
                    ag_prod_over(a, AG_AXES(1), false),
                    ag_max_over(a, AG_AXES(1), false),
                    ag_min_over(a, AG_AXES(0), false),
                    ag_argmax(a, 1),
                    ag_cross_entropy(a, labels),
                    ag_cross_entropy_soft(a, ag_softmax(b, -1)),
                    ag_solve(a, b),
                    ag_solve_triangular(a, ag_index(b, 0, 0), true),
                    ag_inverse(a),
                    ag_cholesky(ag_matmul(a, ag_transpose(a))),
                    ag_mul(ag_constant_tensor(t, (double[]){1, NAN, INFINITY}, AG_SHAPE(3)), a),
                    ag_select(ag_lt(a, 0.1), -0.0, ag_detach(b))};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) y[1 + k] = all[k];
    for (size_t k = 0; k < 22; k++) sum = ag_add(sum, ag_sum(all[k]));
    y[0] = ag_add(sum, ag_add(ag_det(a), ag_logdet(b)));
}
enum { OUTPUTS = 25 };

static ag_program *trace(ag_type type) {
    ag_port in[] = {ag_in("a", AG_SHAPE(3, 3)), ag_in("b", AG_SHAPE(3, 3))};
    ag_program *p = ag_program_trace(type, everything, NULL, in, 2, NULL, OUTPUTS);
    if (ag_program_status(p) != AG_OK) fail_msg("%s", ag_program_message(p));
    return p;
}

/* ---- there and back ---- */

static void equal(void **unused) {
    (void)unused;
    there_and_back(trace(AG_F64));
    there_and_back(trace(AG_F32));
    ag_program *p = trace(AG_F64), *y = ag_program_select(p, (const int[]){0}, 1);
    there_and_back(ag_program_gradient(y, NULL, 0));
    there_and_back(ag_program_jvp(y, (const int[]){1}, 1));
    ag_program_free(p);
    ag_program_free(y);
}

static void small(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(ag_sin(x[0]), ag_exp(x[1]));
}

static ag_program *trace_small(void) {
    ag_port in[] = {ag_in("x", (ag_shape){.rank = 0}), ag_in("a longer name, of anything", (ag_shape){.rank = 0})};
    return ag_program_trace(AG_F64, small, NULL, in, 2, NULL, 1);
}

static void maps(void **unused) {
    (void)unused;
    ag_along in[] = {AG_EACH, AG_SHARED}, out[] = {AG_SHARED};
    ag_program *p = trace_small(), *m = ag_program_batch(p, 5, in, out);
    there_and_back(ag_program_gradient(m, NULL, 0));
    there_and_back(ag_program_batch(m, 2, NULL, NULL));
    there_and_back(m);
    ag_program_free(p);
}

/* Files may have names twice; programs do not. */
static void names_twice(void **unused) {
    (void)unused;
    ag_port in[] = {ag_in("a", (ag_shape){.rank = 0}), ag_in("b", (ag_shape){.rank = 0})};
    ag_program *p = ag_program_trace(AG_F64, small, NULL, in, 2, NULL, 1), *g = ag_program_gradient(p, NULL, 0);
    const char *first = ag_program_output(g, 1).name;
    strcpy((char *)(uintptr_t)ag_program_output(g, 2).name, first);
    bytes b = saved(g);
    ag_program *q = ag_program_load_bytes(b.at, b.size, NULL, 0);
    assert_int_equal(ag_program_status(q), AG_OK);
    char expected[64];
    snprintf(expected, sizeof expected, "%s_2", first);
    assert_string_equal(ag_program_output(q, 1).name, first);
    assert_string_equal(ag_program_output(q, 2).name, expected);
    free(b.at);
    ag_program_free(q);
    ag_program_free(g);
    ag_program_free(p);
}

/* ---- the user's own ---- */

static bool double_shape(ag_call *call) {
    call->shape = (ag_shape){.rank = 0};
    return true;
}
static bool double_forward(const ag_call *call) {
    *(double *)call->out.data = *(const double *)call->in[0].data * *(const int32_t *)call->params;
    return true;
}
static bool double_adjoint(const ag_call *call) {
    (void)call;
    return true;
}
static bool double_valid(const ag_call *call) {
    return call->n == 1 && call->params_size == 4 && call->in[0].view->rank == 0 &&
           *(const int32_t *)call->params < 100;
}
static const ag_operation times = {.name = "times",
                                   .shape = double_shape,
                                   .forward = double_forward,
                                   .adjoint = double_adjoint,
                                   .valid = double_valid};
static const ag_operation unchecked = {
    .name = "times", .shape = double_shape, .forward = double_forward, .adjoint = double_adjoint};

static void apply_times(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    y[0] = ag_apply(&times, x, 1, context, 4);
}

static void own(void **unused) {
    (void)unused;
    for (int32_t by = 3; by <= 300; by += 297) {
        ag_port in[] = {ag_in("x", (ag_shape){.rank = 0})};
        ag_program *p = ag_program_trace(AG_F64, apply_times, &by, in, 1, NULL, 1);
        bytes b = saved(p);
        const ag_operation *const known[] = {&times}, *const others[] = {&unchecked};
        ag_program *q = ag_program_load_bytes(b.at, b.size, known, 1);
        ag_program *none = ag_program_load_bytes(b.at, b.size, NULL, 0);
        ag_program *wrong = ag_program_load_bytes(b.at, b.size, others, 1);
        assert_int_equal(ag_program_status(q), by < 100 ? AG_OK : AG_ERR_VALUE);
        assert_int_equal(ag_program_status(none), AG_ERR_VALUE);
        assert_non_null(strstr(ag_program_message(none), "there is no operation times"));
        assert_int_equal(ag_program_status(wrong), AG_ERR_VALUE);
        if (by < 100) {
            double x = 1.5, y = 0;
            ag_runner *r = ag_runner_new(q);
            assert_int_equal(ag_run(r, (const double *[]){&x}, (double *[]){&y}), AG_OK);
            assert_true(y == 4.5);
            ag_runner_free(r);
        }
        ag_program_free(p);
        ag_program_free(q);
        ag_program_free(none);
        ag_program_free(wrong);
        free(b.at);
    }
}

/* ---- damage ---- */

static void damaged(void **unused) {
    (void)unused;
    ag_program *p = trace(AG_F64);
    check_damaged(p);
    ag_program_free(p);
}

static void forged(void **unused) {
    (void)unused;
    ag_program *p = trace(AG_F64);
    check_forged(p);
    ag_program_free(p);
}

static void not_programs(void **unused) {
    (void)unused;
    assert_refused("", 0);
    assert_refused("hello, this is some text and no program at all", 46);
    ag_program *p = trace_small(), *bad = ag_program_gradient(p, (const int[]){7}, 1);
    assert_int_not_equal(ag_program_status(bad), AG_OK);
    bytes b = saved(p);
    FILE *out = fmemopen(b.at, b.size, "wb");
    assert_int_not_equal(ag_program_save(bad, out), AG_OK);
    fclose(out);
    FILE *full = fopen("/dev/full", "wb");
    for (int how = 0; full && how < 2; how++) {
        if (how) setvbuf(full, NULL, _IONBF, 0);
        assert_int_equal(ag_program_save(p, full), AG_ERR_FILE);
        assert_int_equal(ag_program_print_c(p, "f", NULL, full).status, AG_ERR_FILE);
        clearerr(full);
    }
    if (full) fclose(full);
    ag_program *folder = ag_program_load(fopen("/", "rb"), NULL, 0);
    assert_int_equal(ag_program_status(folder), AG_ERR_FILE);
    assert_string_equal(ag_program_message(folder), "load: the file cannot be read");
    ag_program_free(folder);
    free(b.at);
    ag_program_free(bad);
    ag_program_free(p);
}

static bool at_most_1_mb(void *context, size_t more) {
    size_t *held = context;
    *held += more;
    return *held <= 1 << 20;
}

static void large_sum(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sum(ag_cumsum(ag_sin(x[0]), 0));
}

/* A few bytes that ask for megabytes. */
static void memory_may_be_bounded(void **state) {
    (void)state;
    const ag_port in = ag_in("x", AG_SHAPE(1 << 22));
    ag_program *p = ag_program_trace(AG_F64, large_sum, NULL, &in, 1, NULL, 1);
    bytes b = saved(p);
    size_t held = 0;
    FILE *file = fmemopen(b.at, b.size, "rb");
    ag_program *q = ag_program_load_with(&(ag_options){.permit = at_most_1_mb, .context = &held}, file, NULL, 0);
    assert_string_equal(ag_program_message(q), "");
    ag_runner *r = ag_runner_new(q);
    assert_int_equal(ag_run(r, (const double *[]){NULL}, (double *[]){NULL}), AG_ERR_MEMORY);
    ag_runner_free(r);
    ag_program_free(q);
    fclose(file);
    file = fmemopen(b.at, b.size, "rb");
    held = 1 << 20;
    q = ag_program_load_with(&(ag_options){.permit = at_most_1_mb, .context = &held}, file, NULL, 0);
    assert_int_equal(ag_program_status(q), AG_ERR_MEMORY);
    ag_program_free(q);
    fclose(file);
    free(b.at);
    ag_program_free(p);
}

/* Parameters are compared and saved byte by byte: none may be what memory held before. */
static void deterministic(void **unused) {
    (void)unused;
    bytes b[2], params[2];
    for (int i = 0; i < 2; i++) {
        mallopt(M_PERTURB, i ? 0x5a : 0xa5); /* what is allocated is full of this */
        ag_program *p = trace(AG_F64);
        ag_program *g = ag_program_gradient(p, NULL, 0);
        b[i] = saved(g);
        params[i] = (bytes){malloc(g->params.count), g->params.count};
        memcpy(params[i].at, ag_pparams_at(g, 0), params[i].size);
        ag_program_free(g);
        ag_program_free(p);
    }
    mallopt(M_PERTURB, 0);
    assert_equal(b[0], b[1]);
    assert_equal(params[0], params[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_may_be_bounded),
        cmocka_unit_test(deterministic),
        cmocka_unit_test(equal),
        cmocka_unit_test(maps),
        cmocka_unit_test(names_twice),
        cmocka_unit_test(own),
        cmocka_unit_test(damaged),
        cmocka_unit_test(forged),
        cmocka_unit_test(not_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
