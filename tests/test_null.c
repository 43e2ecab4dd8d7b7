/* NULL where a pointer is required, and a tape or program that is NULL: an error or nothing, in every public function. */
#include "null_calls.h"

/* What the calls work on. */
static ag_var x, v, m; /* a scalar, (3), (2, 2) */
static ag_program *p;  /* y = sum(a b): a, b (2) */
static ag_program *grow;
static ag_runner *r, *r32;
static ag_compiled *c;
static FILE *sink;
static ag_var out[4];
static const double two[2] = {1, 2};
static double result[4];

static void product(ag_tape *tape, const ag_var *xs, ag_var *ys, void *context) {
    (void)tape, (void)context;
    ys[0] = ag_sum(ag_mul(xs[0], xs[1]));
}

static void half(ag_tape *tape, const ag_var *xs, ag_var *ys, void *context) {
    (void)tape, (void)context;
    ys[0] = ag_mul(xs[0], 0.5);
}

static int open_all(void **state) {
    const ag_port in[2] = {ag_in("a", AG_SHAPE(2)), ag_in("b", AG_SHAPE(2))}, one = ag_in("x", AG_SHAPE(2));
    (void)state;
    t = ag_tape_new(AG_F64);
    x = ag_input(t, 2);
    v = ag_tensor(t, (const double[]){1, 2, 3}, AG_SHAPE(3));
    m = ag_tensor(t, (const double[]){2, 1, 1, 2}, AG_SHAPE(2, 2));
    p = ag_program_trace(AG_F64, product, NULL, in, 2, NULL, 1);
    grow = ag_program_trace(AG_F64, half, NULL, &one, 1, NULL, 1);
    r = ag_runner_new(p);
    ag_program *single = ag_program_trace(AG_F32, product, NULL, in, 2, NULL, 1);
    r32 = ag_runner_new(single);
    ag_program_free(single);
    c = ag_program_compile(p, NULL);
    sink = fopen("/dev/null", "w");
    return sink == NULL || ag_tape_status(t) != AG_OK;
}

static int close_all(void **state) {
    (void)state;
    fclose(sink);
    ag_compiled_free(c);
    ag_runner_free(r);
    ag_runner_free(r32);
    ag_program_free(p);
    ag_program_free(grow);
    ag_tape_free(t);
    return 0;
}

static void program_failed(const char *call, ag_program *q, const char *word) {
    if (ag_program_status(q) == AG_OK) fail_msg("%s is accepted", call);
    if (strstr(ag_program_message(q), word) == NULL) fail_msg("%s: %s", call, ag_program_message(q));
    ag_program_free(q);
}
#define PROGRAM(call, word) (note_call(#call), program_failed(#call, call, word))

static ag_status now;
static void status_failed(const char *call, ag_status status, const char *message, const char *word) {
    if (status == AG_OK) fail_msg("%s is accepted", call);
    if (strstr(message, word) == NULL) fail_msg("%s: %s", call, message);
}
#define RUNNER(call, word) (note_call(#call), now = (call), status_failed(#call, now, ag_runner_message(r), word))
#define SINGLE(call, word) (note_call(#call), now = (call), status_failed(#call, now, ag_runner_message(r32), word))
#define COMPILED(call, word) (note_call(#call), now = (call), status_failed(#call, now, ag_compiled_message(c), word))
#define STATUS(call) (note_call(#call), now = (call), status_failed(#call, now, "", ""))
/* One that has nowhere to say so. */
#define QUIET(call) (note_call(#call), (void)(call))

/* ---- tapes ---- */

