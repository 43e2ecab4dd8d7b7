/* The kernels of both precisions for one instruction set. The build compiles this file several times, each with its
 * -march and AG_ISA = base, v3 or v4; dispatch.c picks one of the results at run time. */
#ifndef AG_ISA
#define AG_ISA base
#endif
#include "kernels_impl.h"
#include "vector_maths_impl.h"
#include <math.h>
#include <string.h>

/* The others that the table uses, exact or rounded correctly. A function that is in no list does not compile. */
#define AG_SCALAR_MATHS1(X) X(sqrt) X(fabs) X(floor) X(ceil) X(rint)

#ifdef AG_SIMD_
#define AG_X_(name)                                                                                                    \
    AG_SIMD_ double name(double);                                                                                      \
    AG_SIMD_ float name##f(float);
AG_VECTOR_MATHS1(AG_X_)
#undef AG_X_
#define AG_X_(name)                                                                                                    \
    AG_SIMD_ double name(double, double);                                                                              \
    AG_SIMD_ float name##f(float, float);
AG_VECTOR_MATHS2(AG_X_)
#undef AG_X_
#endif

/* Loops run in any order: r may be an operand itself, but never overlaps one otherwise. AG_ONE_VECTOR: over the lanes of
 * a vector, which gcc would else unroll number by number if they are few. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#define AG_ANY_ORDER _Pragma("clang loop vectorize(assume_safety) interleave_count(1)")
#define AG_ONE_VECTOR AG_ANY_ORDER
#elif defined(__GNUC__)
#define AG_ANY_ORDER _Pragma("GCC ivdep")
#define AG_ONE_VECTOR _Pragma("GCC ivdep") _Pragma("GCC unroll 1")
#else
#define AG_ANY_ORDER
#define AG_ONE_VECTOR
#endif

/* For loops over an array of vectors, to keep it in registers. */
#if defined(__clang__)
#define AG_UNROLL_ _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define AG_UNROLL_ _Pragma("GCC unroll 16")
#else
#define AG_UNROLL_
#endif

/* Bytes of a vector register, and vectors' max and min. */
#if defined(__AVX512F__)
#define AG_VECTOR 64
#define AG_INTRINSIC_(name) _mm512_##name
#elif defined(__AVX2__)
#define AG_VECTOR 32
#define AG_INTRINSIC_(name) _mm256_##name
#else
#define AG_VECTOR 16
#define AG_INTRINSIC_(name) _mm_##name
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#define AG_STREAM_F64_(p, v) AG_INTRINSIC_(stream_pd)(p, v)
#define AG_STREAM_F32_(p, v) AG_INTRINSIC_(stream_ps)(p, v)
#define AG_MAX_F64_(v, w) (PACK) AG_INTRINSIC_(max_pd)(v, w)
#define AG_MIN_F64_(v, w) (PACK) AG_INTRINSIC_(min_pd)(v, w)
#define AG_MAX_F32_(v, w) (PACK) AG_INTRINSIC_(max_ps)(v, w)
#define AG_MIN_F32_(v, w) (PACK) AG_INTRINSIC_(min_ps)(v, w)
#if defined(__FMA__)
#define AG_FMA_F64_(f, v, w) (PACK) AG_INTRINSIC_(fmadd_pd)(f, v, w)
#define AG_FMA_F32_(f, v, w) (PACK) AG_INTRINSIC_(fmadd_ps)(f, v, w)
#endif
#if defined(__AVX512F__)
#define AG_LOAD_FIRST_F64_(n, p) (PACK) _mm512_mask_loadu_pd(_mm512_set1_pd(*(p)), (__mmask8)((1u << (n)) - 1), p)
#define AG_LOAD_FIRST_F32_(n, p) (PACK) _mm512_mask_loadu_ps(_mm512_set1_ps(*(p)), (__mmask16)((1u << (n)) - 1), p)
#define AG_LOAD_ZEROS_F64_(n, p) (PACK) _mm512_maskz_loadu_pd((__mmask8)((1u << (n)) - 1), p)
#define AG_LOAD_ZEROS_F32_(n, p) (PACK) _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p)
#define AG_STORE_FIRST_F64_(n, p, v) _mm512_mask_storeu_pd(p, (__mmask8)((1u << (n)) - 1), v)
#define AG_STORE_FIRST_F32_(n, p, v) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), v)
#define AG_PERMUTE_F64_(v, from) (PACK) _mm512_permutexvar_pd((__m512i)(from), v)
#define AG_PERMUTE_F32_(v, from) (PACK) _mm512_permutexvar_ps((__m512i)(from), v)
#define AG_PERMUTE_TWO_F64_(v, w, from) (REGISTER) _mm512_permutex2var_pd(v, (__m512i)(from), w)
#define AG_PERMUTE_TWO_F32_(v, w, from) (REGISTER) _mm512_permutex2var_ps(v, (__m512i)(from), w)
#endif
#else
#define AG_PICK_(take, v, w) (PACK)(((take) & (PACK_MASK)(v)) | (~(take) & (PACK_MASK)(w)))
#define AG_MAX_F64_(v, w) AG_PICK_((PACK_MASK)((v) > (w)), v, w)
#define AG_MIN_F64_(v, w) AG_PICK_((PACK_MASK)((v) < (w)), v, w)
#define AG_MAX_F32_ AG_MAX_F64_
#define AG_MIN_F32_ AG_MIN_F64_
#endif

