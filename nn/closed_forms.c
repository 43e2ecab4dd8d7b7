/* The catalogue of closed forms: each function as it is recorded, and beside it the derivative as derived by hand.
 *
 * Sources that come up often:
 *   [GBC]  Goodfellow, Bengio, Courville: Deep Learning, 2016
 *   [PRML] Bishop: Pattern Recognition and Machine Learning, 2006
 *   [MC]   Petersen, Pedersen: The Matrix Cookbook, 2012 */
#include "nn/nn.h"

#include <math.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }
static double normal_cdf(double x) { return 0.5 * erfc(-x * 0.707106781186547524401); }
static double normal_density(double x) { return 0.398942280401432677940 * exp(-0.5 * x * x); }

static double dot(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static double logsumexp(const double *z, int64_t k) {
    double greatest = z[0], sum = 0;
    for (int64_t i = 1; i < k; i++) greatest = fmax(greatest, z[i]);
    for (int64_t i = 0; i < k; i++) sum += exp(z[i] - greatest);
    return greatest + log(sum);
}

static void softmax(const double *z, int64_t k, double *p) {
    double total = logsumexp(z, k);
    for (int64_t i = 0; i < k; i++) p[i] = exp(z[i] - total);
}

/* z = W x + b, W of shape (k, m). */
static void affine_column(const double *w, const double *x, const double *b, int64_t k, int64_t m, double *z) {
    for (int64_t i = 0; i < k; i++) z[i] = dot(w + i * m, x, m) + b[i];
}

/* z = x^T W + b, W of shape (m, k). */
static void affine_row(const double *x, const double *w, const double *b, int64_t m, int64_t k, double *z) {
    for (int64_t j = 0; j < k; j++) {
        z[j] = b[j];
        for (int64_t i = 0; i < m; i++) z[j] += x[i] * w[i * k + j];
    }
}

/* d += x y^T */
static void add_outer(const double *x, int64_t m, const double *y, int64_t n, double *d) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) d[i * n + j] += x[i] * y[j];
}

static void copy(const double *x, int64_t n, double *d) {
    for (int64_t i = 0; i < n; i++) d[i] = x[i];
}

/* ---- activations: functions of one number ---------------------------------------------------------------------- */

/* X(name, derivative in C, formula, source) */
#define ACTIVATIONS(X)                                                                                                 \
    X(sigmoid, sigmoid(v) * (1 - sigmoid(v)), "sigma'(x) = sigma(x) (1 - sigma(x))", "[PRML] 4.88")                    \
    X(log_sigmoid, sigmoid(-v), "(log sigma)'(x) = 1 - sigma(x)", "[GBC] 3.10")                                        \
    X(softplus, sigmoid(v), "softplus'(x) = sigma(x)", "[GBC] 3.10")                                                   \
    X(tanh, 1 - tanh(v) * tanh(v), "tanh'(x) = 1 - tanh(x)^2", "common knowledge")                                     \
    X(relu, v > 0 ? 1 : 0, "relu'(x) = 1 for x > 0, else 0", "[GBC] 6.3.1")                                            \
    X(silu, sigmoid(v) * (1 + v * (1 - sigmoid(v))), "silu'(x) = sigma(x) (1 + x (1 - sigma(x)))", "arXiv:1702.03118") \
    X(gelu, normal_cdf(v) + v * normal_density(v), "gelu'(x) = Phi(x) + x phi(x)", "arXiv:1606.08415")                 \
    X(mish, tanh(softplus(v)) + v * sigmoid(v) * (1 - tanh(softplus(v)) * tanh(softplus(v))),                          \
      "mish'(x) = t + x sigma(x) (1 - t^2), t = tanh(softplus(x))", "arXiv:1908.08681")

#define ACTIVATION_FUNCTIONS(name, derivative, formula, source)                                                        \
    static ag_var name##_record(const ag_var *x) { return ag_##name(x[0]); }                                           \
    static void name##_derivative(nn_sizes s, const double *const *x, double *const *d) {                              \
        double v = x[0][0];                                                                                            \
        (void)s;                                                                                                       \
        d[0][0] = derivative;                                                                                          \
    }
