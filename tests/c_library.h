/* Values of the elementwise operations by the C library, in long double where the plain formula loses accuracy. */
#ifndef C_LIBRARY_H
#define C_LIBRARY_H

#include <autograd/autograd.h>

#include <math.h>

typedef double reference(double x, double y, double z);

#define REFERENCE(name, value)                                                                                         \
    static double ref_##name(double x, double y, double z) {                                                           \
        (void)x, (void)y, (void)z;                                                                                     \
        return (double)(value);                                                                                        \
    }
REFERENCE(add, x + y)
REFERENCE(sub, x - y)
REFERENCE(mul, x *y)
REFERENCE(div, x / y)
REFERENCE(neg, -x)
REFERENCE(fma, fma(x, y, z))
REFERENCE(fnma, fma(-x, y, z))
REFERENCE(square, x *x)
REFERENCE(recip, 1 / x)
REFERENCE(pow, pow(x, y))
REFERENCE(sqrt, sqrt(x))
REFERENCE(cbrt, cbrt(x))
REFERENCE(hypot, hypot(x, y))
REFERENCE(exp, exp(x))
REFERENCE(expm1, expm1(x))
REFERENCE(exp2, exp2(x))
REFERENCE(log, log(x))
REFERENCE(log1p, log1p(x))
REFERENCE(log2, log2(x))
REFERENCE(log10, log10(x))
REFERENCE(sin, sin(x))
REFERENCE(cos, cos(x))
REFERENCE(tan, tan(x))
REFERENCE(asin, asin(x))
REFERENCE(acos, acos(x))
REFERENCE(atan, atan(x))
REFERENCE(atan2, atan2(x, y))
REFERENCE(sinh, sinh(x))
REFERENCE(cosh, cosh(x))
REFERENCE(tanh, tanh(x))
REFERENCE(asinh, asinh(x))
REFERENCE(acosh, acosh(x))
REFERENCE(atanh, atanh(x))
REFERENCE(erf, erf(x))
REFERENCE(erfc, erfc(x))
REFERENCE(lgamma, lgamma(x))
REFERENCE(abs, fabs(x))
REFERENCE(sign, (x > 0) - (x < 0))
REFERENCE(floor, floor(x))
REFERENCE(ceil, ceil(x))
REFERENCE(round, nearbyint(x))
REFERENCE(stop, x)
REFERENCE(min, fmin(x, y))
REFERENCE(max, fmax(x, y))
REFERENCE(clip, fmin(fmax(x, y), z))
REFERENCE(select, x != 0 ? y : z)
REFERENCE(eq, x == y)
REFERENCE(ne, x != y)
REFERENCE(lt, x < y)
REFERENCE(le, x <= y)
REFERENCE(gt, x > y)
REFERENCE(ge, x >= y)
REFERENCE(relu, fmax(x, 0))
REFERENCE(leaky_relu, x > 0 ? x : y * x)
REFERENCE(elu, x > 0 ? x : y * expm1(x))
REFERENCE(sigmoid, 1 / (1 + expl(-(long double)x)))
REFERENCE(log_sigmoid, -log1pl(expl(-(long double)x)))
REFERENCE(softplus, log1pl(expl((long double)x)))
REFERENCE(gelu, 0.5 * x * erfc(-x / sqrt(2.0)))
REFERENCE(gelu_slope, 0.5 * erfc(-x / sqrt(2.0)) + x * exp(-x * x / 2) / sqrt(2 * 3.14159265358979323846))
REFERENCE(gelu_tanh, 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x))))
REFERENCE(silu, x / (1 + expl(-(long double)x)))
REFERENCE(mish, x *tanhl(log1pl(expl((long double)x))))
REFERENCE(bce_logits, log1pl(expl((long double)x)) - (long double)x * y)

/* NULL for those that it lacks. */
static reference *const REFERENCES[AG_OPCODES] = {
    [AG_ADD] = ref_add,
    [AG_SUB] = ref_sub,
    [AG_MUL] = ref_mul,
    [AG_DIV] = ref_div,
    [AG_NEG] = ref_neg,
    [AG_FMA] = ref_fma,
    [AG_FNMA] = ref_fnma,
    [AG_CHAIN] = ref_mul,
    [AG_SQUARE] = ref_square,
    [AG_RECIP] = ref_recip,
    [AG_POW] = ref_pow,
    [AG_SQRT] = ref_sqrt,
    [AG_CBRT] = ref_cbrt,
    [AG_HYPOT] = ref_hypot,
    [AG_EXP] = ref_exp,
    [AG_EXPM1] = ref_expm1,
    [AG_EXP2] = ref_exp2,
    [AG_LOG] = ref_log,
    [AG_LOG1P] = ref_log1p,
    [AG_LOG2] = ref_log2,
    [AG_LOG10] = ref_log10,
    [AG_SIN] = ref_sin,
    [AG_COS] = ref_cos,
    [AG_TAN] = ref_tan,
    [AG_ASIN] = ref_asin,
    [AG_ACOS] = ref_acos,
    [AG_ATAN] = ref_atan,
    [AG_ATAN2] = ref_atan2,
    [AG_SINH] = ref_sinh,
    [AG_COSH] = ref_cosh,
    [AG_TANH] = ref_tanh,
    [AG_ASINH] = ref_asinh,
    [AG_ACOSH] = ref_acosh,
    [AG_ATANH] = ref_atanh,
    [AG_ERF] = ref_erf,
    [AG_ERFC] = ref_erfc,
    [AG_LGAMMA] = ref_lgamma,
    [AG_ABS] = ref_abs,
    [AG_SIGN] = ref_sign,
    [AG_FLOOR] = ref_floor,
    [AG_CEIL] = ref_ceil,
    [AG_ROUND] = ref_round,
    [AG_STOP] = ref_stop,
    [AG_MIN] = ref_min,
    [AG_MAX] = ref_max,
    [AG_CLIP] = ref_clip,
    [AG_SELECT] = ref_select,
    [AG_EQ] = ref_eq,
    [AG_NE] = ref_ne,
    [AG_LT] = ref_lt,
    [AG_LE] = ref_le,
    [AG_GT] = ref_gt,
    [AG_GE] = ref_ge,
    [AG_RELU] = ref_relu,
    [AG_LEAKY_RELU] = ref_leaky_relu,
    [AG_ELU] = ref_elu,
    [AG_SIGMOID] = ref_sigmoid,
    [AG_LOG_SIGMOID] = ref_log_sigmoid,
    [AG_SOFTPLUS] = ref_softplus,
    [AG_GELU] = ref_gelu,
    [AG_GELU_SLOPE] = ref_gelu_slope,
    [AG_GELU_TANH] = ref_gelu_tanh,
    [AG_SILU] = ref_silu,
    [AG_MISH] = ref_mish,
    [AG_BCE_LOGITS] = ref_bce_logits,
};

#endif
