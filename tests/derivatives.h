/* For tests of operations: every route to a derivative of a recorded function must agree.
 *
 *     static ag_var f(ag_tape *t, const ag_var *x, int n, void *context) { return ag_softmax(x[0], 1); }
 *     ...
 *     ag_tape *t = ag_tape_new(AG_F64);
 *     ag_var x = random_tensor(t, AG_SHAPE(3, 4), -2, 2);
 *     check_derivatives("softmax", f, NULL, &x, 1);
 *
 * check_derivatives compares, in f64,
 *   first order    ag_check_gradient's differences; ag_backward, ag_gradient and the columns of ag_jvp
 *   second order   central differences of the recorded gradient; reverse over reverse, forward over reverse, reverse
 *                  over forward and forward over forward
 * and then the f32 results of all of these with the f64 ones, and all of it with what programs give (program_routes.h). The function is made a scalar by random weights, so all
 * of its outputs take part. It is called on several tapes and must do the same on each. */
#ifndef DERIVATIVES_H
#define DERIVATIVES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <autograd/program/program_impl.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define UNUSED_OK __attribute__((unused))

enum { MOST_INPUTS = 8 };

/* ---- numbers ---- */

/* Uniform in lo..hi, the same on every run (splitmix64, https://prng.di.unimi.it/splitmix64.c). */
static UNUSED_OK double random_number(uint64_t *state, double lo, double hi) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return lo + (hi - lo) * (double)(z >> 11) * 0x1p-53;
}

static UNUSED_OK int64_t shape_count(ag_shape shape) {
    int64_t n = 1;
    for (int i = 0; i < shape.rank; i++) n *= shape.dim[i];
    return n;
}

static UNUSED_OK double *new_numbers(int64_t n) {
    double *p = calloc((size_t)(n > 0 ? n : 1), sizeof *p);
    assert_non_null(p);
    return p;
}

static UNUSED_OK ag_var random_tensor(ag_tape *t, ag_shape shape, double lo, double hi) {
    static uint64_t state = 1;
    int64_t n = shape_count(shape);
    double *data = new_numbers(n);
    for (int64_t i = 0; i < n; i++) data[i] = random_number(&state, lo, hi);
    ag_var x = ag_tensor(t, data, shape);
    free(data);
    return x;
}

/* A tensor of 0, 1, 2, ... */
static UNUSED_OK ag_var counting_tensor(ag_tape *t, ag_shape shape) {
    int64_t n = shape_count(shape);
    double *data = new_numbers(n);
    for (int64_t i = 0; i < n; i++) data[i] = (double)i;
    ag_var x = ag_tensor(t, data, shape);
    free(data);
    return x;
}

/* ---- comparisons ---- */

/* |a - b| / max(1, |b|); infinite if just one of them is NaN or they are different infinities. */
static UNUSED_OK double number_error(double a, double b) {
    if (a == b || (isnan(a) && isnan(b))) return 0;
    double e = fabs(a - b) / fmax(1, fabs(b));
    return isnan(e) ? INFINITY : e;
}

static UNUSED_OK void check_numbers(const char *label, const char *what, const double *got, const double *want,
                                    int64_t n, double tolerance) {
    for (int64_t i = 0; i < n; i++) {
        if (number_error(got[i], want[i]) <= tolerance) continue;
        fail_msg("%s: %s: number %lld is %.17g, should be %.17g", label, what, (long long)i, got[i], want[i]);
    }
}

/* The values of a var, with its shape. */
static UNUSED_OK void check_values(const char *label, ag_var x, ag_shape shape, const double *want, double tolerance) {
    if (ag_tape_status(ag_tape_of(x)) != AG_OK) fail_msg("%s: %s", label, ag_tape_message(ag_tape_of(x)));
    ag_shape s = ag_shape_of(x);
    bool same = s.rank == shape.rank;
    for (int i = 0; same && i < s.rank; i++) same = s.dim[i] == shape.dim[i];
    if (!same)
        fail_msg("%s: the result's shape is not what it should be (rank %d, should be %d)", label, s.rank, shape.rank);
    int64_t n = shape_count(shape);
    double *got = new_numbers(n);
    ag_read(x, got);
    check_numbers(label, "value", got, want, n, tolerance);
    free(got);
}

