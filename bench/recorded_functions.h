/* The functions of plain_functions.h, recorded with autograd: an operation at a time, and as a whole (tensors, a map, a
 * scan). */
#ifndef BENCH_RECORDED_FUNCTIONS_H
#define BENCH_RECORDED_FUNCTIONS_H

#include <autograd/autograd.h>

#include "plain_functions.h"

typedef struct problem {
    const char *name;
    int n; /* variables */
    double lo, hi;
    double (*value)(const double *x);
    void (*gradient)(const double *x, double *g);
    ag_var (*scalar)(const ag_var *x);
    const char *what;                 /* the whole is recorded as */
    void (*constants)(ag_tape *tape); /* that the whole uses; may be NULL */
    ag_var (*whole)(ag_tape *tape, ag_var x);
} problem;

/* ---- Rosenbrock's function ----------------------------------------------------------------------------------------- */

static ag_var rosenbrock_scalar(const ag_var *x) {
    ag_var f = ag_num(0);
    for (int i = 0; i + 1 < ROSENBROCK; i++) {
        ag_var a = ag_fnma(x[i], x[i], x[i + 1]), b = ag_sub(1, x[i]);
        ag_var term = ag_fma(b, b, ag_mul(100, ag_mul(a, a)));
        f = i == 0 ? term : ag_add(f, term);
    }
    return f;
}
static ag_var rosenbrock_tensor(ag_tape *t, ag_var x) {
    (void)t;
    ag_var head = ag_slice(x, 0, 0, -1, 1), tail = ag_slice(x, 0, 1, AG_END, 1);
    ag_var a = ag_sub(tail, ag_square(head)), b = ag_sub(1, head);
    return ag_sum(ag_fma(100, ag_square(a), ag_square(b)));
}

/* ---- Helmholtz energy ---------------------------------------------------------------------------------------------- */

static ag_var helmholtz_ta, helmholtz_tb;
static ag_var helmholtz_end(ag_var entropy, ag_var xax, ag_var bx) {
    ag_var l = ag_log(ag_div(ag_add(1, ag_mul(1 + SQRT2, bx)), ag_add(1, ag_mul(1 - SQRT2, bx))));
    return ag_sub(entropy, ag_mul(ag_div(xax, ag_mul(2 * SQRT2, bx)), l));
}
static ag_var helmholtz_scalar(const ag_var *x) {
    ag_var bx = ag_mul(helmholtz_b[0], x[0]), xax = ag_num(0), entropy = ag_num(0);
    for (int i = 1; i < HELMHOLTZ; i++) bx = ag_add(bx, ag_mul(helmholtz_b[i], x[i]));
    ag_var rest = ag_sub(1, bx);
    for (int i = 0; i < HELMHOLTZ; i++) {
        const double *a = helmholtz_a + i * HELMHOLTZ;
        ag_var ax = ag_mul(a[0], x[0]), e = ag_mul(x[i], ag_log(ag_div(x[i], rest)));
        for (int j = 1; j < HELMHOLTZ; j++) ax = ag_add(ax, ag_mul(a[j], x[j]));
        xax = i == 0 ? ag_mul(x[i], ax) : ag_fma(x[i], ax, xax);
        entropy = i == 0 ? e : ag_add(entropy, e);
    }
    return helmholtz_end(entropy, xax, bx);
}
static void helmholtz_constants(ag_tape *tape) {
    helmholtz_ta = ag_constant_tensor(tape, helmholtz_a, AG_SHAPE(HELMHOLTZ, HELMHOLTZ));
    helmholtz_tb = ag_constant_tensor(tape, helmholtz_b, AG_SHAPE(HELMHOLTZ));
}
static ag_var helmholtz_tensor(ag_tape *t, ag_var x) {
    (void)t;
    ag_var bx = ag_vdot(helmholtz_tb, x);
    ag_var entropy = ag_vdot(x, ag_log(ag_div(x, ag_sub(1, bx))));
    return helmholtz_end(entropy, ag_vdot(x, ag_matmul(helmholtz_ta, x)), bx);
}

