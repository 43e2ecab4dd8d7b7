/* Handwritten digits by a convolutional network, conv 32 - pool - conv 64 - pool - dense 128: 99 % of MNIST's after 9,000 of
 * them, shifted at random.
 *
 *     OPENBLAS_CORETYPE=SkylakeX digits_cnn --data FOLDER     (README.md says where the variable helps) */
#include "digits.h"

typedef struct net {
    nn_conv convs[2];
    nn_dense hidden, output;
    nn_dropout dropout;
} net;

static net make_net(nn_model *model) {
    nn_conv_options options = {.padding = {1, 1}, .initial = NN_HE_NORMAL};
    return (net){{nn_conv_init(model, NN_CONV2D, "conv.0", 1, 32, 3, 3, options),
                  nn_conv_init(model, NN_CONV2D, "conv.1", 32, 64, 3, 3, options)},
                 nn_dense_init(model, "hidden", 64 * PIXELS / 16, 128, (nn_dense_options){.initial = NN_HE_NORMAL}),
                 nn_dense_init(model, "output", 128, 10, (nn_dense_options){0}),
                 nn_dropout_init(model, "dropout", 0.3)};
}

/* What a batch of images and labels gives: the loss, and logits for the accuracy. */
static void forward(void *context, const ag_var *batch, ag_var *out) {
    const net *n = context;
    ag_var x = ag_unsqueeze(batch[0], 1); /* one channel */
    for (int i = 0; i < 2; i++)           /* half the height and width each */
        x = ag_max_pool2d(ag_relu(nn_conv_apply(n->convs[i], x)), (ag_pool_options){.kernel = {2, 2}});
    x = ag_reshape(x, AG_SHAPE(ag_shape_of(x).dim[0], -1));
    x = nn_dropout_apply(n->dropout, ag_relu(nn_dense_apply(n->hidden, x)));
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
                                                .curves = "digits_cnn.svg"},
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
    double accuracy = fit(model, &n, &d, folder != NULL ? 10 : 2, &e);

    char result[128];
    snprintf(result, sizeof result, "%.1f %% are right; curves in digits_cnn.svg", 100 * accuracy);
    int status = end(&e, accuracy >= (folder != NULL ? 0.985 : 0.96), result);
    nn_model_free(model);
    ag_tape_free(tape);
    close_digits(&d);
    return status;
}