static void no_tape(void **state) {
    const ag_mark mark = {0};
    char text[8];
    const int64_t label = 0;
    (void)state;
    QUIET(ag_tape_free(NULL));
    QUIET(ag_tape_clear(NULL));
    QUIET(ag_tape_trim(NULL));
    QUIET(ag_tape_type(NULL));
    assert_int_not_equal(ag_tape_status(NULL), AG_OK);
    assert_non_null(ag_tape_message(NULL));
    QUIET(ag_tape_recover(NULL));
    QUIET(ag_fail(NULL, AG_ERR_VALUE, "nothing"));
    QUIET(ag_pause(NULL));
    QUIET(ag_resume(NULL));
    QUIET(ag_tape_trace(NULL, true));
    QUIET(ag_tape_trace_shapes(NULL));
    QUIET(ag_tape_mark(NULL));
    QUIET(ag_tape_rewind(NULL, mark));
    QUIET(ag_tape_stats(NULL));
    QUIET(ag_tape_held(NULL));
    QUIET(ag_tape_summary(NULL, sink));
    QUIET(ag_dot(NULL, sink));
    assert_false(ag_find_nan(NULL, mark, text, sizeof text));
    assert_true(ag_is_inert(ag_input(NULL, 1)));
    assert_true(ag_is_inert(ag_constant(NULL, 1)));
    assert_true(ag_is_inert(ag_tensor(NULL, two, AG_SHAPE(2))));
    assert_true(ag_is_inert(ag_constant_tensor_f32(NULL, NULL, AG_SHAPE(2))));
    assert_true(ag_is_inert(ag_full(NULL, 1, AG_SHAPE(2))));
    assert_true(ag_is_inert(ag_eye(NULL, 2)));
    assert_true(ag_is_inert(ag_arange(NULL, 0, 1, 2)));
    assert_true(ag_is_inert(ag_one_hot(NULL, &label, 1, 2)));
    assert_true(ag_is_inert(ag_random_uniform(NULL, AG_SHAPE(2), 1, ag_num(0))));
    assert_true(ag_is_inert(ag_random_normal(NULL, AG_SHAPE(2), 1, ag_num(0))));
}

static ag_var first(ag_tape *tape, const ag_var *xs, int n, void *context) {
    (void)tape, (void)n, (void)context;
    return xs[0];
}

static void report_failed(const char *call, ag_report report) {
    if (report.status == AG_OK || strstr(report.message, "NULL") == NULL) fail_msg("%s: %s", call, report.message);
}
#define REPORT(call) (note_call(#call), report_failed(#call, call))

static void tapes_arrays_and_files(void **state) {
    const char *volatile no_format = NULL;
    ag_tape *defaults = ag_tape_new_with(NULL);
    (void)state;
    assert_int_equal(ag_tape_status(defaults), AG_OK);
    ag_tape_free(defaults);
    QUIET(ag_fail(t, AG_ERR_VALUE, no_format, 1));
    TAPE(0, "");
    QUIET(ag_tape_summary(t, NULL));
    assert_false(ag_dot(t, NULL));
    assert_false(ag_find_nan(t, ag_tape_mark(t), NULL, 8));
    TAPE(ag_tensor(t, two, ag_make_shape_(2, NULL)), "shape");
    TAPE(ag_sum_over(v, ag_make_axes_(2, NULL), false), "axes");
    QUIET(ag_set(v, NULL)); /* zeros */
    check_read("set to nothing", v, (const double[]){0, 0, 0});
    QUIET(ag_set_f32(v, NULL));
    TAPE(ag_read(v, NULL), "NULL");
    TAPE(ag_read_f32(v, NULL), "NULL");
    TAPE(ag_read_grad(v, NULL), "NULL");
    TAPE(ag_read_grad_f32(v, NULL), "NULL");
    QUIET(ag_read(ag_num(1), NULL));
    QUIET(ag_read_grad(ag_num(1), NULL));
    QUIET(ag_name(x, NULL));
    TAPE(ag_one_hot(t, NULL, 2, 3), "NULL");
    REPORT(ag_check_gradient(NULL, NULL, &x, 1, 0));
    REPORT(ag_check_gradient(first, NULL, NULL, 1, 0));
    QUIET(ag_report_write(NULL, sink));
    QUIET(ag_report_write(&(ag_report){.holds = true}, NULL));
}

static bool shape_of_one(ag_call *call) {
    call->shape = (ag_shape){0};
    return true;
}
static bool forward_of_one(const ag_call *call) {
    ag_fail(call->tape, AG_ERR_VALUE, "not to be called");
    return false;
}

