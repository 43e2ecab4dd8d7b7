/* Closed forms of losses and penalties. */
#include "nn/forms/forms_impl.h"

/* ---- softmax --------------------------------------------------------------------------------------------------- */

NN_RECORD(softmax) { return ag_softmax(x[0], 0); }
NN_VALUE(softmax) { softmax(x[0], s.k, y); }
NN_DERIVATIVE(softmax) {
    double p[NN_MAX_SIZE] = {0};
    softmax(x[0], s.k, p);
    for (int64_t i = 0; i < s.k; i++)
        for (int64_t j = 0; j < s.k; j++) d[0][i * s.k + j] = p[i] * ((i == j) - p[j]);
}

NN_RECORD(log_softmax) { return ag_log_softmax(x[0], 0); }
NN_VALUE(log_softmax) {
    double total = logsumexp(x[0], s.k);
    for (int64_t i = 0; i < s.k; i++) y[i] = x[0][i] - total;
}
NN_DERIVATIVE(log_softmax) {
    double p[NN_MAX_SIZE] = {0};
    softmax(x[0], s.k, p);
    for (int64_t i = 0; i < s.k; i++)
        for (int64_t j = 0; j < s.k; j++) d[0][i * s.k + j] = (i == j) - p[j];
}

NN_RECORD(logsumexp) { return ag_logsumexp(x[0]); }
NN_VALUE(logsumexp) { *y = logsumexp(x[0], s.k); }
NN_DERIVATIVE(logsumexp) { softmax(x[0], s.k, d[0]); }

/* ---- cross-entropy --------------------------------------------------------------------------------------------- */

NN_RECORD(cross_entropy) { return ag_cross_entropy_soft(x[0], x[1]); }
NN_VALUE(cross_entropy) { *y = cross_entropy(x[0], x[1], s.k); }
NN_DERIVATIVE(cross_entropy) { softmax_minus(x[0], x[1], s.k, d[0]); }

/* Z (n rows), Y: one-hot rows, of which the tape gets the labels */
NN_RECORD(cross_entropy_labels) {
    int64_t labels[MAX_ROWS] = {0};
    read_labels(x[1], labels);
    return ag_cross_entropy(x[0], labels);
}
NN_VALUE(cross_entropy_labels) {
    for (int64_t i = 0; i < s.n; i++) y[i] = cross_entropy(x[0] + i * s.k, x[1] + i * s.k, s.k);
}
NN_DERIVATIVE(cross_entropy_labels) {
    for (int64_t i = 0; i < s.n; i++) softmax_minus(x[0] + i * s.k, x[1] + i * s.k, s.k, d[0] + (i * s.n + i) * s.k);
}

/* z, y, e: targets q = (1 - e) y + e / k */
NN_RECORD(cross_entropy_smoothed) {
    double k = (double)ag_count(x[0]);
    return ag_cross_entropy_soft(x[0], ag_add(ag_mul(ag_sub(1, x[2]), x[1]), ag_div(x[2], k)));
}
NN_VALUE(cross_entropy_smoothed) {
    double q[NN_MAX_SIZE] = {0};
    for (int64_t i = 0; i < s.k; i++) q[i] = (1 - *x[2]) * x[1][i] + *x[2] / (double)s.k;
    *y = cross_entropy(x[0], q, s.k);
}
NN_DERIVATIVE(cross_entropy_smoothed) {
    softmax(x[0], s.k, d[0]);
    for (int64_t i = 0; i < s.k; i++) d[0][i] -= (1 - *x[2]) * x[1][i] + *x[2] / (double)s.k;
}

/* z, w, y */
NN_RECORD(cross_entropy_weighted) { return ag_cross_entropy_soft(x[0], ag_mul(x[1], x[2])); }
NN_VALUE(cross_entropy_weighted) { *y = dot(x[1], x[2], s.k) * cross_entropy(x[0], x[2], s.k); }
NN_DERIVATIVE(cross_entropy_weighted) {
    double weight = dot(x[1], x[2], s.k), loss = cross_entropy(x[0], x[2], s.k);
    softmax_minus(x[0], x[2], s.k, d[0]);
    for (int64_t i = 0; i < s.k; i++) {
        d[0][i] *= weight;
        d[1][i] = x[2][i] * loss;
    }
}

