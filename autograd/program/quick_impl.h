/* What compile.c takes from quick.c. */
#ifndef AG_QUICK_IMPL_H
#define AG_QUICK_IMPL_H

#include "print/print_impl.h"

/* Whether a NaN of any chain's product would be seen in an output. */
bool ag_chains_show(const ag_program *p, ag_memory *m);
/* The program as function `name`, with plain products, behind the function with chains. False, with the status and message
 * of the file, after an error. */
bool ag_add_quick(const ag_program *p, const char *name, ag_c_file *file, ag_text *t);
/* Statements that return if no element of the outputs ys is NaN. (An infinite sum of them may be taken for it.) */
void ag_add_nan_test(const ag_program *p, ag_text *t);

#endif
