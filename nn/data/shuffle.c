/* A permutation that is computed place by place, so that a shuffled order takes no memory and can begin anywhere. */
#include "nn/data/data_impl.h"

#include "nn/random.h"

#include <math.h>

enum { ROUNDS = 8 };

uint64_t nn_mix(uint64_t a, uint64_t b) {
    nn_random random = {a};
    random.state = nn_random_bits(&random) ^ b;
    return nn_random_bits(&random);
}

/* A Feistel network over pairs (left, right) from a domain just larger than n; what falls outside of 0..n-1 is permuted again
 * until it is inside (Black and Rogaway, Ciphers with arbitrary finite domains, 2002). */
int64_t nn_shuffled(int64_t i, int64_t n, uint64_t key) {
    uint64_t side = (uint64_t)sqrt((double)n), x = (uint64_t)i;
    while (side * side < (uint64_t)n) side++;
    do {
        uint64_t left = x / side, right = x % side;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            uint64_t next = (left + (nn_mix(key + round, right) >> 16)) % side;
            left = right;
            right = next;
        }
        x = left * side + right;
    } while (x >= (uint64_t)n);
    return (int64_t)x;
}