/* p, y */
NN_RECORD(cross_entropy_probabilities) { return ag_neg(ag_vdot(x[1], ag_log(x[0]))); }
NN_VALUE(cross_entropy_probabilities) {
    for (int64_t i = 0; i < s.k; i++) *y -= x[1][i] == 0 ? 0 : x[1][i] * log(x[0][i]);
}
NN_DERIVATIVE(cross_entropy_probabilities) {
    for (int64_t i = 0; i < s.k; i++) d[0][i] = -x[1][i] / x[0][i];
}

/* W, x, b, y */
NN_RECORD(cross_entropy_dense) { return ag_cross_entropy_soft(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3]); }
NN_VALUE(cross_entropy_dense) {
    double z[NN_MAX_SIZE] = {0};
    affine_column(x[0], x[1], x[2], s.k, s.m, z);
    *y = cross_entropy(z, x[3], s.k);
}
NN_DERIVATIVE(cross_entropy_dense) {
    double z[NN_MAX_SIZE] = {0};
    affine_column(x[0], x[1], x[2], s.k, s.m, z);
    softmax_minus(z, x[3], s.k, d[2]);
    add_outer(d[2], s.k, x[1], s.m, d[0]);
    add_transposed_product(x[0], d[2], s.k, s.m, d[1]);
}

/* x, W, b, y */
NN_RECORD(cross_entropy_row) { return ag_cross_entropy_soft(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3]); }
NN_VALUE(cross_entropy_row) {
    double z[NN_MAX_SIZE] = {0};
    affine_row(x[0], x[1], x[2], s.m, s.k, z);
    *y = cross_entropy(z, x[3], s.k);
}
NN_DERIVATIVE(cross_entropy_row) {
    double z[NN_MAX_SIZE] = {0};
    affine_row(x[0], x[1], x[2], s.m, s.k, z);
    softmax_minus(z, x[3], s.k, d[2]);
    add_outer(x[0], s.m, d[2], s.k, d[1]);
    for (int64_t i = 0; i < s.m; i++) d[0][i] = dot(x[1] + i * s.k, d[2], s.k);
}

/* X (n examples), W, b, Y */
NN_RECORD(cross_entropy_batch) { return ag_mean(ag_cross_entropy_soft(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3])); }
NN_VALUE(cross_entropy_batch) {
    for (int64_t e = 0; e < s.n; e++) {
        double z[NN_MAX_SIZE] = {0};
        affine_row(x[0] + e * s.m, x[1], x[2], s.m, s.k, z);
        *y += cross_entropy(z, x[3] + e * s.k, s.k) / (double)s.n;
    }
}
NN_DERIVATIVE(cross_entropy_batch) {
    for (int64_t e = 0; e < s.n; e++) {
        double z[NN_MAX_SIZE] = {0}, delta[NN_MAX_SIZE] = {0};
        affine_row(x[0] + e * s.m, x[1], x[2], s.m, s.k, z);
        softmax_minus(z, x[3] + e * s.k, s.k, delta);
        for (int64_t j = 0; j < s.k; j++) {
            delta[j] /= (double)s.n;
            d[2][j] += delta[j];
        }
        add_outer(x[0] + e * s.m, s.m, delta, s.k, d[1]);
    }
}

/* Softmax regression's log-likelihood with a penalty. X, W (k, m), Y, c */
static const double no_bias[NN_MAX_SIZE];

NN_RECORD(softmax_regression) {
    ag_var scores = ag_matmul(x[0], ag_transpose(x[1]));
    ag_var likelihood = ag_neg(ag_sum(ag_cross_entropy_soft(scores, x[2])));
    return ag_sub(likelihood, ag_mul(x[3], ag_sum(ag_square(x[1]))));
}
NN_VALUE(softmax_regression) {
    for (int64_t e = 0; e < s.n; e++) {
        double z[NN_MAX_SIZE] = {0};
        affine_column(x[1], x[0] + e * s.m, no_bias, s.k, s.m, z);
        *y -= cross_entropy(z, x[2] + e * s.k, s.k);
    }
    *y -= *x[3] * dot(x[1], x[1], s.k * s.m);
}
NN_DERIVATIVE(softmax_regression) {
    for (int64_t e = 0; e < s.n; e++) {
        double z[NN_MAX_SIZE] = {0}, delta[NN_MAX_SIZE] = {0};
        affine_column(x[1], x[0] + e * s.m, no_bias, s.k, s.m, z);
        softmax_minus(z, x[2] + e * s.k, s.k, delta);
        negate(delta, s.k, delta);
        add_outer(delta, s.k, x[0] + e * s.m, s.m, d[1]);
    }
    for (int64_t i = 0; i < s.k * s.m; i++) d[1][i] -= 2 * *x[3] * x[1][i];
}

