/* Handwritten digits by a multilayer perceptron 784-256-128-10: 98 % of MNIST's after 9,000 of them, in a few seconds.
 *
 *     OPENBLAS_CORETYPE=SkylakeX digits_mlp --data FOLDER     (README.md says where the variable helps) */
#include "digits.h"

static nn_sequential *make_net(nn_model *model) {
    nn_dense_options relu = {.initial = NN_HE_NORMAL};
    nn_sequential *net = nn_sequential_new(model, "net");
    nn_sequential_flatten(net);
    nn_sequential_dense(net, PIXELS, 256, relu);
    nn_sequential_activation(net, NN_RELU);
    nn_sequential_dense(net, 256, 128, relu);
    nn_sequential_activation(net, NN_RELU);
    nn_sequential_dense(net, 128, 10, (nn_dense_options){0});
    return net;
}

/* What a batch of images and labels gives: the loss, and logits for the accuracy. */
static void forward(void *net, const ag_var *batch, ag_var *out) {
    out[1] = nn_sequential_apply(net, batch[0]);
    out[0] = nn_softmax_cross_entropy_at(out[1], batch[1], (nn_class_options){.smoothing = 0.1});
}

int main(int argc, char **argv) {
    const char *folder = data_folder(argc, argv, DIGITS_HELP);
    nn_error e = {0};
    digits d = {0};
    open_digits(&d, folder, false, &e);
    ag_tape *tape = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(tape, 1);
    nn_sequential *net = make_net(model);
    double accuracy = fit_digits(model, forward, net, &d, folder != NULL ? 20 : 5, "digits_mlp.svg", &e);
    nn_model_free(model);
    ag_tape_free(tape);
    close_digits(&d);
    return end_of_training(&e, accuracy, accuracy >= 0.96);
}
