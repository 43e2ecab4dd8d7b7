/* The reverse sweep of f64 tapes; compiled for each instruction set, as AG_ISA says. */
#include "sweep_impl.h"

#define T double
#define M(function) function
#define FMA_ __builtin_fma
#define SUM_OF_NAN_ sum_of_nan_f64
#define SWEEP_ AG_SWEEP_NAME(f64, AG_ISA)
#include "../ops/numeric_impl.h"
#include "sweep.inc"
