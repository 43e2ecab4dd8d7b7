/* Special functions of real arguments that the C library lacks. Formulas by number are those of the NIST Digital
 * Library of Mathematical Functions, https://dlmf.nist.gov. The functions are in special.inc. */
#include "ops_impl.h"
#include <math.h>

#define AG_SPECIAL_DATA(...) __VA_ARGS__
#define AG_SPECIAL_LOCAL(...) static __VA_ARGS__
#define AG_SPECIAL(...) __VA_ARGS__
#include "special.inc"
#undef AG_SPECIAL_DATA
#undef AG_SPECIAL_LOCAL
#undef AG_SPECIAL

double ag_special_lgamma(double x) {
    int sign; /* lgamma would write it to a global variable */
    return lgamma_r(x, &sign);
}
