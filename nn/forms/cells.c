/* Closed forms of cells of recurrent layers and of rotary positions. As those of layers, each is the sum of an adjoint
 * g times the result. */
#include "nn/forms/forms_impl.h"

/* sigmoid'(x) and tanh'(x), without cancellation */
static double sigmoid_slope(double x) { return sigmoid(x) * sigmoid(-x); }
static double tanh_slope(double x) { return 4 * sigmoid_slope(2 * x); }

/* W x + b + U h + c, of the arguments g, W (n, m), x, b, U (n, n), h, c */
static ag_var record_rnn(const ag_var *x) {
    return ag_add(ag_add(ag_matmul(x[1], x[2]), x[3]), ag_add(ag_matmul(x[4], x[5]), x[6]));
}

static void rnn_sum(nn_sizes s, const double *const *x, double *z) {
    double of_state[NN_MAX_SIZE] = {0};
    affine_column(x[1], x[2], x[3], s.n, s.m, z);
    affine_column(x[4], x[5], x[6], s.n, s.n, of_state);
    for (int64_t i = 0; i < s.n; i++) z[i] += of_state[i];
}

/* Backward of that sum for its adjoint e. */
static void rnn_backward(nn_sizes s, const double *const *x, const double *e, double *const *d) {
    add_outer(e, s.n, x[2], s.m, d[1]);
    add_transposed_product(x[1], e, s.n, s.m, d[2]);
    copy(e, s.n, d[3]);
    add_outer(e, s.n, x[5], s.n, d[4]);
    add_transposed_product(x[4], e, s.n, s.n, d[5]);
    copy(e, s.n, d[6]);
}

NN_RECORD(rnn_cell) { return ag_vdot(x[0], ag_tanh(record_rnn(x))); }
NN_VALUE(rnn_cell) {
    double z[NN_MAX_SIZE] = {0};
    rnn_sum(s, x, z);
    for (int64_t i = 0; i < s.n; i++) *y += x[0][i] * tanh(z[i]);
}
NN_DERIVATIVE(rnn_cell) {
    double z[NN_MAX_SIZE] = {0}, e[NN_MAX_SIZE] = {0};
    rnn_sum(s, x, z);
    for (int64_t i = 0; i < s.n; i++) e[i] = x[0][i] * tanh_slope(z[i]);
    rnn_backward(s, x, e, d);
}

NN_RECORD(rnn_relu_cell) { return ag_vdot(x[0], ag_relu(record_rnn(x))); }
NN_VALUE(rnn_relu_cell) {
    double z[NN_MAX_SIZE] = {0};
    rnn_sum(s, x, z);
    for (int64_t i = 0; i < s.n; i++) *y += x[0][i] * fmax(z[i], 0);
}
NN_DERIVATIVE(rnn_relu_cell) {
    double z[NN_MAX_SIZE] = {0}, e[NN_MAX_SIZE] = {0};
    rnn_sum(s, x, z);
    for (int64_t i = 0; i < s.n; i++) e[i] = z[i] > 0 ? x[0][i] : 0;
    rnn_backward(s, x, e, d);
}

/* g, i, f, u, o, c */
NN_RECORD(lstm_cell) {
    ag_var next = ag_add(ag_mul(ag_sigmoid(x[2]), x[5]), ag_mul(ag_sigmoid(x[1]), ag_tanh(x[3])));
    return ag_vdot(x[0], ag_mul(ag_sigmoid(x[4]), ag_tanh(next)));
}

static double lstm_next(const double *const *x, int64_t j) {
    return sigmoid(x[2][j]) * x[5][j] + sigmoid(x[1][j]) * tanh(x[3][j]);
}

NN_VALUE(lstm_cell) {
    for (int64_t j = 0; j < s.n; j++) *y += x[0][j] * sigmoid(x[4][j]) * tanh(lstm_next(x, j));
}
NN_DERIVATIVE(lstm_cell) {
    for (int64_t j = 0; j < s.n; j++) {
        double next = lstm_next(x, j), e = x[0][j] * sigmoid(x[4][j]) * tanh_slope(next);
        d[1][j] = e * tanh(x[3][j]) * sigmoid_slope(x[1][j]);
        d[2][j] = e * x[5][j] * sigmoid_slope(x[2][j]);
        d[3][j] = e * sigmoid(x[1][j]) * tanh_slope(x[3][j]);
        d[4][j] = x[0][j] * tanh(next) * sigmoid_slope(x[4][j]);
        d[5][j] = e * sigmoid(x[2][j]);
    }
}

/* g, r, z, a, b, h */
NN_RECORD(gru_cell) {
    ag_var update = ag_sigmoid(x[2]), new = ag_tanh(ag_add(x[3], ag_mul(ag_sigmoid(x[1]), x[4])));
    return ag_vdot(x[0], ag_add(ag_mul(ag_sub(1, update), new), ag_mul(update, x[5])));
}

static double gru_angle(const double *const *x, int64_t j) { return x[3][j] + sigmoid(x[1][j]) * x[4][j]; }

NN_VALUE(gru_cell) {
    for (int64_t j = 0; j < s.n; j++)
        *y += x[0][j] * (sigmoid(-x[2][j]) * tanh(gru_angle(x, j)) + sigmoid(x[2][j]) * x[5][j]);
}
NN_DERIVATIVE(gru_cell) {
    for (int64_t j = 0; j < s.n; j++) {
        double angle = gru_angle(x, j), e = x[0][j] * sigmoid(-x[2][j]) * tanh_slope(angle);
        d[1][j] = e * x[4][j] * sigmoid_slope(x[1][j]);
        d[2][j] = x[0][j] * (x[5][j] - tanh(angle)) * sigmoid_slope(x[2][j]);
        d[3][j] = e;
        d[4][j] = e * sigmoid(x[1][j]);
        d[5][j] = x[0][j] * sigmoid(x[2][j]);
    }
}

/* g, h, a, b, t */
NN_RECORD(rotary) {
    ag_var c = ag_cos(x[4]), r = ag_sin(x[4]);
    ag_var first = ag_sub(ag_mul(x[2], c), ag_mul(x[3], r)), second = ag_add(ag_mul(x[2], r), ag_mul(x[3], c));
    return ag_add(ag_vdot(x[0], first), ag_vdot(x[1], second));
}
NN_VALUE(rotary) {
    for (int64_t i = 0; i < s.n; i++) {
        double c = cos(x[4][i]), r = sin(x[4][i]);
        *y += x[0][i] * (x[2][i] * c - x[3][i] * r) + x[1][i] * (x[2][i] * r + x[3][i] * c);
    }
}
NN_DERIVATIVE(rotary) {
    for (int64_t i = 0; i < s.n; i++) {
        double c = cos(x[4][i]), r = sin(x[4][i]);
        d[2][i] = x[0][i] * c + x[1][i] * r;
        d[3][i] = x[1][i] * c - x[0][i] * r;
        d[4][i] = x[2][i] * d[3][i] - x[3][i] * d[2][i];
    }
}
