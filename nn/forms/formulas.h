/* What the closed forms are made of, in plain C: stable for large numbers of either sign. */
#ifndef NN_FORMS_FORMULAS_H
#define NN_FORMS_FORMULAS_H

#include <math.h>
#include <stdint.h>

static inline double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static inline double softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }
static inline double normal_cdf(double x) { return 0.5 * erfc(-x * 0.707106781186547524401); }
static inline double normal_density(double x) { return 0.398942280401432677940 * exp(-0.5 * x * x); }
static inline double clip(double x, double lo, double hi) { return fmax(lo, fmin(x, hi)); }
static inline double sign(double x) { return (x > 0) - (x < 0); }

static inline double dot(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static inline double mean(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum / (double)n;
}

static inline double mean_square_difference(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (x[i] - y[i]) * (x[i] - y[i]);
    return sum / (double)n;
}

static inline double logsumexp(const double *z, int64_t k) {
    double greatest = z[0], sum = 0;
    for (int64_t i = 1; i < k; i++) greatest = fmax(greatest, z[i]);
    for (int64_t i = 0; i < k; i++) sum += exp(z[i] - greatest);
    return greatest + log(sum);
}

static inline void softmax(const double *z, int64_t k, double *p) {
    double total = logsumexp(z, k);
    for (int64_t i = 0; i < k; i++) p[i] = exp(z[i] - total);
}

/* softmax(z) - y: what cross-entropy sends back to logits z. */
static inline void softmax_minus(const double *z, const double *y, int64_t k, double *d) {
    softmax(z, k, d);
    for (int64_t i = 0; i < k; i++) d[i] -= y[i];
}

/* -sum(y log softmax(z)); what has probability 0 in y costs nothing, however unlikely z makes it. */
static inline double cross_entropy(const double *z, const double *y, int64_t k) {
    double total = logsumexp(z, k), sum = 0;
    for (int64_t i = 0; i < k; i++) sum += y[i] == 0 ? 0 : y[i] * (total - z[i]);
    return sum;
}

/* -(y log sigmoid(z) + (1 - y) log(1 - sigmoid(z))) */
static inline double bce_logits(double z, double y) { return fmax(z, 0) - z * y + log1p(exp(-fabs(z))); }

/* z = W x + b, W of shape (k, m). */
static inline void affine_column(const double *w, const double *x, const double *b, int64_t k, int64_t m, double *z) {
    for (int64_t i = 0; i < k; i++) z[i] = dot(w + i * m, x, m) + b[i];
}

/* z = x^T W + b, W of shape (m, k). */
static inline void affine_row(const double *x, const double *w, const double *b, int64_t m, int64_t k, double *z) {
    for (int64_t j = 0; j < k; j++) {
        z[j] = b[j];
        for (int64_t i = 0; i < m; i++) z[j] += x[i] * w[i * k + j];
    }
}

/* d += x y^T */
static inline void add_outer(const double *x, int64_t m, const double *y, int64_t n, double *d) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) d[i * n + j] += x[i] * y[j];
}

/* d += A^T x, A of shape (m, n) */
static inline void add_transposed_product(const double *a, const double *x, int64_t m, int64_t n, double *d) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) d[j] += a[i * n + j] * x[i];
}

static inline void copy(const double *x, int64_t n, double *d) {
    for (int64_t i = 0; i < n; i++) d[i] = x[i];
}

static inline void negate(const double *x, int64_t n, double *d) {
    for (int64_t i = 0; i < n; i++) d[i] = -x[i];
}

#endif
