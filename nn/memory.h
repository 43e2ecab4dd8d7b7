/* The only place where nn takes memory. */
#ifndef NN_MEMORY_H
#define NN_MEMORY_H

#include <stddef.h>

/* Zeroed memory for `count` elements of `size` bytes, never of length 0; NULL if there is not enough. */
void *nn_allocate(size_t count, size_t size);
void nn_release(void *memory); /* NULL is fine */

#endif
