/* Logistic regression: two clouds of points in the plane, made here, told apart by gradient descent on the mean binary
 * cross-entropy with a small penalty on the weights. */
#include <nn/nn.h>

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
    ag_var x = ag_constant_tensor(t, points, AG_SHAPE(POINTS, FEATURES));
    ag_var y = ag_constant_tensor(t, labels, AG_SHAPE(POINTS, 1));
    nn_model *model = nn_model_new(t, 0);
    nn_dense line = nn_dense_init(model, "line", FEATURES, 1, (nn_dense_options){.initial = NN_ZEROS});

    ag_mark mark = ag_tape_mark(t); /* data and parameters stay, each step's computation goes */
    for (int step = 0; step <= STEPS && ag_tape_status(t) == AG_OK; step++) {
        ag_var loss = nn_bce_logits(nn_dense_apply(line, x), y);
        loss = ag_add(loss, ag_mul(penalty, nn_l2(&line.weight, 1)));
        ag_backward(loss);
        if (step % 50 == 0) printf("step %3d  loss %.6f\n", step, ag_value(loss));
        nn_sgd_step(model, rate);
        ag_tape_rewind(t, mark);
    }

    ag_var right = ag_eq(ag_gt(nn_dense_apply(line, x), 0), y);
    double accuracy = ag_value(ag_mean(right)), weights[FEATURES] = {0};
    ag_read(line.weight, weights);
    printf("w = (%.3f, %.3f), b = %.3f: %.1f%% of %d points are on the right side\n", weights[0], weights[1],
           ag_value(line.bias), 100 * accuracy, POINTS);

    bool fine = ag_tape_status(t) == AG_OK;
    if (!fine) fprintf(stderr, "logistic: %s\n", ag_tape_message(t));
    nn_model_free(model);
    ag_tape_free(t);
    return fine && accuracy > 0.8 ? EXIT_SUCCESS : EXIT_FAILURE;
}