ACTIVATIONS(ACTIVATION_FUNCTIONS)

/* Activations with a parameter. */
static ag_var leaky_relu_record(const ag_var *x) { return ag_leaky_relu(x[0], x[1]); }
static void leaky_relu_derivative(nn_sizes s, const double *const *x, double *const *d) {
    (void)s;
    *d[0] = *x[0] > 0 ? 1 : *x[1];
    *d[1] = fmin(*x[0], 0);
}

static ag_var elu_record(const ag_var *x) { return ag_elu(x[0], x[1]); }
static void elu_derivative(nn_sizes s, const double *const *x, double *const *d) {
    (void)s;
    *d[0] = *x[0] > 0 ? 1 : *x[1] * exp(*x[0]);
    *d[1] = *x[0] > 0 ? 0 : expm1(*x[0]);
}

/* ---- softmax --------------------------------------------------------------------------------------------------- */

static ag_var softmax_record(const ag_var *x) { return ag_softmax(x[0], 0); }
static void softmax_derivative(nn_sizes s, const double *const *x, double *const *d) {
    double p[NN_MAX_SIZE] = {0};
    softmax(x[0], s.k, p);
    for (int64_t i = 0; i < s.k; i++)
        for (int64_t j = 0; j < s.k; j++) d[0][i * s.k + j] = p[i] * ((i == j) - p[j]);
}

static ag_var log_softmax_record(const ag_var *x) { return ag_log_softmax(x[0], 0); }
static void log_softmax_derivative(nn_sizes s, const double *const *x, double *const *d) {
    double p[NN_MAX_SIZE] = {0};
    softmax(x[0], s.k, p);
    for (int64_t i = 0; i < s.k; i++)
        for (int64_t j = 0; j < s.k; j++) d[0][i * s.k + j] = (i == j) - p[j];
}

static ag_var logsumexp_record(const ag_var *x) { return ag_logsumexp(x[0]); }
static void logsumexp_derivative(nn_sizes s, const double *const *x, double *const *d) { softmax(x[0], s.k, d[0]); }

/* ---- cross-entropy --------------------------------------------------------------------------------------------- */

static ag_var cross_entropy_record(const ag_var *x) { return ag_cross_entropy_soft(x[0], x[1]); }
static void cross_entropy_derivative(nn_sizes s, const double *const *x, double *const *d) {
    softmax(x[0], s.k, d[0]);
    for (int64_t i = 0; i < s.k; i++) d[0][i] -= x[1][i];
}

/* W, x, b, y */
static ag_var cross_entropy_dense_record(const ag_var *x) {
    return ag_cross_entropy_soft(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3]);
}
static void cross_entropy_dense_derivative(nn_sizes s, const double *const *x, double *const *d) {
    double z[NN_MAX_SIZE] = {0};
    affine_column(x[0], x[1], x[2], s.k, s.m, z);
    softmax(z, s.k, d[2]);
    for (int64_t i = 0; i < s.k; i++) d[2][i] -= x[3][i];
    add_outer(d[2], s.k, x[1], s.m, d[0]);
    for (int64_t j = 0; j < s.m; j++)
        for (int64_t i = 0; i < s.k; i++) d[1][j] += x[0][i * s.m + j] * d[2][i];
}

/* x, W, b, y */
static ag_var cross_entropy_row_record(const ag_var *x) {
    return ag_cross_entropy_soft(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3]);
}
static void cross_entropy_row_derivative(nn_sizes s, const double *const *x, double *const *d) {
    double z[NN_MAX_SIZE] = {0};
    affine_row(x[0], x[1], x[2], s.m, s.k, z);
    softmax(z, s.k, d[2]);
    for (int64_t i = 0; i < s.k; i++) d[2][i] -= x[3][i];
    add_outer(x[0], s.m, d[2], s.k, d[1]);
    for (int64_t i = 0; i < s.m; i++) d[0][i] = dot(x[1] + i * s.k, d[2], s.k);
}

