/* Running out of memory at every point where a program is traced, transformed, planned and run: an error that says so,
 * nothing lost, and with memory again all is well. */
#include "programs.h"

#include <autograd/program/runner_impl.h>

#include "refusals.h"

enum { X = 5, MANY = 70 };

static const double DATA[40] = {0.5, -0.25, 1.5, 0.75, -1.25, 2, 1, -0.5, 0.25, 1.75, -1, 0.125,
                                2.5, 3,     4,   0.1,  0.2,   1, 1, 1,    2,    2,    -2, 0.7};

/* ---- the work ---- */

/* Of x (5) and s: what takes more than 8 operands, own tensors, views, an operation with saved bytes. */
static void model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const int64_t rows[3] = {4, 0, 4};
    (void)context;
    ag_var weights = ag_constant_tensor(t, DATA, AG_SHAPE(5, 3)), many[10];
    ag_var h = ag_tanh(ag_add(ag_matmul(x[0], weights), x[1]));
    for (int i = 0; i < 10; i++) many[i] = ag_mul(ag_at(x[0], i % 5), x[1]);
    ag_var all = ag_concat((ag_var[]){h, ag_gather(x[0], 0, rows, 3), ag_flip(ag_stack(many, 10, 0), 0)}, 3, 0);
    y[0] = ag_add(ag_sum(ag_mul(ag_softmax(all, 0), all)), ag_detach(ag_norm(x[0])));
    y[1] = ag_outer(h, ag_slice(x[0], 0, 1, AG_END, 2));
}

static void row_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(ag_sin(x[0]), x[1]);
    y[1] = ag_add(ag_square(x[0]), x[1]);
}

/* Solves: no scalar form, so rows are run one by one. */
static void solve_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)context;
    ag_var a = ag_add(ag_outer(x[0], x[0]), ag_eye(t, 3));
    y[0] = ag_sum(ag_solve(a, x[0]));
}

static void run_program_(results *r, const ag_program *p) {
    const double *xs[16];
    double *ys[16], out[16][64];
    note_status(r, ag_program_status(p), ag_program_message(p));
    if (ag_program_status(p) != AG_OK) return;
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    assert_true(nx <= 16 && ny <= 16);
    for (int k = 0; k < nx; k++) xs[k] = DATA + k;
    for (int k = 0; k < ny; k++) {
        assert_in_range(shape_count(ag_program_output(p, k).shape), 0, 64);
        ys[k] = k == 1 ? NULL : out[k];
    }
    ag_runner *runner = ag_runner_new(p);
    ag_status status = ag_run(runner, xs, ys);
    note_status(r, status, ag_runner_message(runner));
    for (int k = 0; k < ny && status == AG_OK; k++)
        if (ys[k])
            note_numbers(r, ys[k],
                         shape_count(ag_program_output(p, k).shape) < 8 ? shape_count(ag_program_output(p, k).shape)
                                                                        : 8);
    ag_runner_free(runner);
}

/* 70 rows of inputs that all are DATA, from one row to the next one further. */
static void run_rows(results *r, const ag_program *p) {
    ag_column xs[8], ys[8];
    static double in[8][MANY * 8], out[8][MANY * 8];
    const int64_t index[MANY] = {1, 2, 3};
    note_status(r, ag_program_status(p), ag_program_message(p));
    if (ag_program_status(p) != AG_OK) return;
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    for (int k = 0; k < nx; k++) {
        int64_t n = shape_count(ag_program_input(p, k).shape);
        for (int64_t i = 0; i < MANY * n; i++) in[k][i] = DATA[(i + k) % 20];
        xs[k] = (ag_column){in[k], AG_EACH, NULL};
    }
    memset(out, 0, sizeof out);
    for (int k = 0; k < ny; k++) ys[k] = (ag_column){out[k], k == 0 ? AG_SHARED : AG_EACH, k == 1 ? index : NULL};
    ag_runner *runner = ag_runner_new(p);
    ag_status status = ag_run_rows(runner, MANY, xs, ys);
    note_status(r, status, ag_runner_message(runner));
    for (int k = 0; k < ny && status == AG_OK; k++) note_numbers(r, out[k], 5);
    ag_runner_free(runner);
}

