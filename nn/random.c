#include "nn/random.h"

#include "nn/optimise/kernels_impl.h"

#include <math.h>

uint64_t nn_random_bits(nn_random *random) { return nn_random_mixed(random->state += NN_RANDOM_STEP); }

/* The bias for an n that is not a power of two is below n / 2^64. */
int64_t nn_random_below(nn_random *random, int64_t n) { return (int64_t)(nn_random_bits(random) % (uint64_t)n); }

double nn_random_uniform(nn_random *random, double lo, double hi) {
    return lo + (hi - lo) * nn_random_open(nn_random_bits(random));
}

void nn_fill_normal(nn_random *random, double *x, int64_t count, double deviation) {
    nn_kernels_for(AG_F64)->normal((size_t)count, x, deviation, random->state);
    random->state += ((uint64_t)count + 1) / 2 * 2 * NN_RANDOM_STEP; /* two for each two */
}

double nn_random_normal(nn_random *random) {
    double x;
    nn_fill_normal(random, &x, 1, 1);
    return x;
}

void nn_fill_positive(nn_random *random, double *x, int64_t count) {
    nn_fill_normal(random, x, count, 1);
    for (int64_t i = 0; i < count; i++) x[i] = 0.1 + fabs(x[i]);
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