/* ---- logistic regression ------------------------------------------------------------------------------------------- */

static ag_var logistic_tx, logistic_ty;
static ag_var logistic_scalar(const ag_var *w) {
    ag_var f = ag_num(0);
    for (int i = 0; i < CASES; i++) {
        ag_var z = w[FEATURES];
        for (int j = 0; j < FEATURES; j++) z = ag_add(z, ag_mul(logistic_x[i * FEATURES + j], w[j]));
        ag_var loss = ag_bce_logits(z, logistic_y[i]);
        f = i == 0 ? loss : ag_add(f, loss);
    }
    return ag_div(f, CASES);
}
static void logistic_constants(ag_tape *tape) {
    logistic_tx = ag_constant_tensor(tape, logistic_x, AG_SHAPE(CASES, FEATURES));
    logistic_ty = ag_constant_tensor(tape, logistic_y, AG_SHAPE(CASES));
}
static ag_var logistic_tensor(ag_tape *t, ag_var w) {
    (void)t;
    ag_var z = ag_add(ag_matmul(logistic_tx, ag_slice(w, 0, 0, FEATURES, 1)), ag_at(w, FEATURES));
    return ag_mean(ag_bce_logits(z, logistic_ty));
}

/* ---- neural net ---------------------------------------------------------------------------------------------------- */

static ag_var net_tx, net_ty;
static void net_hidden(const ag_var *w, const ag_var *x, int n, ag_var *y) {
    for (int j = 0; j < HIDDEN; j++) {
        ag_var z = w[n * HIDDEN + j];
        for (int i = 0; i < n; i++) z = ag_fma(x[i], w[i * HIDDEN + j], z);
        y[j] = ag_tanh(z);
    }
}
static ag_var net_scalar(const ag_var *w) {
    ag_var f = ag_num(0), x[IN], h1[HIDDEN], h2[HIDDEN];
    for (int c = 0; c < NET_CASES; c++) {
        for (int i = 0; i < IN; i++) x[i] = ag_num(net_x[c * IN + i]);
        net_hidden(w, x, IN, h1);
        net_hidden(w + W2, h1, HIDDEN, h2);
        ag_var y = w[W3 + HIDDEN];
        for (int i = 0; i < HIDDEN; i++) y = ag_fma(h2[i], w[W3 + i], y);
        ag_var square = ag_square(ag_sub(y, net_y[c]));
        f = c == 0 ? square : ag_add(f, square);
    }
    return ag_div(f, NET_CASES);
}
static void net_constants(ag_tape *tape) {
    net_tx = ag_constant_tensor(tape, net_x, AG_SHAPE(NET_CASES, IN));
    net_ty = ag_constant_tensor(tape, net_y, AG_SHAPE(NET_CASES, 1));
}
/* Weights and bias of a layer are views of the vector of all parameters. */
static ag_var net_affine(ag_var w, ag_var x, int from, int n, int out) {
    ag_var weights = ag_reshape(ag_slice(w, 0, from, from + n * out, 1), AG_SHAPE(n, out));
    return ag_add(ag_matmul(x, weights), ag_slice(w, 0, from + n * out, from + (n + 1) * out, 1));
}
static ag_var net_tensor(ag_tape *t, ag_var w) {
    (void)t;
    ag_var h = ag_tanh(net_affine(w, net_tx, 0, IN, HIDDEN));
    h = ag_tanh(net_affine(w, h, W2, HIDDEN, HIDDEN));
    return ag_mean(ag_square(ag_sub(net_affine(w, h, W3, HIDDEN, 1), net_ty)));
}

/* ---- camera -------------------------------------------------------------------------------------------------------- */

