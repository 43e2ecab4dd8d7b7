/* Scans, roots, fixed points, maps and guards in files: what is loaded computes, and derives, what was saved; what is damaged
 * or forged is an error. */
#include "../bench/held.h"
#include "nested_programs.h"
#include "program_files.h"

/* Takes the program: it and its gradient by what was loaded. */
static void with_gradient(ag_program *p) {
    if (ag_program_status(p) != AG_OK) fail_msg("%s", ag_program_message(p));
    bytes b = saved(p);
    ag_program *q = ag_program_load_bytes(b.at, b.size, NULL, 0);
    if (ag_program_status(q) != AG_OK) fail_msg("%s", ag_program_message(q));
    ag_program *g = ag_program_gradient(p, NULL, 0), *h = ag_program_gradient(q, NULL, 0);
    assert_equal(listed(g), listed(h));
    if (ag_program_type(p) == AG_F64) assert_same_numbers(g, h);
    ag_program_free(h);
    ag_program_free(q);
    free(b.at);
    there_and_back(g);
    there_and_back(p);
}

static void scan_there_and_back(int kind, ag_program *p, ag_program *first) {
    (void)kind;
    there_and_back(ag_program_hvp(first, NULL, 0));
    there_and_back(ag_program_batch(first, 3, NULL, NULL));
    with_gradient(ag_program_select(p, (int[]){0, 1, 2}, 3));
}

static void scans(void **unused) {
    (void)unused;
    each_scan(scan_there_and_back);
}

enum { STATE = 32, STEPS = 1000 };

static void large_step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sin(ag_mul(x[0], x[1]));
}

static void large_scan(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const scanning *s = context;
    ag_scan(t, s->step, s->steps, 1, x, (ag_along[]){AG_SHARED, AG_SHARED}, &s->options, y);
    y[0] = ag_sum(y[0]);
}

/* Bytes that the gradient of a scan of many steps holds, of the program itself and of what was loaded. */
static void held_by_gradient(int64_t states, size_t held[2]) {
    const ag_port in[] = {{"h", AG_SHAPE(STATE), NULL}, {"w", {.rank = 0}, NULL}};
    scanning s = {ag_program_trace(AG_F64, large_step, NULL, in, 2, NULL, 1), STEPS, {.states = states}, false};
    ag_program *p[2] = {ag_program_trace(AG_F64, large_scan, &s, in, 2, NULL, 1)};
    bytes b = saved(p[0]);
    p[1] = ag_program_load_bytes(b.at, b.size, NULL, 0);
    double h[STATE], w = 1.5, y, dh[STATE], dw;
    for (int i = 0; i < STATE; i++) h[i] = 0.01 * i;
    for (int k = 0; k < 2; k++) {
        ag_program *g = ag_program_gradient(p[k], NULL, 0);
        ag_runner *r = ag_runner_new(g);
        if (ag_run(r, (const double *[]){h, &w}, (double *[]){&y, dh, &dw}) != AG_OK)
            fail_msg("%s", ag_runner_message(r));
        held[k] = held_by(r, g).bytes;
        ag_runner_free(r);
        ag_program_free(g);
        ag_program_free(p[k]);
    }
    free(b.at);
    ag_program_free(s.step);
}

/* A bound on the states is part of the program: what is loaded keeps it. */
static void few_states(void **unused) {
    size_t all[2], few[2];
    (void)unused;
    held_by_gradient(0, all);
    held_by_gradient(100, few);
    assert_int_equal(all[0], all[1]);
    assert_int_equal(few[0], few[1]);
    print_message("bytes held: %zu, with 100 states %zu\n", all[0], few[0]);
    assert_true(all[1] > STEPS * STATE * sizeof(double));
    assert_true(few[1] < all[1] / 3);
}

static void roots(void **unused) {
    (void)unused;
    for (int type = AG_F64; type <= AG_F32; type++)
        for (int which = 0; which < RESIDUALS; which++) {
            ag_program *f = trace_residual((ag_type)type, which);
            solving s = {f, which != SCALAR_ROOT, {1e-5, 0}};
            with_gradient(trace_root((ag_type)type, &s));
            ag_program_free(f);
        }
}

/* The guards still hold what they held, and say so in the same words. */
static void check_guard(ag_program *p, double wrong) {
    bytes b = saved(p);
    ag_program *q = ag_program_load_bytes(b.at, b.size, NULL, 0);
    double x[64], out[64], *ys[8] = {out, out, out, out, out, out, out, out};
    const double *xs[8] = {x, x, x, x, x, x, x, x};
    for (int i = 0; i < 64; i++) x[i] = wrong;
    ag_runner *r = ag_runner_new(p), *s = ag_runner_new(q);
    assert_int_equal(ag_run(r, xs, ys), AG_ERR_GUARD);
    assert_int_equal(ag_run(s, xs, ys), AG_ERR_GUARD);
    assert_string_equal(ag_runner_message(r), ag_runner_message(s));
    ag_runner_free(r);
    ag_runner_free(s);
    ag_program_free(q);
    free(b.at);
}

