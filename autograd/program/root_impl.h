/* Roots and fixed points as an operation: its parameters. */
#ifndef AG_ROOT_IMPL_H
#define AG_ROOT_IMPL_H

#include "program_impl.h"

typedef struct ag_rooting {
    const ag_program *step;     /* of x and theta: for a root J^-1 f, and f; for a fixed point g(x) */
    const ag_program *residual; /* f */
    double tolerance;
    int32_t steps, fixed;
} ag_rooting;

enum { MOST_HALVINGS = 30 }; /* of a step of Newton's method */

extern const ag_operation ag_root_operation;

#endif
