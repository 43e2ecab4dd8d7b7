/* Functions of <math.h> that have vector versions. */
#ifndef AG_VECTOR_MATHS_IMPL_H
#define AG_VECTOR_MATHS_IMPL_H

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
    X(sin) X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(asinh) X(acosh) X(atanh) X(cbrt) X(erf)     \
        X(erfc)
#define AG_VECTOR_MATHS2(X) X(pow) X(atan2) X(hypot)

#endif
