/* Closed forms of convolution and pooling. As those of layers, each is the sum of an adjoint g times the result. */
#include "nn/forms/forms_impl.h"

/* ---- in one dimension, without options ------------------------------------------------------------------------- */

/* g, X (m channels of length n), W (m, k): result i is the sum of W[c][j] X[c][i + j], with zeros after the end */
NN_RECORD(convolution) {
    ag_shape length = ag_shape_of(x[0]), window = ag_shape_of(x[2]);
    ag_var padded = ag_pad(x[1], 1, 0, window.dim[1] - 1), sum = ag_num(0);
    for (int64_t j = 0; j < window.dim[1]; j++)
        sum = ag_add(sum, ag_matmul(ag_index(x[2], 1, j), ag_slice(padded, 1, j, j + length.dim[0], 1)));
    return ag_vdot(x[0], sum);
}
NN_VALUE(convolution) {
    for (int64_t c = 0; c < s.m; c++)
        for (int64_t j = 0; j < s.k && j < s.n; j++) *y += x[2][c * s.k + j] * dot(x[0], x[1] + c * s.n + j, s.n - j);
}
NN_DERIVATIVE(convolution) {
    for (int64_t c = 0; c < s.m; c++)
        for (int64_t j = 0; j < s.k && j < s.n; j++) {
            d[2][c * s.k + j] = dot(x[0], x[1] + c * s.n + j, s.n - j);
            for (int64_t i = 0; i + j < s.n; i++) d[1][c * s.n + i + j] += x[2][c * s.k + j] * x[0][i];
        }
}

/* ---- windows over two axes, with any options ------------------------------------------------------------------- */

/* Images of `channels` and the results of windows over them. In one dimension there is one row. */
typedef struct windows {
    int64_t channels, filters, groups;
    int64_t in[2], out[2], kernel[2];
    int64_t stride[2], padding[2], dilation[2];
} windows;

/* Places, row-major, of a number of the image, of one of the result that it is in the window of, and of the weight. */
typedef struct tap {
    int64_t image, result, weight;
} tap;

/* How many there are, with those whose image is in the padding. */
static int64_t count_taps(const windows *w) {
    return w->filters * w->out[0] * w->out[1] * (w->channels / w->groups) * w->kernel[0] * w->kernel[1];
}

/* The last digit of *number, of `base`, which is taken off. */
static int64_t digit(int64_t *number, int64_t base) {
    int64_t last = *number % base;
    *number /= base;
    return last;
}

/* Tap number t, one of y_fij = sum of W_fcuv X_cpq: those of a result follow each other. False in the padding. */
static bool find_tap(const windows *w, int64_t t, tap *found) {
    int64_t part = w->channels / w->groups;
    int64_t v = digit(&t, w->kernel[1]), u = digit(&t, w->kernel[0]), c = digit(&t, part);
    int64_t j = digit(&t, w->out[1]), i = digit(&t, w->out[0]), f = t;
    int64_t p = i * w->stride[0] + u * w->dilation[0] - w->padding[0];
    int64_t q = j * w->stride[1] + v * w->dilation[1] - w->padding[1];
    int64_t channel = f / (w->filters / w->groups) * part + c;
    found->image = (channel * w->in[0] + p) * w->in[1] + q;
    found->result = (f * w->out[0] + i) * w->out[1] + j;
    found->weight = ((f * part + c) * w->kernel[0] + u) * w->kernel[1] + v;
    return p >= 0 && p < w->in[0] && q >= 0 && q < w->in[1];
}

/* The sum of X W g over the taps, X an image and g a result. */
static double sum_of_taps(const windows *w, const double *image, const double *weight, const double *result) {
    double sum = 0;
    tap t;
    for (int64_t i = 0; i < count_taps(w); i++)
        if (find_tap(w, i, &t)) sum += image[t.image] * weight[t.weight] * result[t.result];
    return sum;
}

/* d += the derivative of that sum by the image, the weights or the result; NULL for what is not wanted. */
static void add_taps(const windows *w, const double *image, const double *weight, const double *result, double *d_image,
                     double *d_weight, double *d_result) {
    tap t;
    for (int64_t i = 0; i < count_taps(w); i++) {
        if (!find_tap(w, i, &t)) continue;
        if (d_image != NULL) d_image[t.image] += weight[t.weight] * result[t.result];
        if (d_weight != NULL) d_weight[t.weight] += image[t.image] * result[t.result];
        if (d_result != NULL) d_result[t.result] += image[t.image] * weight[t.weight];
    }
}

/* d[f] = the sum of channel f of g: the derivative by a bias. */
static void sum_channels(const double *g, int64_t channels, int64_t size, double *d) {
    for (int64_t f = 0; f < channels; f++) d[f] = (double)size * mean(g + f * size, size);
}

/* ---- convolution ----------------------------------------------------------------------------------------------- */

/* A layer applied to a batch of one. */
static ag_var record_conv(nn_conv layer, ag_var g, ag_var image) {
    return ag_vdot(g, ag_squeeze(nn_conv_apply(layer, ag_unsqueeze(image, 0)), 0));
}

/* 2 channels of 2m x 3n and k filters of 3 x 2, down by 2 and across by 3: m x n results. */
static windows strided(nn_sizes s) {
    return (windows){2, s.k, 1, {2 * s.m, 3 * s.n}, {s.m, s.n}, {3, 2}, {2, 3}, {1, 1}, {1, 2}};
}

