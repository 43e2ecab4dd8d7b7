#include "nn/memory.h"

#include <stdlib.h>

void *nn_allocate(size_t count, size_t size) {
    return calloc(count > 0 ? count : 1, size > 0 ? size : 1); /* calloc checks the product */
}

void nn_release(void *memory) { free(memory); }