/* A map of a row program on an ordinary tape, its sweep, gradient and tangent. */
static void map_on_tape(results *r, ag_tape *t, const ag_program *rows) {
    ag_var x[2] = {ag_tensor(t, DATA, AG_SHAPE(X)), ag_input(t, 0.5)}, y[2], g[2], d, one = ag_num(1);
    const ag_along in[2] = {AG_EACH, AG_SHARED}, out[2] = {AG_SHARED, AG_EACH};
    double numbers[X];
    y[0] = y[1] = ag_num(0);
    ag_map(t, rows, X, x, in, out, y);
    ag_var s = ag_add(y[0], ag_sum(y[1]));
    ag_backward(s);
    ag_read_grad(x[0], numbers);
    if (ag_tape_status(t) == AG_OK) note_numbers(r, numbers, X);
    ag_gradient(s, x, 2, g);
    ag_read(g[0], numbers);
    if (ag_tape_status(t) == AG_OK) note_numbers(r, numbers, X);
    ag_jvp(&s, 1, x, &one, 1, &d);
    if (ag_tape_status(t) == AG_OK) note_numbers(r, (double[]){ag_value(d), ag_value(g[1])}, 2);
    ag_program *frozen = ag_program_freeze(x, NULL, 2, &s, NULL, 1);
    run_program_(r, frozen);
    ag_program_free(frozen);
    note_status(r, ag_tape_status(t), ag_tape_message(t));
}

static ag_var moved(ag_var x) { return ag_pad(ag_slice(x, 0, 0, -1, 1), 0, 1, 0); }

/* Steps over long tensors. */
static void long_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var s = x[0];
    for (int i = 0; i < 6; i++) {
        ag_var k1 = ag_mul(x[0], moved(s)), k2 = ag_mul(x[0], moved(ag_fma(k1, 0.5, s)));
        s = ag_fma(ag_add(k1, k2), 0.1, s);
    }
    y[0] = ag_sum(s);
}

/* The gradient of that, planned so that values are computed again. */
static void run_again(results *r, const ag_options *options) {
    enum { LONG = 150 };
    const ag_port in[1] = {{"x", AG_SHAPE(LONG), NULL}};
    double x[LONG], y, dx[LONG];
    for (int i = 0; i < LONG; i++) x[i] = DATA[i % 20];
    ag_program *p = ag_program_trace_with(options, long_model, NULL, in, 1, NULL, 1);
    ag_program *g = ag_program_gradient(p, NULL, 0);
    ag_runner *runner = ag_runner_plan(g, false, 1);
    ag_status status = ag_run(runner, (const double *[]){x}, (double *[]){&y, dx});
    note_status(r, status, ag_runner_message(runner));
    if (status == AG_OK) note_numbers(r, dx, 8);
    ag_runner_free(runner);
    ag_program_free(g);
    ag_program_free(p);
}

typedef struct programs {
    ag_program *p, *rows, *solve;
} programs;

static ag_program *trace_part(const ag_options *options, int which) {
    const ag_port in[2] = {{"x", AG_SHAPE(X), NULL}, {"s", {0}, NULL}};
    const ag_port two[2] = {{"a", {0}, NULL}, {"b", {0}, NULL}}, three[1] = {{"v", AG_SHAPE(3), NULL}};
    if (which == 0) return ag_program_trace_with(options, model, NULL, in, 2, NULL, 2);
    if (which == 1) return ag_program_trace_with(options, row_model, NULL, two, 2, NULL, 2);
    return ag_program_trace_with(options, solve_model, NULL, three, 1, NULL, 1);
}

enum { PARTS = 20 };

