/* Numbers of one type as numbers of another. */
#include "nn/data/data_impl.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- half precision ---- */

/* IEEE 754 binary16 and bfloat16: a sign, an exponent, a fraction of so many bits. */
typedef struct small_float {
    int fraction, least; /* exponent of the smallest normal number */
    uint32_t infinity;
} small_float;
static const small_float f16 = {10, -14, 0x7c00}, bf16 = {7, -126, 0x7f80};

static double from_small(small_float f, uint32_t bits) {
    uint32_t magnitude = bits & 0x7fff, exponent = magnitude >> f.fraction,
             fraction = magnitude - (exponent << f.fraction);
    double value = magnitude > f.infinity    ? NAN
                   : magnitude == f.infinity ? INFINITY
                   : exponent == 0
                       ? ldexp((double)fraction, f.least - f.fraction)
                       : ldexp((double)(fraction + (1u << f.fraction)), (int)exponent - 1 + f.least - f.fraction);
    return bits & 0x8000 ? -value : value;
}

/* To nearest, ties to even. */
static uint16_t to_small(small_float f, double value) {
    uint32_t sign = signbit(value) ? 0x8000 : 0, bits;
    double magnitude = fabs(value);
    if (isnan(value)) bits = f.infinity | (1u << (f.fraction - 1));
    else if (magnitude >= ldexp(1, 1 - f.least + 1)) bits = f.infinity; /* twice the greatest power of 2 */
    else {
        int exponent = magnitude == 0 ? f.least : ilogb(magnitude);
        if (exponent < f.least) exponent = f.least;
        bits = ((uint32_t)(exponent - f.least) << f.fraction) +
               (uint32_t)nearbyint(
                   ldexp(magnitude, f.fraction - exponent)); /* a normal's leading 1 adds to the exponent */
    }
    return (uint16_t)(sign | bits);
}

/* ---- one number ---- */

/* A double, or an integer that a double may not hold. */
typedef struct number {
    bool integer, negative;
    uint64_t magnitude;
    double value;
} number;

static number of_signed(int64_t x) { return (number){true, x < 0, x < 0 ? -(uint64_t)x : (uint64_t)x, (double)x}; }
static number of_unsigned(uint64_t x) { return (number){true, false, x, (double)x}; }
static number of_real(double x) { return (number){false, x < 0, 0, x}; }

static number load(nn_type type, const void *at) {
    union {
        float f32;
        double f64;
        uint16_t u16;
        int8_t i8;
        int16_t i16;
        int32_t i32;
        int64_t i64;
        uint8_t u8;
        uint32_t u32;
        uint64_t u64;
    } x;
    memcpy(&x, at, nn_type_size(type));
    switch (type) {
    case NN_F32: return of_real((double)x.f32);
    case NN_F64: return of_real(x.f64);
    case NN_F16: return of_real(from_small(f16, x.u16));
    case NN_BF16: return of_real(from_small(bf16, x.u16));
    case NN_I8: return of_signed(x.i8);
    case NN_I16: return of_signed(x.i16);
    case NN_I32: return of_signed(x.i32);
    case NN_I64: return of_signed(x.i64);
    case NN_U8: return of_unsigned(x.u8);
    case NN_U16: return of_unsigned(x.u16);
    case NN_U32: return of_unsigned(x.u32);
    case NN_U64: return of_unsigned(x.u64);
    case NN_BOOL: return of_unsigned(x.u8 != 0);
    }
    return of_real(NAN);
}

/* Its low bits, if it is an integer of so many bits. */
static bool store_integer(number x, size_t size, bool has_sign, void *to) {
    int bits = (int)(8 * size);
    if (!x.integer) {
        if (!(fabs(x.value) < 0x1p64) || x.value != trunc(x.value)) return false;
        x.magnitude = (uint64_t)fabs(x.value);
    }
    uint64_t most = UINT64_MAX >> (64 - bits + has_sign),
             least = has_sign ? most + 1 : 0; /* least: what it is below 0 */
    if (x.magnitude > (x.negative ? least : most)) return false;
    uint64_t value = x.negative ? -x.magnitude : x.magnitude;
    memcpy(to, (const char *)&value + (nn_big_endian() ? sizeof value - size : 0), size);
    return true;
}

