/* 000_cbfaa66834f958d7.txt: logistic regression, then one softmax step by hand. */
#include "nn/check/documents_impl.h"

/* ---- laws: yhat = sigma(z), z = w.x + b, L = -(y log yhat + (1 - y) log(1 - yhat)) ----------------------------- */

enum { M = 3 };

typedef struct logistic {
    double x[M], error; /* error: yhat - y */
    ag_var w, b;
} logistic;

static logistic record_logistic(nn_derivation *d) {
    logistic l;
    double w[M], b = nn_random_normal(&d->random), y;
    nn_fill_normal(&d->random, l.x, M, 1);
    nn_fill_normal(&d->random, w, M, 1);
    nn_fill_binary(&d->random, &y, 1);
    l.error = nn_sigmoid(nn_dot(w, l.x, M) + b) - y;
    l.w = ag_tensor(d->tape, w, AG_SHAPE(M));
    l.b = ag_input(d->tape, b);
    ag_var z = ag_add(ag_vdot(l.w, ag_constant_tensor(d->tape, l.x, AG_SHAPE(M))), l.b);
    ag_backward(nn_record_bce(nn_record_sigmoid(z), ag_num(y)));
    return l;
}

static void logistic_by_b(nn_derivation *d) {
    logistic l = record_logistic(d);
    nn_right_grad(d, l.b);
    d->claimed[0] = l.error;
}

static void logistic_by_w(nn_derivation *d) {
    logistic l = record_logistic(d);
    nn_right_grad(d, l.w);
    for (int i = 0; i < M; i++) d->claimed[i] = l.error * l.x[i];
}

/* ---- numbers: z = x^T W + b, yhat = softmax(z), L = -y.log yhat ------------------------------------------------ */

static const double eta = 0.2;

typedef struct step {
    ag_var W, b, z, exponentials, sum, L;
} step;

static step record_step(nn_derivation *d) {
    static const double x[] = {1, 3, 0}, y[] = {0, 1, 0}, b[] = {0.1, 0.1, 0.1};
    static const double W[] = {0.3, 0.1, -2, -0.6, -0.5, 2, -1, -0.5, 0.1};
    step s;
    s.W = ag_tensor(d->tape, W, AG_SHAPE(3, 3));
    s.b = ag_tensor(d->tape, b, AG_SHAPE(3));
    s.z = ag_add(ag_matmul(ag_constant_tensor(d->tape, x, AG_SHAPE(3)), s.W), s.b);
    s.exponentials = ag_exp(s.z);
    s.sum = ag_sum(s.exponentials);
    ag_var yhat = ag_div(s.exponentials, s.sum);
    s.L = ag_neg(ag_vdot(ag_constant_tensor(d->tape, y, AG_SHAPE(3)), ag_log(yhat)));
    return s;
}

static void step_z(nn_derivation *d) { nn_right_value(d, record_step(d).z); }
static void step_exponentials(nn_derivation *d) { nn_right_value(d, record_step(d).exponentials); }
static void step_sum(nn_derivation *d) { nn_right_value(d, record_step(d).sum); }

static void step_by_z(nn_derivation *d) {
    step s = record_step(d);
    ag_backward(s.L);
    nn_right_grad(d, s.z);
}

static void step_by_W(nn_derivation *d) {
    step s = record_step(d);
    ag_backward(s.L);
    nn_right_grad(d, s.W);
}

static void step_by_b(nn_derivation *d) {
    step s = record_step(d);
    ag_backward(s.L);
    nn_right_grad(d, s.b);
}

static void new_b(nn_derivation *d) {
    step s = record_step(d);
    ag_backward(s.L);
    ag_step(s.b, -eta);
    nn_right_value(d, s.b);
}

static void new_W(nn_derivation *d) {
    step s = record_step(d);
    ag_read(s.W, d->base);
    d->base_name = "W";
    ag_backward(s.L);
    ag_step(s.W, -eta);
    nn_right_value(d, s.W);
}

/* Is it at least what follows from the document's own gradient, the transpose of the right one? */
static void new_W_from_transpose(nn_derivation *d) {
    step s = record_step(d);
    ag_var gradient;
    ag_gradient(s.L, &s.W, 1, &gradient);
    nn_right_value(d, ag_sub(s.W, ag_mul(eta, ag_transpose(gradient))));
}

#define NEW_W "[[0.2992, 0.0976, -2], [-0.4008, 0.0996, 2], [-1.1982, -1.0946, 0.1]]"

static const nn_document_claim claims[] = {
    {"dL/db = yhat - y", NULL, logistic_by_b},
    {"dL/dw = (yhat - y) x", NULL, logistic_by_w},
    {"z", "[-1.4, -1.3, 4.1]", step_z},
    {"e^z", "[0.2465, 0.2725, 60.34]", step_exponentials},
    {"sum of e^z", "60.86", step_sum},
    {"grad_z = yhat - y", "[0.004, -0.996, 0.991]", step_by_z},
    {"grad_W", "[[0.004, 0.012, 0], [-0.996, -2.988, 0], [0.991, 2.973, 0]]", step_by_W},
    {"grad_b", "[0.004, -0.996, 0.994]", step_by_b},
    {"b - eta grad_b", "[0.0992, 0.2992, -0.0982]", new_b},
    {"W - eta grad_W", NEW_W, new_W},
    {"W - eta grad_W, with the document's own transposed grad_W", NEW_W, new_W_from_transpose},
};

const nn_document nn_document_000 =
    NN_DOCUMENT("000_cbfaa66834f958d7.txt", "logistic regression, then one softmax step by hand", claims);
