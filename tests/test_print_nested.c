/* Programs in programs as C: maps, scans, roots and fixed points are loops; and what fails when a printed function runs is
 * said in the same words as by the machine, never a wrong number. */
#include "nested_programs.h"
#include "printed.h"

/* ---- guards ---- */

/* Runs p where its first input is x and all others 1, as C and by the machine, which have to agree in everything. */
static ag_status run_both(const char *what, const ag_program *p, ag_compiled *c, double x) {
    data d = open_data(p);
    ag_type type = ag_program_type(p);
    for (int k = 0; k < ag_program_inputs(p); k++)
        for (int64_t i = 0; i < count_of(ag_program_input(p, k).shape); i++)
            ag_store(type, (void *)(uintptr_t)d.xs[k], i, k ? 1 : x);
    ag_runner *r = ag_runner_new(p);
    const double *const *xs = (const double *const *)(void *)d.xs;
    const float *const *fs = (const float *const *)(void *)d.xs;
    ag_status right =
        type == AG_F64 ? ag_run(r, xs, (double *const *)(void *)d.ys) : ag_run_f32(r, fs, (float *const *)(void *)d.ys);
    ag_status got = type == AG_F64 ? ag_compiled_run(c, xs, (double *const *)(void *)d.zs)
                                   : ag_compiled_run_f32(c, fs, (float *const *)(void *)d.zs);
    assert_int_equal(got, right);
    assert_string_equal(ag_compiled_message(c), right == AG_OK ? "" : ag_runner_message(r));
    if (right == AG_OK) assert_same(what, p, &d);
    ag_runner_free(r);
    close_data(p, &d);
    return right;
}

/* Takes the program: it runs at `fine`, and not at `wrong`; nor in between does an error stay. */
static void check_guarded(const char *what, ag_program *p, double fine, double wrong, ag_status status) {
    if (ag_program_status(p) != AG_OK) fail_msg("%s: %s", what, ag_program_message(p));
    print_too(what, p, NULL, true);
    if (have_compiler) {
        ag_compiled *c = ag_program_compile(p, &(ag_compile_options){.cache = folder, .flags = quick});
        if (ag_compiled_status(c) != AG_OK) fail_msg("%s: %s", what, ag_compiled_message(c));
        assert_int_equal(run_both(what, p, c, fine), AG_OK);
        assert_int_equal(run_both(what, p, c, wrong), status);
        assert_int_equal(run_both(what, p, c, fine), AG_OK);
        ag_compiled_free(c);
    }
    ag_program_free(p);
}

static void guards(void **unused) {
    (void)unused;
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_program *p = branching_at((ag_type)type, 3), *q = branching_at((ag_type)type, -3);
        check_guarded("gradient", ag_program_gradient(p, NULL, 0), 2, -1.5, AG_ERR_GUARD);
        check_guarded("gradient", ag_program_gradient(q, NULL, 0), -2, 1.5, AG_ERR_GUARD);
        check("no rows", ag_program_batch(p, 0, NULL, (ag_along[]){AG_SHARED}));
        check_guarded("map", ag_program_batch(p, 5, NULL, NULL), 2, -1.5, AG_ERR_GUARD);
        check_guarded("map", ag_program_batch(p, 5, (ag_along[]){AG_EACH, AG_SHARED}, (ag_along[]){AG_SHARED}), 2, -1.5,
                      AG_ERR_GUARD);
        ag_program_free(p);
        ag_program_free(q);
    }
    check_guarded("guards", many(3), 0.75, 0.25, AG_ERR_GUARD);
    check_guarded("guards", many(3), 0.75, 5.5, AG_ERR_GUARD);
    check_guarded("parts", many(4000), 0.75, 0.25, AG_ERR_GUARD);
}

