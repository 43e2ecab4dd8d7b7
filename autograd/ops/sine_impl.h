/* Sines of shifted angles, for partials: the derivative of sin is the sine a quarter on, that of cos half a turn on. With one
 * polynomial for each half of the octants and no table, in half the time of the C library's, which compute a last half bit
 * that no partial needs. */
#ifndef AG_SINE_IMPL_H
#define AG_SINE_IMPL_H

#include <autograd/autograd.h>
#include <math.h>

/* pi / 2 in parts: products of the first two with whole numbers below 2^20 are exact. */
#define AG_QUARTER_1 0x1.921fb544p+0
#define AG_QUARTER_2 0x1.0b4611a6p-34
#define AG_QUARTER_3 0x1.3198a2e037073p-69
#define AG_LARGEST_ANGLE_ 65536.0
#define AG_ROUNDS_ 0x1.8p+52 /* added to a small number, leaves a whole one */

/* Evaluates c[0] + c[1] z + ... + c[7] z^7 by pairs. */
static inline double ag_polynomial_8(const double c[8], double z) {
    double z2 = z * z, z4 = z2 * z2;
    double low = (c[0] + c[1] * z) + (c[2] + c[3] * z) * z2, high = (c[4] + c[5] * z) + (c[6] + c[7] * z) * z2;
    return low + high * z4;
}

/* (sin r - r) / r^3 and (cos r - 1 + r^2 / 2) / r^4 as series in r^2. */
static const double ag_sine_series[8] = {
    -1.0 / 6,        1.0 / 120,        -1.0 / 5040,          1.0 / 362880,
    -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000};
static const double ag_cosine_series[8] = {
    1.0 / 24,        -1.0 / 720,         1.0 / 40320,          -1.0 / 3628800,
    1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000, -1.0 / 6402373705728000};

/* By the C library, apart, so that no compiler makes one slow sincos of this and the sine itself. */
static AG_APART_ double ag_sine_by_library(double x, int quarters) { return quarters == 1 ? cos(x) : -sin(x); }

/* sin(x + quarters pi / 2) for 1 or 2 quarters, to within one unit in the last place. */
AG_INLINE_ double ag_sine_shifted(double x, int quarters) {
    if (x == 0 || !(fabs(x) < AG_LARGEST_ANGLE_)) return ag_sine_by_library(x, quarters);
    double n = (x * 0x1.45f306dc9c883p-1 + AG_ROUNDS_) - AG_ROUNDS_; /* x / (pi / 2), rounded */
    unsigned turn = (unsigned)((int)n + quarters);
    /* x - n pi / 2 as r + e. */
    double near = x - n * AG_QUARTER_1, w = n * AG_QUARTER_2, close = near - w, w3 = n * AG_QUARTER_3, r = close - w3;
    double e = ((near - close) - w) + ((close - r) - w3);
    double z = r * r, half = 0.5 * z, top = 1 - half;
    double value[2] = {r + (r * z * ag_polynomial_8(ag_sine_series, z) + e),
                       top + (((1 - top) - half) + (z * z * ag_polynomial_8(ag_cosine_series, z) - r * e))};
    return turn & 2 ? -value[turn & 1] : value[turn & 1];
}

#endif
