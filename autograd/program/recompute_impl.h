/* What planning takes from recompute.c. */
#ifndef AG_RECOMPUTE_IMPL_H
#define AG_RECOMPUTE_IMPL_H

#include "plan_impl.h"

/* A program with more instructions: all else is that of the one it comes from. */
typedef struct ag_again {
    ag_program program;
    ag_list uses; /* of each value, as in a planning, so that groups take in chains and sums that they had before */
} ag_again;

/* Computes values again where they are read far from where they are kept. g is scheduled. False if there are none, or
 * after an error. */
bool ag_recompute(const ag_planning *g, ag_again *again);
void ag_close_again(ag_runner *r, ag_again *again);

#endif
