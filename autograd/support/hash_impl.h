/* Hash tables: uthash on an ag_memory, which is the variable `memory` of the function that uses it. An element that could
 * not be added has no hh.tbl. */
#ifndef AG_HASH_IMPL_H
#define AG_HASH_IMPL_H

#include "memory_impl.h"

#define HASH_NONFATAL_OOM 1
#define uthash_malloc(size) ag_memory_resize(memory, NULL, 0, size)
#define uthash_free(block, size) ag_memory_free(memory, block, size)
#include <uthash.h>

#endif
