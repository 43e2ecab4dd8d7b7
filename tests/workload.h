/* A bit of everything that a tape can do, as numbers: for tests that refuse memory. It survives any error and says so
 * by the tape's status; without an error its numbers are always the same. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "derivatives.h"

enum { WORKLOAD_NUMBERS = 160 };

typedef struct workload {
    int count;
    double number[WORKLOAD_NUMBERS];
} workload;

static void note(workload *w, double x) {
    if (w->count < WORKLOAD_NUMBERS) w->number[w->count++] = x;
}

static void note_all(workload *w, ag_var x, bool adjoints) {
    double data[64] = {0};
    int64_t n = ag_count(x);
    if (n > 64) return;
    if (adjoints) ag_read_grad(x, data);
    else ag_read(x, data);
    for (int64_t i = 0; i < n; i++) note(w, data[i]);
}

/* ---- an operation of our own: x^n, with saved bytes ---- */

static bool cube_shape(ag_call *c) {
    const ag_view *v = c->in[0].view;
    c->shape = ag_make_shape_(v->rank, v->dim);
    c->saved_size = (size_t)v->count * sizeof(double);
    return true;
}

static double cube_load(const ag_call *c, const void *data, int64_t i) {
    return c->type == AG_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void cube_store(const ag_call *c, void *data, int64_t i, double x) {
    if (c->type == AG_F64) ((double *)data)[i] = x;
    else ((float *)data)[i] = (float)x;
}

static bool cube_forward(const ag_call *c) {
    double *saved = c->saved;
    for (int64_t i = 0; i < c->out.view->count; i++) {
        double x = cube_load(c, c->in[0].data, i);
        saved[i] = 3 * x * x;
        cube_store(c, c->out.data, i, x * x * x);
    }
    return true;
}

static bool cube_adjoint(const ag_call *c) {
    const double *saved = c->saved;
    for (int64_t i = 0; i < c->out.view->count; i++) {
        double w = cube_load(c, c->out_adjoint.data, i);
        cube_store(c, c->in_adjoint[0].data, i, cube_load(c, c->in_adjoint[0].data, i) + w * saved[i]);
    }
    return true;
}

static void cube_record(const ag_rule *r, ag_var w, ag_var *out) { out[0] = ag_mul(w, ag_mul(ag_square(r->in[0]), 3)); }

static UNUSED_OK const ag_operation CUBE = {
    .name = "cube", .shape = cube_shape, .forward = cube_forward, .adjoint = cube_adjoint, .record = cube_record};
static UNUSED_OK const ag_operation PLAIN_CUBE = {
    .name = "plain_cube", .shape = cube_shape, .forward = cube_forward, .adjoint = cube_adjoint};

/* ---- the parts ---- */

static const double WORK_DATA[12] = {0.5, -0.25, 1.5, 0.75, -1.25, 2, 1, -0.5, 0.25, 1.75, -1, 0.125};

static void scalar_work(ag_tape *t, workload *w) {
    ag_var x = ag_input(t, 0.5), y = ag_input(t, -1.25), z = ag_constant(t, 3);
    ag_name(x, "x");
    ag_var s = ag_add(ag_mul(ag_sin(x), ag_exp(y)), ag_div(z, ag_add(ag_mul(x, x), 1)));
    for (int i = 0; i < 20; i++) s = ag_fma(s, 0.5, ag_mul(ag_tanh(s), ag_sub(y, i * 0.01)));
    ag_backward(s);
    note(w, ag_value(s));
    note(w, ag_grad(x));
    note(w, ag_grad(y));
    ag_var xs[2] = {x, y}, g[2], h[2];
    ag_gradient(s, xs, 2, g);
    ag_gradient(ag_add(g[0], ag_mul(g[1], 2)), xs, 2, h);
    note(w, ag_value(h[0]));
    note(w, ag_value(h[1]));
}

static void tensor_work(ag_tape *t, workload *w) {
    ag_var a = ag_tensor(t, WORK_DATA, AG_SHAPE(3, 4)), b = ag_constant_tensor(t, WORK_DATA + 4, AG_SHAPE(4, 2));
    ag_var bias = ag_tensor(t, WORK_DATA + 2, AG_SHAPE(2));
    const int64_t labels[3] = {0, 1, 1}, rows[4] = {2, 0, 2, 1};
    ag_var h = ag_tanh(ag_add(ag_matmul(a, b), bias));
    ag_var parts[3] = {h, ag_gather(h, 0, rows, 4), ag_transpose(ag_reshape(ag_slice(a, 1, 0, 4, 2), AG_SHAPE(2, 3)))};
    ag_var all = ag_concat(parts, 3, 0);
    ag_var loss = ag_add(ag_mean(ag_cross_entropy(h, labels)), ag_sum(ag_softmax(ag_flip(all, 0), 0)));
    loss = ag_add(loss, ag_mul(ag_at(ag_logsumexp_over(all, AG_AXES(1), false), 1), ag_norm(ag_cumsum(a, 1))));
    loss = ag_add(loss, ag_sum(ag_mul(ag_expand(bias, AG_SHAPE(3, 2)), ag_log_softmax(h, 1))));
    ag_backward(loss);
    note(w, ag_value(loss));
    note_all(w, a, true);
    note_all(w, bias, true);
    ag_var g, d, one = ag_num(1);
    ag_gradient(loss, &a, 1, &g);
    note_all(w, g, false);
    ag_jvp(&loss, 1, &a, &one, 1, &d);
    note(w, ag_value(d));
    note_all(w, ag_hessian(loss, bias), false);
    ag_var many[18];
    for (int i = 0; i < 18; i++) many[i] = ag_mul(ag_at(a, i % 12), 1 + 0.125 * i);
    ag_var stacked = ag_stack(many, 18, 0), one_each = ag_num(0.5);
    ag_sweep(&stacked, &one_each, 1, AG_ACCUMULATE);
    note_all(w, a, true);
    ag_vjp(&stacked, &one_each, 1, &a, 1, &g);
    note_all(w, g, false);
}

static void algebra_work(ag_tape *t, workload *w) {
    ag_var m = ag_tensor(t, WORK_DATA, AG_SHAPE(3, 3)), v = ag_tensor(t, WORK_DATA + 3, AG_SHAPE(3));
    ag_var s = ag_add(ag_matmul(m, ag_transpose(m)), ag_eye(t, 3));
    ag_var y = ag_add(ag_sum(ag_solve(s, v)), ag_add(ag_logdet(s), ag_sum(ag_cholesky(s))));
    y = ag_add(y, ag_trace(ag_inverse(s)));
    ag_var g;
    ag_gradient(y, &m, 1, &g);
    note_all(w, g, false);
    ag_backward(y);
    note_all(w, m, true);
    note_all(w, v, true);
}

static void own_work(ag_tape *t, workload *w) {
    ag_var x = ag_tensor(t, WORK_DATA, AG_SHAPE(2, 3)), turned = ag_transpose(x), one = ag_num(1), g, d;
    ag_var y = ag_sum(ag_apply(&CUBE, &turned, 1, "parameters", 11));
    ag_gradient(y, &x, 1, &g);
    ag_gradient(ag_sum(ag_square(g)), &x, 1, &d);
    note_all(w, d, false);
    ag_jvp(&y, 1, &x, &one, 1, &d);
    note(w, ag_value(d));
    y = ag_sum(ag_apply(&PLAIN_CUBE, &x, 1, NULL, 0));
    ag_gradient(y, &x, 1, &g);
    note_all(w, g, false);
}

static ag_var checked_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_mul(ag_softmax(x[0], 0), ag_exp(x[1]));
}

