/* Closed forms of layers. Their derivative is given under an adjoint g of the layer's result, so the function is the
 * sum of g times the result. */
#include "nn/forms/forms_impl.h"

/* ---- dense ----------------------------------------------------------------------------------------------------- */

/* g, W (k, m), x, b */
NN_RECORD(dense) { return ag_vdot(x[0], ag_add(ag_matmul(x[1], x[2]), x[3])); }
NN_VALUE(dense) {
    double z[NN_MAX_SIZE] = {0};
    affine_column(x[1], x[2], x[3], s.k, s.m, z);
    *y = dot(x[0], z, s.k);
}
NN_DERIVATIVE(dense) {
    add_outer(x[0], s.k, x[2], s.m, d[1]);
    add_transposed_product(x[1], x[0], s.k, s.m, d[2]);
    copy(x[0], s.k, d[3]);
}

/* g, x, W (m, k), b */
NN_RECORD(dense_row) { return ag_vdot(x[0], ag_add(ag_matmul(x[1], x[2]), x[3])); }
NN_VALUE(dense_row) {
    double z[NN_MAX_SIZE] = {0};
    affine_row(x[1], x[2], x[3], s.m, s.k, z);
    *y = dot(x[0], z, s.k);
}
NN_DERIVATIVE(dense_row) {
    for (int64_t i = 0; i < s.m; i++) d[1][i] = dot(x[2] + i * s.k, x[0], s.k);
    add_outer(x[1], s.m, x[0], s.k, d[2]);
    copy(x[0], s.k, d[3]);
}

/* G, X (n examples), W (m, k), b */
NN_RECORD(dense_batch) { return ag_vdot(x[0], ag_add(ag_matmul(x[1], x[2]), x[3])); }
NN_VALUE(dense_batch) {
    for (int64_t e = 0; e < s.n; e++) {
        double z[NN_MAX_SIZE] = {0};
        affine_row(x[1] + e * s.m, x[2], x[3], s.m, s.k, z);
        *y += dot(x[0] + e * s.k, z, s.k);
    }
}
NN_DERIVATIVE(dense_batch) {
    for (int64_t e = 0; e < s.n; e++) {
        const double *g = x[0] + e * s.k, *example = x[1] + e * s.m;
        for (int64_t i = 0; i < s.m; i++) d[1][e * s.m + i] = dot(x[2] + i * s.k, g, s.k);
        add_outer(example, s.m, g, s.k, d[2]);
        for (int64_t j = 0; j < s.k; j++) d[3][j] += g[j];
    }
}

/* ---- normalising layers ---------------------------------------------------------------------------------------- */

#define EPSILON 1e-5 /* below the square root */

/* (x - mean) / sqrt(variance + epsilon) along an axis. */
static ag_var record_standardised(ag_var x, int axis) {
    ag_var centred = ag_sub(x, ag_mean_over(x, AG_AXES(axis), true));
    ag_var variance = ag_mean_over(ag_square(centred), AG_AXES(axis), true);
    return ag_div(centred, ag_sqrt(ag_add(variance, EPSILON)));
}

/* The same for n numbers at a distance of `stride`. Returns the divisor. */
static double standardise(const double *x, int64_t n, int64_t stride, double *h) {
    double centre = 0, variance = 0;
    for (int64_t i = 0; i < n; i++) centre += x[i * stride] / (double)n;
    for (int64_t i = 0; i < n; i++) variance += (x[i * stride] - centre) * (x[i * stride] - centre) / (double)n;
    double deviation = sqrt(variance + EPSILON);
    for (int64_t i = 0; i < n; i++) h[i] = (x[i * stride] - centre) / deviation;
    return deviation;
}

/* Backward of h = standardised x for the adjoint a of h: dx = (a - mean(a) - h mean(a h)) / sqrt(variance + epsilon).
 * h is left behind. */
static void standardise_backward(const double *x, int64_t n, int64_t stride, double *h, const double *a, double *dx) {
    double deviation = standardise(x, n, stride, h), mean_a = mean(a, n), mean_ah = dot(a, h, n) / (double)n;
    for (int64_t i = 0; i < n; i++) dx[i * stride] = (a[i] - mean_a - h[i] * mean_ah) / deviation;
}

/* g, x, gamma, beta */
NN_RECORD(layer_norm) { return ag_vdot(x[0], ag_add(ag_mul(x[2], record_standardised(x[1], 0)), x[3])); }
NN_VALUE(layer_norm) {
    double h[NN_MAX_SIZE] = {0};
    standardise(x[1], s.n, 1, h);
    for (int64_t i = 0; i < s.n; i++) *y += x[0][i] * (x[2][i] * h[i] + x[3][i]);
}
NN_DERIVATIVE(layer_norm) {
    double h[NN_MAX_SIZE] = {0}, a[NN_MAX_SIZE] = {0};
    for (int64_t i = 0; i < s.n; i++) a[i] = x[2][i] * x[0][i];
    standardise_backward(x[1], s.n, 1, h, a, d[1]);
    for (int64_t i = 0; i < s.n; i++) d[2][i] = x[0][i] * h[i];
    copy(x[0], s.n, d[3]);
}

