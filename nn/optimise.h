/* nn/optimise: steps that make a loss smaller. */
#ifndef NN_OPTIMISE_H
#define NN_OPTIMISE_H

#include <nn/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One step of gradient descent: every parameter -= rate * its adjoint, left by ag_backward or ag_sweep. Parameters that
 * the swept function does not depend on stay as they are. A rate that is not finite is an error (AG_ERR_VALUE). */
NN_API void nn_sgd_step(nn_model *model, double rate);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