static UNUSED_OK void check_fine(const char *label, const ag_tape *t) {
    if (ag_tape_status(t) != AG_OK) fail_msg("%s: %s", label, ag_tape_message(t));
}

/* That the tape has failed with this status and sentence; then it is recovered. */
static UNUSED_OK void check_failure(ag_tape *t, ag_var result, ag_status status, const char *sentence) {
    assert_string_equal(ag_tape_message(t), sentence);
    assert_int_equal(ag_tape_status(t), status);
    assert_true(ag_is_inert(result));
    ag_tape_recover(t);
}

/* Whether a report, written, has these parts; NULL ends them. */
static UNUSED_OK void check_written(const ag_report *r, const char *const *parts) {
    char text[2048];
    FILE *out = tmpfile();
    assert_non_null(out);
    ag_report_write(r, out);
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = '\0';
    fclose(out);
    for (; *parts; parts++)
        if (!strstr(text, *parts)) fail_msg("\"%s\" is not in \"%s\"", *parts, text);
}

/* ---- routes ---- */

/* A function, its inputs' values, and a direction v; all inputs one after the other in one array. */
typedef struct routes_case {
    const char *label;
    ag_function f;
    void *context;
    int n;
    ag_shape shape[MOST_INPUTS];
    int64_t start[MOST_INPUTS + 1];
    double *x, *v;
} routes_case;

/* Derivatives of s = <w, f(x)>, w random: its gradient g, and the product H v of its Hessian with the direction. */
typedef struct routes {
    double *value;
    double *backward, *gradient, *jvp;                                             /* g */
    double *reverse_reverse, *forward_reverse, *reverse_forward, *forward_forward; /* H v */
    int64_t values;
} routes;

static void routes_leaves(const routes_case *c, ag_tape *t, const double *x, bool constant, ag_var *out) {
    for (int k = 0; k < c->n; k++) {
        out[k] =
            constant ? ag_constant_tensor(t, x + c->start[k], c->shape[k]) : ag_tensor(t, x + c->start[k], c->shape[k]);
    }
}

static ag_var routes_weighted(const routes_case *c, ag_tape *t, const ag_var *x, ag_var *y) {
    uint64_t state = 99;
    *y = c->f(t, x, c->n, c->context);
    ag_shape shape = ag_shape_of(*y);
    int64_t n = shape_count(shape);
    double *data = new_numbers(n);
    for (int64_t i = 0; i < n; i++) data[i] = random_number(&state, 0.5, 1.5) * (i % 2 ? -1 : 1);
    ag_var w = ag_constant_tensor(t, data, shape);
    free(data);
    return ag_sum(ag_mul(*y, w));
}

static ag_var routes_inner(const routes_case *c, const ag_var *a, const ag_var *b) {
    ag_var sum = ag_num(0);
    for (int k = 0; k < c->n; k++) sum = ag_add(sum, ag_sum(ag_mul(a[k], b[k])));
    return sum;
}

static void routes_read(const routes_case *c, const ag_var *vars, double *out) {
    for (int k = 0; k < c->n; k++) {
        assert_int_equal(ag_count(vars[k]), c->start[k + 1] - c->start[k]);
        ag_read(vars[k], out + c->start[k]);
    }
}

static void routes_read_adjoints(const routes_case *c, const ag_var *vars, double *out) {
    for (int k = 0; k < c->n; k++) ag_read_grad(vars[k], out + c->start[k]);
}

/* out[i] = ds/dx[i], by one tangent after the other. Leaves the tape with what it recorded. */
static void routes_by_columns(const routes_case *c, ag_tape *t, ag_var s, const ag_var *x, double *out) {
    int64_t total = c->start[c->n];
    double *direction = new_numbers(total);
    for (int64_t i = 0; i < total; i++) {
        ag_mark mark = ag_tape_mark(t);
        ag_var v[MOST_INPUTS], d;
        direction[i] = 1;
        routes_leaves(c, t, direction, true, v);
        ag_jvp(&s, 1, x, v, c->n, &d);
        out[i] = ag_value(d);
        direction[i] = 0;
        check_fine(c->label, t);
        ag_tape_rewind(t, mark);
    }
    free(direction);
}

