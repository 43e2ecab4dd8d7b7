/* 003_c5260fa7ca6bf44f.txt: back-propagation notes. */
#include "nn/check/documents_impl.h"

/* ---- L = 1/2 [(0.3 - yhat1)^2 + (0.7 - yhat2)^2] --------------------------------------------------------------- */

static const double targets[] = {0.3, 0.7};

static void half_squares_by(nn_derivation *d, int i) {
    double values[2];
    nn_fill_normal(&d->random, values, 2, 1);
    ag_var yhat = ag_tensor(d->tape, values, AG_SHAPE(2));
    ag_var error = ag_sub(ag_constant_tensor(d->tape, targets, AG_SHAPE(2)), yhat);
    ag_backward(ag_mul(0.5, ag_sum(ag_square(error))));
    nn_right_grad(d, ag_at(yhat, i));
    d->claimed[0] = -(targets[i] - values[i]);
}

static void half_squares_by_1(nn_derivation *d) { half_squares_by(d, 0); }
static void half_squares_by_2(nn_derivation *d) { half_squares_by(d, 1); }

/* ---- activations ----------------------------------------------------------------------------------------------- */

static void relu(nn_derivation *d) {
    double v = nn_random_normal(&d->random);
    ag_var x = ag_input(d->tape, v);
    ag_backward(ag_max(x, 0));
    nn_right_grad(d, x);
    d->claimed[0] = v > 0;
}

static void sigmoid(nn_derivation *d) {
    double v = nn_random_normal(&d->random);
    ag_var x = ag_input(d->tape, v);
    ag_backward(nn_record_sigmoid(x));
    nn_right_grad(d, x);
    d->claimed[0] = nn_sigmoid(v) * (1 - nn_sigmoid(v));
}

/* ---- a dense layer of two sigmoid units, then a sigmoid output, mean squared error ----------------------------- */

typedef struct network {
    double x[2], w2[2], hidden[2], yhat, y; /* hidden: the first layer's output */
    ag_var W1, W2, net2, prediction, L;
} network;

static network record_network(nn_derivation *d) {
    network n;
    double W1[4], b1[2], b2 = nn_random_normal(&d->random);
    n.y = nn_random_normal(&d->random);
    nn_fill_normal(&d->random, n.x, 2, 1);
    nn_fill_normal(&d->random, W1, 4, 1);
    nn_fill_normal(&d->random, b1, 2, 1);
    nn_fill_normal(&d->random, n.w2, 2, 1);
    for (int i = 0; i < 2; i++) n.hidden[i] = nn_sigmoid(nn_dot(W1 + 2 * i, n.x, 2) + b1[i]);
    n.yhat = nn_sigmoid(nn_dot(n.w2, n.hidden, 2) + b2);

    n.W1 = ag_tensor(d->tape, W1, AG_SHAPE(2, 2));
    n.W2 = ag_tensor(d->tape, n.w2, AG_SHAPE(2));
    ag_var x = ag_constant_tensor(d->tape, n.x, AG_SHAPE(2)), b = ag_tensor(d->tape, b1, AG_SHAPE(2));
    ag_var hidden = nn_record_sigmoid(ag_add(ag_matmul(n.W1, x), b));
    n.net2 = ag_add(ag_vdot(n.W2, hidden), b2);
    n.prediction = nn_record_sigmoid(n.net2);
    n.L = ag_square(ag_sub(n.y, n.prediction));
    return n;
}

static void output_by_net2(nn_derivation *d) {
    network n = record_network(d);
    ag_backward(n.prediction);
    nn_right_grad(d, n.net2);
    d->claimed[0] = n.yhat * (1 - n.yhat);
}

/* dL/dyhat dyhat/dnet2 */
static double chain_to_net2(const network *n) { return -2 * (n->y - n->yhat) * n->yhat * (1 - n->yhat); }

static void loss_by_output_weights(nn_derivation *d) {
    network n = record_network(d);
    ag_backward(n.L);
    nn_right_grad(d, n.W2);
    for (int i = 0; i < 2; i++) d->claimed[i] = chain_to_net2(&n) * n.hidden[i];
}

static void loss_by_hidden_weights(nn_derivation *d) {
    network n = record_network(d);
    ag_backward(n.L);
    nn_right_grad(d, n.W1);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            d->claimed[2 * i + j] = chain_to_net2(&n) * n.w2[i] * n.hidden[i] * (1 - n.hidden[i]) * n.x[j];
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

static void cross_entropy(nn_derivation *d) {
    static const double p[] = {0.3, 0.7}, y[] = {0, 1};
    ag_var prediction = ag_tensor(d->tape, p, AG_SHAPE(2));
    nn_right_value(d, ag_neg(ag_vdot(ag_constant_tensor(d->tape, y, AG_SHAPE(2)), ag_log(prediction))));
}

static const nn_document_claim claims[] = {
    {"dL/dyhat1 = -(0.3 - yhat1)", NULL, half_squares_by_1},
    {"dL/dyhat2 = -(0.7 - yhat2)", NULL, half_squares_by_2},
    {"d relu(x)/dx = 1 for x > 0, else 0", NULL, relu},
    {"d sigma(x)/dx = sigma(x) (1 - sigma(x))", NULL, sigmoid},
    {"d sigma(net2)/dnet2 inside the network", NULL, output_by_net2},
    {"dL/dw = dL/dyhat dyhat/dnet dnet/dw, output layer", NULL, loss_by_output_weights},
    {"dL/dw by the chain, hidden layer", NULL, loss_by_hidden_weights},
    {"cross-entropy of (0.3, 0.7) with (0, 1) = -log 0.7", "0.15", cross_entropy},
};

const nn_document nn_document_003 = NN_DOCUMENT("003_c5260fa7ca6bf44f.txt", "back-propagation notes", claims);
