/* 004_0e9c16ead9bb2bc5.txt: logistic, softmax regression, a softplus network. */
#include "nn/check/documents_impl.h"

#include <math.h>

/* ---- part 1: sigma(0.1 x1 + 0.25 x2 - 5) ----------------------------------------------------------------------- */

static ag_var record_unit(ag_var x1, double x2) { return nn_record_sigmoid(ag_add(ag_mul(x1, 0.1), x2 * 0.25 - 5)); }

static void unit_at_80_18(nn_derivation *d) { nn_right_value(d, record_unit(ag_input(d->tape, 80), 18)); }

/* The x1 at which the unit with x2 = 16 gives 0.9, by Newton's method with the tape's derivative. */
static void unit_is_nine_tenths(nn_derivation *d) {
    double x = 20;
    for (int i = 0; i < 50; i++) {
        ag_tape_clear(d->tape);
        ag_var x1 = ag_input(d->tape, x), f = ag_sub(record_unit(x1, 16), 0.9);
        ag_backward(f);
        x -= ag_value(f) / ag_grad(x1);
    }
    nn_right_value(d, ag_input(d->tape, x));
    d->claimed[0] = 10 * log(9) + 10; /* where no digits are printed */
}

/* ---- part 2: softmax regression -------------------------------------------------------------------------------- */

enum { N = 4, M = 2, K = 3 }; /* examples, features, classes */

typedef struct regression {
    double X[N * M], Y[N * K], W[K * M], p[N * K]; /* p: softmax of each example's scores */
    double lambda;
    int64_t l; /* the class by whose weights is differentiated */
    ag_var weights, scores, labels;
    ag_var linear, log_sums, penalty; /* sum_i sum_k y_k w_k.x, sum_i log sum_j e^(w_j.x), lambda sum_k |w_k|^2 */
} regression;

static regression record_regression(nn_derivation *d) {
    regression r;
    nn_fill_normal(&d->random, r.X, N * M, 1);
    nn_fill_normal(&d->random, r.W, K * M, 1);
    nn_fill_one_hot(&d->random, r.Y, N, K);
    nn_fill_positive(&d->random, &r.lambda, 1);
    r.l = nn_random_below(&d->random, K);
    for (int i = 0; i < N; i++) {
        double scores[K];
        for (int k = 0; k < K; k++) scores[k] = nn_dot(r.W + k * M, r.X + i * M, M);
        nn_softmax(scores, K, r.p + i * K);
    }
    r.weights = ag_tensor(d->tape, r.W, AG_SHAPE(K, M));
    r.labels = ag_constant_tensor(d->tape, r.Y, AG_SHAPE(N, K));
    r.scores = ag_matmul(ag_constant_tensor(d->tape, r.X, AG_SHAPE(N, M)), ag_transpose(r.weights));
    r.linear = ag_vdot(r.labels, r.scores);
    r.log_sums = ag_sum(ag_log(ag_sum_over(ag_exp(r.scores), AG_AXES(1), false)));
    r.penalty = ag_mul(r.lambda, ag_sum(ag_square(r.weights)));
    return r;
}

static void log_likelihood(nn_derivation *d) {
    regression r = record_regression(d);
    nn_right_value(d, ag_vdot(r.labels, ag_log(nn_record_softmax(r.scores))));
    d->claimed[0] = ag_value(ag_sub(r.linear, r.log_sums));
}

/* The document's gradient by w_l: sum_i y_l x - sum_i x softmax_l - 2 lambda w_l. */
static void claim_gradient(nn_derivation *d, const regression *r) {
    for (int j = 0; j < M; j++) {
        double sum = 0;
        for (int i = 0; i < N; i++) sum += (r->Y[i * K + r->l] - r->p[i * K + r->l]) * r->X[i * M + j];
        d->claimed[j] = sum - 2 * r->lambda * r->W[r->l * M + j];
    }
}

static void likelihood_by_w(nn_derivation *d) {
    regression r = record_regression(d);
    ag_backward(ag_sub(ag_sub(r.linear, r.log_sums), r.penalty));
    nn_right_grad(d, ag_index(r.weights, 0, r.l));
    claim_gradient(d, &r);
}

/* As printed, the second term is summed over k as well, although nothing in it depends on k: it counts K times. */
static void likelihood_as_printed_by_w(nn_derivation *d) {
    regression r = record_regression(d);
    ag_var row = ag_index(r.weights, 0, r.l), second = ag_mul(-K, r.log_sums);
    ag_backward(second);
    ag_read_grad(row, d->term);
    d->term_name = "the term -sum_i sum_k log sum_j e^(w_j.x)";
    d->size = (nn_named_size){"K", K};
    ag_backward(ag_sub(ag_add(r.linear, second), r.penalty));
    nn_right_grad(d, row);
    claim_gradient(d, &r);
}

/* ---- part 3: a network of softplus units ----------------------------------------------------------------------- */

static ag_var record_softplus(ag_var z) { return ag_log(ag_add(1, ag_exp(z))); }

static void softplus_identity(nn_derivation *d) {
    double z = 5 * nn_random_normal(&d->random);
    nn_right_value(d, record_softplus(ag_input(d->tape, z)));
    d->claimed[0] = log(1 + exp(-z)) + z;
}

