/* Calls with NULL where a pointer is required, on the tape t. */
#ifndef NULL_CALLS_H
#define NULL_CALLS_H

#include "on_each_tape.h"

static ag_tape *t;

/* For whoever looks for a crash. */
static const char *volatile last_call;
static void note_call(const char *call) { last_call = call; }

/* A call that puts the tape in error, with a sentence that has a word in it. */
static void tape_failed(const char *call, const char *word) {
    if (ag_tape_status(t) == AG_OK) fail_msg("%s is accepted", call);
    if (ag_tape_status(t) == AG_ERR_MEMORY || strstr(ag_tape_message(t), word) == NULL)
        fail_msg("%s: %s", call, ag_tape_message(t));
    ag_tape_recover(t);
}
#define TAPE(call, word) (note_call(#call), (void)(call), tape_failed(#call, word))

#endif