/* X (n examples), W, b, Y */
static ag_var cross_entropy_batch_record(const ag_var *x) {
    return ag_mean(ag_cross_entropy_soft(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3]));
}
static void cross_entropy_batch_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t e = 0; e < s.n; e++) {
        double z[NN_MAX_SIZE] = {0}, p[NN_MAX_SIZE] = {0};
        affine_row(x[0] + e * s.m, x[1], x[2], s.m, s.k, z);
        softmax(z, s.k, p);
        for (int64_t j = 0; j < s.k; j++) {
            p[j] = (p[j] - x[3][e * s.k + j]) / (double)s.n;
            d[2][j] += p[j];
        }
        add_outer(x[0] + e * s.m, s.m, p, s.k, d[1]);
    }
}

/* Softmax regression's log-likelihood with a penalty: sum_i log softmax(W x_i)[y_i] - lambda |W|^2. X, W (k, m), Y,
 * lambda */
static ag_var softmax_regression_record(const ag_var *x) {
    ag_var scores = ag_matmul(x[0], ag_transpose(x[1]));
    ag_var likelihood = ag_neg(ag_sum(ag_cross_entropy_soft(scores, x[2])));
    return ag_sub(likelihood, ag_mul(x[3], ag_sum(ag_square(x[1]))));
}
static void softmax_regression_derivative(nn_sizes s, const double *const *x, double *const *d) {
    static const double no_bias[NN_MAX_SIZE];
    for (int64_t e = 0; e < s.n; e++) {
        double z[NN_MAX_SIZE] = {0}, p[NN_MAX_SIZE] = {0};
        affine_column(x[1], x[0] + e * s.m, no_bias, s.k, s.m, z);
        softmax(z, s.k, p);
        for (int64_t i = 0; i < s.k; i++) p[i] = x[2][e * s.k + i] - p[i];
        add_outer(p, s.k, x[0] + e * s.m, s.m, d[1]);
    }
    for (int64_t i = 0; i < s.k * s.m; i++) d[1][i] -= 2 * *x[3] * x[1][i];
}

/* ---- binary cross-entropy -------------------------------------------------------------------------------------- */

static ag_var bce_record(const ag_var *x) { return ag_bce_logits(x[0], x[1]); }
static void bce_derivative(nn_sizes s, const double *const *x, double *const *d) {
    (void)s;
    *d[0] = sigmoid(*x[0]) - *x[1];
}

/* w, x, b, y */
static ag_var bce_linear_record(const ag_var *x) { return ag_bce_logits(ag_add(ag_vdot(x[0], x[1]), x[2]), x[3]); }
static void bce_linear_derivative(nn_sizes s, const double *const *x, double *const *d) {
    double delta = sigmoid(dot(x[0], x[1], s.m) + *x[2]) - *x[3];
    for (int64_t i = 0; i < s.m; i++) {
        d[0][i] = delta * x[1][i];
        d[1][i] = delta * x[0][i];
    }
    *d[2] = delta;
}

/* X (n examples), w, b, y */
static ag_var bce_batch_record(const ag_var *x) {
    return ag_mean(ag_bce_logits(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3]));
}
static void bce_batch_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t e = 0; e < s.n; e++) {
        const double *example = x[0] + e * s.m;
        double delta = (sigmoid(dot(example, x[1], s.m) + *x[2]) - x[3][e]) / (double)s.n;
        add_outer(example, s.m, &delta, 1, d[1]);
        *d[2] += delta;
    }
}

/* ---- other losses and penalties -------------------------------------------------------------------------------- */

static ag_var mse_record(const ag_var *x) { return ag_mean(ag_square(ag_sub(x[0], x[1]))); }
static void mse_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t i = 0; i < s.n; i++) {
        d[0][i] = 2 * (x[0][i] - x[1][i]) / (double)s.n;
        d[1][i] = -d[0][i];
    }
}

