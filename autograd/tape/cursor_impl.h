/* Operands of elementwise operations, read run by run in the order of the result's elements. */
#ifndef AG_CURSOR_IMPL_H
#define AG_CURSOR_IMPL_H

#include "tape_impl.h"

typedef enum ag_access { DIRECT, SINGLE, STRIDED } ag_access;

/* An operand in the index space of the result: axes merged where they can be, and a position that moves on. */
typedef struct ag_cursor {
    ag_access access;
    int rank;
    int64_t dim[AG_MAX_RANK], stride[AG_MAX_RANK], index[AG_MAX_RANK];
    int64_t offset;
} ag_cursor;

/* At the first element of v, broadcast to the shape of `to`, which it fits. */
void ag_cursor_open(ag_cursor *c, const ag_view *v, const ag_view *to);
/* To element `at` of a STRIDED operand. */
void ag_cursor_seek(ag_cursor *c, int64_t at);
/* Whether the next n elements lie side by side; if so, the cursor moves behind them and *offset is that of the first. */
bool ag_cursor_side_by_side(ag_cursor *c, int64_t n, int64_t *offset);
/* The next n elements of a STRIDED operand whose first one is at `from`. */
void ag_cursor_gather(ag_type type, ag_cursor *c, const void *from, int64_t n, void *to);

#endif
