/* The reverse sweep of f32 tapes. */
#include "sweep_impl.h"

#define T float
#define M(function) function##f
#define SWEEP_ sweep
#include "../ops/numeric_impl.h"
#include "sweep.inc"

void ag_sweep_f32(ag_tape *t, uint32_t last, uint32_t top) { sweep(t, last, top); }
