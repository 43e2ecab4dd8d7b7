/* How far a number is from the right one. */
#ifndef NN_COMPARE_H
#define NN_COMPARE_H

#include <math.h>

/* Two ways to the same derivative, both in double precision, agree to this error or better. */
#define NN_TOLERANCE 1e-9

/* |got - right| / max(1, |right|); infinite if either is NaN, 0 for equal infinities. */
static inline double nn_distance(double got, double right) {
    if (got == right) return 0;
    double error = fabs(got - right) / fmax(1, fabs(right));
    return isnan(error) ? INFINITY : error;
}

#endif
