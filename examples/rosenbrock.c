/* The minimum of Rosenbrock's function
 *     f(x) = sum_i 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2        (0 at x = (1, ..., 1))
 * by gradient descent, and by Newton's method with the tape's Hessian. */
#include <autograd/autograd.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 2 };
static const double start[N] = {-1.2, 1};

static ag_var rosenbrock(ag_var x) {
    ag_var head = ag_slice(x, 0, 0, N - 1, 1), tail = ag_slice(x, 0, 1, N, 1);
    ag_var valley = ag_square(ag_sub(tail, ag_square(head))), slope = ag_square(ag_sub(1, head));
    return ag_sum(ag_add(ag_mul(100, valley), slope));
}

static double greatest(const double *x) {
    double m = 0;
    for (int i = 0; i < N; i++) m = fmax(m, fabs(x[i]));
    return m;
}

/* Steps of fixed length down the gradient. Returns the number of steps. */
static int descend(ag_tape *t, ag_var x, double rate, int limit) {
    double gradient[N] = {0};
    ag_mark mark = ag_tape_mark(t);
    for (int i = 0; i < limit && ag_tape_status(t) == AG_OK; i++) {
        ag_backward(rosenbrock(x));
        ag_read_grad(x, gradient);
        if (greatest(gradient) < 1e-8) return i;
        ag_step(x, -rate);
        ag_tape_rewind(t, mark); /* x stays, what was computed from it goes */
    }
    return limit;
}

/* f at x + s p, without recording a derivative. */
static double value_at(ag_tape *t, const double *x, const double *p, double s) {
    double moved[N];
    for (int i = 0; i < N; i++) moved[i] = x[i] + s * p[i];
    return ag_value(rosenbrock(ag_constant_tensor(t, moved, AG_SHAPE(N))));
}

/* Newton's method: steps that solve H p = -g, halved until f becomes smaller. Returns the number of steps. */
static int newton(ag_tape *t, ag_var x, int limit) {
    double at[N] = {0}, step[N] = {0}, gradient[N] = {0};
    ag_mark mark = ag_tape_mark(t);
    for (int i = 0; i < limit && ag_tape_status(t) == AG_OK; i++) {
        ag_var f = rosenbrock(x), g;
        ag_gradient(f, &x, 1, &g);
        ag_read(g, gradient);
        if (greatest(gradient) < 1e-8) return i;
        ag_read(ag_neg(ag_solve(ag_hessian(f, x), g)), step);
        ag_read(x, at);
        double before = ag_value(f), scale = 1;
        while (scale > 1e-10 && !(value_at(t, at, step, scale) < before)) scale /= 2;
        ag_tape_rewind(t, mark);
        for (int j = 0; j < N; j++) at[j] += scale * step[j];
        ag_set(x, at);
    }
    return limit;
}

static bool print_result(const char *method, int steps, ag_tape *t, ag_var x) {
    double at[N] = {0};
    ag_read(x, at);
    double f = ag_value(rosenbrock(x));
    printf("%-17s %6d steps  f = %.2e  x = (", method, steps, f);
    for (int i = 0; i < N; i++) printf("%s%.6f", i > 0 ? ", " : "", at[i]);
    printf(")\n");
    return ag_tape_status(t) == AG_OK && f < 1e-10;
}

int main(void) {
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, start, AG_SHAPE(N));
    int steps = descend(t, x, 1e-3, 200000);
    bool fine = print_result("gradient descent", steps, t, x);

    ag_set(x, start);
    steps = newton(t, x, 100);
    fine = print_result("Newton", steps, t, x) && fine;

    if (ag_tape_status(t) != AG_OK) fprintf(stderr, "rosenbrock: %s\n", ag_tape_message(t));
    ag_tape_free(t);
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}
