/* XOR by a network of two layers: four hidden tanh units and one logit, trained on the four cases. */
#include <autograd/autograd.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CASES = 4, HIDDEN = 4, STEPS = 2000 };
static const double rate = 0.5;

static const double inputs[CASES][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
static const double targets[CASES] = {0, 1, 1, 0};

typedef struct network {
    ag_var W1, b1, w2, b2;
} network;

/* Weights are not all alike, or the hidden units would learn the same. */
static network make_network(ag_tape *t) {
    double W1[2 * HIDDEN], w2[HIDDEN];
    for (int i = 0; i < 2 * HIDDEN; i++) W1[i] = sin(3.0 * i + 1);
    for (int i = 0; i < HIDDEN; i++) w2[i] = cos(2.0 * i);
    return (network){ag_tensor(t, W1, AG_SHAPE(2, HIDDEN)), ag_tensor(t, NULL, AG_SHAPE(HIDDEN)),
                     ag_tensor(t, w2, AG_SHAPE(HIDDEN)), ag_input(t, 0)};
}

/* The logit of each case. */
static ag_var forward(const network *n, ag_var x) {
    ag_var hidden = ag_tanh(ag_add(ag_matmul(x, n->W1), n->b1));
    return ag_add(ag_matmul(hidden, n->w2), n->b2);
}

static void step(const network *n) {
    ag_step(n->W1, -rate);
    ag_step(n->b1, -rate);
    ag_step(n->w2, -rate);
    ag_step(n->b2, -rate);
}

int main(void) {
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_constant_tensor(t, &inputs[0][0], AG_SHAPE(CASES, 2));
    ag_var y = ag_constant_tensor(t, targets, AG_SHAPE(CASES));
    network n = make_network(t);

    ag_mark mark = ag_tape_mark(t); /* data and parameters stay, each step's computation goes */
    for (int i = 0; i < STEPS && ag_tape_status(t) == AG_OK; i++) {
        ag_var loss = ag_mean(ag_bce_logits(forward(&n, x), y));
        ag_backward(loss);
        if (i % 400 == 0) printf("step %4d  loss %.6f\n", i, ag_value(loss));
        step(&n);
        ag_tape_rewind(t, mark);
    }

    double p[CASES] = {0};
    bool learnt = true;
    ag_read(ag_sigmoid(forward(&n, x)), p);
    for (int i = 0; i < CASES; i++) {
        printf("%g xor %g = %g: predicted %.4f\n", inputs[i][0], inputs[i][1], targets[i], p[i]);
        learnt = learnt && fabs(p[i] - targets[i]) < 0.1;
    }

    bool fine = ag_tape_status(t) == AG_OK;
    if (!fine) fprintf(stderr, "xor: %s\n", ag_tape_message(t));
    ag_tape_free(t);
    return fine && learnt ? EXIT_SUCCESS : EXIT_FAILURE;
}
