/* GradBench's gradient descent, which particle and saddle share: the step grows after ten steps that went well and shrinks
 * after one that did not. */
#include "gradbench.h"

#include <math.h>

static double length(const ag_var *x, int n) {
    double square = 0;
    for (int i = 0; i < n; i++) square += ag_value(x[i]) * ag_value(x[i]);
    return sqrt(square);
}

void gb_descend(const gb_objective *f, double sign, ag_var *x) {
    const double tolerance = 1e-5;
    double step = 1e-5, value = sign * ag_value(f->value(f->context, x));
    ag_var slope[GB_MAX_UNKNOWNS], moved[GB_MAX_UNKNOWNS], move[GB_MAX_UNKNOWNS];
    f->gradient(f->context, x, slope);
    for (int good = 0; length(slope, f->n) > tolerance;) { /* NaN ends it, too */
        if (good == 10) {
            step *= 2;
            good = 0;
        }
        for (int i = 0; i < f->n; i++) {
            move[i] = ag_mul(slope[i], -sign * step);
            moved[i] = ag_add(x[i], move[i]);
        }
        double distance = length(move, f->n);
        if (!(distance > tolerance && distance < INFINITY)) return;
        double there = sign * ag_value(f->value(f->context, moved));
        if (there < value) {
            memcpy(x, moved, (size_t)f->n * sizeof *x);
            value = there;
            f->gradient(f->context, x, slope);
            good++;
        } else {
            step /= 2;
            good = 0;
        }
    }
}

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
