/* GradBench's gradient descent, which particle and saddle share: the step grows after ten steps that went well and shrinks
 * after one that did not. */
#include "gradbench.h"

#include <math.h>

void gb_reverse(ag_var y, const ag_var *x, int n, ag_var *out) { ag_gradient(y, x, n, out); }

void gb_forward(ag_var y, const ag_var *x, int n, ag_var *out) {
    for (int i = 0; i < n; i++) {
        ag_var direction[GB_MAX_UNKNOWNS];
        for (int j = 0; j < n; j++) direction[j] = ag_num(i == j);
        ag_jvp(&y, 1, x, direction, n, &out[i]);
    }
}

static double length(const double *x, int n) {
    double square = 0;
    for (int i = 0; i < n; i++) square += x[i] * x[i];
    return sqrt(square);
}

void gb_descend(const gb_surface *s, double *x) {
    const double tolerance = 1e-5;
    double step = 1e-5, value = s->sign * s->value(s->context, x);
    double slope[GB_MAX_UNKNOWNS], moved[GB_MAX_UNKNOWNS], move[GB_MAX_UNKNOWNS];
    s->slope(s->context, x, slope);
    for (int good = 0; length(slope, s->n) > tolerance;) { /* NaN ends it, too */
        if (good == 10) {
            step *= 2;
            good = 0;
        }
        for (int i = 0; i < s->n; i++) {
            move[i] = -s->sign * step * slope[i];
            moved[i] = x[i] + move[i];
        }
        double distance = length(move, s->n);
        if (!(distance > tolerance && distance < INFINITY)) return;
        double there = s->sign * s->value(s->context, moved);
        if (there < value) {
            if (s->moved) s->moved(s->context, x, -s->sign * step);
            for (int i = 0; i < s->n; i++) x[i] = moved[i];
            value = there;
            s->slope(s->context, x, slope);
            good++;
        } else {
            step /= 2;
            good = 0;
        }
    }
}