#if !defined(AG_FMA_F64_)
#define AG_FMA_F64_(f, v, w) ((f) * (v) + (w))
#define AG_FMA_F32_ AG_FMA_F64_
#endif

/* calls_NAME and calls0_NAME, ...: whether a value or a partial calls vector maths, found by the type of its
 * expression: here those functions are long double, everything else is float. */
#define T float
#define K(c) ((float)(c))
#define F(name) type_##name + AG_ADD_OPERANDS_
#define M(function) type_of_##function + AG_ADD_OPERANDS_
#define AG_ADD_OPERANDS_(...) AG_ADD3_(__VA_ARGS__, 0, 0, 0)
#define AG_ADD3_(a, b, c, ...) ((a) + (b) + (c))
#define x type_x
#define y type_x
#define z type_x
#define r type_x
extern float type_x;
#define AG_X_(name) extern long double type_of_##name;
AG_VECTOR_MATHS1(AG_X_)
AG_VECTOR_MATHS2(AG_X_)
#undef AG_X_
#define AG_X_(name) extern float type_of_##name;
AG_SCALAR_MATHS1(AG_X_)
#undef AG_X_
#define AG_CALLS_(expression) _Generic((expression), long double : 1, default : 0)
#define AG_TYPE_(name, value)                                                                                          \
    extern __typeof__(value) type_##name;                                                                              \
    enum { calls_##name = AG_CALLS_(value) };
#define AG_OP1(NAME, name, form, value, ...) AG_TYPE_(name, value)
#define AG_OP2(NAME, name, form, value, ...) AG_TYPE_(name, value)
#define AG_OP3(NAME, name, form, value, ...) AG_TYPE_(name, value)
#include "elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
#define AG_OP1(NAME, name, form, value, dx, ...) enum { calls0_##name = AG_CALLS_(dx) };
#define AG_OP2(NAME, name, form, value, dx, dy, ...)                                                                   \
    enum { calls0_##name = AG_CALLS_(dx), calls1_##name = AG_CALLS_(dy) };
#define AG_OP3(NAME, name, form, value, dx, dy, dz, ...)                                                               \
    enum { calls0_##name = AG_CALLS_(dx), calls1_##name = AG_CALLS_(dy), calls2_##name = AG_CALLS_(dz) };
#include "elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
#undef T
#undef K
#undef F
#undef M
#undef x
#undef y
#undef z
#undef r

/* Of an expression d of the table, AG_ZERO_##d is whether it is K(0), which needs no kernel, and AG_BARE_##d whether it
 * is a constant, an operand or a step, F(name)(...) of a flat operation such as a comparison, and no other function. */
#define AG_ZERO_K(c) ((c) == 0)
#define AG_ZERO_F(name) AG_FALSE_
#define AG_BARE_K(c) 1
#define AG_BARE_F(name) AG_STEP_##name + AG_FALSE_
#define AG_FALSE_(...) 0
#define AG_OP1(NAME, name, form, value, dx, rx, traits, edge) enum { AG_STEP_##name = ((traits) & AG_FLAT) != 0 };
#define AG_OP2(NAME, name, form, value, dx, dy, rx, ry, traits, edge)                                                  \
    enum { AG_STEP_##name = ((traits) & AG_FLAT) != 0 };
#define AG_OP3(NAME, name, form, value, dx, dy, dz, rx, ry, rz, traits, edge)                                          \
    enum { AG_STEP_##name = ((traits) & AG_FLAT) != 0 };
#include "elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
enum { AG_ZERO_x, AG_ZERO_y = 0, AG_ZERO_z = 0, AG_ZERO_r = 0 };
enum { AG_BARE_x = 1, AG_BARE_y = 1, AG_BARE_z = 1, AG_BARE_r = 1 };

/* Elements that a sum adds up before it goes pairwise, of a buffer for partials, of a side of a transposed block. */
enum { SUMMANDS = 1024, CHUNK = 256, SIDE = 64 };

#include "random_loops.inc"

#define AG_PASTE3_(a, b, c) a##b##c
#define AG_PASTE3(a, b, c) AG_PASTE3_(a, b, c)
#define AG_STRING_(text) #text
#define AG_STRING(text) AG_STRING_(text)

#define T double
#define MASK int64_t
#define M(function) function
#ifdef AG_STREAM_F64_
#define AG_STREAM_ AG_STREAM_F64_
#endif
#define AG_MAX_ AG_MAX_F64_
#define AG_MIN_ AG_MIN_F64_
#define AG_FMA_ AG_FMA_F64_
#define AG_LOAD_FIRST_ AG_LOAD_FIRST_F64_
#define AG_LOAD_ZEROS_ AG_LOAD_ZEROS_F64_
#define AG_PERMUTE_ AG_PERMUTE_F64_
#ifdef AG_PERMUTE_TWO_F64_
#define AG_PERMUTE_TWO_ AG_PERMUTE_TWO_F64_
#endif
#define AG_STORE_FIRST_ AG_STORE_FIRST_F64_
#define ID(what, name) what##_f64_##name
#define TABLE AG_PASTE3(ag_kernels_, f64_, AG_ISA)
#ifdef AG_OWN_VECTOR_MATHS
#include "exp_f64.inc"
AG_SIMD_ double AG_OWN_(exp)(double x);
AG_SIMD_ double AG_OWN_(tanh)(double x);
#define exp(x) AG_OWN_(exp)(x) /* not the name alone, which the table has */
#define tanh(x) AG_OWN_(tanh)(x)
#define AG_EXP_VECTOR_(v) (PACK) exp_vector_f64((__m512d)(v))
#define AG_TANH_VECTOR_(v) (PACK) tanh_vector_f64((__m512d)(v))
#endif
#include "kernels.inc"
#undef exp
#undef tanh
#undef AG_EXP_VECTOR_
#undef AG_TANH_VECTOR_
#undef T
#undef MASK
#undef M
#undef AG_STREAM_
#undef AG_MAX_
#undef AG_MIN_
#undef AG_FMA_
#undef AG_LOAD_FIRST_
#undef AG_LOAD_ZEROS_
#undef AG_PERMUTE_
#undef AG_PERMUTE_TWO_
#undef AG_STORE_FIRST_
#undef ID
#undef TABLE

#include "exp_f32.inc"
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include "gelu_f32.inc"
#define AG_EXP_VECTOR_(v) (PACK) exp_vector_f32((__m512)(v))
#define AG_GELU_VECTOR_(v) gelu_vector_f32((__m512)(v))
#endif
#define expf exp_f32
#define erfcf erfc_f32

#define T float
#define MASK int32_t
#define M(function) function##f
#ifdef AG_STREAM_F32_
#define AG_STREAM_ AG_STREAM_F32_
#endif
#define AG_MAX_ AG_MAX_F32_
#define AG_MIN_ AG_MIN_F32_
#define AG_FMA_ AG_FMA_F32_
#define AG_LOAD_FIRST_ AG_LOAD_FIRST_F32_
#define AG_LOAD_ZEROS_ AG_LOAD_ZEROS_F32_
#define AG_PERMUTE_ AG_PERMUTE_F32_
#ifdef AG_PERMUTE_TWO_F32_
#define AG_PERMUTE_TWO_ AG_PERMUTE_TWO_F32_
#endif
#define AG_STORE_FIRST_ AG_STORE_FIRST_F32_
#define ID(what, name) what##_f32_##name
#define TABLE AG_PASTE3(ag_kernels_, f32_, AG_ISA)
#include "kernels.inc"
