/* Logistic regression: two clouds of points in the plane, made here, told apart by gradient descent on the mean binary
 * cross-entropy with a small penalty on the weights. */
#include <autograd/autograd.h>

#include <stdio.h>
#include <stdlib.h>

enum { POINTS = 400, FEATURES = 2, STEPS = 300 };
static const double rate = 0.5, penalty = 1e-3;

/* Uniform in (-1, 1), always the same numbers (a 64-bit linear congruential generator, Knuth's MMIX). */
static double uniform(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*state >> 11) * 0x1p-52 - 1;
}

/* The sum of three uniform numbers is bell-shaped. The clouds' centres are (1, 0.5) and (-1, -0.5). */
static void make_points(double *x, double *y) {
    uint64_t state = 1;
    for (int i = 0; i < POINTS; i++) {
        double side = i % 2 == 0 ? 1 : -1;
        y[i] = side > 0;
        for (int j = 0; j < FEATURES; j++)
            x[i * FEATURES + j] = side / (j + 1) + uniform(&state) + uniform(&state) + uniform(&state);
    }
}

int main(void) {
    double points[POINTS * FEATURES], labels[POINTS];
    make_points(points, labels);

    ag_tape *t = ag_tape_new(AG_F64);
    ag_var X = ag_constant_tensor(t, points, AG_SHAPE(POINTS, FEATURES));
    ag_var y = ag_constant_tensor(t, labels, AG_SHAPE(POINTS));
    ag_var w = ag_tensor(t, NULL, AG_SHAPE(FEATURES)), b = ag_input(t, 0);

    ag_mark mark = ag_tape_mark(t); /* data and parameters stay, each step's computation goes */
    for (int step = 0; step <= STEPS && ag_tape_status(t) == AG_OK; step++) {
        ag_var logits = ag_add(ag_matmul(X, w), b);
        ag_var loss = ag_add(ag_mean(ag_bce_logits(logits, y)), ag_mul(penalty, ag_sum(ag_square(w))));
        ag_backward(loss);
        if (step % 50 == 0) printf("step %3d  loss %.6f\n", step, ag_value(loss));
        ag_step(w, -rate);
        ag_step(b, -rate);
        ag_tape_rewind(t, mark);
    }

    ag_var right = ag_eq(ag_gt(ag_add(ag_matmul(X, w), b), 0), y);
    double accuracy = ag_value(ag_mean(right)), weights[FEATURES] = {0};
    ag_read(w, weights);
    printf("w = (%.3f, %.3f), b = %.3f: %.1f%% of %d points are on the right side\n", weights[0], weights[1],
           ag_value(b), 100 * accuracy, POINTS);

    bool fine = ag_tape_status(t) == AG_OK;
    if (!fine) fprintf(stderr, "logistic: %s\n", ag_tape_message(t));
    ag_tape_free(t);
    return fine && accuracy > 0.8 ? EXIT_SUCCESS : EXIT_FAILURE;
}
