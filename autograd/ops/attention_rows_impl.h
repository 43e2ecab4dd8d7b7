/* Attention of one head, number by number. */
#ifndef AG_ATTENTION_ROWS_IMPL_H
#define AG_ATTENTION_ROWS_IMPL_H

#include "ops_impl.h"

typedef struct ag_careful {
    ag_type type;
    const ag_attend *head;
    double *rows; /* four times as many as there are keys */
} ag_careful;

void ag_attend_carefully(const ag_careful *c);
void ag_attend_back_carefully(const ag_careful *c);
/* The adjoint of the adjoint: of what is `along` dq, dk and dv, added to that of q, k, v and w; data NULL where nobody asks. */
void ag_attend_back_twice(const ag_careful *c, const ag_head_rows along[3], const ag_head_rows to[4]);

#endif
