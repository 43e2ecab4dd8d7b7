/* What the sweeps of both precisions and all instruction sets share. */
#ifndef AG_SWEEP_IMPL_H
#define AG_SWEEP_IMPL_H

#include "tape_impl.h"

#define AG_SWEEP_NAME(type, isa) AG_SWEEP_PASTE_(type, isa)
#define AG_SWEEP_PASTE_(type, isa) ag_sweep_##type##_##isa

/* From instruction `last` down; `top` is the slot after it and the constants that follow it. */
typedef void ag_sweep_loop(ag_tape *t, uint32_t last, uint32_t top);
ag_sweep_loop ag_sweep_f64_base, ag_sweep_f64_v3, ag_sweep_f64_v4, ag_sweep_f32_base, ag_sweep_f32_v3, ag_sweep_f32_v4;

/* The adjoint of a tensor instruction. False after an error. */
bool ag_sweep_node(ag_tape *t, ag_node *node);

#endif
