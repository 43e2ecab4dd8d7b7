/* 001_207b34ab3310bad6.txt: the same exercise by another hand, mean over a batch. */
#include "nn/check/documents_impl.h"

enum { N = 4, M = 2, K = 3 }; /* examples, features, classes */

/* ---- laws: Yhat = sigma(w x + b), C = -(1/n) sum(Y log Yhat + (1 - Y) log(1 - Yhat)) --------------------------- */

typedef struct logistic {
    double X[N * M], error[N]; /* error: Yhat - Y */
    ag_var w, b, z;
} logistic;

static logistic record_logistic(nn_derivation *d) {
    logistic l;
    double w[M], b = nn_random_normal(&d->random), Y[N];
    nn_fill_normal(&d->random, l.X, N * M, 1);
    nn_fill_normal(&d->random, w, M, 1);
    nn_fill_binary(&d->random, Y, N);
    for (int i = 0; i < N; i++) l.error[i] = nn_sigmoid(nn_dot(w, l.X + i * M, M) + b) - Y[i];
    l.w = ag_tensor(d->tape, w, AG_SHAPE(M));
    l.b = ag_input(d->tape, b);
    l.z = ag_add(ag_matmul(ag_constant_tensor(d->tape, l.X, AG_SHAPE(N, M)), l.w), l.b);
    ag_backward(ag_mean(nn_record_bce(nn_record_sigmoid(l.z), ag_constant_tensor(d->tape, Y, AG_SHAPE(N)))));
    return l;
}

static void logistic_by_z(nn_derivation *d) {
    logistic l = record_logistic(d);
    nn_right_grad(d, l.z);
    for (int i = 0; i < N; i++) d->claimed[i] = l.error[i] / N;
}

static void logistic_by_w(nn_derivation *d) {
    logistic l = record_logistic(d);
    nn_right_grad(d, l.w);
    for (int j = 0; j < M; j++) {
        double sum = 0;
        for (int i = 0; i < N; i++) sum += l.error[i] * l.X[i * M + j];
        d->claimed[j] = sum / N;
    }
}

static void logistic_by_b(nn_derivation *d) {
    logistic l = record_logistic(d);
    double sum = 0;
    nn_right_grad(d, l.b);
    for (int i = 0; i < N; i++) sum += l.error[i];
    d->claimed[0] = sum / N;
}

/* ---- laws: the same form for Yhat = softmax(X W + b), C = -(1/n) sum(Y log Yhat) ------------------------------- */

typedef struct classes {
    double X[N * M], error[N * K];
    ag_var W, b, Z;
} classes;

static classes record_classes(nn_derivation *d) {
    classes c;
    double W[M * K], b[K], Y[N * K], Z[N * K] = {0};
    nn_fill_normal(&d->random, c.X, N * M, 1);
    nn_fill_normal(&d->random, W, M * K, 1);
    nn_fill_normal(&d->random, b, K, 1);
    nn_fill_one_hot(&d->random, Y, N, K);
    c.W = ag_tensor(d->tape, W, AG_SHAPE(M, K));
    c.b = ag_tensor(d->tape, b, AG_SHAPE(K));
    c.Z = ag_add(ag_matmul(ag_constant_tensor(d->tape, c.X, AG_SHAPE(N, M)), c.W), c.b);
    ag_var log_likelihood = ag_mul(ag_constant_tensor(d->tape, Y, AG_SHAPE(N, K)), ag_log(nn_record_softmax(c.Z)));
    ag_backward(ag_div(ag_sum(log_likelihood), -N));
    ag_read(c.Z, Z);
    for (int i = 0; i < N; i++) nn_softmax(Z + i * K, K, c.error + i * K);
    for (int i = 0; i < N * K; i++) c.error[i] -= Y[i];
    return c;
}

static void classes_by_z(nn_derivation *d) {
    classes c = record_classes(d);
    nn_right_grad(d, c.Z);
    for (int i = 0; i < N * K; i++) d->claimed[i] = c.error[i] / N;
}

