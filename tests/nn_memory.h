/* Memory that runs out: the program's own nn/memory, which the linker takes instead of the library's. */
#ifndef NN_TEST_MEMORY_H
#define NN_TEST_MEMORY_H

#include <malloc.h>
#include <stdlib.h>

#include "nn/memory.h"

static int allowed = -1;               /* allocations that still succeed; -1: all */
static int taken;                      /* allocations that were not released yet */
static int64_t held_bytes, most_bytes; /* their bytes, and the most that they were */

void *nn_allocate(size_t count, size_t size) {
    if (allowed == 0) return NULL;
    allowed -= allowed > 0;
    void *memory = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    taken += memory != NULL;
    held_bytes += (int64_t)malloc_usable_size(memory);
    most_bytes = held_bytes > most_bytes ? held_bytes : most_bytes;
    return memory;
}

void nn_release(void *memory) {
    taken -= memory != NULL;
    held_bytes -= (int64_t)malloc_usable_size(memory);
    free(memory);
}

#endif
