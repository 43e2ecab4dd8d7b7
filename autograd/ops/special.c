/* Special functions of real arguments that the C library lacks. Formulas by number are those of the NIST Digital
 * Library of Mathematical Functions, https://dlmf.nist.gov.
 *
 * polygamma computes in long double: with the 64 bits and the range of x86 it is accurate to the last bits, and factors
 * like 150! or x^-151 do not overflow before the result does. Where long double is double, accuracy drops to about
 * 1e-14, and some results overflow or vanish. */
#include "ops_impl.h"
#include <math.h>

static const double pi = 3.14159265358979323846;

/* Even Bernoulli numbers B_2, B_4, ... (24.2). */
enum { BERNOULLI = 12 };
static const long double bernoulli[BERNOULLI] = {
    1.0L / 6, -1.0L / 30,     1.0L / 42,      -1.0L / 30,       5.0L / 66,       -691.0L / 2730,
    7.0L / 6, -3617.0L / 510, 43867.0L / 798, -174611.0L / 330, 854513.0L / 138, -236364091.0L / 2730,
};

/* Where Gamma has its poles. Every number from 2^52 on is an integer, so this includes all large negative ones. */
static bool is_pole(double x) { return x <= 0 && x == floor(x); }

double ag_special_lgamma(double x) {
    int sign; /* lgamma would write it to a global variable */
    return lgamma_r(x, &sign);
}

/* 5.11.2 for x >= 10, reached by the recurrence 5.5.2; the first term left out is below 1e-17. */
static double digamma_positive(double x) {
    double sum = 0;
    for (; x < 10; x++) sum += 1 / x;
    double u = 1 / (x * x), series = 0;
    for (int k = 8; k >= 1; k--) series = (series + (double)bernoulli[k - 1] / (2 * k)) * u;
    return log(x) - 0.5 / x - series - sum;
}

double ag_special_digamma(double x) {
    if (is_pole(x)) return NAN;                                               /* and at -inf */
    if (x < 0) return digamma_positive(1 - x) - pi / tan(pi * (x - rint(x))); /* 5.5.4 */
    return digamma_positive(x);
}

/* x^-n */
static long double inverse_power(long double x, int n) {
    long double power = 1, factor = 1 / x;
    for (; n > 0; n /= 2, factor *= factor)
        if (n % 2 != 0) power *= factor;
    return power;
}

/* Hurwitz' zeta function, the sum of (a + k)^-s over k >= 0, for a > 0 and an integer s >= 2: the first terms as they
 * are, the rest by Euler and Maclaurin's formula (25.11.7), whose terms fall fast where the argument exceeds s. */
static long double zeta(int s, long double a) {
    long double sum = 0, enough = 16 + 0.75L * s;
    for (; a < enough; a++) sum += inverse_power(a, s);
    long double power = inverse_power(a, s), u = 1 / (a * a);
    sum += power * (a / (s - 1) + 0.5L);
    long double factor = power * s / (2 * a); /* s (s + 1) ... (s + 2k - 2) a^(-s-2k+1) / (2k)! for k = 1 */
    for (int k = 1; k <= BERNOULLI; k++) {
        sum += bernoulli[k - 1] * factor;
        factor *= u * (s + 2 * k - 1) * (s + 2 * k) / ((2 * k + 1) * (2 * k + 2));
    }
    return sum;
}

/* The n-th derivative of digamma is (-1)^(n+1) n! times the sum of (x + k)^-(n+1) over k >= 0 (5.15.1). For x < 0 that
 * is the sum over all integers k, which only depends on the distance r of x from the next integer, less that over k < 0
 * (which amounts to the reflection formula 5.15.6). At 0, -1, -2, ... the sides agree for odd n only: +inf. */
double ag_special_polygamma(double order, double x) {
    if (!(order >= 0 && order <= 150) || order != floor(order)) return NAN;
    int n = (int)order, s = n + 1;
    if (n == 0) return ag_special_digamma(x);
    if (isnan(x) || x == -INFINITY) return NAN;
    if (is_pole(x)) return n % 2 != 0 ? INFINITY : NAN;
    long double sum, sign = n % 2 != 0 ? 1 : -1, factorial = 1;
    if (x > 0) {
        sum = isinf(x) ? 0 : zeta(s, x);
    } else {
        long double r = x - rint(x), distance = fabsl(r), both = zeta(s, distance) + sign * zeta(s, 1 - distance);
        sum = (r < 0 ? sign : 1) * both - sign * zeta(s, 1 - (long double)x);
    }
    for (int k = 2; k <= n; k++) factorial *= k;
    return (double)(sign * factorial * sum);
}
