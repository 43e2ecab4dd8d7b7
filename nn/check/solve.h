/* solve(EXPR == EXPR, x from X0). */
#ifndef NN_CHECK_SOLVE_H
#define NN_CHECK_SOLVE_H

#include "nn/check/evaluate.h"

/* Newton's method with the tape's derivative, its steps halved while they lead away. The solution is recorded as a few
 * more steps from it: each doubles the order to which they are its derivative too, and one more (implicit functions; see
 * Griewank and Walther, Evaluating Derivatives, 2008, chapter 15). */
ag_var ac_solve(ac_evaluator *e, const ac_node *node);

#endif
