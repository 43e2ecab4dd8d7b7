/* nn/losses: scalars; the mean over all examples.
 *
 * Predictions and targets have equal shapes: it is an error (AG_ERR_SHAPE) to compare (n, 1) with (n), which would
 * broadcast to n x n. A plain number may stand for all targets. Labels, and targets that are to be one of two numbers, are
 * checked wherever the loss is computed: in each run of a program, and in each batch of a step that is traced, others are
 * an error (AG_ERR_VALUE, with the place). Printed C checks labels only. */
#ifndef NN_LOSSES_H
#define NN_LOSSES_H

#include <nn/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- numbers: the mean over all elements of a function of the residual r = prediction - target ------------------- */

NN_API ag_var nn_mse(ag_var predictions, ag_var targets); /* r^2 */
NN_API ag_var nn_mae(ag_var predictions, ag_var targets); /* |r| */
/* r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2), for delta > 0: Huber, 1964. */
NN_API ag_var nn_huber(ag_var predictions, ag_var targets, double delta);
/* The same by delta, so that it is |r| - delta / 2 far out: smooth L1. */
NN_API ag_var nn_smooth_l1(ag_var predictions, ag_var targets, double delta);

/* ---- classes: the mean over all examples, or rows: all axes but the last, which has the classes -------------------- */

typedef struct nn_class_options {
    ag_var weights;   /* (classes): of each class in the mean, which is then a weighted one; zero: all 1 */
    double smoothing; /* this part of each target is spread evenly over all classes: arXiv:1512.00567; 0 to 1 */
    bool ignore;
    int64_t ignored; /* with `ignore`: rows of this label do not count. All others are 0..classes-1 */
} nn_class_options;

/* -log softmax(logits)[label] over rows: logits (..., classes), one of n labels in 0..classes-1 for each row. */
NN_API ag_var nn_softmax_cross_entropy(ag_var logits, const int64_t *labels, int64_t n);
NN_API ag_var nn_softmax_cross_entropy_with(ag_var logits, const int64_t *labels, int64_t n, nn_class_options options);
/* The same for labels that are a var of shape (...): data of a traced program. */
NN_API ag_var nn_softmax_cross_entropy_at(ag_var logits, ag_var labels, nn_class_options options);
/* -sum(p log softmax(logits)) for target probabilities p, in the shape of the logits. */
NN_API ag_var nn_softmax_cross_entropy_soft(ag_var logits, ag_var probabilities);
/* -(log probability)[label], for log_softmax and other log probabilities. Smoothing is no option of it, but an error. */
NN_API ag_var nn_nll(ag_var log_probabilities, const int64_t *labels, int64_t n, nn_class_options options);
NN_API ag_var nn_nll_at(ag_var log_probabilities, ag_var labels, nn_class_options options);
/* sum(p (log p - log q)) over the last axis: the Kullback-Leibler divergence of q, given as logarithms, from p.
 * PyTorch's reduction "batchmean". */
NN_API ag_var nn_kl(ag_var log_probabilities, ag_var targets);

/* ---- yes or no: the mean over all elements ------------------------------------------------------------------------ */

/* -(y log s + (1 - y) log(1 - s)), s = sigmoid(logits), for targets y in 0..1. */
NN_API ag_var nn_bce_logits(ag_var logits, ag_var targets);
/* The first term times `positive`, a number or a var that broadcasts to the logits: more than 1 for rare ones. */
NN_API ag_var nn_bce_logits_weighted(ag_var logits, ag_var targets, ag_var positive);
/* max(0, 1 - y score) for targets y of -1 and 1. */
NN_API ag_var nn_hinge(ag_var scores, ag_var targets);

/* ---- likeness of vectors x of shape (..., width); the mean over (...) ---------------------------------------------- */

/* 1 - cos(x, y) for targets of 1, max(0, cos(x, y) - margin) for targets of -1, of shape (...). */
NN_API ag_var nn_cosine_embedding(ag_var x, ag_var y, ag_var targets, double margin);
/* max(0, |x - like + 1e-6| - |x - unlike + 1e-6| + margin): Schroff et al., arXiv:1503.03832, as PyTorch has it. */
NN_API ag_var nn_triplet(ag_var x, ag_var like, ag_var unlike, double margin);
/* d^2 / 2 for targets of 1, max(0, margin - d)^2 / 2 for targets of 0, d = |x - y|: Hadsell, Chopra, LeCun, 2006. */
NN_API ag_var nn_contrastive(ag_var x, ag_var y, ag_var targets, double margin);

/* ---- penalties ----------------------------------------------------------------------------------------------------- */

/* Sum of the squares of n vars: a penalty on weights, to be multiplied by a coefficient and added to a loss. */
NN_API ag_var nn_l2(const ag_var *xs, int n);

/* ---- files --------------------------------------------------------------------------------------------------------- */

/* The operation that checks targets of nn_hinge, nn_cosine_embedding and nn_contrastive: a program that has it is read by
 * ag_program_load(file, nn_operations, NN_OPERATIONS). */
enum { NN_OPERATIONS = 1 };
NN_API extern const ag_operation *const nn_operations[NN_OPERATIONS];

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