static void operations(void **state) {
    const ag_operation none = {.name = "none"}, no_name = {.shape = shape_of_one, .forward = forward_of_one},
                       no_forward = {.name = "half", .shape = shape_of_one},
                       whole = {.name = "whole", .shape = shape_of_one, .forward = forward_of_one};
    (void)state;
    TAPE(ag_cross_entropy(m, NULL), "no labels");
    TAPE(ag_gather(v, 0, NULL, 2), "NULL");
    TAPE(ag_scatter_add(v, 0, NULL, 2), "NULL");
    QUIET(ag_concat(NULL, 2, 0));
    QUIET(ag_stack(NULL, 2, 0));
    TAPE(ag_apply(NULL, &x, 1, NULL, 0), "NULL");
    QUIET(ag_apply(&none, NULL, 1, NULL, 0));
    TAPE(ag_apply(&none, &x, 1, NULL, 0), "none");
    TAPE(ag_apply(&no_forward, &x, 1, NULL, 0), "half");
    TAPE(ag_apply(&no_name, &x, 1, NULL, 0), "");
    TAPE(ag_apply(&whole, &x, 1, NULL, 8), "8 bytes of parameters at NULL");
    QUIET(ag_parallel(2, NULL, NULL));
    QUIET(ag_parallel_long(2, NULL, NULL));
}

static void derivatives(void **state) {
    const ag_var one = ag_num(1);
    (void)state;
    QUIET(ag_sweep(NULL, NULL, 1, AG_RESET));
    TAPE(ag_gradient(x, NULL, 1, out), "NULL");
    TAPE(ag_gradient(x, &x, 1, NULL), "NULL");
    QUIET(ag_vjp(NULL, &one, 1, &x, 1, out));
    TAPE(ag_vjp(&x, NULL, 1, &x, 1, out), "NULL");
    TAPE(ag_vjp(&x, &one, 1, NULL, 1, out), "NULL");
    TAPE(ag_vjp(&x, &one, 1, &x, 1, NULL), "NULL");
    QUIET(ag_jvp(NULL, 1, &x, &one, 1, out));
    TAPE(ag_jvp(&x, 1, NULL, &one, 1, out), "NULL");
    TAPE(ag_jvp(&x, 1, &x, NULL, 1, out), "NULL");
    TAPE(ag_jvp(&x, 1, &x, &one, 1, NULL), "NULL");
}

/* ---- programs ---- */

static void no_program(void **state) {
    const ag_var two_of[2] = {ag_constant(t, 1), ag_constant(t, 2)};
    ag_sparsity *s = NULL;
    (void)state;
    QUIET(ag_program_free(NULL));
    assert_int_not_equal(ag_program_status(NULL), AG_OK);
    assert_non_null(ag_program_message(NULL));
    QUIET(ag_program_type(NULL));
    QUIET(ag_program_inputs(NULL));
    QUIET(ag_program_outputs(NULL));
    QUIET(ag_program_input(NULL, 0));
    QUIET(ag_program_output(NULL, 0));
    QUIET(ag_program_size(NULL));
    QUIET(ag_program_list(NULL, sink));
    QUIET(ag_program_dot(NULL, sink));
    PROGRAM(ag_program_gradient(NULL, NULL, 0), "NULL");
    PROGRAM(ag_program_vjp(NULL, NULL, 0), "NULL");
    PROGRAM(ag_program_forward(NULL, NULL, 0), "NULL");
    PROGRAM(ag_program_back(NULL, NULL, 0), "NULL");
    PROGRAM(ag_program_jvp(NULL, NULL, 0), "NULL");
    PROGRAM(ag_program_hvp(NULL, NULL, 0), "NULL");
    PROGRAM(ag_program_jacobian(NULL, 0, 0), "NULL");
    PROGRAM(ag_program_hessian(NULL, 0), "NULL");
    PROGRAM(ag_program_select(NULL, NULL, 0), "NULL");
    PROGRAM(ag_program_sparse_jacobian(NULL, 0, 0, &s), "NULL");
    ag_sparsity_free(s);
    PROGRAM(ag_program_sparse_hessian(NULL, 0, &s), "NULL");
    ag_sparsity_free(s);
    QUIET(ag_sparsity_free(NULL));
    QUIET(ag_sparsity_free(ag_program_jacobian_sparsity(NULL, 0, 0)));
    QUIET(ag_sparsity_free(ag_program_hessian_sparsity(NULL, 0)));
    TAPE(ag_program_call(t, NULL, two_of, out), "NULL");
    TAPE(ag_program_apply(t, NULL, two_of, out), "NULL");
    TAPE(ag_map(t, NULL, 2, two_of, NULL, NULL, out), "NULL");
    PROGRAM(ag_program_batch(NULL, 2, NULL, NULL), "NULL");
    TAPE(ag_scan(t, NULL, 2, 1, two_of, NULL, NULL, out), "NULL");
    TAPE(ag_root(t, NULL, two_of, NULL), "NULL");
    TAPE(ag_fixed_point(t, NULL, two_of, NULL), "NULL");
    ag_runner *none = ag_runner_new(NULL);
    STATUS(ag_run(none, NULL, NULL));
    assert_non_null(strstr(ag_runner_message(none), "NULL"));
    ag_runner_free(none);
    ag_printed printed = ag_program_print_c(NULL, "f", NULL, sink);
    assert_int_not_equal(printed.status, AG_OK);
    ag_compiled *compiled = ag_program_compile(NULL, NULL);
    assert_int_not_equal(ag_compiled_status(compiled), AG_OK);
    STATUS(ag_compiled_run(compiled, NULL, NULL));
    ag_compiled_free(compiled);
    STATUS(ag_program_save(NULL, sink));
}