static routes routes_new(int64_t total) {
    return (routes){.backward = new_numbers(total),
                    .gradient = new_numbers(total),
                    .jvp = new_numbers(total),
                    .reverse_reverse = new_numbers(total),
                    .forward_reverse = new_numbers(total),
                    .reverse_forward = new_numbers(total),
                    .forward_forward = new_numbers(total)};
}

static void routes_free(routes *r) {
    double *all[] = {r->value,           r->backward,        r->gradient,        r->jvp,
                     r->reverse_reverse, r->forward_reverse, r->reverse_forward, r->forward_forward};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* A sweep that lets go of adjoints leaves the same ones in the inputs. */
static void routes_forget(const routes_case *c, ag_tape *t, ag_var s, const ag_var *x, const double *want) {
    int64_t total = c->start[c->n];
    double *got = new_numbers(total);
    uint32_t from = t->forget_from;
    t->forget_from = 0;
    ag_sweep(&s, NULL, 1, AG_RESET_FORGET);
    t->forget_from = from;
    routes_read_adjoints(c, x, got);
    if (memcmp(got, want, (size_t)total * sizeof *got) != 0) fail_msg("%s: a sweep that forgets differs", c->label);
    free(got);
}

static routes routes_of(const routes_case *c, ag_type type) {
    routes r = routes_new(c->start[c->n]);
    ag_tape *t = ag_tape_new(type);
    ag_var x[MOST_INPUTS], v[MOST_INPUTS], g[MOST_INPUTS], gg[MOST_INPUTS], gv[MOST_INPUTS], y, along;
    routes_leaves(c, t, c->x, false, x);
    routes_leaves(c, t, c->v, true, v);
    ag_var s = routes_weighted(c, t, x, &y);
    check_fine(c->label, t);
    r.values = ag_count(y);
    r.value = new_numbers(r.values);
    ag_read(y, r.value);

    ag_backward(s);
    routes_read_adjoints(c, x, r.backward);
    routes_forget(c, t, s, x, r.backward);
    ag_gradient(s, x, c->n, g);
    check_fine(c->label, t);
    routes_read(c, g, r.gradient);
    routes_by_columns(c, t, s, x, r.jvp);

    ag_gradient(routes_inner(c, g, v), x, c->n, gg);
    check_fine(c->label, t);
    routes_read(c, gg, r.reverse_reverse);
    ag_jvp(g, c->n, x, v, c->n, gv);
    check_fine(c->label, t);
    routes_read(c, gv, r.forward_reverse);
    ag_jvp(&s, 1, x, v, c->n, &along);
    check_fine(c->label, t);
    routes_by_columns(c, t, along, x, r.forward_forward);
    ag_backward(along);
    check_fine(c->label, t);
    routes_read_adjoints(c, x, r.reverse_forward);
    ag_tape_free(t);
    return r;
}

/* The recorded gradient at x + h v. */
static void routes_shifted(const routes_case *c, double h, double *out) {
    int64_t total = c->start[c->n];
    double *x = new_numbers(total);
    for (int64_t i = 0; i < total; i++) x[i] = c->x[i] + h * c->v[i];
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var leaves[MOST_INPUTS], g[MOST_INPUTS], y;
    routes_leaves(c, t, x, false, leaves);
    ag_gradient(routes_weighted(c, t, leaves, &y), leaves, c->n, g);
    check_fine(c->label, t);
    routes_read(c, g, out);
    ag_tape_free(t);
    free(x);
}

/* H v by central differences, extrapolated once: of order h^4. */
static void routes_differences(const routes_case *c, double *out) {
    int64_t total = c->start[c->n];
    const double h = 1e-3;
    double *at[4];
    for (int k = 0; k < 4; k++) {
        at[k] = new_numbers(total);
        routes_shifted(c, (k % 2 ? -h : h) * (k < 2 ? 1 : 2), at[k]);
    }
    for (int64_t i = 0; i < total; i++) {
        double fine = (at[0][i] - at[1][i]) / (2 * h), coarse = (at[2][i] - at[3][i]) / (4 * h);
        out[i] = (4 * fine - coarse) / 3;
    }
    for (int k = 0; k < 4; k++) free(at[k]);
}

static void routes_agree(const routes_case *c, const char *type, const routes *r, const routes *want,
                         double tolerance) {
    char what[96];
    const struct {
        const char *name;
        const double *got, *want;
        int64_t n;
    } all[] = {
        {"value", r->value, want->value, r->values},
        {"ag_backward", r->backward, want->gradient, c->start[c->n]},
        {"ag_gradient", r->gradient, want->gradient, c->start[c->n]},
        {"ag_jvp", r->jvp, want->gradient, c->start[c->n]},
        {"reverse over reverse", r->reverse_reverse, want->reverse_reverse, c->start[c->n]},
        {"forward over reverse", r->forward_reverse, want->reverse_reverse, c->start[c->n]},
        {"reverse over forward", r->reverse_forward, want->reverse_reverse, c->start[c->n]},
        {"forward over forward", r->forward_forward, want->reverse_reverse, c->start[c->n]},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(what, sizeof what, "%s, %s", all[i].name, type);
        check_numbers(c->label, what, all[i].got, all[i].want, all[i].n, tolerance);
    }
}

#include "program_routes.h"

/* What takes long does only a part of its cases where each of them takes many times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SHARE = 10 };
#else
enum { SHARE = 1 };
#endif

/* The routes alone, without differences: for points where a function has a kink or is infinite. Returns the f64
 * results, to be compared further and freed by routes_free. */
static UNUSED_OK routes check_routes(const routes_case *c) {
    routes r = routes_of(c, AG_F64), single = routes_of(c, AG_F32);
    routes_agree(c, "f64", &r, &r, 1e-10);
    routes_agree(c, "f32", &single, &r, 2e-4);
    check_program_routes(c, AG_F64, &r, 1e-10);
    check_program_routes(c, AG_F32, &r, 2e-4);
    routes_free(&single);
    return r;
}

static UNUSED_OK routes_case routes_case_new(const char *label, ag_function f, void *context, const ag_var *inputs,
                                             int n) {
    routes_case c = {.label = label, .f = f, .context = context, .n = n};
    uint64_t state = 7;
    assert_true(n <= MOST_INPUTS);
    for (int k = 0; k < n; k++) {
        c.shape[k] = ag_shape_of(inputs[k]);
        c.start[k + 1] = c.start[k] + ag_count(inputs[k]);
    }
    c.x = new_numbers(c.start[n]);
    c.v = new_numbers(c.start[n]);
    for (int k = 0; k < n; k++) ag_read(inputs[k], c.x + c.start[k]);
    for (int64_t i = 0; i < c.start[n]; i++) {
        c.x[i] = (double)(float)c.x[i]; /* the same point in both precisions */
        c.v[i] = (double)(float)random_number(&state, -1, 1);
    }
    return c;
}

static UNUSED_OK void routes_case_free(routes_case *c) {
    free(c->x);
    free(c->v);
}

/* All of the above for a function that is smooth around the inputs, which are of any tape and only read. */
static UNUSED_OK void check_derivatives(const char *label, ag_function f, void *context, const ag_var *inputs, int n) {
    ag_report report = ag_check_gradient(f, context, inputs, n, 0);
    if (!report.holds) {
        ag_report_write(&report, stderr);
        fail_msg("%s: ag_check_gradient: %s", label, report.message);
    }
    routes_case c = routes_case_new(label, f, context, inputs, n);
    routes r = check_routes(&c);
    double *differences = new_numbers(c.start[n]);
    routes_differences(&c, differences);
    check_numbers(label, "second order against differences", r.reverse_reverse, differences, c.start[n], 1e-6);
    free(differences);
    routes_free(&r);
    routes_case_free(&c);
}

#endif
