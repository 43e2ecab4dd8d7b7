/* Random numbers: the same ones for the same seed, on every machine. */
#ifndef NN_RANDOM_H
#define NN_RANDOM_H

#include <stdint.h>
#include <string.h>

/* splitmix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014). */
typedef struct nn_random {
    uint64_t state; /* the seed */
} nn_random;

#define NN_RANDOM_STEP UINT64_C(0x9e3779b97f4a7c15) /* from one state to the next */

/* The bits that a state gives. */
static inline uint64_t nn_random_mixed(uint64_t state) {
    state = (state ^ (state >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    state = (state ^ (state >> 27)) * UINT64_C(0x94d049bb133111eb);
    return state ^ (state >> 31);
}

/* Bits as a number in (0, 1), never an end: 52 of them behind the leading 1 of a number in 1..2, in loops of vectors, too. */
static inline double nn_random_open(uint64_t bits) {
    double x;
    bits = bits >> 12 | UINT64_C(0x3ff) << 52;
    memcpy(&x, &bits, sizeof x);
    return x - 1 + 0x1p-53;
}

uint64_t nn_random_bits(nn_random *random);
int64_t nn_random_below(nn_random *random, int64_t n); /* one of 0 .. n-1; n > 0 */
double nn_random_uniform(nn_random *random, double lo, double hi);
double nn_random_normal(nn_random *random); /* mean 0, standard deviation 1 */

/* Arrays of them. The last two fill `rows` rows of length k. */
void nn_fill_normal(nn_random *random, double *x, int64_t count, double deviation);
void nn_fill_positive(nn_random *random, double *x, int64_t count);          /* 0.1 + |normal| */
void nn_fill_unit(nn_random *random, double *x, int64_t count);              /* in 0.05 .. 0.95 */
void nn_fill_binary(nn_random *random, double *x, int64_t count);            /* 0 or 1 */
void nn_fill_simplex(nn_random *random, double *x, int64_t rows, int64_t k); /* positive, sum 1 */
void nn_fill_one_hot(nn_random *random, double *x, int64_t rows, int64_t k);

#endif