static void no_tape_for_programs(void **state) {
    const ag_var xs[2] = {m, m};
    (void)state;
    QUIET(ag_program_call(NULL, p, xs, out));
    QUIET(ag_program_apply(NULL, p, xs, out));
    QUIET(ag_map(NULL, p, 2, xs, NULL, NULL, out));
    QUIET(ag_scan(NULL, grow, 2, 1, xs, NULL, NULL, out));
    QUIET(ag_root(NULL, grow, xs, NULL));
    QUIET(ag_fixed_point(NULL, grow, xs, NULL));
    QUIET(ag_guard(x, NULL));
    QUIET(ag_guard(ag_num(1), NULL));
}

static void arrays_of_programs(void **state) {
    const ag_port in[2] = {ag_in("a", AG_SHAPE(2)), ag_in("b", AG_SHAPE(2))};
    const ag_var xs[2] = {m, m}, ab[2] = {ag_index(m, 0, 0), ag_index(m, 0, 1)};
    const ag_operation *const missing[1] = {NULL}, nameless = {.shape = shape_of_one, .forward = forward_of_one},
                              *const unnamed[1] = {&nameless};
    (void)state;
    PROGRAM(ag_program_trace(AG_F64, NULL, NULL, in, 2, NULL, 1), "NULL");
    PROGRAM(ag_program_trace(AG_F64, product, NULL, NULL, 2, NULL, 1), "NULL");
    PROGRAM(ag_program_freeze(NULL, NULL, 1, &x, NULL, 1), "NULL");
    PROGRAM(ag_program_freeze(&x, NULL, 1, NULL, NULL, 1), "NULL");
    QUIET(ag_program_list(p, NULL));
    QUIET(ag_program_dot(p, NULL));
    PROGRAM(ag_program_gradient(p, NULL, 1), "NULL");
    PROGRAM(ag_program_select(p, NULL, 1), "NULL");
    TAPE(ag_program_call(t, p, NULL, out), "NULL");
    TAPE(ag_program_call(t, p, ab, NULL), "NULL");
    TAPE(ag_program_apply(t, p, NULL, out), "NULL");
    TAPE(ag_program_apply(t, p, ab, NULL), "NULL");
    TAPE(ag_map(t, p, 2, NULL, NULL, NULL, out), "NULL");
    TAPE(ag_map(t, p, 2, xs, NULL, NULL, NULL), "NULL");
    TAPE(ag_scan(t, grow, 2, 1, NULL, NULL, NULL, out), "NULL");
    TAPE(ag_scan(t, grow, 2, 1, ab, NULL, NULL, NULL), "NULL");
    TAPE(ag_root(t, grow, NULL, NULL), "NULL");
    TAPE(ag_fixed_point(t, grow, NULL, NULL), "NULL");
    PROGRAM(ag_program_load(NULL, NULL, 0), "NULL");
    PROGRAM(ag_program_load_with(NULL, NULL, NULL, 0), "NULL");
    PROGRAM(ag_program_load_bytes(NULL, 100, NULL, 0), "NULL");
    PROGRAM(ag_program_load_bytes("", 1, NULL, 1), "NULL");
    PROGRAM(ag_program_load_bytes("", 1, missing, 1), "NULL");
    PROGRAM(ag_program_load_bytes("", 1, unnamed, 1), "name");
    STATUS(ag_program_save(p, NULL));
}

