/* GradBench's gradient descent, which particle and saddle share: the step grows after ten steps that went well and shrinks
 * after one that did not. */
#include "gradbench.h"

#include <math.h>

/* ---- derivatives ---- */

void gb_reverse(ag_var y, const ag_var *x, int n, ag_var *out) { ag_gradient(y, x, n, out); }

void gb_forward(ag_var y, const ag_var *x, int n, ag_var *out) {
    for (int i = 0; i < n; i++) {
        ag_var direction[GB_MAX_UNKNOWNS];
        for (int j = 0; j < n; j++) direction[j] = ag_num(i == j);
        ag_jvp(&y, 1, x, direction, n, &out[i]);
    }
}

void gb_sweep(ag_var y, const ag_var *x, int n, ag_var *out) {
    ag_backward(y);
    for (int i = 0; i < n; i++) out[i] = ag_num(ag_grad(x[i]));
}

/* ---- descent ---- */

/* What is descended on: value and slope may be vars or plain numbers. */
typedef struct surface {
    ag_var (*value)(const struct surface *s, const ag_var *x);
    void (*slope)(const struct surface *s, const ag_var *x, ag_var *out);
    double sign; /* -1 to ascend */
    int n;
    gb_scalar *f;
    const void *context;
    gb_mode *mode;
    ag_tape *tape;
} surface;

static double length(const ag_var *x, int n) {
    double square = 0;
    for (int i = 0; i < n; i++) square += ag_value(x[i]) * ag_value(x[i]);
    return sqrt(square);
}

static void descend(const surface *s, ag_var *x) {
    const double tolerance = 1e-5;
    double step = 1e-5, value = s->sign * ag_value(s->value(s, x));
    ag_var slope[GB_MAX_UNKNOWNS], moved[GB_MAX_UNKNOWNS], move[GB_MAX_UNKNOWNS];
    s->slope(s, x, slope);
    for (int good = 0; length(slope, s->n) > tolerance;) { /* NaN ends it, too */
        if (good == 10) {
            step *= 2;
            good = 0;
        }
        for (int i = 0; i < s->n; i++) {
            move[i] = ag_mul(slope[i], -s->sign * step);
            moved[i] = ag_add(x[i], move[i]);
        }
        double distance = length(move, s->n);
        if (!(distance > tolerance && distance < INFINITY)) return;
        double there = s->sign * ag_value(s->value(s, moved));
        if (there < value) {
            memcpy(x, moved, (size_t)s->n * sizeof *x);
            value = there;
            s->slope(s, x, slope);
            good++;
        } else {
            step /= 2;
            good = 0;
        }
    }
}

/* ---- on vars, and on numbers ---- */

static ag_var record_value(const surface *s, const ag_var *x) { return s->f(s->context, x); }

static void record_slope(const surface *s, const ag_var *x, ag_var *out) { s->mode(s->f(s->context, x), x, s->n, out); }

void gb_descend(gb_scalar *f, const void *context, gb_mode *mode, double sign, int n, ag_var *x) {
    const surface s = {record_value, record_slope, sign, n, f, context, mode, NULL};
    descend(&s, x);
}

static void as_inputs(const surface *s, const ag_var *x, ag_var *out) {
    for (int i = 0; i < s->n; i++) out[i] = ag_input(s->tape, ag_value(x[i]));
}

static ag_var number_value(const surface *s, const ag_var *x) {
    ag_mark start = ag_tape_mark(s->tape);
    ag_var in[GB_MAX_UNKNOWNS];
    as_inputs(s, x, in);
    double value = ag_value(s->f(s->context, in));
    ag_tape_rewind(s->tape, start);
    return ag_num(value);
}

static void number_slope(const surface *s, const ag_var *x, ag_var *out) {
    ag_mark start = ag_tape_mark(s->tape);
    ag_var in[GB_MAX_UNKNOWNS];
    as_inputs(s, x, in);
    s->mode(s->f(s->context, in), in, s->n, out);
    for (int i = 0; i < s->n; i++) out[i] = ag_num(ag_value(out[i]));
    ag_tape_rewind(s->tape, start);
}

void gb_minimise(ag_tape *tape, gb_scalar *f, const void *context, gb_mode *mode, int n, double *x) {
    const surface s = {number_value, number_slope, 1, n, f, context, mode, tape};
    ag_var at[GB_MAX_UNKNOWNS];
    for (int i = 0; i < n; i++) at[i] = ag_num(x[i]);
    descend(&s, at);
    for (int i = 0; i < n; i++) x[i] = ag_value(at[i]);
}
