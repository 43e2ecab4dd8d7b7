/* What every tensor operation has to pass beside check_derivatives: its programs of first and second derivatives in a
 * file and back, damaged there, and printed as C; and each request for memory refused. */
#ifndef OPERATION_SUITE_H
#define OPERATION_SUITE_H

#include "derivatives.h"
#include "folder.h"

/* f(x), its product with fixed weights, and the gradient of that: y[0], y[1], y[2...] */
static UNUSED_OK void suite_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const routes_case *c = context;
    y[1] = routes_weighted(c, t, x, &y[0]);
    ag_gradient(y[1], x, c->n, y + 2);
}

static UNUSED_OK routes_case suite_case(const char *label, ag_function f, void *context, const ag_var *x, int n) {
    routes_case c = {.label = label, .f = f, .context = context, .n = n};
    for (int k = 0; k < n; k++) {
        c.shape[k] = ag_shape_of(x[k]);
        c.start[k + 1] = c.start[k] + ag_count(x[k]);
    }
    c.x = new_numbers(c.start[n]);
    for (int k = 0; k < n; k++) ag_read(x[k], c.x + c.start[k]);
    return c;
}

static UNUSED_OK ag_program *suite_program(const routes_case *c, ag_type type, bool second_order) {
    ag_port in[MOST_INPUTS] = {{0}};
    for (int k = 0; k < c->n; k++) in[k] = (ag_port){.shape = c->shape[k]};
    ag_program *p = ag_program_trace(type, suite_model, (void *)(uintptr_t)c, in, c->n, NULL, 2 + c->n);
    if (ag_program_status(p) != AG_OK) fail_msg("%s: %s", c->label, ag_program_message(p));
    if (!second_order) return p;
    int select[1] = {2};
    ag_program *first = ag_program_select(p, select, 1), *g = ag_program_vjp(first, NULL, 0);
    if (ag_program_status(g) != AG_OK) fail_msg("%s: %s", c->label, ag_program_message(g));
    ag_program_free(first);
    ag_program_free(p);
    return g;
}

/* Numbers for all inputs: the case's, and ones for what derivatives add. */
static UNUSED_OK double *suite_inputs(const routes_case *c, const ag_program *p) {
    int64_t n = port_total(p, false);
    double *x = new_numbers(n);
    for (int64_t i = 0; i < n; i++) x[i] = i < c->start[c->n] ? c->x[i] : 1;
    return x;
}

/* ---- files ---- */

static UNUSED_OK void suite_damage(const routes_case *c, const char *bytes, size_t size) {
    char *copy = malloc(size);
    double *out = new_numbers(4096);
    for (size_t at = 8; at < size; at += size < 4000 ? 1 : size / 4000) {
        memcpy(copy, bytes, size);
        copy[at] = (char)(copy[at] ^ (1 << at % 8));
        ag_program *q = ag_program_load_bytes(copy, size, NULL, 0);
        if (ag_program_status(q) == AG_OK && port_total(q, false) < 4096 && port_total(q, true) < 4096) {
            double *x = suite_inputs(c, q);
            ag_runner *r = ag_runner_new(q);
            const double *xs[16];
            double *ys[16];
            int nx = ag_program_inputs(q), ny = ag_program_outputs(q);
            for (int k = 0; k < nx && k < 16; k++) xs[k] = x;
            for (int k = 0; k < ny && k < 16; k++) ys[k] = out;
            if (nx <= 16 && ny <= 16 && ag_program_type(q) == AG_F64) (void)ag_run(r, xs, ys);
            ag_runner_free(r);
            free(x);
        }
        ag_program_free(q);
    }
    free(copy);
    free(out);
}

static UNUSED_OK void check_files(const char *label, ag_function f, void *context, const ag_var *x, int n) {
    routes_case c = suite_case(label, f, context, x, n);
    for (int second = 0; second < 2; second++) {
        ag_program *p = suite_program(&c, AG_F64, second);
        char *bytes = NULL, *again = NULL;
        size_t size = 0, size_again = 0;
        FILE *out = open_memstream(&bytes, &size);
        assert_int_equal(ag_program_save(p, out), AG_OK);
        fclose(out);
        ag_program *q = ag_program_load_bytes(bytes, size, NULL, 0);
        program_fine(label, "loaded", q);
        out = open_memstream(&again, &size_again);
        assert_int_equal(ag_program_save(q, out), AG_OK);
        fclose(out);
        assert_int_equal(size, size_again);
        assert_memory_equal(bytes, again, size);
        int64_t ny = port_total(p, true);
        double *in = suite_inputs(&c, p), *y = new_numbers(ny), *z = new_numbers(ny);
        run_numbers(label, "saved", p, 0, false, in, y);
        run_numbers(label, "loaded", q, 0, false, in, z);
        assert_memory_equal(y, z, (size_t)ny * sizeof *y);
        if (!second) suite_damage(&c, bytes, size);
        free(in), free(y), free(z), free(bytes), free(again);
        ag_program_free(p);
        ag_program_free(q);
    }
    free(c.x);
}

/* ---- printed as C: for groups with open_folder and close_folder ---- */