static void guards(void **unused) {
    (void)unused;
    ag_program *p = branching_at(AG_F64, 3), *q = many(3), *s = trace_guarded_scan();
    check_guard(p, -1.5);
    check_guard(q, 0.25);
    check_guard(s, 6);
    with_gradient(p);
    ag_program_free(q); /* it does not run at the numbers of there_and_back */
    ag_program *g = ag_program_gradient(s, NULL, 0);
    bytes b = saved(g);
    q = ag_program_load_bytes(b.at, b.size, NULL, 0);
    assert_equal(listed(g), listed(q));
    assert_equal(saved(g), saved(q));
    free(b.at);
    ag_program_free(q);
    ag_program_free(g);
    ag_program_free(s);
}

/* ---- programs in programs ---- */

static void twice(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var once;
    ag_program_apply(t, context, x, &once);
    ag_program_apply(t, context, &once, y);
}

static void half(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(x[0], 0.5);
}

/* A program that runs one twice, that runs one twice, ... `depth` deep. */
static ag_program *tower(int depth) {
    ag_port in[] = {{"x", {.rank = 0}, NULL}};
    ag_program *p = ag_program_trace(AG_F64, half, NULL, in, 1, NULL, 1);
    for (int k = 0; k < depth; k++) {
        ag_program *q = ag_program_trace(AG_F64, twice, p, in, 1, NULL, 1);
        ag_program_free(p);
        p = q;
    }
    return p;
}

/* What is in it many times is there once: the size of a file is that of the program in memory. */
static void shared(void **unused) {
    (void)unused;
    ag_program *p = tower(8), *q = tower(16), *deep = tower(DEEPEST_FILE - 1), *deeper = tower(DEEPEST_FILE);
    bytes b = saved(p), c = saved(q), d = saved(deep), e = saved(deeper);
    assert_true(c.size < 2 * b.size);
    free(b.at);
    free(c.at);
    there_and_back(p);
    ag_program *r = ag_program_load_bytes(d.at, d.size, NULL, 0);
    assert_string_equal(ag_program_message(r), "");
    ag_program_free(r);
    assert_refused(e.at, e.size);
    free(d.at);
    free(e.at);
    ag_program_free(q);
    ag_program_free(deep);
    ag_program_free(deeper);
}

/* A file of version 1: no number in front of an inner program. */
static void version_1(void **unused) {
    static const uint8_t number[4] = {0xff, 0xff, 0xff, 0xff};
    (void)unused;
    ag_program *one = tower(0), *batch = ag_program_batch(one, 3, NULL, NULL);
    bytes b = saved(batch);
    char *at = memmem(b.at + 12, b.size - 12, number, 4);
    assert_non_null(at);
    memmove(at, at + 4, b.size - (size_t)(at - b.at) - 4);
    b.size -= 4;
    b.at[8] = 1;
    put_checksum(b);
    ag_program *q = ag_program_load_bytes(b.at, b.size, NULL, 0);
    assert_string_equal(ag_program_message(q), "");
    assert_equal(saved(batch), saved(q));
    ag_program_free(q);
    static const char versions[] = {0, 3};
    for (int k = 0; k < 2; k++) {
        b.at[8] = versions[k];
        put_checksum(b);
        q = ag_program_load_bytes(b.at, b.size, NULL, 0);
        assert_string_equal(ag_program_message(q), "load: the file is of another version than 1 or 2");
        ag_program_free(q);
    }
    free(b.at);
    ag_program_free(one);
    ag_program_free(batch);
}

/* ---- damage ---- */

static void damaged(void **unused) {
    (void)unused;
    ag_program *one = trace_step(AG_F64), *f = trace_residual(AG_F64, SCALAR_ROOT),
               *g = trace_residual(AG_F64, VECTOR_FIXED_POINT);
    scanning s = {one, 3, {0}, false};
    solving root = {f, false, {0, 0}}, fixed = {g, true, {0, 0}};
    ag_program *scan = trace_scan(AG_F64, &s), *first = ag_program_select(scan, (int[]){0}, 1);
    ag_program *all[] = {ag_program_gradient(first, (int[]){0, 3}, 2),
                         trace_root(AG_F64, &root),
                         trace_root(AG_F64, &fixed),
                         branching_at(AG_F64, 3),
                         trace_guarded_scan(),
                         tower(2)};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_string_equal(ag_program_message(all[i]), "");
        check_damaged(all[i]);
        check_forged(all[i]);
        ag_program_free(all[i]);
    }
    ag_program_free(first);
    ag_program_free(scan);
    ag_program_free(one);
    ag_program_free(f);
    ag_program_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scans),  cmocka_unit_test(few_states), cmocka_unit_test(roots),   cmocka_unit_test(guards),
        cmocka_unit_test(shared), cmocka_unit_test(version_1),  cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
