/* A layer normalisation written by hand, forward and backward in plain C. Its first backward function forgets that the
 * mean depends on x too; nn_check_backward finds that, by differences of the forward function alone. The second one is
 * right. */
#include <nn/nn.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 4, COLUMNS = 6, DRAWS = 5, SEED = 1 };
static const double epsilon = 1e-5;

/* What forward leaves for backward: h = (x - mean) / s, and 1 / s, for each row. */
typedef struct saved {
    double h[ROWS * COLUMNS], inverse[ROWS];
} saved;

/* y = gamma h + beta, along each row of x */
static void forward(void *context, const void *const *inputs, void *const *outputs) {
    const double *x = inputs[0], *gamma = inputs[1], *beta = inputs[2];
    double *y = outputs[0];
    saved *s = context;
    for (int i = 0; i < ROWS; i++, x += COLUMNS, y += COLUMNS) {
        double mean = 0, variance = 0, *h = s->h + i * COLUMNS;
        for (int j = 0; j < COLUMNS; j++) mean += x[j] / COLUMNS;
        for (int j = 0; j < COLUMNS; j++) variance += (x[j] - mean) * (x[j] - mean) / COLUMNS;
        s->inverse[i] = 1 / sqrt(variance + epsilon);
        for (int j = 0; j < COLUMNS; j++) {
            h[j] = (x[j] - mean) * s->inverse[i];
            y[j] = gamma[j] * h[j] + beta[j];
        }
    }
}

/* dgamma and dbeta are sums over the rows; dx = (a - mean(a) - h mean(a h)) / s, a = gamma g. */
static void backward(saved *s, const void *const *inputs, const double *g, void *const *gradients, bool forget_mean) {
    const double *gamma = inputs[1];
    double *dx = gradients[0], *dgamma = gradients[1], *dbeta = gradients[2];
    for (int i = 0; i < ROWS; i++, g += COLUMNS, dx += COLUMNS) {
        double mean_a = 0, mean_ah = 0, *h = s->h + i * COLUMNS;
        for (int j = 0; j < COLUMNS; j++) {
            dgamma[j] += g[j] * h[j];
            dbeta[j] += g[j];
            mean_a += gamma[j] * g[j] / COLUMNS;
            mean_ah += gamma[j] * g[j] * h[j] / COLUMNS;
        }
        if (forget_mean) mean_a = 0;
        for (int j = 0; j < COLUMNS; j++) dx[j] = (gamma[j] * g[j] - mean_a - h[j] * mean_ah) * s->inverse[i];
    }
}

static void first_try(void *context, const void *const *inputs, const void *const *g, void *const *gradients) {
    backward(context, inputs, g[0], gradients, true);
}

static void second_try(void *context, const void *const *inputs, const void *const *g, void *const *gradients) {
    backward(context, inputs, g[0], gradients, false);
}

/* The same function for the tape, which makes the check exact: optional. */
static void record(void *context, ag_tape *tape, const ag_var *inputs, ag_var *outputs) {
    (void)context, (void)tape;
    ag_var centred = ag_sub(inputs[0], ag_mean_over(inputs[0], AG_AXES(1), true));
    ag_var variance = ag_mean_over(ag_square(centred), AG_AXES(1), true);
    ag_var h = ag_div(centred, ag_sqrt(ag_add(variance, epsilon)));
    outputs[0] = ag_add(ag_mul(inputs[1], h), inputs[2]);
}

static nn_backward_report check(nn_backward description) {
    nn_backward_report report;
    nn_check_backward(&description, DRAWS, SEED, &report);
    nn_backward_write(&report, stdout);
    return report;
}

int main(void) {
    static saved s;
    const nn_backward_input inputs[] = {{.name = "x", .shape = AG_SHAPE(ROWS, COLUMNS)},
                                        {.name = "gamma", .shape = AG_SHAPE(COLUMNS)},
                                        {.name = "beta", .shape = AG_SHAPE(COLUMNS)}};
    const nn_backward_output outputs[] = {{.name = "y", .shape = AG_SHAPE(ROWS, COLUMNS)}};
    nn_backward layer = {.name = "layer norm, first try",
                         .type = AG_F64,
                         .input_count = 3,
                         .inputs = inputs,
                         .output_count = 1,
                         .outputs = outputs,
                         .forward = forward,
                         .backward = first_try,
                         .context = &s};
    nn_backward_report first = check(layer);

    layer.name = "layer norm, second try";
    layer.backward = second_try;
    nn_backward_report second = check(layer);

    layer.record = record;
    nn_backward_report exact = check(layer);

    bool found = first.status == AG_OK && !first.inputs[0].holds && first.inputs[1].holds && first.inputs[2].holds &&
                 strcmp(first.inputs[0].kind, "missing-term") == 0;
    return found && second.holds && exact.holds ? EXIT_SUCCESS : EXIT_FAILURE;
}
