/* Roots and fixed points: values, derivatives through the implicit function theorem, in programs, in maps and scans; and
 * programs as one operation. */
#include "count_allocations.h"
#include "derivatives.h"

static const ag_shape scalar = {.rank = 0};

/* One program a type, made on first use. */
typedef struct pair {
    ag_program *p[2];
} pair;

static pair new_pair(ag_model f, const ag_port *in, int n, int n_out) {
    pair q;
    for (int i = 0; i < 2; i++) {
        q.p[i] = ag_program_trace(i ? AG_F32 : AG_F64, f, NULL, in, n, NULL, n_out);
        assert_string_equal(ag_program_message(q.p[i]), "");
    }
    return q;
}

static void free_pair(pair q) {
    ag_program_free(q.p[0]);
    ag_program_free(q.p[1]);
}

/* ---- equations ---- */

/* x^3 + a x - b */
static void cubic(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sub(ag_mul(x[0], ag_add(ag_square(x[0]), x[1])), x[2]);
}

/* Kepler: E = M + e sin E */
static void kepler(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_add(x[1], ag_mul(x[2], ag_sin(x[0])));
}

/* A x + tanh(x) s - b, x a vector of 3 */
static void system_of_three(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sub(ag_add(ag_matmul(x[1], x[0]), ag_mul(ag_tanh(x[0]), x[3])), x[2]);
    y[1] = ag_sum(x[0]); /* not part of the equation */
}

static ag_var cubic_root(ag_tape *t, const ag_var *x, int n, void *context) {
    const pair *q = context;
    (void)n;
    return ag_root(t, q->p[ag_tape_type(t) == AG_F32], (ag_var[]){ag_num(1), x[0], x[1]}, NULL);
}

static ag_var kepler_point(ag_tape *t, const ag_var *x, int n, void *context) {
    const pair *q = context;
    (void)n;
    ag_root_options o = {.tolerance = ag_tape_type(t) == AG_F32 ? 1e-7 : 1e-15};
    return ag_fixed_point(t, q->p[ag_tape_type(t) == AG_F32], (ag_var[]){x[0], x[0], x[1]}, &o);
}

static ag_var system_root(ag_tape *t, const ag_var *x, int n, void *context) {
    const pair *q = context;
    (void)n;
    return ag_root(t, q->p[ag_tape_type(t) == AG_F32], (ag_var[]){ag_zeros(t, AG_SHAPE(3)), x[0], x[1], x[2]}, NULL);
}

static const double matrix[9] = {4, 1, -1, 0.5, 3, 1, 1, -1, 5};

static void every_route_agrees(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    const ag_port in[3] = {ag_in("x", scalar), ag_in("a", scalar), ag_in("b", scalar)};
    pair q = new_pair(cubic, in, 3, 1), k = new_pair(kepler, in, 3, 1);
    ag_var two[2] = {ag_input(t, 1.5), ag_input(t, 3)}, orbit[2] = {ag_input(t, 0.7), ag_input(t, 0.25)};
    check_derivatives("cubic", cubic_root, &q, two, 2);
    check_derivatives("kepler", kepler_point, &k, orbit, 2);
    const ag_port vectors[4] = {ag_in("x", AG_SHAPE(3)), ag_in("A", AG_SHAPE(3, 3)), ag_in("b", AG_SHAPE(3)),
                                ag_in("s", scalar)};
    pair s = new_pair(system_of_three, vectors, 4, 2);
    ag_var three[3] = {ag_tensor(t, matrix, AG_SHAPE(3, 3)), ag_tensor(t, (double[]){1, -2, 0.5}, AG_SHAPE(3)),
                       ag_input(t, 0.8)};
    check_derivatives("system", system_root, &s, three, 3);
    free_pair(q);
    free_pair(k);
    free_pair(s);
    ag_tape_free(t);
}

