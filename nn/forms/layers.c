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

/* ---- embedding and dropout ------------------------------------------------------------------------------------- */

static ag_var record_embedding(nn_embedding layer, ag_var g, ag_var indices) {
    int64_t labels[MAX_ROWS] = {0}, n = read_labels(indices, labels);
    return ag_vdot(g, nn_embedding_apply(layer, labels, AG_SHAPE(n)));
}

/* G, I (one-hot rows of the indices), E */
NN_RECORD(embedding) { return record_embedding((nn_embedding){.weight = x[2]}, x[0], x[1]); }
NN_VALUE(embedding) {
    for (int64_t i = 0; i < s.n; i++)
        for (int64_t r = 0; r < s.k; r++)
            if (x[1][i * s.k + r] == 1) *y += dot(x[0] + i * s.m, x[2] + r * s.m, s.m);
}
NN_DERIVATIVE(embedding) {
    for (int64_t i = 0; i < s.n; i++)
        for (int64_t r = 0; r < s.k; r++)
            for (int64_t j = 0; x[1][i * s.k + r] == 1 && j < s.m; j++) d[2][r * s.m + j] += x[0][i * s.m + j];
}

/* The same, E of 2k rows, where row 0 stands for padding. */
NN_RECORD(embedding_padded) { return record_embedding((nn_embedding){.weight = x[2], .pad = true}, x[0], x[1]); }
NN_VALUE(embedding_padded) { nn_form_embedding_value((nn_sizes){s.m, s.n, 2 * s.k}, x, y); }
NN_DERIVATIVE(embedding_padded) {
    nn_form_embedding_derivative((nn_sizes){s.m, s.n, 2 * s.k}, x, d);
    for (int64_t j = 0; j < s.m; j++) d[2][j] = 0;
}