/* ---- binary cross-entropy -------------------------------------------------------------------------------------- */

NN_RECORD(bce) { return ag_bce_logits(x[0], x[1]); }
NN_VALUE(bce) {
    (void)s;
    *y = bce_logits(*x[0], *x[1]);
}
NN_DERIVATIVE(bce) {
    (void)s;
    *d[0] = sigmoid(*x[0]) - *x[1];
}

/* p, y */
NN_RECORD(bce_probability) {
    ag_var yes = ag_mul(x[1], ag_log(x[0])), no = ag_mul(ag_sub(1, x[1]), ag_log(ag_sub(1, x[0])));
    return ag_neg(ag_add(yes, no));
}
NN_VALUE(bce_probability) {
    (void)s;
    *y = -(*x[1] * log(*x[0]) + (1 - *x[1]) * log1p(-*x[0]));
}
NN_DERIVATIVE(bce_probability) {
    (void)s;
    *d[0] = (*x[0] - *x[1]) / (*x[0] * (1 - *x[0]));
}

/* z, y, p */
NN_RECORD(bce_weighted) {
    ag_var yes = ag_mul(ag_mul(x[2], x[1]), ag_softplus(ag_neg(x[0]))), no = ag_mul(ag_sub(1, x[1]), ag_softplus(x[0]));
    return ag_add(yes, no);
}
NN_VALUE(bce_weighted) {
    (void)s;
    *y = *x[2] * *x[1] * softplus(-*x[0]) + (1 - *x[1]) * softplus(*x[0]);
}
NN_DERIVATIVE(bce_weighted) {
    (void)s;
    *d[0] = (1 - *x[1]) * sigmoid(*x[0]) - *x[2] * *x[1] * sigmoid(-*x[0]);
    *d[2] = *x[1] * softplus(-*x[0]);
}

/* w, x, b, y */
NN_RECORD(bce_linear) { return ag_bce_logits(ag_add(ag_vdot(x[0], x[1]), x[2]), x[3]); }
NN_VALUE(bce_linear) { *y = bce_logits(dot(x[0], x[1], s.m) + *x[2], *x[3]); }
NN_DERIVATIVE(bce_linear) {
    double delta = sigmoid(dot(x[0], x[1], s.m) + *x[2]) - *x[3];
    for (int64_t i = 0; i < s.m; i++) {
        d[0][i] = delta * x[1][i];
        d[1][i] = delta * x[0][i];
    }
    *d[2] = delta;
}

/* X (n examples), w, b, y */
NN_RECORD(bce_batch) { return ag_mean(ag_bce_logits(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3])); }
NN_VALUE(bce_batch) {
    for (int64_t e = 0; e < s.n; e++) *y += bce_logits(dot(x[0] + e * s.m, x[1], s.m) + *x[2], x[3][e]) / (double)s.n;
}
NN_DERIVATIVE(bce_batch) {
    for (int64_t e = 0; e < s.n; e++) {
        const double *example = x[0] + e * s.m;
        double delta = (sigmoid(dot(example, x[1], s.m) + *x[2]) - x[3][e]) / (double)s.n;
        add_outer(example, s.m, &delta, 1, d[1]);
        *d[2] += delta;
    }
}

/* ---- regression ------------------------------------------------------------------------------------------------ */

NN_RECORD(mse) { return ag_mean(ag_square(ag_sub(x[0], x[1]))); }
NN_VALUE(mse) { *y = mean_square_difference(x[0], x[1], s.n); }
NN_DERIVATIVE(mse) {
    for (int64_t i = 0; i < s.n; i++) d[0][i] = 2 * (x[0][i] - x[1][i]) / (double)s.n;
    negate(d[0], s.n, d[1]);
}

NN_RECORD(mae) { return ag_mean(ag_abs(ag_sub(x[0], x[1]))); }
NN_VALUE(mae) {
    for (int64_t i = 0; i < s.n; i++) *y += fabs(x[0][i] - x[1][i]) / (double)s.n;
}
NN_DERIVATIVE(mae) {
    for (int64_t i = 0; i < s.n; i++) d[0][i] = sign(x[0][i] - x[1][i]) / (double)s.n;
    negate(d[0], s.n, d[1]);
}

