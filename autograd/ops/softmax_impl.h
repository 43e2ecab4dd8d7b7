/* Softmax as the cross-entropies use it. */
#ifndef AG_SOFTMAX_IMPL_H
#define AG_SOFTMAX_IMPL_H

#include "reduce_impl.h"

/* One row's unnormalised probabilities: exps = exp(x - shift), shift the greatest of x, and their sum. If shift is not
 * finite, exps are the probabilities (softmax.c says which) and sum is 1. */
void ag_softmax_exps(const ag_kernels *kernels, ag_type type, int64_t n, void *exps, const void *x, double *shift,
                     double *sum);

/* Recorded, for y = log_softmax(x) over an axis: the tangent along v, and the adjoint of x from that of y. */
ag_var ag_log_softmax_tangent(ag_var y, ag_var v, const ag_reduction *over);
ag_var ag_log_softmax_adjoint(ag_var y, ag_var w, const ag_reduction *over);

#endif
