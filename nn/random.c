#include "nn/random.h"

#include <math.h>

uint64_t nn_random_bits(nn_random *random) {
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In (0, 1), never an end: the logarithm below needs that. */
static double open_unit(nn_random *random) { return ((double)(nn_random_bits(random) >> 12) + 0.5) * 0x1p-52; }

/* The bias for an n that is not a power of two is below n / 2^64. */
int64_t nn_random_below(nn_random *random, int64_t n) { return (int64_t)(nn_random_bits(random) % (uint64_t)n); }

double nn_random_uniform(nn_random *random, double lo, double hi) { return lo + (hi - lo) * open_unit(random); }

/* Box and Muller, 1958; the second number of each pair is thrown away, so that the state is one word. */
double nn_random_normal(nn_random *random) {
    const double two_pi = 6.283185307179586477;
    double radius = sqrt(-2 * log(open_unit(random)));
    return radius * cos(two_pi * open_unit(random));
}

void nn_fill_normal(nn_random *random, double *x, int64_t count, double deviation) {
    for (int64_t i = 0; i < count; i++) x[i] = deviation * nn_random_normal(random);
}

void nn_fill_positive(nn_random *random, double *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) x[i] = 0.1 + fabs(nn_random_normal(random));
}

void nn_fill_unit(nn_random *random, double *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) x[i] = nn_random_uniform(random, 0.05, 0.95);
}

void nn_fill_binary(nn_random *random, double *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) x[i] = (double)nn_random_below(random, 2);
}

void nn_fill_simplex(nn_random *random, double *x, int64_t rows, int64_t k) {
    for (; rows > 0; rows--, x += k) {
        double sum = 0;
        nn_fill_positive(random, x, k);
        for (int64_t i = 0; i < k; i++) sum += x[i];
        for (int64_t i = 0; i < k; i++) x[i] /= sum;
    }
}

void nn_fill_one_hot(nn_random *random, double *x, int64_t rows, int64_t k) {
    for (; rows > 0; rows--, x += k) {
        int64_t hot = nn_random_below(random, k);
        for (int64_t i = 0; i < k; i++) x[i] = i == hot;
    }
}