/* What a caller of the printed source is told. */
static void comment(void **unused) {
    char *text = NULL;
    size_t size = 0;
    (void)unused;
    ag_program *p = branching_at(AG_F64, 3);
    FILE *out = open_memstream(&text, &size);
    ag_printed printed = ag_program_print_c(p, "f", &(ag_c_options){.rows = true}, out);
    fclose(out);
    assert_int_equal(printed.status, AG_OK);
    assert_int_equal(printed.checks, 1);
    assert_non_null(strstr(text,
                           " * Returns 0; or, and then what is written is not valid, the number of what went wrong:\n"
                           " *   1: \"x < 0 *_ or __\" is true, and was false when the program was recorded\n"));
    assert_non_null(strstr(text, "\nint f(double x, double w, double *restrict y0) {\n"
                                 "    const double v3 = x < 0.0 ? 1.0 : 0.0;\n    if (v3 != 0) return 1;\n"));
    assert_non_null(strstr(text, "\nlong f_rows(long rows,"));
    free(text);
    ag_program_free(p);
}

static void empty_at(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_guard(ag_lt(x[0], 0), "negative") ? x[0] : ag_slice(ag_expand(x[0], AG_SHAPE(2)), 0, 0, 0, 1);
}

/* Takes the program, in which nothing fails, as no guard in it is ever run: its C gives nothing back. */
static void check_unguarded(const char *what, ag_program *p) {
    char *text = NULL;
    size_t size = 0;
    if (ag_program_status(p) != AG_OK) fail_msg("%s: %s", what, ag_program_message(p));
    FILE *out = open_memstream(&text, &size);
    ag_printed printed = ag_program_print_c(p, "f", NULL, out);
    fclose(out);
    assert_int_equal(printed.status, AG_OK);
    assert_int_equal(printed.checks, 0);
    assert_null(strstr(text, "Returns"));
    assert_non_null(strstr(text, "\nvoid f("));
    free(text);
    if (have_compiler) {
        ag_compiled *c = ag_program_compile(p, &(ag_compile_options){.cache = folder, .flags = quick});
        if (ag_compiled_status(c) != AG_OK) fail_msg("%s: %s", what, ag_compiled_message(c));
        assert_int_equal(run_both(what, p, c, -1), AG_OK);
        ag_compiled_free(c);
    }
    ag_program_free(p);
}

static void scan_nothing(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const ag_program *step = context;
    ag_scan(t, step, 0, 1, (ag_var[]){x[0], ag_zeros(t, AG_SHAPE(0))}, NULL, NULL, y);
}

static void guards_that_nothing_runs(void **unused) {
    (void)unused;
    const double example = 3;
    ag_port in[] = {{"x", {0}, &example}};
    ag_program *p = branching_at(AG_F64, 3), *e = ag_program_trace(AG_F64, empty_at, NULL, in, 1, NULL, 1);
    ag_program *shared = ag_program_batch(p, 4, NULL, (ag_along[]){AG_SHARED});
    check_unguarded("no rows", ag_program_batch(p, 0, NULL, NULL));
    check_unguarded("no rows, summed", ag_program_batch(p, 0, NULL, (ag_along[]){AG_SHARED}));
    check_unguarded("no rows of rows", ag_program_batch(shared, 0, NULL, (ag_along[]){AG_SHARED}));
    check_unguarded("rows of nothing", ag_program_batch(e, 3, NULL, NULL));
    check_unguarded("no steps", ag_program_trace(AG_F64, scan_nothing, p, in, 1, NULL, 1));
    ag_program_free(shared);
    ag_program_free(e);
    ag_program_free(p);
}

