/* All memory of a tape comes from here, so that a budget or a test can refuse any of it. */
#ifndef AG_MEMORY_IMPL_H
#define AG_MEMORY_IMPL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ag_memory {
    bool (*permit)(void *context, size_t bytes); /* NULL: always */
    void *context;
    bool no_reserve;
    size_t held; /* bytes */
} ag_memory;

/* realloc with both sizes: NULL (and the old block kept) if refused; new_size 0 frees and returns NULL. */
void *ag_memory_resize(ag_memory *memory, void *block, size_t old_size, size_t new_size);
/* Zeroed memory. */
void *ag_memory_zeroed(ag_memory *memory, size_t size);
void ag_memory_free(ag_memory *memory, void *block, size_t size);

/* Zeroed memory of which little will be touched: where address space can be reserved, only that takes any. */
void *ag_memory_sparse(ag_memory *memory, size_t size);
void ag_memory_sparse_free(ag_memory *memory, void *block, size_t size);
/* The opposite: all of a new block will be touched, again and again; huge pages are faster then. */
void ag_memory_touch_often(void *block, size_t size);

/* Zeroed memory for instructions of the processor. NULL if it is refused, or there is no such thing. */
void *ag_memory_code(ag_memory *memory, size_t size);
/* The first `used` bytes are executable, and not writable, from now on; the others are given back. Returns its size then; 0,
 * and nothing changes, if the system does not allow it. */
size_t ag_memory_seal_code(ag_memory *memory, void *block, size_t size, size_t used);
void ag_memory_code_free(ag_memory *memory, void *block, size_t size);

/* An array that grows at its end. Where address space can be reserved it grows in place; else it is copied, so `base`
 * may change in ag_range_grow. Zero-initialised is empty. */
typedef struct ag_range {
    char *base;
    size_t size;     /* usable bytes */
    size_t reserved; /* 0: not reserved, from ag_memory_resize */
    bool sparse;     /* little of what it grows by will be touched: no huge pages */
} ag_range;

/* Makes size >= need. `most` is how large the range may ever get. False if refused; nothing changes then. */
bool ag_range_grow(ag_memory *memory, ag_range *range, size_t need, size_t most);
/* From the first `used` bytes on, whether little will be touched; for what is there already, too. */
void ag_range_set_sparse(ag_range *range, size_t used, bool sparse);
/* Gives back what lies behind the first `used` bytes, which stay. Addresses stay readable where they were reserved. */
void ag_range_trim(ag_memory *memory, ag_range *range, size_t used);
void ag_range_free(ag_memory *memory, ag_range *range);

#endif