/* sqrt(b): derivatives up to the third order in closed form; a is 0. */
static void third_order_in_closed_form(void **state) {
    (void)state;
    const ag_port in[3] = {ag_in("x", scalar), ag_in("a", scalar), ag_in("b", scalar)};
    pair q = new_pair(cubic, in, 3, 1);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[2] = {ag_num(0), ag_input(t, 2.7)}, y = cubic_root(t, x, 2, &q), d[3], v = ag_num(1);
    ag_gradient(y, &x[1], 1, &d[0]);
    ag_gradient(d[0], &x[1], 1, &d[1]);
    ag_jvp(&d[1], 1, &x[1], &v, 1, &d[2]);
    check_fine("cube root", t);
    double got[4] = {ag_value(y), ag_value(d[0]), ag_value(d[1]), ag_value(d[2])}, b = 2.7, r = cbrt(b);
    double want[4] = {r, r / (3 * b), -2 * r / (9 * b * b), 10 * r / (27 * b * b * b)};
    check_numbers("cube root", "derivatives", got, want, 4, 1e-13);
    ag_tape_free(t);
    free_pair(q);
}

/* ---- in programs ---- */

static void cubic_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) { y[0] = cubic_root(t, x, 2, context); }

/* Vieta's substitution for the real root of x^3 + a x - b, a > 0. */
static void cubic_by_formula(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var h = ag_mul(x[1], 0.5), p = ag_div(x[0], 3);
    ag_var root = ag_sqrt(ag_add(ag_square(h), ag_mul(p, ag_square(p))));
    y[0] = ag_add(ag_cbrt(ag_add(h, root)), ag_cbrt(ag_sub(h, root)));
}

static void run_once(const ag_program *p, const double *x, double *y) {
    const double *in[8];
    double *out[16];
    int n = ag_program_outputs(p);
    assert_string_equal(ag_program_message(p), "");
    for (int k = 0; k < 8; k++) in[k] = x + k;
    for (int k = 0; k < n; k++) out[k] = y + k;
    ag_runner *r = ag_runner_new(p);
    assert_int_equal(ag_run(r, in, out), AG_OK);
    long before = allocations;
    for (int i = 0; i < 3; i++) assert_int_equal(ag_run(r, in, out), AG_OK);
    assert_int_equal(allocations, before);
    ag_runner_free(r);
}

/* Of two programs of scalars. */
static void check_same(const char *label, ag_program *p, ag_program *q) {
    const double x[8] = {1.5, 3, 0.3, -0.7, 0.2, 0.9, 1, 1};
    double got[16], want[16];
    assert_int_equal(ag_program_outputs(p), ag_program_outputs(q));
    run_once(p, x, got);
    run_once(q, x, want);
    check_numbers(label, "program", got, want, ag_program_outputs(p), 1e-11);
    ag_program_free(p);
    ag_program_free(q);
}

static void programs_agree_with_the_formula(void **state) {
    (void)state;
    const ag_port in[3] = {ag_in("x", scalar), ag_in("a", scalar), ag_in("b", scalar)};
    pair q = new_pair(cubic, in, 3, 1);
    ag_program *p = ag_program_trace(AG_F64, cubic_model, &q, in + 1, 2, NULL, 1);
    ag_program *f = ag_program_trace(AG_F64, cubic_by_formula, NULL, in + 1, 2, NULL, 1);
    check_same("gradient", ag_program_gradient(p, NULL, 0), ag_program_gradient(f, NULL, 0));
    check_same("jvp", ag_program_jvp(p, NULL, 0), ag_program_jvp(f, NULL, 0));
    check_same("hvp", ag_program_hvp(p, NULL, 0), ag_program_hvp(f, NULL, 0));
    check_same("hessian", ag_program_hessian(p, 1), ag_program_hessian(f, 1));
    ag_program *pg = ag_program_gradient(p, NULL, 0), *fg = ag_program_gradient(f, NULL, 0);
    check_same("third order", ag_program_hvp(pg, NULL, 0), ag_program_hvp(fg, NULL, 0));
    ag_program_free(pg);
    ag_program_free(fg);

    /* many rows */
    double a[100], b[100], y[2][100], d[2][100];
    for (int i = 0; i < 100; i++) a[i] = 0.5 + 0.03 * i, b[i] = 3 - 0.02 * i;
    for (int i = 0; i < 2; i++) {
        ag_program *g = ag_program_gradient(i ? f : p, (int[]){1}, 1);
        ag_runner *r = ag_runner_new(g);
        ag_column xs[] = {ag_each(a), ag_each(b)}, ys[] = {ag_each(y[i]), ag_each(d[i])};
        assert_int_equal(ag_run_rows(r, 100, xs, ys), AG_OK);
        ag_runner_free(r);
        ag_program_free(g);
    }
    check_numbers("rows", "value", y[0], y[1], 100, 1e-12);
    check_numbers("rows", "gradient", d[0], d[1], 100, 1e-12);
    ag_program_free(p);
    ag_program_free(f);
    free_pair(q);
}

