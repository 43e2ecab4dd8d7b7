/* What an optimiser is set to, and was: for whoever runs its steps. */
#ifndef NN_SETTINGS_IMPL_H
#define NN_SETTINGS_IMPL_H

#include "nn/optimise.h"

/* What gradients are multiplied by: nn_optimiser_scale. */
double nn_optimiser_scale_now(const nn_optimiser *optimiser);
/* The rate of the last step, if nn_optimiser_set_rate has not been called since. */
double nn_optimiser_last_rate(const nn_optimiser *optimiser);

#endif
