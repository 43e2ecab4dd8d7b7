/* What losses check of their arguments. Each gives true if the loss can be computed. */
#ifndef NN_LOSSES_CHECKS_H
#define NN_LOSSES_CHECKS_H

#include "nn/shapes.h"

/* The targets have the predictions' shape, or are one plain number. Inert vars pass: they make the result inert. */
bool nn_comparable(const char *what, ag_var predictions, ag_var targets);

/* The targets of the predictions `of`, all of which are one of two small integers: in each run of a program, too, else it
 * is an error of the run. Inert after an error. */
ag_var nn_among(const char *what, ag_var of, ag_var targets, int a, int b);

/* x has the shape of `of` without its last axis. */
bool nn_one_a_row(const char *what, const char *name, ag_var x, ag_var of);

#endif
