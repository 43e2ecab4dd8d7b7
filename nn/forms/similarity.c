/* Closed forms of losses of vectors that are to be like or unlike each other. */
#include "nn/forms/forms_impl.h"

static double length(const double *x, int64_t n) { return sqrt(dot(x, x, n)); }

static double distance(const double *x, const double *y, int64_t n) {
    return sqrt((double)n * mean_square_difference(x, y, n));
}

/* d += factor (x - y) */
static void add_difference(double factor, const double *x, const double *y, int64_t n, double *d) {
    for (int64_t i = 0; i < n; i++) d[i] += factor * (x[i] - y[i]);
}

/* x, y */
NN_RECORD(cosine) { return ag_div(ag_vdot(x[0], x[1]), ag_mul(ag_norm(x[0]), ag_norm(x[1]))); }
NN_VALUE(cosine) { *y = dot(x[0], x[1], s.n) / (length(x[0], s.n) * length(x[1], s.n)); }
NN_DERIVATIVE(cosine) {
    double a = length(x[0], s.n), b = length(x[1], s.n), c = dot(x[0], x[1], s.n) / (a * b);
    for (int64_t i = 0; i < s.n; i++) {
        d[0][i] = (x[1][i] / b - c * x[0][i] / a) / a;
        d[1][i] = (x[0][i] / a - c * x[1][i] / b) / b;
    }
}

/* x, y, t, m: 1 - c for t = 1, max(0, c - m) for t = 0 */
NN_RECORD(cosine_embedding) {
    ag_var c = nn_form_cosine_record(x), unlike = ag_relu(ag_sub(c, x[3]));
    return ag_add(ag_mul(x[2], ag_sub(1, c)), ag_mul(ag_sub(1, x[2]), unlike));
}
NN_VALUE(cosine_embedding) {
    double c = dot(x[0], x[1], s.n) / (length(x[0], s.n) * length(x[1], s.n));
    *y = *x[2] == 1 ? 1 - c : fmax(c - *x[3], 0);
}
NN_DERIVATIVE(cosine_embedding) {
    double c = dot(x[0], x[1], s.n) / (length(x[0], s.n) * length(x[1], s.n));
    double factor = *x[2] == 1 ? -1 : c > *x[3] ? 1 : 0;
    nn_form_cosine_derivative(s, x, d);
    for (int64_t i = 0; i < s.n; i++) {
        d[0][i] *= factor;
        d[1][i] *= factor;
    }
    *d[3] = *x[2] == 0 && c > *x[3] ? -1 : 0;
}

/* x, y, z, m */
NN_RECORD(triplet) {
    ag_var like = ag_norm(ag_sub(x[0], x[1])), unlike = ag_norm(ag_sub(x[0], x[2]));
    return ag_relu(ag_add(ag_sub(like, unlike), x[3]));
}
NN_VALUE(triplet) { *y = fmax(distance(x[0], x[1], s.n) - distance(x[0], x[2], s.n) + *x[3], 0); }
NN_DERIVATIVE(triplet) {
    double like = distance(x[0], x[1], s.n), unlike = distance(x[0], x[2], s.n);
    if (!(like - unlike + *x[3] > 0)) return;
    add_difference(1 / like, x[0], x[1], s.n, d[0]);
    add_difference(-1 / unlike, x[0], x[2], s.n, d[0]);
    add_difference(-1 / like, x[0], x[1], s.n, d[1]);
    add_difference(1 / unlike, x[0], x[2], s.n, d[2]);
    *d[3] = 1;
}

/* x, z, y, m */
NN_RECORD(contrastive) {
    ag_var r = ag_sub(x[0], x[1]), unlike = ag_square(ag_relu(ag_sub(x[3], ag_norm(r))));
    return ag_mul(0.5, ag_add(ag_mul(x[2], ag_sum(ag_square(r))), ag_mul(ag_sub(1, x[2]), unlike)));
}
NN_VALUE(contrastive) {
    double apart = distance(x[0], x[1], s.n), short_of = fmax(*x[3] - apart, 0);
    *y = (*x[2] * apart * apart + (1 - *x[2]) * short_of * short_of) / 2;
}
NN_DERIVATIVE(contrastive) {
    double apart = distance(x[0], x[1], s.n), short_of = fmax(*x[3] - apart, 0);
    double factor = *x[2] - (1 - *x[2]) * short_of / apart;
    add_difference(factor, x[0], x[1], s.n, d[0]);
    add_difference(-factor, x[0], x[1], s.n, d[1]);
    *d[3] = (1 - *x[2]) * short_of;
}
