/* Functions of <math.h> that have vector versions. */
#ifndef AG_VECTOR_MATHS_IMPL_H
#define AG_VECTOR_MATHS_IMPL_H

#include <math.h> /* says whether this is glibc, too */

/* Functions of libmvec, the C library's vector maths: gcc calls them from vectorised loops once their declarations say
 * so, without any -ffast-math. They are good to 4 ulp, and right at infinities, NaN, zeros and denormals (tests). clang
 * does not know the attribute; with -fveclib=libmvec it calls some of them, else the scalar functions. */
#define AG_VECTOR_MATHS1(X)                                                                                            \
    X(exp)                                                                                                             \
    X(expm1)                                                                                                           \
    X(exp2)                                                                                                            \
    X(log)                                                                                                             \
    X(log1p)                                                                                                           \
    X(log2)                                                                                                            \
    X(log10)                                                                                                           \
    X(sin)                                                                                                             \
    X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(asinh) X(acosh) X(atanh) X(cbrt) X(erf) X(erfc)
#define AG_VECTOR_MATHS2(X) X(pow) X(atan2) X(hypot)

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 35)
#define AG_SIMD_ __attribute__((simd("notinbranch"), const, nothrow))
#endif
#endif

/* Ours in the place of those that are commonest in models, where they are faster (vector_maths.c). */
#if defined(AG_SIMD_) && defined(__AVX512F__) && defined(__AVX512DQ__)
#define AG_OWN_VECTOR_MATHS
#define AG_OWN_NAME_(name, isa) ag_##name##_##isa
#define AG_OWN_PASTE_(name, isa) AG_OWN_NAME_(name, isa)
#define AG_OWN_(name) AG_OWN_PASTE_(name, AG_ISA)
#endif

#endif