/* X (n examples), w, b, y */
static ag_var linear_regression_record(const ag_var *x) {
    return ag_mean(ag_square(ag_sub(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3])));
}
static void linear_regression_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t e = 0; e < s.n; e++) {
        const double *example = x[0] + e * s.m;
        double delta = 2 * (dot(example, x[1], s.m) + *x[2] - x[3][e]) / (double)s.n;
        add_outer(example, s.m, &delta, 1, d[1]);
        *d[2] += delta;
    }
}

static ag_var l2_record(const ag_var *x) { return ag_mul(x[1], ag_sum(ag_square(x[0]))); }
static void l2_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t i = 0; i < s.m * s.n; i++) d[0][i] = 2 * *x[1] * x[0][i];
    *d[1] = dot(x[0], x[0], s.m * s.n);
}

/* With c the residual r cut off at +-delta, c (r - c / 2) is r^2 / 2 inside and delta (|r| - delta / 2) outside. */
static ag_var huber_record(const ag_var *x) {
    ag_var r = ag_sub(x[0], x[1]), c = ag_clip(r, ag_neg(x[2]), x[2]);
    return ag_mul(c, ag_sub(r, ag_mul(0.5, c)));
}
static void huber_derivative(nn_sizes s, const double *const *x, double *const *d) {
    double r = *x[0] - *x[1], delta = *x[2];
    (void)s;
    *d[0] = fmax(-delta, fmin(r, delta));
    *d[1] = -*d[0];
    *d[2] = fmax(fabs(r) - delta, 0);
}

/* w, x, b, y in {0, 1} for the classes -1 and 1 */
static ag_var hinge_record(const ag_var *x) {
    ag_var score = ag_add(ag_vdot(x[0], x[1]), x[2]);
    return ag_relu(ag_sub(1, ag_mul(ag_sub(ag_mul(2, x[3]), 1), score)));
}
static void hinge_derivative(nn_sizes s, const double *const *x, double *const *d) {
    double t = 2 * *x[3] - 1, score = dot(x[0], x[1], s.m) + *x[2];
    *d[2] = t * score < 1 ? -t : 0;
    for (int64_t i = 0; i < s.m; i++) d[0][i] = *d[2] * x[1][i];
}

static ag_var entropy_record(const ag_var *x) { return ag_neg(ag_vdot(x[0], ag_log(x[0]))); }
static void entropy_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t i = 0; i < s.k; i++) d[0][i] = -log(x[0][i]) - 1;
}

static ag_var kl_record(const ag_var *x) { return ag_vdot(x[0], ag_log(ag_div(x[0], x[1]))); }
static void kl_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t i = 0; i < s.k; i++) {
        d[0][i] = log(x[0][i] / x[1][i]) + 1;
        d[1][i] = -x[0][i] / x[1][i];
    }
}

/* p, z */
static ag_var kl_logits_record(const ag_var *x) { return ag_vdot(x[0], ag_sub(ag_log(x[0]), ag_log_softmax(x[1], 0))); }
static void kl_logits_derivative(nn_sizes s, const double *const *x, double *const *d) {
    softmax(x[1], s.k, d[1]);
    for (int64_t i = 0; i < s.k; i++) d[1][i] -= x[0][i];
}

/* y, mean mu, variance v */
static ag_var gaussian_record(const ag_var *x) {
    ag_var squares = ag_div(ag_square(ag_sub(x[0], x[1])), x[2]);
    return ag_mul(0.5, ag_add(ag_log(ag_mul(6.283185307179586477, x[2])), squares));
}
static void gaussian_derivative(nn_sizes s, const double *const *x, double *const *d) {
    double r = *x[0] - *x[1], v = *x[2];
    (void)s;
    *d[1] = -r / v;
    *d[2] = (1 - r * r / v) / (2 * v);
}

/* ---- layers, under an adjoint g of their result ---------------------------------------------------------------- */

