/* The kernels of both precisions for one instruction set. The build compiles this file several times, each with its
 * -march and AG_ISA = base, v3 or v4. */
#ifndef AG_ISA
#define AG_ISA base
#endif
#include "kernels_impl.h"
#include "nn/random.h"

#include <float.h>
#include <math.h>

/* Numbers that a sum or a search keeps apart and folds at its end, so that it is vectorised; numbers in a part of a row
 * that fits the nearest cache. */
enum { APART = 32 };

/* Numbers of a row that are updated before others are asked for, and how far ahead those are. */
enum { PART = 256, AHEAD = 512 };

/* Loops run in any order: rows do not overlap. */
#if defined(__clang__)
#define ANY_ORDER _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define ANY_ORDER _Pragma("GCC ivdep")
#else
#define ANY_ORDER
#endif

#include "normal.inc"
#include "near.inc"

#define PASTE3_(a, b, c) a##b##c
#define PASTE3(a, b, c) PASTE3_(a, b, c)

#define T double
#define MASK int64_t
#define M(function) function
#define MOST DBL_MAX
#define ID(name) name##_f64
#define TABLE PASTE3(nn_kernels_, f64_, AG_ISA)
#include "kernels.inc"
#undef T
#undef MASK
#undef M
#undef MOST
#undef ID
#undef TABLE

#define T float
#define MASK int32_t
#define M(function) function##f
#define MOST FLT_MAX
#define ID(name) name##_f32
#define TABLE PASTE3(nn_kernels_, f32_, AG_ISA)
#include "kernels.inc"