/* One of the things that are done with programs, and a run of what comes of it. */
static void do_part(int part, results *r, const programs *all, const ag_options *options) {
    const ag_along along[2] = {AG_EACH, AG_SHARED};
    const ag_program *p = all->p;
    ag_program *q = NULL, *first = NULL;
    ag_tape *t = NULL;
    switch (part) {
    case 0: q = trace_part(options, 0); break;
    case 1: q = ag_program_gradient(p, NULL, 0); break;
    case 2: q = ag_program_vjp(p, (int[]){1}, 1); break;
    case 3: q = ag_program_jvp(p, NULL, 0); break;
    case 4: q = ag_program_hvp(p, (int[]){0}, 1); break;
    case 5: q = ag_program_jacobian(p, 1, 1); break;
    case 6: q = ag_program_hessian(p, 1); break;
    case 7: q = ag_program_select(p, (int[]){0, 0}, 2); break;
    case 8: q = ag_program_batch(all->rows, 3, along, NULL); break;
    case 9: q = ag_program_scalars(p); break;
    case 10: run_rows(r, all->rows); break;
    case 11: run_rows(r, all->solve); break;
    case 12: run_program_(r, p); break;
    case 13: run_program_(r, all->solve); break;
    case 14:
        t = ag_tape_new_with(options);
        map_on_tape(r, t, all->rows);
        ag_tape_free(t);
        break;
    case 15: run_again(r, options); break;
    case 16:
        first = ag_program_batch(all->rows, 3, along, (ag_along[]){AG_SHARED, AG_EACH});
        q = ag_program_hvp(first, NULL, 0);
        break;
    case 17: q = ag_program_forward(p, NULL, 0); break;
    case 18: q = ag_program_back(p, (int[]){1}, 1); break;
    default:
        first = ag_program_gradient(all->rows, NULL, 0);
        run_rows(r, first);
        break;
    }
    if (q) run_program_(r, q);
    ag_program_free(q);
    ag_program_free(first);
}

/* A part with request `at` of its own refused. */
static results work(int part, int64_t at, budget *b, bool no_reserve) {
    results r = {0};
    ag_options options = {.permit = permit, .context = b, .no_reserve = no_reserve};
    b->left = INT64_MAX;
    programs all = {trace_part(&options, 0), trace_part(&options, 1), trace_part(&options, 2)};
    b->left = at;
    do_part(part, &r, &all, &options);
    b->left = INT64_MAX;
    ag_program_free(all.p);
    ag_program_free(all.rows);
    ag_program_free(all.solve);
    return r;
}

/* ---- refusals ---- */

static void each_request_refused(void **unused) {
    (void)unused;
    refuse_each(work, PARTS, false, true, 1);
}

static void each_request_refused_where_addresses_are_reserved(void **unused) {
    (void)unused;
    refuse_each(work, PARTS, false, false, 7);
}

static void refused_for_good(void **unused) {
    (void)unused;
    refuse_each(work, PARTS, true, true, 3);
}

/* One program that lives on: what failed for lack of memory works when there is some. */
static void memory_again(void **unused) {
    (void)unused;
    const ag_port two[2] = {{"a", .shape = {0}}, {"b", .shape = {0}}};
    results want = {0};
    budget b = {.left = INT64_MAX};
    ag_options options = {.permit = permit, .context = &b, .no_reserve = true};
    ag_program *rows = ag_program_trace_with(&options, row_model, NULL, two, 2, NULL, 2);
    ag_tape *t = ag_tape_new(AG_F64);
    map_on_tape(&want, t, rows);
    assert_int_equal(want.status, AG_OK);
    ag_program_free(rows);
    for (int64_t at = 0; at < 200; at += 3) {
        b.left = INT64_MAX;
        rows = ag_program_trace_with(&options, row_model, NULL, two, 2, NULL, 2);
        results r = {0}, again = {0};
        ag_tape_clear(t);
        b.left = at;
        map_on_tape(&r, t, rows);
        if (r.status != AG_OK) assert_int_equal(r.status, AG_ERR_MEMORY);
        b.left = INT64_MAX;
        ag_tape_clear(t);
        map_on_tape(&again, t, rows);
        check_results(&again, &want, "memory again", at);
        ag_program_free(rows);
    }
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_request_refused),
        cmocka_unit_test(each_request_refused_where_addresses_are_reserved),
        cmocka_unit_test(refused_for_good),
        cmocka_unit_test(memory_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
