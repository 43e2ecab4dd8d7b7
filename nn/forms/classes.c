/* Closed forms of losses of classes that are means over rows. */
#include "nn/forms/forms_impl.h"

/* The class of a one-hot row. */
static int64_t class_of(const double *row, int64_t k) {
    int64_t i = 0;
    while (i + 1 < k && row[i] != 1) i++;
    return i;
}

/* ---- weights of classes ---------------------------------------------------------------------------------------- */

/* Z (n rows), w, Y */
NN_RECORD(cross_entropy_weighted_mean) {
    int64_t labels[MAX_ROWS] = {0}, n = read_labels(x[2], labels);
    return nn_softmax_cross_entropy_with(x[0], labels, n, (nn_class_options){.weights = x[1]});
}

/* The sum of the weights of all rows; the mean loss is left in *loss. */
static double weighted_mean(nn_sizes s, const double *const *x, double *loss) {
    double total = 0, sum = 0;
    for (int64_t i = 0; i < s.n; i++) {
        double weight = dot(x[1], x[2] + i * s.k, s.k);
        total += weight;
        sum += weight * cross_entropy(x[0] + i * s.k, x[2] + i * s.k, s.k);
    }
    *loss = sum / total;
    return total;
}

NN_VALUE(cross_entropy_weighted_mean) { weighted_mean(s, x, y); }
NN_DERIVATIVE(cross_entropy_weighted_mean) {
    double loss, total = weighted_mean(s, x, &loss);
    for (int64_t i = 0; i < s.n; i++) {
        const double *z = x[0] + i * s.k, *y = x[2] + i * s.k;
        double *dz = d[0] + i * s.k, weight = dot(x[1], y, s.k);
        softmax_minus(z, y, s.k, dz);
        for (int64_t j = 0; j < s.k; j++) dz[j] *= weight / total;
        d[1][class_of(y, s.k)] += (cross_entropy(z, y, s.k) - loss) / total;
    }
}

/* ---- rows that do not count ------------------------------------------------------------------------------------ */

/* Z (2n rows), Y, v (one-hot: the row that does not count) */
NN_RECORD(cross_entropy_ignored) {
    int64_t labels[MAX_ROWS] = {0}, ignored[MAX_ROWS] = {0}, n = read_labels(x[1], labels);
    read_labels(ag_unsqueeze(x[2], 0), ignored);
    labels[ignored[0]] = -100;
    return nn_softmax_cross_entropy_with(x[0], labels, n, (nn_class_options){.ignore = true, .ignored = -100});
}
NN_VALUE(cross_entropy_ignored) {
    int64_t rows = 2 * s.n;
    for (int64_t i = 0; i < rows; i++)
        if (x[2][i] == 0) *y += cross_entropy(x[0] + i * s.k, x[1] + i * s.k, s.k) / (double)(rows - 1);
}
NN_DERIVATIVE(cross_entropy_ignored) {
    int64_t rows = 2 * s.n;
    for (int64_t i = 0; i < rows; i++) {
        if (x[2][i] != 0) continue;
        softmax_minus(x[0] + i * s.k, x[1] + i * s.k, s.k, d[0] + i * s.k);
        for (int64_t j = 0; j < s.k; j++) d[0][i * s.k + j] /= (double)(rows - 1);
    }
}

/* ---- of log probabilities -------------------------------------------------------------------------------------- */

/* U (n rows), Y */
NN_RECORD(nll) {
    int64_t labels[MAX_ROWS] = {0}, n = read_labels(x[1], labels);
    return nn_nll(x[0], labels, n, (nn_class_options){0});
}
NN_VALUE(nll) {
    for (int64_t i = 0; i < s.n; i++) *y -= x[0][i * s.k + class_of(x[1] + i * s.k, s.k)] / (double)s.n;
}
NN_DERIVATIVE(nll) {
    for (int64_t i = 0; i < s.n * s.k; i++) d[0][i] = -x[1][i] / (double)s.n;
}

/* P (n rows), U */
NN_RECORD(kl_log_probabilities) { return nn_kl(x[1], x[0]); }
NN_VALUE(kl_log_probabilities) {
    for (int64_t i = 0; i < s.n * s.k; i++) *y += x[0][i] * (log(x[0][i]) - x[1][i]) / (double)s.n;
}
NN_DERIVATIVE(kl_log_probabilities) {
    for (int64_t i = 0; i < s.n * s.k; i++) {
        d[0][i] = (log(x[0][i]) - x[1][i] + 1) / (double)s.n;
        d[1][i] = -x[0][i] / (double)s.n;
    }
}
