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

int main(int argc, char **argv) {
    const char *folder = data_folder(argc, argv, DIGITS_HELP);
    nn_error e = {0};
    digits d = {0};
    open_digits(&d, folder, false, &e);
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(tape, 1);
    net n = make_net(model);
    if (e.status == AG_OK) nn_model_summary(model, stdout);
    double accuracy = fit_digits(model, forward, &n, &d, folder != NULL ? 10 : 2, "digits_cnn.svg", &e);
    nn_model_save(model, "digits_cnn.safetensors", &e);
    nn_model_free(model);
    ag_tape_free(tape);
    close_digits(&d);
    return end_of_training(&e, accuracy, accuracy >= (folder != NULL ? 0.985 : 0.85));
}