static void guarded_rows(void **unused) {
    enum { ROWS = 300 };
    (void)unused;
    if (!have_compiler) skip();
    ag_program *p = branching_at(AG_F64, 3), *g = ag_program_gradient(p, NULL, 0);
    ag_compiled *c = ag_program_compile(g, &(ag_compile_options){.cache = folder, .flags = quick});
    ag_runner *r = ag_runner_new(g);
    double x[ROWS], w = 2, y[2][ROWS], dx[2][ROWS], dw[2];
    static const int64_t rows[] = {0, 1, 2, 64, 65, ROWS};
    for (int wrong = -1; wrong < ROWS; wrong += wrong < 2 ? 1 : 97)
        for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
            ag_status status[2];
            for (int i = 0; i < ROWS; i++) x[i] = i == wrong ? -1 : 1 + i % 5;
            for (int k = 0; k < 2; k++) {
                ag_column xs[] = {ag_each(x), ag_shared(&w)}, ys[] = {ag_each(y[k]), ag_each(dx[k]), ag_shared(&dw[k])};
                status[k] = k ? ag_compiled_run_rows(c, rows[n], xs, ys) : ag_run_rows(r, rows[n], xs, ys);
            }
            assert_int_equal(status[0], wrong >= 0 && wrong < rows[n] ? AG_ERR_GUARD : AG_OK);
            assert_int_equal(status[1], status[0]);
            assert_string_equal(ag_compiled_message(c), ag_runner_message(r));
            if (status[0] != AG_OK) continue;
            assert_true(difference(AG_F64, dw[0], dw[1]) < 1e-13);
            for (int i = 0; i < rows[n]; i++)
                assert_true(difference(AG_F64, y[0][i], y[1][i]) < 1e-14 &&
                            difference(AG_F64, dx[0][i], dx[1][i]) < 1e-14);
        }
    ag_column none[] = {ag_each(NULL), ag_shared(&w)}, ys[] = {ag_each(NULL), ag_each(NULL), ag_shared(NULL)};
    assert_int_equal(ag_compiled_run_rows(c, 3, none, ys), ag_run_rows(r, 3, none, ys));
    assert_string_equal(ag_compiled_message(c), ag_runner_message(r));
    assert_int_equal(ag_compiled_run_rows(c, -1, none, ys), ag_run_rows(r, -1, none, ys));
    assert_string_equal(ag_compiled_message(c), ag_runner_message(r));
    ag_runner_free(r);
    ag_compiled_free(c);
    ag_program_free(g);
    ag_program_free(p);
}

/* ---- scans ---- */

static void check_scan(int kind, ag_program *p, ag_program *first) {
    check("scan", ag_program_select(p, (int[]){0, 1, 2}, 3));
    check("gradient of a scan", ag_program_gradient(p, NULL, 0));
    if (kind <= BACKWARDS) check("HVP of a scan", ag_program_hvp(first, (int[]){0, 3}, 2));
    if (kind == BACKWARDS) check("batch of a scan", ag_program_batch(p, 3, NULL, NULL));
}

static void scans(void **unused) {
    (void)unused;
    each_scan(check_scan);
}

static void guards_in_scans(void **unused) {
    (void)unused;
    ag_program *p = trace_guarded_scan();
    check_guarded("guard in a scan", ag_program_gradient(p, NULL, 0), 1.5, 6, AG_ERR_GUARD);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    check_guarded("guard in a map", ag_program_batch(g, 4, NULL, NULL), 1.5, 6, AG_ERR_GUARD);
    ag_program_free(g);
    ag_program_free(p);
}

/* ---- roots ---- */

static void roots(void **unused) {
    (void)unused;
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_program *f = trace_residual((ag_type)type, SCALAR_ROOT),
                   *g = trace_residual((ag_type)type, SCALAR_FIXED_POINT),
                   *h = trace_residual((ag_type)type, VECTOR_FIXED_POINT);
        solving all[] = {{f, false, {0, 0}}, {g, true, {0, 0}}, {h, true, {1e-4, 0}}};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            ag_program *p = trace_root((ag_type)type, &all[i]);
            check_guarded("root", ag_program_select(p, (int[]){0}, 1), 0.7, NAN, AG_ERR_CONVERGENCE);
            if (i < 2)
                check_guarded("gradient of a root", ag_program_gradient(p, NULL, 0), 0.7, INFINITY, AG_ERR_CONVERGENCE);
            ag_program_free(p);
        }
        solving few = {f, false, {0, 2}};
        check_guarded("root", trace_root((ag_type)type, &few), 0.625, 50, AG_ERR_CONVERGENCE);
        ag_program_free(f);
        ag_program_free(g);
        ag_program_free(h);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guards),       cmocka_unit_test(comment), cmocka_unit_test(guards_that_nothing_runs),
        cmocka_unit_test(guarded_rows), cmocka_unit_test(scans),   cmocka_unit_test(guards_in_scans),
        cmocka_unit_test(roots),        cmocka_unit_test(clean),
    };
    return cmocka_run_group_tests(tests, open_printed, close_folder);
}
