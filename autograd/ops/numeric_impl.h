/* The table's expressions as inline C functions of numbers of type T: n_sin(x), n_mul(x, y), and for the partials
 * p0_sin(x, y, z, r), p1_mul(x, y, z, r), ... Include with T, M(f) (f or ff) defined, once in a source file. */
#include <math.h>

#define F(name) n_##name
#define K(c) ((T)(c))
#define AG_NUMERIC_ static inline __attribute__((always_inline, unused)) T

#define AG_OP1(NAME, name, ...) AG_NUMERIC_ n_##name(T x);
#define AG_OP2(NAME, name, ...) AG_NUMERIC_ n_##name(T x, T y);
#define AG_OP3(NAME, name, ...) AG_NUMERIC_ n_##name(T x, T y, T z);
#include "elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3

#define AG_OP1(NAME, name, form, value, ...)                                                                           \
    AG_NUMERIC_ n_##name(T x) { return (value); }
#define AG_OP2(NAME, name, form, value, ...)                                                                           \
    AG_NUMERIC_ n_##name(T x, T y) { return (value); }
#define AG_OP3(NAME, name, form, value, ...)                                                                           \
    AG_NUMERIC_ n_##name(T x, T y, T z) { return (value); }
#include "elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3

#define AG_UNUSED_ (void)x, (void)y, (void)z, (void)r
#define AG_PARTIAL_(k, name, d)                                                                                        \
    AG_NUMERIC_ p##k##_##name(T x, T y, T z, T r) {                                                                    \
        AG_UNUSED_;                                                                                                    \
        return (d);                                                                                                    \
    }
#define AG_OP1(NAME, name, form, value, dx, ...) AG_PARTIAL_(0, name, dx)
#define AG_OP2(NAME, name, form, value, dx, dy, ...) AG_PARTIAL_(0, name, dx) AG_PARTIAL_(1, name, dy)
#define AG_OP3(NAME, name, form, value, dx, dy, dz, ...)                                                               \
    AG_PARTIAL_(0, name, dx) AG_PARTIAL_(1, name, dy) AG_PARTIAL_(2, name, dz)
#include "elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
#undef F
#undef K
#undef AG_PARTIAL_
#undef AG_UNUSED_
#undef AG_NUMERIC_
