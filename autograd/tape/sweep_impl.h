/* What the sweeps of both precisions share. */
#ifndef AG_SWEEP_IMPL_H
#define AG_SWEEP_IMPL_H

#include "tape_impl.h"

void ag_sweep_f32(ag_tape *t, uint32_t last, uint32_t top);

static inline bool sweep_node(ag_tape *t, ag_node *node) {
    if (ag_bases(t)[node->base].epoch != t->epoch) return true; /* no adjoint arrived */
    return node->operation ? ag_apply_adjoint(t, node) : ag_elementwise_adjoint(t, node);
}

#endif
