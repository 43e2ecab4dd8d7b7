/* Which watched inputs a sweep reaches. */
#ifndef AG_WATCH_IMPL_H
#define AG_WATCH_IMPL_H

#include "flow_impl.h"

typedef struct ag_watch_ {
    ag_flow flow; /* lo and hi alone */
    uint8_t *needed;
} ag_watch_;

/* The watched input in a slot, or NULL. */
ag_watched *ag_watched_at(const ag_tape *t, uint32_t slot);
/* The outputs of a sweep come between these two, of a tape on which something is watched. False after an
 * error. */
bool ag_watch_begin(ag_tape *t, bool accumulates, ag_watch_ *w);
void ag_watch_output(ag_watch_ *w, ag_operand y);
void ag_watch_end(ag_watch_ *w);

#endif