static UNUSED_OK void check_printed(const char *label, ag_function f, void *context, const ag_var *x, int n) {
    static const char *const quick[] = {"-O0", "-ffp-contract=off", NULL};
    routes_case c = suite_case(label, f, context, x, n);
    for (int kind = 0; have_compiler && kind < 3; kind++) {
        ag_type type = kind == 1 ? AG_F32 : AG_F64;
        ag_program *p = suite_program(&c, type, kind == 2);
        ag_compiled *compiled = ag_program_compile(p, &(ag_compile_options){.cache = folder, .flags = quick});
        if (ag_compiled_status(compiled) != AG_OK) fail_msg("%s: %s", label, ag_compiled_message(compiled));
        int64_t nx = port_total(p, false), ny = port_total(p, true), at = 0;
        size_t size = ag_type_size(type);
        double *in = suite_inputs(&c, p), *want = new_numbers(ny), *got = new_numbers(ny);
        run_numbers(label, "machine", p, 0, false, in, want);
        char *data = numbers_as(type, in, nx), *results = numbers_as(type, got, ny);
        const void *xs[2 * MOST_INPUTS];
        void *ys[2 * MOST_INPUTS + 2];
        for (int k = 0; k < ag_program_inputs(p); at += shape_count(ag_program_input(p, k++).shape))
            xs[k] = data + (size_t)at * size;
        at = 0;
        for (int k = 0; k < ag_program_outputs(p); at += shape_count(ag_program_output(p, k++).shape))
            ys[k] = results + (size_t)at * size;
        ag_status s =
            type == AG_F64
                ? ag_compiled_run(compiled, (const double *const *)(const void *)xs, (double *const *)(void *)ys)
                : ag_compiled_run_f32(compiled, (const float *const *)(const void *)xs, (float *const *)(void *)ys);
        assert_int_equal(s, AG_OK);
        numbers_from(type, results, ny, got);
        check_numbers(label, "printed", got, want, ny, type == AG_F64 ? 1e-12 : 1e-4);
        free(in), free(want), free(got), free(data), free(results);
        ag_compiled_free(compiled);
        ag_program_free(p);
    }
    free(c.x);
}

/* ---- refused memory ---- */

typedef struct suite_budget {
    int64_t left;
    bool refused;
} suite_budget;

static UNUSED_OK bool suite_permit(void *context, size_t bytes) {
    suite_budget *b = context;
    (void)bytes;
    if (b->left-- > 0) return true;
    b->refused = true;
    return false;
}

/* Value, sweep and recorded gradient with every request after the first `at` refused; whether one was. */
static UNUSED_OK bool suite_refuse(const routes_case *c, int64_t at, double *got, const double *want, int64_t ny) {
    suite_budget b = {.left = at};
    ag_tape *t = ag_tape_new_with(&(ag_options){.permit = suite_permit, .context = &b, .no_reserve = true});
    ag_var x[MOST_INPUTS], y[2 + MOST_INPUTS];
    routes_leaves(c, t, c->x, false, x);
    suite_model(t, x, y, (void *)(uintptr_t)c);
    ag_backward(y[1]);
    if (ag_tape_status(t) == AG_OK) {
        ag_read(y[0], got);
        routes_read_adjoints(c, x, got + ny);
        if (want) check_numbers(c->label, "after refusals", got, want, ny + c->start[c->n], 1e-12);
    } else if (!b.refused || ag_tape_status(t) != AG_ERR_MEMORY || !strstr(ag_tape_message(t), "memory"))
        fail_msg("%s, request %lld refused: %s", c->label, (long long)at, ag_tape_message(t));
    ag_tape_free(t);
    return b.refused;
}

static UNUSED_OK void check_refusals(const char *label, ag_function f, void *context, const ag_var *x, int n) {
    routes_case c = suite_case(label, f, context, x, n);
    routes one = {0};
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var leaves[MOST_INPUTS], y;
    routes_leaves(&c, t, c.x, false, leaves);
    routes_weighted(&c, t, leaves, &y);
    int64_t ny = ag_count(y), at = 0;
    ag_tape_free(t);
    one.value = new_numbers(ny + c.start[n]);
    double *got = new_numbers(ny + c.start[n]);
    assert_false(suite_refuse(&c, INT64_MAX, one.value, NULL, ny));
    while (suite_refuse(&c, at, got, one.value, ny)) at++;
    assert_true(at > 5);
    free(got), free(one.value), free(c.x);
}

/* ---- beside the same from other operations ---- */

/* y is as z: its value, and what a sweep from the seed leaves in each x, once and added to what is there. */
static UNUSED_OK void check_alike(const char *label, ag_var y, ag_var z, ag_var seed, const ag_var *x, int n,
                                  double tolerance) {
    int64_t most = ag_count(z);
    for (int k = 0; k < n; k++) most = ag_count(x[k]) > most ? ag_count(x[k]) : most;
    double *want = new_numbers(most), *got = new_numbers(most);
    ag_read(z, want);
    check_values(label, y, ag_shape_of(z), want, tolerance);
    for (int k = 0; k < n; k++) {
        int64_t m = ag_count(x[k]);
        ag_sweep(&z, &seed, 1, AG_RESET);
        ag_read_grad(x[k], want);
        ag_sweep(&y, &seed, 1, AG_RESET);
        ag_read_grad(x[k], got);
        check_numbers(label, "adjoint", got, want, m, tolerance);
        ag_sweep(&y, &seed, 1, AG_ACCUMULATE);
        ag_read_grad(x[k], got);
        for (int64_t i = 0; i < m; i++) want[i] *= 2;
        check_numbers(label, "adjoint, twice", got, want, m, 2 * tolerance);
    }
    free(want), free(got);
}

/* All of it. */
static UNUSED_OK void check_operation(const char *label, ag_function f, void *context, const ag_var *x, int n) {
    check_derivatives(label, f, context, x, n);
    check_files(label, f, context, x, n);
    check_printed(label, f, context, x, n);
    check_refusals(label, f, context, x, n);
}

#endif