/* X (n examples), w, b, y */
NN_RECORD(linear_regression) { return ag_mean(ag_square(ag_sub(ag_add(ag_matmul(x[0], x[1]), x[2]), x[3]))); }
NN_VALUE(linear_regression) {
    for (int64_t e = 0; e < s.n; e++) {
        double r = dot(x[0] + e * s.m, x[1], s.m) + *x[2] - x[3][e];
        *y += r * r / (double)s.n;
    }
}
NN_DERIVATIVE(linear_regression) {
    for (int64_t e = 0; e < s.n; e++) {
        const double *example = x[0] + e * s.m;
        double delta = 2 * (dot(example, x[1], s.m) + *x[2] - x[3][e]) / (double)s.n;
        add_outer(example, s.m, &delta, 1, d[1]);
        *d[2] += delta;
    }
}

/* With c the residual r cut off at +-delta, c (r - c / 2) is r^2 / 2 inside and delta (|r| - delta / 2) outside. */
NN_RECORD(huber) {
    ag_var r = ag_sub(x[0], x[1]), c = ag_clip(r, ag_neg(x[2]), x[2]);
    return ag_mul(c, ag_sub(r, ag_mul(0.5, c)));
}
NN_VALUE(huber) {
    double r = *x[0] - *x[1], delta = *x[2];
    (void)s;
    *y = fabs(r) < delta ? r * r / 2 : delta * (fabs(r) - delta / 2);
}
NN_DERIVATIVE(huber) {
    double r = *x[0] - *x[1], delta = *x[2];
    (void)s;
    *d[0] = clip(r, -delta, delta);
    *d[1] = -*d[0];
    *d[2] = fmax(fabs(r) - delta, 0);
}

NN_RECORD(smooth_l1) {
    ag_var r = ag_sub(x[0], x[1]), c = ag_clip(r, ag_neg(x[2]), x[2]);
    return ag_div(ag_mul(c, ag_sub(r, ag_mul(0.5, c))), x[2]);
}
NN_VALUE(smooth_l1) {
    double r = *x[0] - *x[1], delta = *x[2];
    (void)s;
    *y = fabs(r) < delta ? r * r / (2 * delta) : fabs(r) - delta / 2;
}
NN_DERIVATIVE(smooth_l1) {
    double r = *x[0] - *x[1], delta = *x[2];
    (void)s;
    *d[0] = clip(r / delta, -1, 1);
    *d[1] = -*d[0];
    *d[2] = -*d[0] * *d[0] / 2;
}

/* log cosh r = |r| + log(1 + e^-2|r|) - log 2 */
NN_RECORD(log_cosh) {
    ag_var r = ag_sub(x[0], x[1]);
    return ag_mean(ag_sub(ag_sub(ag_softplus(ag_mul(2, r)), r), 0.693147180559945309417));
}
NN_VALUE(log_cosh) {
    for (int64_t i = 0; i < s.n; i++) {
        double r = fabs(x[0][i] - x[1][i]);
        *y += (r + log1p(exp(-2 * r)) - 0.693147180559945309417) / (double)s.n;
    }
}
NN_DERIVATIVE(log_cosh) {
    for (int64_t i = 0; i < s.n; i++) d[0][i] = tanh(x[0][i] - x[1][i]) / (double)s.n;
    negate(d[0], s.n, d[1]);
}

/* u, y */
NN_RECORD(poisson) { return ag_sub(ag_exp(x[0]), ag_mul(x[1], x[0])); }
NN_VALUE(poisson) {
    (void)s;
    *y = exp(*x[0]) - *x[1] * *x[0];
}
NN_DERIVATIVE(poisson) {
    (void)s;
    *d[0] = exp(*x[0]) - *x[1];
}

/* y, mean mu, variance v */
NN_RECORD(gaussian) {
    ag_var squares = ag_div(ag_square(ag_sub(x[0], x[1])), x[2]);
    return ag_mul(0.5, ag_add(ag_log(ag_mul(6.283185307179586477, x[2])), squares));
}
NN_VALUE(gaussian) {
    double r = *x[0] - *x[1], v = *x[2];
    (void)s;
    *y = (log(6.283185307179586477 * v) + r * r / v) / 2;
}
NN_DERIVATIVE(gaussian) {
    double r = *x[0] - *x[1], v = *x[2];
    (void)s;
    *d[1] = -r / v;
    *d[2] = (1 - r * r / v) / (2 * v);
}

/* ---- margins: y in {0, 1} for the classes -1 and 1 ------------------------------------------------------------- */

