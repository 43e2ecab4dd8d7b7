/* Vector functions of our own for the loops that gcc vectorises, by the names that its vector ABI gives them: letters for
 * the instruction set and the lanes. Compiled for each instruction set, as kernels.c; only AVX-512 has some. */
#include "vector_maths_impl.h"

#ifdef AG_OWN_VECTOR_MATHS
#include <immintrin.h>

#include "exp_f64.inc"

#define AG_PASTE_(letters, name, isa) _ZGV##letters##v_ag_##name##_##isa
#define AG_PASTE(letters, name, isa) AG_PASTE_(letters, name, isa)
#define AG_ABI_(letters, name) AG_PASTE(letters, name, AG_ISA)
/* Loops end in fewer lanes, and single numbers. */
#define AG_VECTOR_FUNCTION_(name, vector)                                                                              \
    __m512d AG_ABI_(eN8, name)(__m512d x);                                                                             \
    __m512d AG_ABI_(eN8, name)(__m512d x) { return vector(x); }                                                        \
    __m256d AG_ABI_(dN4, name)(__m256d x);                                                                             \
    __m256d AG_ABI_(dN4, name)(__m256d x) { return _mm512_castpd512_pd256(vector(_mm512_zextpd256_pd512(x))); }        \
    double AG_OWN_(name)(double x);                                                                                    \
    double AG_OWN_(name)(double x) { return _mm512_cvtsd_f64(vector(_mm512_set1_pd(x))); }
AG_VECTOR_FUNCTION_(exp, exp_vector_f64)
AG_VECTOR_FUNCTION_(tanh, tanh_vector_f64)
#else
typedef int ag_no_vector_maths; /* a file holds something */
#endif
