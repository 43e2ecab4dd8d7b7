/* Handwritten digits by a multilayer perceptron 784-256-128-10: 97 % of MNIST's after 9,000 of them, in a few seconds.
 *
 *     OPENBLAS_CORETYPE=SkylakeX digits_mlp --data FOLDER     (README.md says where the variable helps) */
#include "digits.h"

typedef struct net {
    nn_dense hidden[2], output;
} net;

static net make_net(nn_model *model) {
    nn_dense_options relu = {.initial = NN_HE_NORMAL};
    return (net){.hidden = {nn_dense_init(model, "hidden.0", PIXELS, 256, relu),
                            nn_dense_init(model, "hidden.1", 256, 128, relu)},
                 .output = nn_dense_init(model, "output", 128, 10, (nn_dense_options){0})};
}

/* What a batch of images and labels gives: the loss, and logits for the accuracy. */
static void forward(void *context, const ag_var *batch, ag_var *out) {
    const net *n = context;
    ag_var x = ag_reshape(batch[0], AG_SHAPE(-1, PIXELS));
    for (int i = 0; i < 2; i++) x = ag_relu(nn_dense_apply(n->hidden[i], x));
    out[1] = nn_dense_apply(n->output, x);
    out[0] = nn_softmax_cross_entropy_at(out[1], batch[1], (nn_class_options){.smoothing = 0.1});
}

/* Trains, and returns the accuracy on digits that it never saw. */
static double fit(nn_model *model, net *n, const digits *d, int64_t epochs, nn_error *e) {
    int64_t steps = epochs * nn_loader_batches(d->train_batches);
    nn_step *step = nn_step_new(model, forward, n, (nn_step_options){.outputs = 2, .traced = true});
    nn_optimiser *adam = nn_adamw(model, (nn_adam_options){.decay = 0.05});
    nn_optimiser_schedule(adam, nn_one_cycle_schedule(3e-3, steps, 0, 0, 0));
    nn_fitted fitted = nn_fit(&(nn_fit_options){.step = step,
                                                .optimiser = adam,
                                                .train = d->train_batches,
                                                .validation = d->test_batches,
                                                .epochs = epochs,
                                                .metrics = {{.kind = NN_ACCURACY}},
                                                .metric_count = 1,
                                                .progress = stdout,
                                                .curves = "digits_mlp.svg"},
                              e);
    nn_optimiser_free(adam);
    nn_step_free(step);
    return fitted.last.epoch == epochs ? fitted.last.metrics[0] : NAN;
}

int main(int argc, char **argv) {
    const char *folder = data_folder(argc, argv, DIGITS_HELP);
    nn_error e = {0};
    digits d = {0};
    open_digits(&d, folder, false, &e);
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(tape, 1);
    net n = make_net(model);
    double accuracy = fit(model, &n, &d, folder != NULL ? 20 : 5, &e);

    char result[128];
    snprintf(result, sizeof result, "%.1f %% are right; curves in digits_mlp.svg", 100 * accuracy);
    int status = end(&e, accuracy >= 0.96, result);
    nn_model_free(model);
    ag_tape_free(tape);
    close_digits(&d);
    return status;
}