/* Implicit Euler for x' = -k x^3, and its solution by the formula in each step: a root in a scan. */
static void implicit_step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const pair *q = context;
    ag_var a = ag_div(1, x[1]), b = ag_mul(x[0], a); /* next + h k next^3 = x, h k = x[1] */
    if (q) y[0] = ag_root(t, q->p[0], (ag_var[]){x[0], a, b}, NULL);
    else cubic_by_formula(t, (ag_var[]){a, b}, y, NULL);
}

static void implicit_euler(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_scan(t, context, 20, 1, x, (ag_along[]){AG_SHARED, AG_SHARED}, NULL, y);
}

static void a_root_in_a_scan(void **state) {
    (void)state;
    const ag_port in[3] = {ag_in("x", scalar), ag_in("a", scalar), ag_in("b", scalar)};
    pair q = new_pair(cubic, in, 3, 1);
    ag_program *p[2];
    for (int i = 0; i < 2; i++) {
        ag_program *step = ag_program_trace(AG_F64, implicit_step, i ? NULL : &q, in, 2, NULL, 1);
        p[i] = ag_program_trace(AG_F64, implicit_euler, step, in, 2, NULL, 1);
        ag_program_free(step);
    }
    check_same("gradient", ag_program_gradient(p[0], NULL, 0), ag_program_gradient(p[1], NULL, 0));
    check_same("hvp", ag_program_hvp(p[0], NULL, 0), ag_program_hvp(p[1], NULL, 0));
    ag_program_free(p[0]);
    ag_program_free(p[1]);
    free_pair(q);
}

/* ---- errors ---- */

/* x^2 + a: no root for a > 0 */
static void no_root(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_add(ag_square(x[0]), x[1]);
}

static void expanding(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_add(ag_mul(x[0], -1), x[1]);
}

static void growing(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_mul(ag_mul(x[0], x[0]), x[1]);
}

static void logarithm(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sub(ag_log(x[0]), x[1]);
}

static void golden(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_add(ag_div(1, x[0]), x[1]);
}

static void infinite_iterates(void **state) {
    (void)state;
    const ag_port in[2] = {ag_in("x", scalar), ag_in("a", scalar)};
    pair g = new_pair(growing, in, 2, 1), l = new_pair(logarithm, in, 2, 1), r = new_pair(golden, in, 2, 1);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var a = ag_input(t, 1), x = ag_fixed_point(t, g.p[0], (ag_var[]){ag_num(1e200), a}, NULL);
    check_failure(t, x, AG_ERR_CONVERGENCE, "fixed_point: step 1: x[0] is inf, after inf");
    x = ag_fixed_point(t, l.p[0], (ag_var[]){ag_num(2), a}, NULL);
    check_failure(t, x, AG_ERR_CONVERGENCE, "fixed_point: step 1: x[0] is nan, after -0.306852819");
    x = ag_fixed_point(t, r.p[0], (ag_var[]){ag_num(0), a}, NULL); /* 0, infinity, 1, 2, 1.5 */
    check_fine("through infinity", t);
    assert_true(fabs(ag_value(x) - (1 + sqrt(5)) / 2) < 1e-11);
    ag_tape_free(t);
    free_pair(g);
    free_pair(l);
    free_pair(r);
}

static void singular(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sub(ag_square(x[0]), ag_expand(x[1], AG_SHAPE(2)));
}