/* g, W (k, m), x, b */
static ag_var dense_record(const ag_var *x) { return ag_vdot(x[0], ag_add(ag_matmul(x[1], x[2]), x[3])); }
static void dense_derivative(nn_sizes s, const double *const *x, double *const *d) {
    add_outer(x[0], s.k, x[2], s.m, d[1]);
    for (int64_t j = 0; j < s.m; j++)
        for (int64_t i = 0; i < s.k; i++) d[2][j] += x[1][i * s.m + j] * x[0][i];
    copy(x[0], s.k, d[3]);
}

/* g, x, W (m, k), b */
static ag_var dense_row_record(const ag_var *x) { return ag_vdot(x[0], ag_add(ag_matmul(x[1], x[2]), x[3])); }
static void dense_row_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t i = 0; i < s.m; i++) d[1][i] = dot(x[2] + i * s.k, x[0], s.k);
    add_outer(x[1], s.m, x[0], s.k, d[2]);
    copy(x[0], s.k, d[3]);
}

#define EPSILON 1e-5 /* below the square root of the normalising layers */

/* (x - mean) / sqrt(variance + epsilon) along an axis. */
static ag_var standardise(ag_var x, int axis) {
    ag_var centred = ag_sub(x, ag_mean_over(x, AG_AXES(axis), true));
    ag_var variance = ag_mean_over(ag_square(centred), AG_AXES(axis), true);
    return ag_div(centred, ag_sqrt(ag_add(variance, EPSILON)));
}

/* Backward of y = gamma h + beta, h = standardised x, for n numbers at a distance of `stride`: the adjoint a = gamma
 * g of h gives dx = (a - mean(a) - h mean(a h)) / sqrt(variance + epsilon). h is left behind. */
static void standardise_backward(const double *x, int64_t n, int64_t stride, double *h, const double *a, double *dx) {
    double mean = 0, variance = 0, mean_a = 0, mean_ah = 0;
    for (int64_t i = 0; i < n; i++) mean += x[i * stride] / (double)n;
    for (int64_t i = 0; i < n; i++) variance += (x[i * stride] - mean) * (x[i * stride] - mean) / (double)n;
    double deviation = sqrt(variance + EPSILON);
    for (int64_t i = 0; i < n; i++) {
        h[i] = (x[i * stride] - mean) / deviation;
        mean_a += a[i] / (double)n;
        mean_ah += a[i] * h[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) dx[i * stride] = (a[i] - mean_a - h[i] * mean_ah) / deviation;
}

/* g, x, gamma, beta */
static ag_var layer_norm_record(const ag_var *x) {
    return ag_vdot(x[0], ag_add(ag_mul(x[2], standardise(x[1], 0)), x[3]));
}
static void layer_norm_derivative(nn_sizes s, const double *const *x, double *const *d) {
    double h[NN_MAX_SIZE] = {0}, a[NN_MAX_SIZE] = {0};
    for (int64_t i = 0; i < s.n; i++) a[i] = x[2][i] * x[0][i];
    standardise_backward(x[1], s.n, 1, h, a, d[1]);
    for (int64_t i = 0; i < s.n; i++) d[2][i] = x[0][i] * h[i];
    copy(x[0], s.n, d[3]);
}

/* G, X (n examples of m features), gamma, beta */
static ag_var batch_norm_record(const ag_var *x) {
    return ag_vdot(x[0], ag_add(ag_mul(x[2], standardise(x[1], 0)), x[3]));
}
static void batch_norm_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t j = 0; j < s.m; j++) {
        double h[NN_MAX_SIZE] = {0}, a[NN_MAX_SIZE] = {0};
        for (int64_t e = 0; e < s.n; e++) a[e] = x[2][j] * x[0][e * s.m + j];
        standardise_backward(x[1] + j, s.n, s.m, h, a, d[1] + j);
        for (int64_t e = 0; e < s.n; e++) {
            d[2][j] += x[0][e * s.m + j] * h[e];
            d[3][j] += x[0][e * s.m + j];
        }
    }
}