static void classes_by_W(nn_derivation *d) {
    classes c = record_classes(d);
    nn_right_grad(d, c.W);
    for (int j = 0; j < M; j++)
        for (int k = 0; k < K; k++) {
            double sum = 0;
            for (int i = 0; i < N; i++) sum += c.error[i * K + k] * c.X[i * M + j];
            d->claimed[j * K + k] = sum / N;
        }
}

static void classes_by_b(nn_derivation *d) {
    classes c = record_classes(d);
    nn_right_grad(d, c.b);
    for (int k = 0; k < K; k++) {
        double sum = 0;
        for (int i = 0; i < N; i++) sum += c.error[i * K + k];
        d->claimed[k] = sum / N;
    }
}

/* ---- numbers: Z = W x + b, Yhat = softmax(Z) ------------------------------------------------------------------- */

typedef struct step {
    ag_var W, b, Wx, Z, Yhat;
} step;

static step record_step(nn_derivation *d) {
    static const double x[] = {1, 3, 0}, y[] = {0, 1, 0}, b[] = {0.1, 0.1, 0.1};
    static const double W[] = {0.1, 0.2, -0.3, -0.6, -0.5, 2, -0.2, 0.5, -3};
    step s;
    s.W = ag_tensor(d->tape, W, AG_SHAPE(3, 3));
    s.b = ag_tensor(d->tape, b, AG_SHAPE(3));
    s.Wx = ag_matmul(s.W, ag_constant_tensor(d->tape, x, AG_SHAPE(3)));
    s.Z = ag_add(s.Wx, s.b);
    s.Yhat = nn_record_softmax(s.Z);
    ag_backward(ag_neg(ag_vdot(ag_constant_tensor(d->tape, y, AG_SHAPE(3)), ag_log(s.Yhat))));
    return s;
}

static void step_Wx(nn_derivation *d) { nn_right_value(d, record_step(d).Wx); }
static void step_Z(nn_derivation *d) { nn_right_value(d, record_step(d).Z); }
static void step_Yhat(nn_derivation *d) { nn_right_value(d, record_step(d).Yhat); }
static void step_by_Z(nn_derivation *d) { nn_right_grad(d, record_step(d).Z); }
static void step_by_W(nn_derivation *d) { nn_right_grad(d, record_step(d).W); }
static void step_by_b(nn_derivation *d) { nn_right_grad(d, record_step(d).b); }

static const nn_document_claim claims[] = {
    {"dC/dz = (Yhat - Y) / n, sigmoid", NULL, logistic_by_z},
    {"dC/dw = sum((Yhat - Y) x) / n, sigmoid", NULL, logistic_by_w},
    {"dC/db = sum(Yhat - Y) / n, sigmoid", NULL, logistic_by_b},
    {"dC/dz = (Yhat - Y) / n, softmax", NULL, classes_by_z},
    {"dC/dw = sum((Yhat - Y) x) / n, softmax", NULL, classes_by_W},
    {"dC/db = sum(Yhat - Y) / n, softmax", NULL, classes_by_b},
    {"W x", "[0.7, -2.1, 1.3]", step_Wx},
    {"Z = W x + b", "[0.8, -2, 1.4]", step_Z},
    {"Yhat = softmax(Z)", "[0.34, 0.21, 0.63]", step_Yhat},
    {"dC/dZ = Yhat - Y", "[0.34, -0.97, 0.63]", step_by_Z},
    {"dC/dw", "[[0.34, -0.97, 0.63], [1.04, -2.93, 1.89], [0, 0, 0]]", step_by_W},
    {"dC/db", "[0.37, -0.97, 0.63]", step_by_b},
};

const nn_document nn_document_001 =
    NN_DOCUMENT("001_207b34ab3310bad6.txt", "the same exercise by another hand, mean over a batch", claims);
