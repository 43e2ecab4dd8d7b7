/* The structural operations by name. */
#ifndef AG_BUILTIN_IMPL_H
#define AG_BUILTIN_IMPL_H

#include "ops_impl.h"

#define AG_ANY_NUMBER (1 << 28)
#define AG_BUILTIN(name, ...) extern const ag_operation *const ag_builtin_##name;
#include "builtin.def"
#undef AG_BUILTIN

/* Of an assembly from a file: what it says of its parts, that they cover everything, is kept only where it is certain. */
void ag_assemble_distrust(void *params, const ag_view *const *parts, int n);

#endif