static void checking_work(ag_tape *t, workload *w) {
    ag_var x[2] = {ag_tensor(t, WORK_DATA, AG_SHAPE(3)), ag_input(t, 0.5)};
    ag_report r = ag_check_gradient(checked_function, NULL, x, 2, 0);
    if (r.status != AG_OK) ag_fail(t, r.status, "%s", r.message);
    note(w, r.holds ? (double)r.checked : -1);
}

static void bookkeeping_work(ag_tape *t, workload *w) {
    ag_var x = ag_tensor(t, WORK_DATA, AG_SHAPE(12)), one = ag_num(1), y = x;
    ag_mark mark = ag_tape_mark(t);
    for (int i = 0; i < 3; i++) {
        y = ag_sum(ag_mul(ag_exp(x), ag_detach(x)));
        ag_name(y, "a name that is long enough to need some memory");
        ag_sweep(&y, &one, 1, i ? AG_ACCUMULATE : AG_RESET);
        ag_tape_rewind(t, mark);
    }
    note_all(w, x, true);
    ag_pause(t);
    ag_var big = ag_exp(ag_zeros(t, AG_SHAPE(300, 100)));
    ag_resume(t);
    note(w, ag_value(ag_sum(big)));
    ag_tape_trim(t);
    ag_stats s = ag_tape_stats(t);
    if (s.held_bytes < s.value_bytes) note(w, -1);
}

/* First, while there is little to draw. */
static void drawing_work(ag_tape *t, workload *w) {
    ag_var x = ag_tensor(t, WORK_DATA, AG_SHAPE(2, 3)), y = ag_sum(ag_mul(ag_exp(x), ag_input(t, 2)));
    ag_name(x, "x");
    ag_backward(y);
    FILE *out = tmpfile();
    if (!out) return;
    bool drawn = ag_dot(t, out);
    ag_tape_summary(t, out);
    fclose(out);
    note(w, drawn || ag_tape_status(t) != AG_OK);
}

static UNUSED_OK workload run_workload(ag_tape *t) {
    workload w = {0};
    drawing_work(t, &w);
    scalar_work(t, &w);
    tensor_work(t, &w);
    algebra_work(t, &w);
    own_work(t, &w);
    checking_work(t, &w);
    bookkeeping_work(t, &w);
    return w;
}

#endif
