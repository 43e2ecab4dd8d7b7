/* What parameters start from. */
#ifndef NN_INITIAL_H
#define NN_INITIAL_H

#include <nn/model.h>

/* Fills x, `count` zeros of this shape. Returns false if there is not enough memory. */
bool nn_fill_initial(uint64_t seed, ag_shape shape, nn_initial initial, double gain, double *x, int64_t count);

#endif
