/* The functions of plain_functions.h as an expert compiles them: -O3 for this machine, -ffast-math, which lets compilers
 * vectorise sums and the functions of libm. */
#ifndef BENCH_WAYS_HAND_H
#define BENCH_WAYS_HAND_H

typedef struct hand_function {
    double (*value)(const double *x);
    void (*gradient)(const double *x, double *g);
} hand_function;

void hand_begin(void);
hand_function hand_find(int problem); /* in the order of `problems` in recorded_functions.h */

#endif