/* g, x, gamma */
NN_RECORD(rms_norm) {
    ag_var r = ag_sqrt(ag_add(ag_mean(ag_square(x[1])), EPSILON));
    return ag_vdot(x[0], ag_mul(x[2], ag_div(x[1], r)));
}
NN_VALUE(rms_norm) {
    double r = sqrt(dot(x[1], x[1], s.n) / (double)s.n + EPSILON);
    for (int64_t i = 0; i < s.n; i++) *y += x[0][i] * x[2][i] * x[1][i] / r;
}
NN_DERIVATIVE(rms_norm) {
    double r = sqrt(dot(x[1], x[1], s.n) / (double)s.n + EPSILON), mean_ah = 0;
    for (int64_t i = 0; i < s.n; i++) mean_ah += x[2][i] * x[0][i] * x[1][i] / r / (double)s.n;
    for (int64_t i = 0; i < s.n; i++) {
        double h = x[1][i] / r;
        d[1][i] = (x[2][i] * x[0][i] - h * mean_ah) / r;
        d[2][i] = x[0][i] * h;
    }
}

/* G, X (n examples of m features), gamma, beta */
NN_RECORD(batch_norm) { return ag_vdot(x[0], ag_add(ag_mul(x[2], record_standardised(x[1], 0)), x[3])); }
NN_VALUE(batch_norm) {
    for (int64_t j = 0; j < s.m; j++) {
        double h[NN_MAX_SIZE] = {0};
        standardise(x[1] + j, s.n, s.m, h);
        for (int64_t e = 0; e < s.n; e++) *y += x[0][e * s.m + j] * (x[2][j] * h[e] + x[3][j]);
    }
}
NN_DERIVATIVE(batch_norm) {
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

/* G, X (one group of m channels, n positions), gamma, beta */
NN_RECORD(group_norm) {
    ag_var column = ag_reshape(record_standardised(ag_reshape(x[1], AG_SHAPE(-1)), 0), ag_shape_of(x[1]));
    return ag_vdot(x[0], ag_add(ag_mul(ag_unsqueeze(x[2], 1), column), ag_unsqueeze(x[3], 1)));
}
NN_VALUE(group_norm) {
    double h[NN_MAX_SIZE * NN_MAX_SIZE] = {0};
    standardise(x[1], s.m * s.n, 1, h);
    for (int64_t i = 0; i < s.m * s.n; i++) *y += x[0][i] * (x[2][i / s.n] * h[i] + x[3][i / s.n]);
}
NN_DERIVATIVE(group_norm) {
    double h[NN_MAX_SIZE * NN_MAX_SIZE] = {0}, a[NN_MAX_SIZE * NN_MAX_SIZE] = {0};
    for (int64_t i = 0; i < s.m * s.n; i++) a[i] = x[2][i / s.n] * x[0][i];
    standardise_backward(x[1], s.m * s.n, 1, h, a, d[1]);
    for (int64_t i = 0; i < s.m * s.n; i++) {
        d[2][i / s.n] += x[0][i] * h[i];
        d[3][i / s.n] += x[0][i];
    }
}

/* ---- attention of one query, and forms ------------------------------------------------------------------------- */

/* softmax(K q / sqrt(m)), K of shape (n, m) */
static void attend(nn_sizes s, const double *q, const double *keys, double *a) {
    double scores[NN_MAX_SIZE] = {0};
    for (int64_t i = 0; i < s.n; i++) scores[i] = dot(keys + i * s.m, q, s.m) / sqrt((double)s.m);
    softmax(scores, s.n, a);
}

/* g, q, K, V */
NN_RECORD(attention) {
    double m = (double)ag_count(x[1]);
    ag_var a = ag_softmax(ag_div(ag_matmul(x[2], x[1]), sqrt(m)), 0);
    return ag_vdot(x[0], ag_matmul(a, x[3]));
}
NN_VALUE(attention) {
    double a[NN_MAX_SIZE] = {0};
    attend(s, x[1], x[2], a);
    for (int64_t i = 0; i < s.n; i++) *y += a[i] * dot(x[3] + i * s.k, x[0], s.k);
}
NN_DERIVATIVE(attention) {
    double a[NN_MAX_SIZE] = {0}, ds[NN_MAX_SIZE] = {0}, average;
    attend(s, x[1], x[2], a);
    for (int64_t i = 0; i < s.n; i++) ds[i] = dot(x[3] + i * s.k, x[0], s.k);
    average = dot(a, ds, s.n);
    for (int64_t i = 0; i < s.n; i++) ds[i] = a[i] * (ds[i] - average) / sqrt((double)s.m);
    add_transposed_product(x[2], ds, s.n, s.m, d[1]);
    add_outer(ds, s.n, x[1], s.m, d[2]);
    add_outer(a, s.n, x[0], s.k, d[3]);
}

/* A, x */
NN_RECORD(quadratic) { return ag_vdot(x[1], ag_matmul(x[0], x[1])); }
NN_VALUE(quadratic) {
    for (int64_t i = 0; i < s.n; i++) *y += x[1][i] * dot(x[0] + i * s.n, x[1], s.n);
}
NN_DERIVATIVE(quadratic) {
    add_outer(x[1], s.n, x[1], s.n, d[0]);
    for (int64_t i = 0; i < s.n; i++)
        for (int64_t j = 0; j < s.n; j++) d[1][i] += (x[0][i * s.n + j] + x[0][j * s.n + i]) * x[1][j];
}

/* A (m, n), x, y */
NN_RECORD(bilinear) { return ag_vdot(x[1], ag_matmul(x[0], x[2])); }
NN_VALUE(bilinear) {
    for (int64_t i = 0; i < s.m; i++) *y += x[1][i] * dot(x[0] + i * s.n, x[2], s.n);
}
NN_DERIVATIVE(bilinear) {
    add_outer(x[1], s.m, x[2], s.n, d[0]);
    for (int64_t i = 0; i < s.m; i++) d[1][i] = dot(x[0] + i * s.n, x[2], s.n);
    add_transposed_product(x[0], x[1], s.m, s.n, d[2]);
}
