/* Closed forms of activations: functions of one number, v. */
#include "nn/forms/forms_impl.h"

#define SELU_SCALE 1.0507009873554804934193
#define SELU_ALPHA 1.6732632423543772848170
#define GELU_SCALE 0.7978845608028653558799 /* sqrt(2 / pi) */
#define GELU_CUBE 0.044715

static ag_var record_softsign(ag_var x) { return ag_div(x, ag_add(1, ag_abs(x))); }
static ag_var record_relu6(ag_var x) { return ag_min(ag_relu(x), 6); }
static ag_var record_selu(ag_var x) { return ag_mul(SELU_SCALE, ag_elu(x, SELU_ALPHA)); }

static double gelu_angle(double v) { return GELU_SCALE * (v + GELU_CUBE * v * v * v); }

/* d tanh(u) / du: 1 - tanh^2, without the cancellation. */
static double sech_squared(double u) { return 4 * sigmoid(2 * u) * sigmoid(-2 * u); }

/* p q, but 0 if q is 0 even where p is infinite: a tail that has died out. */
static double damped(double p, double q) { return q == 0 ? 0 : p * q; }

static double gelu_tanh_derivative(double v) {
    double u = gelu_angle(v);
    return sigmoid(2 * u) + damped(v * GELU_SCALE * (1 + 3 * GELU_CUBE * v * v) / 2, sech_squared(u));
}

/* name, how it is recorded, value, derivative */
#define ACTIVATIONS(X)                                                                                                 \
    X(sigmoid, ag_sigmoid, sigmoid(v), sigmoid(v) * sigmoid(-v))                                                       \
    X(log_sigmoid, ag_log_sigmoid, -softplus(-v), sigmoid(-v))                                                         \
    X(softplus, ag_softplus, softplus(v), sigmoid(v))                                                                  \
    X(softsign, record_softsign, v / (1 + fabs(v)), 1 / ((1 + fabs(v)) * (1 + fabs(v))))                               \
    X(tanh, ag_tanh, tanh(v), sech_squared(v))                                                                         \
    X(relu, ag_relu, fmax(v, 0), v > 0 ? 1 : 0)                                                                        \
    X(relu6, record_relu6, clip(v, 0, 6), v > 0 && v < 6 ? 1 : 0)                                                      \
    X(selu, record_selu, SELU_SCALE *(v > 0 ? v : SELU_ALPHA * expm1(v)),                                              \
      SELU_SCALE *(v > 0 ? 1 : SELU_ALPHA * exp(v)))                                                                   \
    X(silu, ag_silu, damped(v, sigmoid(v)), sigmoid(v) + damped(v, sigmoid(v) * sigmoid(-v)))                          \
    X(gelu, ag_gelu, damped(v, normal_cdf(v)), normal_cdf(v) + damped(v, normal_density(v)))                           \
    X(gelu_tanh, ag_gelu_tanh, damped(v, sigmoid(2 * gelu_angle(v))), gelu_tanh_derivative(v))                         \
    X(mish, ag_mish, damped(v, tanh(softplus(v))),                                                                     \
      tanh(softplus(v)) + damped(v, sigmoid(v) * sech_squared(softplus(v))))

#define FUNCTIONS(name, record, value, derivative)                                                                     \
    NN_RECORD(name) { return record(x[0]); }                                                                           \
    NN_VALUE(name) {                                                                                                   \
        double v = *x[0];                                                                                              \
        (void)s;                                                                                                       \
        *y = value;                                                                                                    \
    }                                                                                                                  \
    NN_DERIVATIVE(name) {                                                                                              \
        double v = *x[0];                                                                                              \
        (void)s;                                                                                                       \
        *d[0] = derivative;                                                                                            \
    }
ACTIVATIONS(FUNCTIONS)

/* Those with a parameter a. */

NN_RECORD(leaky_relu) { return ag_leaky_relu(x[0], x[1]); }
NN_VALUE(leaky_relu) {
    (void)s;
    *y = *x[0] > 0 ? *x[0] : *x[1] * *x[0];
}
NN_DERIVATIVE(leaky_relu) {
    (void)s;
    *d[0] = *x[0] > 0 ? 1 : *x[1];
    *d[1] = fmin(*x[0], 0);
}

NN_RECORD(elu) { return ag_elu(x[0], x[1]); }
NN_VALUE(elu) {
    (void)s;
    *y = *x[0] > 0 ? *x[0] : *x[1] * expm1(*x[0]);
}
NN_DERIVATIVE(elu) {
    (void)s;
    *d[0] = *x[0] > 0 ? 1 : *x[1] * exp(*x[0]);
    *d[1] = *x[0] > 0 ? 0 : expm1(*x[0]);
}
