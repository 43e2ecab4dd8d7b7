/* Chunks of rows, taken by several threads. */
#ifndef AG_CREW_IMPL_H
#define AG_CREW_IMPL_H

#include "runner_impl.h"

/* What went wrong in a chunk. */
typedef struct ag_mishap {
    ag_status status;
    char message[sizeof(((ag_tape *)0)->message)];
} ag_mishap;

/* What is done with each of the chunks 0..chunks-1: `run` by any thread, with worker number k < workers as its own; then
 * `add`, if there is one, by one thread at a time and in the order of the chunks. Both get the context. */
typedef struct ag_crew_task {
    bool (*run)(void *context, int worker, int64_t chunk, ag_mishap *mishap); /* false: a mishap */
    void (*add)(void *context, int worker, int64_t chunk);
    void *context;
    int64_t chunks;
    int workers;
} ag_crew_task;

/* False after a mishap: the one of the first chunk that had one, whatever the number of threads. No chunk behind it is
 * added. */
bool ag_crew_run(const ag_crew_task *task, ag_mishap *mishap);

#endif