static ag_var record_margin(ag_var score, ag_var y) { return ag_sub(1, ag_mul(ag_sub(ag_mul(2, y), 1), score)); }

/* w, x, b, y */
NN_RECORD(hinge) { return ag_relu(record_margin(ag_add(ag_vdot(x[0], x[1]), x[2]), x[3])); }
NN_VALUE(hinge) { *y = fmax(1 - (2 * *x[3] - 1) * (dot(x[0], x[1], s.m) + *x[2]), 0); }
NN_DERIVATIVE(hinge) {
    double t = 2 * *x[3] - 1, score = dot(x[0], x[1], s.m) + *x[2];
    *d[2] = t * score < 1 ? -t : 0;
    for (int64_t i = 0; i < s.m; i++) d[0][i] = *d[2] * x[1][i];
}

/* score, y */
NN_RECORD(squared_hinge) { return ag_square(ag_relu(record_margin(x[0], x[1]))); }
NN_VALUE(squared_hinge) {
    double loss = fmax(1 - (2 * *x[1] - 1) * *x[0], 0);
    (void)s;
    *y = loss * loss;
}
NN_DERIVATIVE(squared_hinge) {
    double t = 2 * *x[1] - 1;
    (void)s;
    *d[0] = -2 * t * fmax(1 - t * *x[0], 0);
}

/* ---- penalties and divergences --------------------------------------------------------------------------------- */

NN_RECORD(l2) { return ag_mul(x[1], ag_sum(ag_square(x[0]))); }
NN_VALUE(l2) { *y = *x[1] * dot(x[0], x[0], s.m * s.n); }
NN_DERIVATIVE(l2) {
    for (int64_t i = 0; i < s.m * s.n; i++) d[0][i] = 2 * *x[1] * x[0][i];
    *d[1] = dot(x[0], x[0], s.m * s.n);
}

NN_RECORD(l1) { return ag_mul(x[1], ag_sum(ag_abs(x[0]))); }
NN_VALUE(l1) {
    for (int64_t i = 0; i < s.m * s.n; i++) *y += *x[1] * fabs(x[0][i]);
}
NN_DERIVATIVE(l1) {
    for (int64_t i = 0; i < s.m * s.n; i++) {
        d[0][i] = *x[1] * sign(x[0][i]);
        *d[1] += fabs(x[0][i]);
    }
}

NN_RECORD(entropy) { return ag_neg(ag_vdot(x[0], ag_log(x[0]))); }
NN_VALUE(entropy) {
    for (int64_t i = 0; i < s.k; i++) *y -= x[0][i] == 0 ? 0 : x[0][i] * log(x[0][i]);
}
NN_DERIVATIVE(entropy) {
    for (int64_t i = 0; i < s.k; i++) d[0][i] = -log(x[0][i]) - 1;
}

NN_RECORD(kl) { return ag_vdot(x[0], ag_log(ag_div(x[0], x[1]))); }
NN_VALUE(kl) {
    for (int64_t i = 0; i < s.k; i++) *y += x[0][i] == 0 ? 0 : x[0][i] * log(x[0][i] / x[1][i]);
}
NN_DERIVATIVE(kl) {
    for (int64_t i = 0; i < s.k; i++) {
        d[0][i] = log(x[0][i] / x[1][i]) + 1;
        d[1][i] = -x[0][i] / x[1][i];
    }
}

/* p, z */
NN_RECORD(kl_logits) { return ag_vdot(x[0], ag_sub(ag_log(x[0]), ag_log_softmax(x[1], 0))); }
NN_VALUE(kl_logits) {
    *y = cross_entropy(x[1], x[0], s.k);
    for (int64_t i = 0; i < s.k; i++) *y += x[0][i] == 0 ? 0 : x[0][i] * log(x[0][i]);
}
NN_DERIVATIVE(kl_logits) { softmax_minus(x[1], x[0], s.k, d[1]); }

/* mu, u */
NN_RECORD(kl_gaussian) { return ag_mul(0.5, ag_sum(ag_sub(ag_add(ag_square(x[0]), ag_expm1(x[1])), x[1]))); }
NN_VALUE(kl_gaussian) {
    for (int64_t i = 0; i < s.n; i++) *y += (x[0][i] * x[0][i] + expm1(x[1][i]) - x[1][i]) / 2;
}
NN_DERIVATIVE(kl_gaussian) {
    copy(x[0], s.n, d[0]);
    for (int64_t i = 0; i < s.n; i++) d[1][i] = expm1(x[1][i]) / 2;
}