static void errors_are_told(void **state) {
    (void)state;
    const ag_port in[2] = {ag_in("x", scalar), ag_in("a", scalar)},
                  two[2] = {ag_in("x", AG_SHAPE(2)), ag_in("a", scalar)};
    pair q = new_pair(no_root, in, 2, 1), e = new_pair(expanding, in, 2, 1), s = new_pair(singular, two, 2, 1);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var a = ag_input(t, 1), x = ag_root(t, q.p[0], (ag_var[]){ag_num(0.3), a}, &(ag_root_options){.steps = 7});
    assert_true(ag_is_inert(x));
    assert_int_equal(ag_tape_status(t), AG_ERR_CONVERGENCE);
    assert_memory_equal(ag_tape_message(t), "root: no convergence in 7 steps: the last one changed x by ", 59);
    assert_non_null(strstr(ag_tape_message(t), "|f| is 1"));
    ag_tape_recover(t);
    x = ag_fixed_point(t, e.p[0], (ag_var[]){ag_num(4), a}, &(ag_root_options){.steps = 10});
    check_failure(
        t, x, AG_ERR_CONVERGENCE,
        "fixed_point: no convergence in 10 steps: the last one changed x by 1.75 of it, which should be 1e-12; "
        "x[0] is 4");
    x = ag_root(t, s.p[0], (ag_var[]){ag_zeros(t, AG_SHAPE(2)), a}, NULL);
    check_failure(t, x, AG_ERR_SINGULAR, "root: step 0: solve: shape (2, 2): singular matrix, pivot 0 is 0");
    x = ag_root(t, s.p[0], (ag_var[]){ag_zeros(t, AG_SHAPE(3)), a}, NULL);
    check_failure(t, x, AG_ERR_SHAPE, "root: input x takes shape (2), not (3)");
    x = ag_root(t, s.p[0], (ag_var[]){ag_zeros(t, AG_SHAPE(3)), a}, &(ag_root_options){.steps = -1});
    check_failure(t, x, AG_ERR_VALUE, "root: -1 steps, tolerance 0");
    x = ag_root(t, s.p[0], (ag_var[]){ag_ones(t, AG_SHAPE(2)), a}, NULL);
    check_fine("a root at once", t);
    ag_tape_free(t);
    free_pair(q);
    free_pair(e);
    free_pair(s);
}

/* ---- programs as one operation ---- */

static void inner(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var z = x[0];
    for (int i = 0; i < 30; i++) z = ag_sin(ag_add(ag_mul(z, x[1]), 0.1 * i));
    y[0] = z;
    y[1] = ag_mul(ag_square(z), x[0]);
}

typedef struct many {
    const ag_program *p;
    bool inlined;
} many;

static void many_uses(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const many *m = context;
    ag_var at[2] = {x[0], x[1]}, out[2];
    for (int i = 0; i < 20; i++) {
        if (m->inlined) ag_program_call(t, m->p, at, out);
        else ag_program_apply(t, m->p, at, out);
        at[0] = ag_add(out[0], ag_mul(out[1], 0.3));
    }
    y[0] = at[0];
}

static void a_program_as_one_operation(void **state) {
    (void)state;
    const ag_port in[2] = {ag_in("x", scalar), ag_in("a", scalar)};
    ag_program *p = ag_program_trace(AG_F64, inner, NULL, in, 2, NULL, 2);
    many small = {p, false}, large = {p, true};
    ag_program *a = ag_program_trace(AG_F64, many_uses, &small, in, 2, NULL, 1);
    ag_program *b = ag_program_trace(AG_F64, many_uses, &large, in, 2, NULL, 1);
    assert_true(ag_program_size(b) > 1000);
    assert_true(ag_program_size(a) <= 80);
    ag_program *ga = ag_program_gradient(a, NULL, 0), *gb = ag_program_gradient(b, NULL, 0);
    assert_true(ag_program_size(ga) <= 300);
    check_same("third order", ag_program_hvp(ga, NULL, 0), ag_program_hvp(gb, NULL, 0));
    check_same("gradient", ga, gb);
    check_same("hessian", ag_program_hessian(a, 0), ag_program_hessian(b, 0));
    check_same("value", a, b);
    ag_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_agrees),
        cmocka_unit_test(third_order_in_closed_form),
        cmocka_unit_test(programs_agree_with_the_formula),
        cmocka_unit_test(a_root_in_a_scan),
        cmocka_unit_test(errors_are_told),
        cmocka_unit_test(infinite_iterates),
        cmocka_unit_test(a_program_as_one_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
