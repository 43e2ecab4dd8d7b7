/* Scalar functions of the table in single precision. */
#include "ops_impl.h"
#include "table_impl.h"

#define T float
#define M(function) function##f
#define AG_SCALAR_FUNCTION_
#define AG_SCALAR_NAME_(what, name) ag_##what##_f32_##name
#include "numeric_impl.h"
#include "scalar_functions.inc"
