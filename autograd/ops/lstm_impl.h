/* An LSTM over steps: lstm.c has the operations, lstm_steps.c computes. */
#ifndef AG_LSTM_IMPL_H
#define AG_LSTM_IMPL_H

#include "structural_impl.h"

/* Parameters of both operations. */
typedef struct ag_lstm_params {
    int64_t backward;
} ag_lstm_params;

typedef struct ag_lstm_sizes {
    int64_t steps, batch, hidden;
} ag_lstm_sizes;

/* Place of the step after `done` others. */
static inline int64_t ag_lstm_place(const ag_lstm_params *p, int64_t steps, int64_t done) {
    return p->backward ? steps - 1 - done : done;
}

/* What is computed from, and what is computed, row-major; `acts`, the gates' activations of all steps, may be missing: in
 * reverse they are computed again. */
typedef struct ag_lstm_arrays {
    const void *gates, *weight, *h_first, *c_first, *bias; /* bias may be NULL */
    void *result, *acts;
    /* in reverse: the result's adjoint; what goes to the gates, and to the first states (which is set) */
    const void *w;
    void *to_gates, *to_h, *to_c;
} ag_lstm_arrays;

/* Sets result, and acts if they are there. False, and the tape in error, without memory. */
bool ag_lstm_forth(const ag_call *call, const ag_lstm_params *p, ag_lstm_sizes s, const ag_lstm_arrays *a);
bool ag_lstm_back(const ag_call *call, const ag_lstm_params *p, ag_lstm_sizes s, const ag_lstm_arrays *a);

#endif
