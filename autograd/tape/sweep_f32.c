/* The reverse sweep of f32 tapes; compiled for each instruction set, as AG_ISA says. */
#include "sweep_impl.h"

#define T float
#define M(function) function##f
#define FMA_ __builtin_fmaf
#define SUM_OF_NAN_ sum_of_nan_f32
#define SWEEP_ AG_SWEEP_NAME(f32, AG_ISA)
#include "../ops/numeric_impl.h"
#include "sweep.inc"
