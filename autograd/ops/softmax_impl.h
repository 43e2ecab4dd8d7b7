/* Softmax as the cross-entropies use it. */
#ifndef AG_SOFTMAX_IMPL_H
#define AG_SOFTMAX_IMPL_H

#include "reduce_impl.h"

/* Unnormalised probabilities of the first operand's rows: exps = exp(x - shift), shift the greatest of the row, and
 * their sum; heads has shift and sum of each row. If shift is not finite, exps are the probabilities (softmax.c says
 * which) and sum is 1. */
void ag_softmax_exps(const ag_call *call, double *heads, void *exps);

/* Recorded, for y = log_softmax(x) over an axis: the tangent along v, and the adjoint of x from that of y. */
ag_var ag_log_softmax_tangent(ag_var y, ag_var v, const ag_reduction *over);
ag_var ag_log_softmax_adjoint(ag_var y, ag_var w, const ag_reduction *over);

/* As C, for rows of operand 0 (params are an ag_reduction): `most` and `sum`, see softmax.c. */
void ag_c_softmax_sum(const ag_c_form *f);

/* The lowering of log_softmax to scalars; params are an ag_reduction that keeps the axis. */
void ag_log_softmax_scalars(const ag_elements *e);

#endif
