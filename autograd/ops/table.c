/* The table of elementwise operations as data, with scalar functions for f64; table_f32.c has those for f32. */
#include "ops_impl.h"
#include "table_impl.h"

#define T double
#define M(function) function
#include "numeric_impl.h"
#include "scalar_functions.inc"

#define R(low, high)                                                                                                   \
    { low, high }
#define AG_ROW_(NAME, form_, n, traits_, edge_, id)                                                                    \
    .enumerator = "AG_" #NAME, .name = #id, .form = form_, .edge = edge_, .arity = n, .traits = traits_,               \
    .value = value_##id, .partials = partials_##id, .value_f32 = ag_value_f32_##id,                                    \
    .partials_f32 = ag_partials_f32_##id
const ag_op_info ag_op_table[AG_OPCODES] = {
#define AG_OP1(NAME, name, form, value, dx, rx, traits, edge)                                                          \
    [AG_##NAME] = {AG_ROW_(NAME, form, 1, traits, edge, name), .range = {rx}},
#define AG_OP2(NAME, name, form, value, dx, dy, rx, ry, traits, edge)                                                  \
    [AG_##NAME] = {AG_ROW_(NAME, form, 2, traits, edge, name), .range = {rx, ry}},
#define AG_OP3(NAME, name, form, value, dx, dy, dz, rx, ry, rz, traits, edge)                                          \
    [AG_##NAME] = {AG_ROW_(NAME, form, 3, traits, edge, name), .range = {rx, ry, rz}},
#include "elementwise.def"
};