/* g, X, W, b */
NN_RECORD(convolution_strided) {
    ag_conv_options options = {.stride = {2, 3}, .padding = {1, 1}, .dilation = {1, 2}};
    return record_conv((nn_conv){NN_CONV2D, x[2], x[3], options}, x[0], x[1]);
}
NN_VALUE(convolution_strided) {
    windows w = strided(s);
    *y = sum_of_taps(&w, x[1], x[2], x[0]);
    for (int64_t f = 0; f < s.k; f++) *y += x[3][f] * (double)(s.m * s.n) * mean(x[0] + f * s.m * s.n, s.m * s.n);
}
NN_DERIVATIVE(convolution_strided) {
    windows w = strided(s);
    add_taps(&w, x[1], x[2], x[0], d[1], d[2], NULL);
    sum_channels(x[0], s.k, s.m * s.n, d[3]);
}

/* 2m channels of length n and 2k filters of length 3, in two groups. */
static windows grouped(nn_sizes s) {
    return (windows){2 * s.m, 2 * s.k, 2, {1, s.n}, {1, s.n}, {1, 3}, {1, 1}, {0, 1}, {1, 1}};
}

/* g, X, W */
NN_RECORD(convolution_grouped) {
    ag_conv_options options = {.padding = {1}, .groups = 2};
    return record_conv((nn_conv){NN_CONV1D, x[2], ag_num(0), options}, x[0], x[1]);
}
NN_VALUE(convolution_grouped) {
    windows w = grouped(s);
    *y = sum_of_taps(&w, x[1], x[2], x[0]);
}
NN_DERIVATIVE(convolution_grouped) {
    windows w = grouped(s);
    add_taps(&w, x[1], x[2], x[0], d[1], d[2], NULL);
}

/* g, X, W, b: the windows of convolution_strided, whose image is now the result. The output padding makes up for what
 * its division drops. */
NN_RECORD(convolution_transposed) {
    ag_conv_options options = {.stride = {2, 3}, .padding = {1, 1}, .dilation = {1, 2}, .output_padding = {1, 2}};
    return record_conv((nn_conv){NN_CONV_TRANSPOSE2D, x[2], x[3], options}, x[0], x[1]);
}
NN_VALUE(convolution_transposed) {
    windows w = strided(s);
    int64_t size = w.in[0] * w.in[1];
    *y = sum_of_taps(&w, x[0], x[2], x[1]);
    for (int64_t c = 0; c < 2; c++) *y += x[3][c] * (double)size * mean(x[0] + c * size, size);
}
NN_DERIVATIVE(convolution_transposed) {
    windows w = strided(s);
    add_taps(&w, x[0], x[2], x[1], NULL, d[2], d[1]);
    sum_channels(x[0], 2, w.in[0] * w.in[1], d[3]);
}

/* ---- pooling --------------------------------------------------------------------------------------------------- */

/* m channels of 2n x k and windows of 3 x 3, down by 2: n x k results. */
static const ag_pool_options pool = {.kernel = {3, 3}, .stride = {2, 1}, .padding = {1, 1}};
static windows pooled(nn_sizes s) {
    return (windows){s.m, s.m, s.m, {2 * s.n, s.k}, {s.n, s.k}, {3, 3}, {2, 1}, {1, 1}, {1, 1}};
}

/* g, X */
NN_RECORD(average_pooling) { return ag_vdot(x[0], ag_avg_pool2d(x[1], pool)); }
NN_VALUE(average_pooling) {
    windows w = pooled(s);
    tap t;
    for (int64_t i = 0; i < count_taps(&w); i++)
        if (find_tap(&w, i, &t)) *y += x[0][t.result] * x[1][t.image] / 9;
}
NN_DERIVATIVE(average_pooling) {
    windows w = pooled(s);
    tap t;
    for (int64_t i = 0; i < count_taps(&w); i++)
        if (find_tap(&w, i, &t)) d[1][t.image] += x[0][t.result] / 9;
}

enum { MAX_POOLED = NN_MAX_SIZE * NN_MAX_SIZE * NN_MAX_SIZE };

/* Where the greatest number of each window is. */
static void find_greatest(const windows *w, const double *image, int64_t place[MAX_POOLED]) {
    tap t;
    for (int64_t i = 0; i < MAX_POOLED; i++) place[i] = -1;
    for (int64_t i = 0; i < count_taps(w); i++)
        if (find_tap(w, i, &t) && (place[t.result] < 0 || image[t.image] > image[place[t.result]]))
            place[t.result] = t.image;
}

/* g, X */
NN_RECORD(max_pooling) { return ag_vdot(x[0], ag_max_pool2d(x[1], pool)); }
NN_VALUE(max_pooling) {
    windows w = pooled(s);
    int64_t place[MAX_POOLED];
    find_greatest(&w, x[1], place);
    for (int64_t i = 0; i < s.m * s.n * s.k; i++) *y += x[0][i] * x[1][place[i]];
}
NN_DERIVATIVE(max_pooling) {
    windows w = pooled(s);
    int64_t place[MAX_POOLED];
    find_greatest(&w, x[1], place);
    for (int64_t i = 0; i < s.m * s.n * s.k; i++) d[1][place[i]] += x[0][i];
}