/* g, c (what is kept), x, p */
NN_RECORD(dropout) { return ag_vdot(x[0], ag_div(ag_mul(x[1], x[2]), ag_sub(1, x[3]))); }
NN_VALUE(dropout) {
    for (int64_t i = 0; i < s.n; i++) *y += x[1][i] == 0 ? 0 : x[0][i] * x[2][i] / (1 - *x[3]);
}
NN_DERIVATIVE(dropout) {
    for (int64_t i = 0; i < s.n; i++) d[2][i] = x[1][i] == 0 ? 0 : x[0][i] / (1 - *x[3]);
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

/* G, X (n examples of m features), mu, v, gamma, beta */
NN_RECORD(batch_norm_running) {
    ag_var h = ag_div(ag_sub(x[1], x[2]), ag_sqrt(ag_add(x[3], EPSILON)));
    return ag_vdot(x[0], ag_add(ag_mul(x[4], h), x[5]));
}
NN_VALUE(batch_norm_running) {
    for (int64_t i = 0; i < s.n * s.m; i++) {
        int64_t j = i % s.m;
        *y += x[0][i] * (x[4][j] * (x[1][i] - x[2][j]) / sqrt(x[3][j] + EPSILON) + x[5][j]);
    }
}
NN_DERIVATIVE(batch_norm_running) {
    for (int64_t i = 0; i < s.n * s.m; i++) {
        int64_t j = i % s.m;
        double deviation = sqrt(x[3][j] + EPSILON);
        d[1][i] = x[4][j] * x[0][i] / deviation;
        d[4][j] += x[0][i] * (x[1][i] - x[2][j]) / deviation;
        d[5][j] += x[0][i];
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

/* ---- attention ------------------------------------------------------------------------------------------------- */

/* softmax(K q / sqrt(m)), K of shape (n, m), over the keys that are kept: not 0 in `keep`, or all for NULL. Without any
 * it is 0. */
static void attend(nn_sizes s, const double *q, const double *keys, const double *keep, double *a) {
    double scores[NN_MAX_SIZE] = {0}, p[NN_MAX_SIZE] = {0};
    int64_t kept[NN_MAX_SIZE], count = 0;
    for (int64_t i = 0; i < s.n; i++) {
        if (keep != NULL && keep[i] == 0) continue;
        scores[count] = dot(keys + i * s.m, q, s.m) / sqrt((double)s.m);
        kept[count++] = i;
    }
    if (count > 0) softmax(scores, count, p);
    for (int64_t i = 0; i < s.n; i++) a[i] = 0;
    for (int64_t i = 0; i < count; i++) a[kept[i]] = p[i];
}

/* The sum of a_i V_i.g: what a query that looks at its keys by a gets, times g. */
static double attended(nn_sizes s, const double *a, const double *g, const double *v) {
    double sum = 0;
    for (int64_t i = 0; i < s.n; i++) sum += a[i] * dot(v + i * s.k, g, s.k);
    return sum;
}

/* d += the derivatives of that by q, K and V. */
static void attend_backward(nn_sizes s, const double *a, const double *g, const double *q, const double *keys,
                            const double *v, double *dq, double *dkeys, double *dv) {
    double ds[NN_MAX_SIZE] = {0}, average = attended(s, a, g, v);
    for (int64_t i = 0; i < s.n; i++) ds[i] = a[i] * (dot(v + i * s.k, g, s.k) - average) / sqrt((double)s.m);
    add_transposed_product(keys, ds, s.n, s.m, dq);
    add_outer(ds, s.n, q, s.m, dkeys);
    add_outer(a, s.n, g, s.k, dv);
}

/* g, q, K, V */
NN_RECORD(attention) {
    double m = (double)ag_count(x[1]);
    ag_var a = ag_softmax(ag_div(ag_matmul(x[2], x[1]), sqrt(m)), 0);
    return ag_vdot(x[0], ag_matmul(a, x[3]));
}
NN_VALUE(attention) {
    double a[NN_MAX_SIZE] = {0};
    attend(s, x[1], x[2], NULL, a);
    *y = attended(s, a, x[0], x[3]);
}
NN_DERIVATIVE(attention) {
    double a[NN_MAX_SIZE] = {0};
    attend(s, x[1], x[2], NULL, a);
    attend_backward(s, a, x[0], x[1], x[2], x[3], d[1], d[2], d[3]);
}

/* The operation for one head of a batch of one; q of shape (queries, m). */
static ag_var record_attention(ag_var g, ag_var q, ag_var keys, ag_var v, ag_attention_options options) {
    ag_var *parts[] = {&q, &keys, &v};
    for (int i = 0; i < 3; i++) *parts[i] = ag_unsqueeze(ag_unsqueeze(*parts[i], 1), 0);
    return ag_vdot(g, ag_reshape(ag_attention(q, keys, v, options), ag_shape_of(g)));
}

/* g, q, K, V, c (the keys that are kept) */
NN_RECORD(attention_masked) {
    ag_attention_options options = {.keep = ag_unsqueeze(x[4], 0)};
    return record_attention(x[0], ag_unsqueeze(x[1], 0), x[2], x[3], options);
}
NN_VALUE(attention_masked) {
    double a[NN_MAX_SIZE] = {0};
    attend(s, x[1], x[2], x[4], a);
    *y = attended(s, a, x[0], x[3]);
}
NN_DERIVATIVE(attention_masked) {
    double a[NN_MAX_SIZE] = {0};
    attend(s, x[1], x[2], x[4], a);
    attend_backward(s, a, x[0], x[1], x[2], x[3], d[1], d[2], d[3]);
}

/* G, Q (n queries), K, V: query i sees the first i + 1 keys */
NN_RECORD(attention_causal) { return record_attention(x[0], x[1], x[2], x[3], (ag_attention_options){.causal = true}); }
NN_VALUE(attention_causal) {
    for (int64_t i = 0; i < s.n; i++) {
        double a[NN_MAX_SIZE] = {0};
        nn_sizes seen = {s.m, i + 1, s.k};
        attend(seen, x[1] + i * s.m, x[2], NULL, a);
        *y += attended(seen, a, x[0] + i * s.k, x[3]);
    }
}
NN_DERIVATIVE(attention_causal) {
    for (int64_t i = 0; i < s.n; i++) {
        const double *g = x[0] + i * s.k, *q = x[1] + i * s.m;
        double a[NN_MAX_SIZE] = {0};
        nn_sizes seen = {s.m, i + 1, s.k};
        attend(seen, q, x[2], NULL, a);
        attend_backward(seen, a, g, q, x[2], x[3], d[1] + i * s.m, d[2], d[3]);
    }
}

/* ---- quadratic and bilinear forms ------------------------------------------------------------------------------ */

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
