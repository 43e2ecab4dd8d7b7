/* What comparing and diagnosing a claim share. */
#ifndef NN_CHECK_CLAIM_IMPL_H
#define NN_CHECK_CLAIM_IMPL_H

#include "nn/check/claim.h"

int64_t nn_shape_count(ag_shape shape);
bool nn_shape_equal(ag_shape a, ag_shape b);

/* Of element i of all draws. */
double nn_claim_tolerance(const nn_claim *claim, int64_t i);
bool nn_claim_entry_holds(const nn_claim *claim, int64_t i);

/* Appends to a text in a buffer of `size` bytes; what does not fit is cut off. */
void nn_text_add(char *text, size_t size, const char *format, ...) AG_FORMAT_(3, 4);
void nn_shape_text(ag_shape shape, char *text, size_t size); /* "a number", "a vector of length 3", "2 x 3" */

#endif