static void runs(void **state) {
    const double *const xs[2] = {two, two}, *const gap[2] = {two, NULL};
    const float numbers[2] = {1, 2}, *const xs32[2] = {numbers, numbers}, *const gap32[2] = {NULL, numbers};
    float result32[4];
    const ag_column columns[2] = {ag_each(two), ag_each(two)}, no_data[2] = {ag_each(two), ag_each(NULL)},
                    to = ag_each(result);
    (void)state;
    QUIET(ag_runner_free(NULL));
    assert_non_null(ag_runner_message(NULL));
    STATUS(ag_run(NULL, xs, (double *const[]){result}));
    STATUS(ag_run_f32(NULL, xs32, (float *const[]){result32}));
    STATUS(ag_run_rows(NULL, 1, columns, &to));
    RUNNER(ag_run(r, NULL, (double *const[]){result}), "NULL");
    RUNNER(ag_run(r, xs, NULL), "NULL");
    RUNNER(ag_run(r, gap, (double *const[]){result}), "input b has no data");
    RUNNER(ag_run_rows(r, 1, NULL, &to), "NULL");
    RUNNER(ag_run_rows(r, 1, columns, NULL), "NULL");
    RUNNER(ag_run_rows(r, 1, no_data, &to), "input b has no data");
    SINGLE(ag_run_f32(r32, NULL, (float *const[]){result32}), "NULL");
    SINGLE(ag_run_f32(r32, xs32, NULL), "NULL");
    SINGLE(ag_run_f32(r32, gap32, (float *const[]){result32}), "input a has no data");
    assert_int_equal(ag_run(r, xs, (double *const[]){result}), AG_OK);
    assert_int_equal(ag_run(r, xs, (double *const[]){NULL}), AG_OK);
    QUIET(ag_compiled_free(NULL));
    assert_int_not_equal(ag_compiled_status(NULL), AG_OK);
    assert_non_null(ag_compiled_message(NULL));
    STATUS(ag_compiled_run(NULL, xs, (double *const[]){result}));
    STATUS(ag_compiled_run_f32(NULL, xs32, (float *const[]){result32}));
    STATUS(ag_compiled_run_rows(NULL, 1, columns, &to));
    COMPILED(ag_compiled_run(c, NULL, (double *const[]){result}), "NULL");
    COMPILED(ag_compiled_run(c, xs, NULL), "NULL");
    COMPILED(ag_compiled_run(c, gap, (double *const[]){result}), "input b has no data");
    COMPILED(ag_compiled_run_f32(c, NULL, NULL), "");
    COMPILED(ag_compiled_run_rows(c, 1, NULL, &to), "NULL");
    COMPILED(ag_compiled_run_rows(c, 1, columns, NULL), "NULL");
    COMPILED(ag_compiled_run_rows(c, 1, no_data, &to), "input b has no data");
    assert_int_equal(ag_compiled_run(c, xs, (double *const[]){NULL}), AG_OK);
}

static void printing(void **state) {
    (void)state;
    ag_printed printed = ag_program_print_c(p, "f", NULL, NULL);
    assert_int_equal(printed.status, AG_ERR_VALUE);
    assert_non_null(strstr(printed.message, "NULL"));
    printed = ag_program_print_c(p, NULL, NULL, sink);
    assert_int_equal(printed.status, AG_OK);
    assert_string_equal(printed.name, "program");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_tape),
        cmocka_unit_test(tapes_arrays_and_files),
        cmocka_unit_test(operations),
        cmocka_unit_test(derivatives),
        cmocka_unit_test(no_program),
        cmocka_unit_test(no_tape_for_programs),
        cmocka_unit_test(arrays_of_programs),
        cmocka_unit_test(runs),
        cmocka_unit_test(printing),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