static void camera_cross(const ag_var *a, const ag_var *b, ag_var *y) {
    for (int i = 0; i < 3; i++) {
        int j = (i + 1) % 3, k = (i + 2) % 3;
        y[i] = ag_sub(ag_mul(a[j], b[k]), ag_mul(a[k], b[j]));
    }
}
static ag_var camera_residual(const ag_var *c, const ag_var *x, const ag_var *seen) {
    ag_var a[3], b[3], p[3];
    camera_cross(c, x, a);
    camera_cross(c, a, b);
    for (int i = 0; i < 3; i++) p[i] = ag_add(ag_fma(2, ag_fma(c[3], a[i], b[i]), x[i]), c[4 + i]);
    ag_var u0 = ag_div(p[0], p[2]), u1 = ag_div(p[1], p[2]), r = ag_fma(u0, u0, ag_mul(u1, u1));
    ag_var scale = ag_mul(c[7], ag_fma(r, ag_fma(r, c[9], c[8]), 1));
    ag_var e0 = ag_sub(ag_mul(scale, u0), seen[0]), e1 = ag_sub(ag_mul(scale, u1), seen[1]);
    return ag_mul(0.5, ag_fma(e0, e0, ag_mul(e1, e1)));
}
static ag_var camera_scalar(const ag_var *c) {
    ag_var f = ag_num(0);
    for (int i = 0; i < POINTS; i++) {
        ag_var x[3], seen[2];
        for (int k = 0; k < 3; k++) x[k] = ag_num(camera_points[3 * i + k]);
        for (int k = 0; k < 2; k++) seen[k] = ag_num(camera_seen[2 * i + k]);
        ag_var e = camera_residual(c, x, seen);
        f = i == 0 ? e : ag_add(f, e);
    }
    return f;
}
static ag_program *camera_row; /* one point's part of the sum */
static ag_var camera_tpoints, camera_tseen;
static void camera_row_model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    ag_var c[CAMERA], x[3], seen[2];
    for (int k = 0; k < CAMERA; k++) c[k] = ag_at(in[0], k);
    for (int k = 0; k < 3; k++) x[k] = ag_at(in[1], k);
    for (int k = 0; k < 2; k++) seen[k] = ag_at(in[2], k);
    out[0] = camera_residual(c, x, seen);
}
static void camera_constants(ag_tape *tape) {
    if (camera_row == NULL) {
        ag_port in[] = {ag_in("camera", AG_SHAPE(CAMERA)), ag_in("point", AG_SHAPE(3)), ag_in("seen", AG_SHAPE(2))};
        camera_row = ag_program_trace(AG_F64, camera_row_model, NULL, in, 3, NULL, 1);
    }
    camera_tpoints = ag_constant_tensor(tape, camera_points, AG_SHAPE(POINTS, 3));
    camera_tseen = ag_constant_tensor(tape, camera_seen, AG_SHAPE(POINTS, 2));
}
static ag_var camera_map(ag_tape *t, ag_var c) {
    ag_var f, in[] = {c, camera_tpoints, camera_tseen};
    ag_map(t, camera_row, POINTS, in, (ag_along[]){AG_SHARED, AG_EACH, AG_EACH}, (ag_along[]){AG_SHARED}, &f);
    return f;
}

/* ---- chain --------------------------------------------------------------------------------------------------------- */

static ag_program *chain_step;
static void chain_step_model(ag_tape *t, const ag_var *in, ag_var *out, void *context) {
    (void)t, (void)context;
    out[0] = ag_sub(1.5, ag_div(in[0], ag_add(ag_exp(ag_mul(0.5, ag_sin(ag_mul(in[2], in[0])))), in[3])));
    out[1] = ag_add(in[1], out[0]);
}
static void chain_constants(ag_tape *tape) {
    (void)tape;
    if (chain_step != NULL) return;
    const ag_shape scalar = {.rank = 0};
    ag_port in[] = {ag_in("x", scalar), ag_in("sum", scalar), ag_in("p", scalar), ag_in("q", scalar)};
    chain_step = ag_program_trace(AG_F64, chain_step_model, NULL, in, 4, NULL, 2);
}
static ag_var chain_scalar(const ag_var *x) { return chain_tape(x, STEPS); }
static ag_var chain_scan(ag_tape *t, ag_var x) {
    ag_var y[2], in[] = {ag_at(x, 0), ag_num(0), ag_at(x, 1), ag_at(x, 2)};
    ag_scan(t, chain_step, STEPS, 2, in, (ag_along[]){AG_SHARED, AG_SHARED, AG_SHARED, AG_SHARED}, NULL, y);
    return y[1];
}