/* A, x */
static ag_var quadratic_record(const ag_var *x) { return ag_vdot(x[1], ag_matmul(x[0], x[1])); }
static void quadratic_derivative(nn_sizes s, const double *const *x, double *const *d) {
    add_outer(x[1], s.n, x[1], s.n, d[0]);
    for (int64_t i = 0; i < s.n; i++)
        for (int64_t j = 0; j < s.n; j++) d[1][i] += (x[0][i * s.n + j] + x[0][j * s.n + i]) * x[1][j];
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

#define ARGUMENT(name, shape, distribution)                                                                            \
    { name, shape, NN_##distribution, false }
#define CONSTANT(name, shape, distribution)                                                                            \
    { name, shape, NN_##distribution, true }
#define ARGUMENTS(...)                                                                                                 \
    COUNT(((nn_argument[]){__VA_ARGS__})), { __VA_ARGS__ }
#define FUNCTIONS(name) name##_record, name##_derivative
#define ACTIVATION_ROW(name, derivative, formula, source)                                                              \
    {#name, formula, source, ARGUMENTS(ARGUMENT("x", "", NORMAL)), FUNCTIONS(name)},

static const nn_closed_form forms[] = {
    {"leaky_relu", "d/dx = 1 for x > 0, else a; d/da = min(x, 0)", "Maas, Hannun, Ng: Rectifier nonlinearities, 2013",
     ARGUMENTS(ARGUMENT("x", "", NORMAL), ARGUMENT("a", "", POSITIVE)), FUNCTIONS(leaky_relu)},
    {"elu", "d/dx = 1 for x > 0, else a e^x; d/da = 0 for x > 0, else e^x - 1", "arXiv:1511.07289",
     ARGUMENTS(ARGUMENT("x", "", NORMAL), ARGUMENT("a", "", POSITIVE)), FUNCTIONS(elu)},

    {"softmax", "dp_i/dz_j = p_i ([i = j] - p_j), p = softmax(z)", "[PRML] 4.106",
     ARGUMENTS(ARGUMENT("z", "k", NORMAL)), FUNCTIONS(softmax)},
    {"log_softmax", "d(log p_i)/dz_j = [i = j] - p_j, p = softmax(z)", "from [PRML] 4.106",
     ARGUMENTS(ARGUMENT("z", "k", NORMAL)), FUNCTIONS(log_softmax)},
    {"logsumexp", "d/dz = softmax(z)", "from [PRML] 4.106", ARGUMENTS(ARGUMENT("z", "k", NORMAL)),
     FUNCTIONS(logsumexp)},

    {"cross_entropy", "L = -sum(y log softmax(z)): dL/dz = softmax(z) - y for sum(y) = 1", "[PRML] 4.109",
     ARGUMENTS(ARGUMENT("z", "k", NORMAL), CONSTANT("y", "k", SIMPLEX)), FUNCTIONS(cross_entropy)},
    {"cross_entropy_dense", "z = W x + b, p = softmax(z): dL/dW = (p - y) x^T, dL/dx = W^T (p - y), dL/db = p - y",
     "[PRML] 4.109",
     ARGUMENTS(ARGUMENT("W", "km", NORMAL), ARGUMENT("x", "m", NORMAL), ARGUMENT("b", "k", NORMAL),
               CONSTANT("y", "k", ONE_HOT)),
     FUNCTIONS(cross_entropy_dense)},
    {"cross_entropy_row", "z = x^T W + b, p = softmax(z): dL/dW = x (p - y)^T, dL/dx = W (p - y), dL/db = p - y",
     "[PRML] 4.109",
     ARGUMENTS(ARGUMENT("x", "m", NORMAL), ARGUMENT("W", "mk", NORMAL), ARGUMENT("b", "k", NORMAL),
               CONSTANT("y", "k", ONE_HOT)),
     FUNCTIONS(cross_entropy_row)},
    {"cross_entropy_batch",
     "mean over n rows, Z = X W + b, P = softmax(Z): dL/dW = X^T (P - Y) / n, dL/db = sum(P - Y) / n", "[PRML] 4.109",
     ARGUMENTS(CONSTANT("X", "nm", NORMAL), ARGUMENT("W", "mk", NORMAL), ARGUMENT("b", "k", NORMAL),
               CONSTANT("Y", "nk", ONE_HOT)),
     FUNCTIONS(cross_entropy_batch)},
    {"softmax_regression", "l = sum_i log softmax(W x_i)[y_i] - c |W|^2: dl/dW = (Y - P)^T X - 2 c W",
     "[PRML] 4.109, 3.27",
     ARGUMENTS(CONSTANT("X", "nm", NORMAL), ARGUMENT("W", "km", NORMAL), CONSTANT("Y", "nk", ONE_HOT),
               CONSTANT("c", "", POSITIVE)),
     FUNCTIONS(softmax_regression)},

    {"bce", "L = -(y log sigma(z) + (1 - y) log(1 - sigma(z))): dL/dz = sigma(z) - y", "[PRML] 4.91",
     ARGUMENTS(ARGUMENT("z", "", NORMAL), CONSTANT("y", "", BINARY)), FUNCTIONS(bce)},
    {"bce_linear", "z = w.x + b: dL/dw = (sigma(z) - y) x, dL/dx = (sigma(z) - y) w, dL/db = sigma(z) - y",
     "[PRML] 4.91",
     ARGUMENTS(ARGUMENT("w", "m", NORMAL), ARGUMENT("x", "m", NORMAL), ARGUMENT("b", "", NORMAL),
               CONSTANT("y", "", BINARY)),
     FUNCTIONS(bce_linear)},
    {"bce_batch", "mean over n rows, z = X w + b: dL/dw = X^T (sigma(z) - y) / n, dL/db = sum(sigma(z) - y) / n",
     "[PRML] 4.91",
     ARGUMENTS(CONSTANT("X", "nm", NORMAL), ARGUMENT("w", "m", NORMAL), ARGUMENT("b", "", NORMAL),
               CONSTANT("y", "n", BINARY)),
     FUNCTIONS(bce_batch)},

    {"mse", "L = |a - y|^2 / n: dL/da = 2 (a - y) / n = -dL/dy", "[PRML] 3.12",
     ARGUMENTS(ARGUMENT("a", "n", NORMAL), ARGUMENT("y", "n", NORMAL)), FUNCTIONS(mse)},
    {"linear_regression", "L = |X w + b - y|^2 / n: dL/dw = 2 X^T (X w + b - y) / n, dL/db = 2 sum(X w + b - y) / n",
     "[PRML] 3.12",
     ARGUMENTS(CONSTANT("X", "nm", NORMAL), ARGUMENT("w", "m", NORMAL), ARGUMENT("b", "", NORMAL),
               CONSTANT("y", "n", NORMAL)),
     FUNCTIONS(linear_regression)},
    {"l2", "R = c |W|^2: dR/dW = 2 c W, dR/dc = |W|^2", "[PRML] 3.27",
     ARGUMENTS(ARGUMENT("W", "mn", NORMAL), ARGUMENT("c", "", POSITIVE)), FUNCTIONS(l2)},
    {"huber", "r = a - y: dL/da = clip(r, -c, c) = -dL/dy, dL/dc = max(|r| - c, 0)",
     "Huber: Robust estimation of a location parameter, 1964",
     ARGUMENTS(ARGUMENT("a", "", NORMAL), ARGUMENT("y", "", NORMAL), ARGUMENT("c", "", POSITIVE)), FUNCTIONS(huber)},
    {"hinge", "L = max(0, 1 - t s), s = w.x + b, t = 2 y - 1: dL/dw = -t x where t s < 1, else 0; dL/db likewise",
     "Cortes, Vapnik: Support-vector networks, 1995",
     ARGUMENTS(ARGUMENT("w", "m", NORMAL), CONSTANT("x", "m", NORMAL), ARGUMENT("b", "", NORMAL),
               CONSTANT("y", "", BINARY)),
     FUNCTIONS(hinge)},
    {"entropy", "H = -sum(p log p): dH/dp = -log p - 1", "Cover, Thomas: Elements of Information Theory, 2.1",
     ARGUMENTS(ARGUMENT("p", "k", SIMPLEX)), FUNCTIONS(entropy)},
    {"kl", "D = sum(p log(p / q)): dD/dp = log(p / q) + 1, dD/dq = -p / q",
     "Cover, Thomas: Elements of Information Theory, 2.3",
     ARGUMENTS(ARGUMENT("p", "k", SIMPLEX), ARGUMENT("q", "k", SIMPLEX)), FUNCTIONS(kl)},
    {"kl_logits", "D = sum(p log(p / softmax(z))): dD/dz = softmax(z) - p", "from [PRML] 4.109",
     ARGUMENTS(CONSTANT("p", "k", SIMPLEX), ARGUMENT("z", "k", NORMAL)), FUNCTIONS(kl_logits)},
    {"gaussian", "L = -log N(y; mu, v): dL/dmu = -(y - mu) / v, dL/dv = (1 - (y - mu)^2 / v) / (2 v)", "[PRML] 1.54",
     ARGUMENTS(CONSTANT("y", "", NORMAL), ARGUMENT("mu", "", NORMAL), ARGUMENT("v", "", POSITIVE)),
     FUNCTIONS(gaussian)},

    {"dense", "z = W x + b under the adjoint g: dW = g x^T, dx = W^T g, db = g", "[MC] 70",
     ARGUMENTS(CONSTANT("g", "k", NORMAL), ARGUMENT("W", "km", NORMAL), ARGUMENT("x", "m", NORMAL),
               ARGUMENT("b", "k", NORMAL)),
     FUNCTIONS(dense)},
    {"dense_row", "z = x^T W + b under the adjoint g: dx = W g, dW = x g^T, db = g", "[MC] 70",
     ARGUMENTS(CONSTANT("g", "k", NORMAL), ARGUMENT("x", "m", NORMAL), ARGUMENT("W", "mk", NORMAL),
               ARGUMENT("b", "k", NORMAL)),
     FUNCTIONS(dense_row)},
    {"layer_norm",
     "y = gamma h + beta, h = (x - mean x) / s: dx = (a - mean(a) - h mean(a h)) / s, a = gamma g; "
     "dgamma = g h; dbeta = g",
     "arXiv:1607.06450",
     ARGUMENTS(CONSTANT("g", "n", NORMAL), ARGUMENT("x", "n", NORMAL), ARGUMENT("gamma", "n", NORMAL),
               ARGUMENT("beta", "n", NORMAL)),
     FUNCTIONS(layer_norm)},
    {"batch_norm", "as layer_norm, down each column of X: dgamma = sum(G h), dbeta = sum(G)",
     "arXiv:1502.03167, section 3",
     ARGUMENTS(CONSTANT("G", "nm", NORMAL), ARGUMENT("X", "nm", NORMAL), ARGUMENT("gamma", "m", NORMAL),
               ARGUMENT("beta", "m", NORMAL)),
     FUNCTIONS(batch_norm)},
    {"quadratic", "f = x^T A x: df/dA = x x^T, df/dx = (A + A^T) x", "[MC] 81",
     ARGUMENTS(ARGUMENT("A", "nn", NORMAL), ARGUMENT("x", "n", NORMAL)), FUNCTIONS(quadratic)},

    ACTIVATIONS(ACTIVATION_ROW)};

const nn_closed_form *nn_closed_forms(int *count) {
    *count = COUNT(forms);
    return forms;
}

const nn_closed_form *nn_closed_form_find(const char *name) {
    for (int i = 0; i < COUNT(forms); i++)
        if (strcmp(forms[i].name, name) == 0) return &forms[i];
    return NULL;
}