/* For z beyond about 710, e^z is infinite. */
static void softplus_of_large(nn_derivation *d) {
    double z = nn_random_uniform(&d->random, 30, 10000);
    nn_right_value(d, ag_softplus(ag_input(d->tape, z)));
    d->claimed[0] = log(1 + exp(-z)) + z;
}

typedef struct network {
    ag_var W1, W2, a1, z2, a2, loss;
} network;

/* z1 = W1 x + b1, a1 = softplus(z1), z2 = W2.a1 + b2, a2 = softplus(z2), loss = 1/2 (y - a2)^2 */
static network record(nn_derivation *d, const double *x, const double *W1, const double *b1, const double *W2,
                      double b2, double y) {
    network n;
    n.W1 = ag_tensor(d->tape, W1, AG_SHAPE(2, 2));
    n.W2 = ag_tensor(d->tape, W2, AG_SHAPE(2));
    ag_var bias = ag_tensor(d->tape, b1, AG_SHAPE(2));
    n.a1 = record_softplus(ag_add(ag_matmul(n.W1, ag_constant_tensor(d->tape, x, AG_SHAPE(2))), bias));
    n.z2 = ag_add(ag_vdot(n.W2, n.a1), ag_input(d->tape, b2));
    n.a2 = record_softplus(n.z2);
    n.loss = ag_mul(0.5, ag_square(ag_sub(y, n.a2)));
    return n;
}

static network record_example(nn_derivation *d) {
    static const double x[] = {0.4, 0.6}, W1[] = {-0.5, 0.5, -0.8, 0.8}, b1[] = {0.1, 0.1}, W2[] = {1, -1};
    return record(d, x, W1, b1, W2, 0.2, 1);
}

/* For the laws; y is the last of the numbers. */
static network record_random(nn_derivation *d, double *y) {
    double v[12];
    nn_fill_normal(&d->random, v, 12, 1);
    *y = v[11];
    return record(d, v, v + 2, v + 6, v + 8, v[10], v[11]);
}

static void loss_by_a2(nn_derivation *d) {
    double y;
    network n = record_random(d, &y);
    ag_backward(n.loss);
    nn_right_grad(d, n.a2);
    d->claimed[0] = ag_value(n.a2) - y;
}

static void a2_by_z2(nn_derivation *d) {
    double y;
    network n = record_random(d, &y);
    ag_backward(n.a2);
    nn_right_grad(d, n.z2);
    d->claimed[0] = 1 / (1 + exp(-ag_value(n.z2)));
}

static void z2_by_W2(nn_derivation *d) {
    double y;
    network n = record_random(d, &y);
    ag_backward(n.z2);
    nn_right_grad(d, n.W2);
    ag_read(n.a1, d->claimed);
}

static void example_a1(nn_derivation *d) { nn_right_value(d, record_example(d).a1); }
static void example_a2(nn_derivation *d) { nn_right_value(d, record_example(d).a2); }

static void example_by_W2(nn_derivation *d) {
    network n = record_example(d);
    ag_backward(n.loss);
    nn_right_grad(d, ag_at(n.W2, 0));
}

static void example_by_W1(nn_derivation *d) {
    network n = record_example(d);
    ag_backward(n.loss);
    nn_right_grad(d, ag_at(n.W1, 0));
}

static void new_W2(nn_derivation *d) {
    network n = record_example(d);
    ag_backward(n.loss);
    ag_step(n.W2, -1);
    nn_right_value(d, ag_at(n.W2, 0));
}

static void new_W1(nn_derivation *d) {
    network n = record_example(d);
    ag_backward(n.loss);
    ag_step(n.W1, -1);
    nn_right_value(d, ag_at(n.W1, 0));
}

static const nn_document_claim claims[] = {
    {"sigma(80*0.1 + 18*0.25 - 5)", "0.99944", unit_at_80_18},
    {"x1 with sigma(x1*0.1 + 16*0.25 - 5) = 0.9 is 10 ln 9 + 10", NULL, unit_is_nine_tenths},
    {"10 ln 9 + 10", "31.97", unit_is_nine_tenths},
    {"log-likelihood = sum y_k w_k.x - sum log sum e^(w_j.x)", NULL, log_likelihood},
    {"its gradient by w_l, with the penalty", NULL, likelihood_by_w},
    {"the same, second term summed over k too, as printed", NULL, likelihood_as_printed_by_w},
    {"a1", "[0.798, 0.831]", example_a1},
    {"a2", "0.780", example_a2},
    {"ln(1 + e^z) = ln(1 + e^-z) + z", NULL, softplus_identity},
    {"ln(1 + e^-z) + z does not overflow for large z", NULL, softplus_of_large},
    {"dloss/da2 = a2 - y", NULL, loss_by_a2},
    {"da2/dz2 = 1 / (1 + e^-z2)", NULL, a2_by_z2},
    {"dz2/dW2_j = a1_j", NULL, z2_by_W2},
    {"dloss/dW2_1", "-0.095", example_by_W2},
    {"new W2_1", "1.095", new_W2},
    {"dloss/dW1_11", "-0.026", example_by_W1},
    {"new W1_11", "-0.474", new_W1},
};

const nn_document nn_document_004 =
    NN_DOCUMENT("004_0e9c16ead9bb2bc5.txt", "logistic, softmax regression, a softplus network", claims);
