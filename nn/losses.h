/* nn/losses: scalars; the mean over all examples. */
#ifndef NN_LOSSES_H
#define NN_LOSSES_H

#include <nn/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Mean of -log softmax(logits)[label] over n examples: logits (n, classes), labels in 0..classes-1. */
NN_API ag_var nn_softmax_cross_entropy(ag_var logits, const int64_t *labels, int64_t n);
/* Mean of -sum(p log softmax(logits)) for target probabilities p, in the shape of the logits: (..., classes). */
NN_API ag_var nn_softmax_cross_entropy_soft(ag_var logits, ag_var probabilities);
/* Mean of -(y log s + (1 - y) log(1 - s)), s = sigmoid(logits), for targets y in 0..1. Shapes must be equal: it is an
 * error (AG_ERR_SHAPE) to compare (n, 1) with (n), which would broadcast to n x n. A plain number may stand for all of
 * y. */
NN_API ag_var nn_bce_logits(ag_var logits, ag_var targets);
/* Mean of the squared differences. Shapes as above. */
NN_API ag_var nn_mse(ag_var predictions, ag_var targets);
/* Sum of the squares of n vars: a penalty on weights, to be multiplied by a coefficient and added to a loss. */
NN_API ag_var nn_l2(const ag_var *xs, int n);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
