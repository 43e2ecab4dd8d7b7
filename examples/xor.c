/* XOR by a network of two layers: four hidden tanh units and one logit, trained on the four cases. */
#include <nn/nn.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CASES = 4, HIDDEN = 4, STEPS = 2000, SEED = 1 };
static const double rate = 0.5;

static const double inputs[CASES][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
static const double targets[CASES] = {0, 1, 1, 0};

int main(void) {
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_constant_tensor(t, &inputs[0][0], AG_SHAPE(CASES, 2));
    ag_var y = ag_constant_tensor(t, targets, AG_SHAPE(CASES, 1));
    nn_model *model = nn_model_new(t, SEED);
    nn_dense hidden = nn_dense_init(model, "hidden", 2, HIDDEN, (nn_dense_options){.initial = NN_GLOROT_UNIFORM});
    nn_dense output = nn_dense_init(model, "output", HIDDEN, 1, (nn_dense_options){.initial = NN_GLOROT_UNIFORM});

    ag_mark mark = ag_tape_mark(t); /* data and parameters stay, each step's computation goes */
    for (int i = 0; i < STEPS && ag_tape_status(t) == AG_OK; i++) {
        ag_var logits = nn_dense_apply(output, ag_tanh(nn_dense_apply(hidden, x)));
        ag_var loss = nn_bce_logits(logits, y);
        ag_backward(loss);
        if (i % 400 == 0) printf("step %4d  loss %.6f\n", i, ag_value(loss));
        nn_sgd_step(model, rate);
        ag_tape_rewind(t, mark);
    }

    double p[CASES] = {0};
    bool learnt = true;
    ag_read(ag_sigmoid(nn_dense_apply(output, ag_tanh(nn_dense_apply(hidden, x)))), p);
    for (int i = 0; i < CASES; i++) {
        printf("%g xor %g = %g: predicted %.4f\n", inputs[i][0], inputs[i][1], targets[i], p[i]);
        learnt = learnt && fabs(p[i] - targets[i]) < 0.1;
    }

    bool fine = ag_tape_status(t) == AG_OK;
    if (!fine) fprintf(stderr, "xor: %s\n", ag_tape_message(t));
    nn_model_free(model);
    ag_tape_free(t);
    return fine && learnt ? EXIT_SUCCESS : EXIT_FAILURE;
}