static const problem problems[] = {
    {"Rosenbrock, n = 1000", ROSENBROCK, -1.5, 1.5, rosenbrock, rosenbrock_gradient, rosenbrock_scalar, "tensors", NULL,
     rosenbrock_tensor},
    {"Helmholtz energy, n = 100", HELMHOLTZ, 0.5 / HELMHOLTZ, 1.0 / HELMHOLTZ, helmholtz, helmholtz_gradient,
     helmholtz_scalar, "tensors", helmholtz_constants, helmholtz_tensor},
    {"neural net 8-16-16-1, 32 cases, n = 433", NET, -0.5, 0.5, net, net_gradient, net_scalar, "tensors", net_constants,
     net_tensor},
    {"logistic regression, 1000 cases, n = 21", FEATURES + 1, -1, 1, logistic, logistic_gradient, logistic_scalar,
     "tensors", logistic_constants, logistic_tensor},
    {"camera, 2000 points, n = 10", CAMERA, 0.1, 0.3, camera, camera_gradient, camera_scalar, "map", camera_constants,
     camera_map},
    {"chain of 8000 operations, n = 3", CHAIN_INPUTS, 0.7, 1.1, chain, chain_gradient, chain_scalar, "scan",
     chain_constants, chain_scan},
};
enum { MOST_VARIABLES = 1000, PROBLEMS = sizeof problems / sizeof *problems };

/* ---- recording ----------------------------------------------------------------------------------------------------- */

/* A problem on a tape: its operations as scalars, or as a whole. */
typedef struct recording {
    const problem *p;
    bool whole;
    ag_tape *tape;
    ag_mark mark;
    ag_var vector, x[MOST_VARIABLES];
    double point[MOST_VARIABLES], y, grad[MOST_VARIABLES];
} recording;

static inline void recording_open(recording *r, const problem *p, bool whole) {
    r->p = p;
    r->whole = whole;
    bench_fill(r->point, (size_t)p->n, p->lo, p->hi);
    r->tape = ag_tape_new(AG_F64);
    if (whole) {
        r->vector = ag_tensor(r->tape, r->point, AG_SHAPE(p->n));
        if (p->constants != NULL) p->constants(r->tape);
    } else {
        for (int i = 0; i < p->n; i++) r->x[i] = ag_input(r->tape, r->point[i]);
    }
    r->mark = ag_tape_mark(r->tape);
}
static inline ag_var recording_function(recording *r) {
    ag_tape_rewind(r->tape, r->mark);
    return r->whole ? r->p->whole(r->tape, r->vector) : r->p->scalar(r->x);
}
static inline void recording_sweep(recording *r, ag_var y) {
    ag_backward(y);
    if (r->whole) ag_read_grad(r->vector, r->grad);
    else
        for (int i = 0; i < r->p->n; i++) r->grad[i] = ag_grad(r->x[i]);
}

/* The gradient at a point by central differences. */
static inline void differences(const problem *p, const double *point, double *gradient) {
    double x[MOST_VARIABLES], h = 1e-5 * (p->hi - p->lo);
    memcpy(x, point, (size_t)p->n * sizeof *x);
    for (int i = 0; i < p->n; i++) {
        x[i] = point[i] + h;
        double up = p->value(x);
        x[i] = point[i] - h;
        gradient[i] = (up - p->value(x)) / (2 * h);
        x[i] = point[i];
    }
}

static inline void problems_begin(void) {
    helmholtz_begin();
    logistic_begin();
    net_begin();
    camera_begin();
}
/* Of the programs that maps and scans use. */
static inline void problems_end(void) {
    ag_program_free(camera_row);
    ag_program_free(chain_step);
}

#endif