static bool store(number x, nn_type type, void *to) {
    float f = (float)x.value;
    uint16_t half;
    switch (nn_type_kind(type)) {
    case 'f': break;
    case 'b': return (x.value == 0 || x.value == 1) && store_integer(x, 1, false, to);
    default: return store_integer(x, nn_type_size(type), nn_type_kind(type) == 'i', to);
    }
    if (type == NN_F32) memcpy(to, &f, sizeof f);
    else if (type == NN_F64) memcpy(to, &x.value, sizeof x.value);
    else {
        half = to_small(type == NN_F16 ? f16 : bf16, x.value);
        memcpy(to, &half, sizeof half);
    }
    return isfinite(load(type, to).value) || !isfinite(x.value);
}

/* ---- arrays of them ---- */

/* Conversions that training spends time on, at any address. */
#define CONVERT_ALL(from_c, to_c)                                                                                      \
    for (int64_t i = 0; i < count; i++) {                                                                              \
        from_c x;                                                                                                      \
        memcpy(&x, from + (size_t)i * sizeof x, sizeof x);                                                             \
        to_c y = (to_c)x;                                                                                              \
        memcpy(to + (size_t)i * sizeof y, &y, sizeof y);                                                               \
    }

/* False if a finite number becomes infinite, wherever it is. */
static bool convert_doubles(const char *from, char *to, int64_t count) {
    int lost = 0;
    for (int64_t i = 0; i < count; i++) {
        double x;
        memcpy(&x, from + (size_t)i * sizeof x, sizeof x);
        float y = (float)x;
        memcpy(to + (size_t)i * sizeof y, &y, sizeof y);
        lost |= (fabsf(y) == INFINITY) & (fabs(x) != INFINITY);
    }
    return !lost;
}

static bool convert_fast(nn_type from_type, const char *from, nn_type to_type, char *to, int64_t count) {
    if (from_type == to_type && from_type != NN_BOOL) {
        if (count > 0) memcpy(to, from, (size_t)count * nn_type_size(to_type));
    } else if (from_type == NN_U8 && to_type == NN_F32) {
        CONVERT_ALL(uint8_t, float)
    } else if (from_type == NN_U8 && to_type == NN_F64) {
        CONVERT_ALL(uint8_t, double)
    } else if (from_type == NN_F32 && to_type == NN_F64) {
        CONVERT_ALL(float, double)
    } else if (from_type == NN_F64 && to_type == NN_F32) {
        return convert_doubles(from, to, count);
    } else if (from_type == NN_I32 && to_type == NN_I64) {
        CONVERT_ALL(int32_t, int64_t)
    } else {
        return false;
    }
    return true;
}

int64_t nn_convert(nn_type from_type, const void *from, nn_type to_type, void *to, int64_t count) {
    size_t from_size = nn_type_size(from_type), to_size = nn_type_size(to_type);
    const char *f = from;
    char *t = to;
    if (convert_fast(from_type, from, to_type, to, count)) return -1;
    for (int64_t i = 0; i < count; i++)
        if (!store(load(from_type, f + (size_t)i * from_size), to_type, t + (size_t)i * to_size)) return i;
    return -1;
}

double nn_load_number(nn_type type, const void *at) { return load(type, at).value; }

void nn_number_text(nn_type type, const void *at, char text[32]) {
    number x = load(type, at);
    if (x.integer) (void)snprintf(text, 32, x.negative ? "-%" PRIu64 : "%" PRIu64, x.magnitude);
    else (void)snprintf(text, 32, "%.17g", x.value);
}

double nn_array_at(const nn_array *array, int64_t i) {
    if (array == NULL || array->data == NULL) return NAN;
    return nn_load_number(array->type, (const char *)array->data + (size_t)i * nn_type_size(array->type));
}

nn_array nn_array_convert(const nn_array *array, nn_type type, nn_error *e) {
    char text[32];
    if (!nn_given(array, "convert: the array", e)) return (nn_array){.type = NN_F32};
    if (array->data == NULL) nn_fail(e, AG_ERR_VALUE, "convert: there is no array");
    if (nn_ok(e)) (void)nn_check_array(array, "convert", e);
    nn_array to = nn_array_new(type, array->shape, e);
    if (!nn_ok(e)) return to;
    int64_t bad = nn_convert(array->type, array->data, type, to.data, nn_array_count(array));
    if (bad >= 0) {
        nn_number_text(array->type, (const char *)array->data + (size_t)bad * nn_type_size(array->type), text);
        nn_fail(e, AG_ERR_VALUE, "convert: element %" PRId64 " is %s, which %s cannot hold", bad, text,
                nn_type_name(type));
        nn_array_free(&to);
    }
    return to;
}
