/* 002_4bedc64d675aa9b2.txt: proofs. */
#include "nn/check/documents_impl.h"

enum { M = 3, K = 4 }; /* features, classes */

/* ---- binary ---------------------------------------------------------------------------------------------------- */

static void binary_of_1(nn_derivation *d) {
    double z = nn_random_normal(&d->random);
    ag_var x = ag_input(d->tape, z);
    ag_backward(ag_neg(ag_log(nn_record_sigmoid(x))));
    nn_right_grad(d, x);
    d->claimed[0] = nn_sigmoid(z) - 1;
}

static void binary_of_0(nn_derivation *d) {
    double z = nn_random_normal(&d->random);
    ag_var x = ag_input(d->tape, z);
    ag_backward(ag_neg(ag_log(ag_sub(1, nn_record_sigmoid(x)))));
    nn_right_grad(d, x);
    d->claimed[0] = nn_sigmoid(z);
}

/* ---- multiclass: L = -log softmax(z)[i] ------------------------------------------------------------------------ */

static void class_by_z(nn_derivation *d) {
    double values[K];
    int64_t i = nn_random_below(&d->random, K);
    nn_fill_normal(&d->random, values, K, 1);
    ag_var z = ag_tensor(d->tape, values, AG_SHAPE(K));
    ag_backward(ag_neg(ag_log(ag_at(nn_record_softmax(z), i))));
    nn_right_grad(d, z);
    nn_softmax(values, K, d->claimed);
    d->claimed[i] -= 1;
}

typedef struct layer {
    double x[M], p[K]; /* p: softmax(z) */
    int64_t i;         /* the class */
    ag_var W, b;
} layer;

/* z = W x + b */
static layer record_layer(nn_derivation *d) {
    layer l;
    double W[K * M], b[K], z[K];
    l.i = nn_random_below(&d->random, K);
    nn_fill_normal(&d->random, l.x, M, 1);
    nn_fill_normal(&d->random, W, K * M, 1);
    nn_fill_normal(&d->random, b, K, 1);
    for (int k = 0; k < K; k++) z[k] = nn_dot(W + k * M, l.x, M) + b[k];
    nn_softmax(z, K, l.p);
    l.W = ag_tensor(d->tape, W, AG_SHAPE(K, M));
    l.b = ag_tensor(d->tape, b, AG_SHAPE(K));
    ag_var scores = ag_add(ag_matmul(l.W, ag_constant_tensor(d->tape, l.x, AG_SHAPE(M))), l.b);
    ag_backward(ag_neg(ag_log(ag_at(nn_record_softmax(scores), l.i))));
    return l;
}

static void layer_by_W(nn_derivation *d) {
    layer l = record_layer(d);
    nn_right_grad(d, l.W);
    for (int k = 0; k < K; k++)
        for (int j = 0; j < M; j++) d->claimed[k * M + j] = (l.p[k] - (k == l.i)) * l.x[j];
}

static void layer_by_b(nn_derivation *d) {
    layer l = record_layer(d);
    nn_right_grad(d, l.b);
    for (int k = 0; k < K; k++) d->claimed[k] = l.p[k] - (k == l.i);
}

static void layer_by_other_row(nn_derivation *d) {
    layer l = record_layer(d);
    int64_t k = (l.i + 1 + nn_random_below(&d->random, K - 1)) % K;
    nn_right_grad(d, ag_index(l.W, 0, k));
    for (int j = 0; j < M; j++) d->claimed[j] = l.p[k] * l.x[j];
}

static void layer_by_own_row(nn_derivation *d) {
    layer l = record_layer(d);
    nn_right_grad(d, ag_index(l.W, 0, l.i));
    for (int j = 0; j < M; j++) d->claimed[j] = (l.p[l.i] - 1) * l.x[j];
}

static const nn_document_claim claims[] = {
    {"binary, y = 1: dL/dz = yhat - y", NULL, binary_of_1},
    {"binary, y = 0: dL/dz = yhat - y", NULL, binary_of_0},
    {"multiclass: grad_z = softmax(z) - onehot(i)", NULL, class_by_z},
    {"grad_W = grad_z x^T", NULL, layer_by_W},
    {"grad_b = grad_z", NULL, layer_by_b},
    {"grad_W[k] = softmax(z)[k] x for k != i", NULL, layer_by_other_row},
    {"grad_W[i] = (softmax(z)[i] - 1) x", NULL, layer_by_own_row},
};

const nn_document nn_document_002 = NN_DOCUMENT("002_4bedc64d675aa9b2.txt", "proofs", claims);
