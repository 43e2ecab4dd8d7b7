/* Straight-line code on single numbers as instructions of the processor, which run several times as fast as what finds the
 * next operation at run time. Results are those of ag_kernels.straight, to the bit. */
#ifndef AG_NATIVE_IMPL_H
#define AG_NATIVE_IMPL_H

#include "../support/memory_impl.h"
#include "ops_impl.h"

typedef void ag_native_code(void *work);

/* Zeroed: none. */
typedef struct ag_native {
    unsigned char *base, *at; /* where the next code goes */
    size_t size;
} ag_native;

/* Room for `count` instructions in so many codes. False if this machine, or the system, does not allow any, or there is no
 * memory: one has to do without then. */
bool ag_native_open(ag_memory *memory, ag_native *native, ag_type type, size_t codes, size_t count);
/* Translates. What has no translation is done by the kernels, which read `code` then: it must stay where it is. NULL if it is
 * too far to reach. */
ag_native_code *ag_native_add(ag_native *native, ag_type type, const ag_straight *code, size_t count);
/* Before the first run; nothing is added any more. False if the system does not allow it. */
bool ag_native_seal(ag_memory *memory, ag_native *native);
void ag_native_close(ag_memory *memory, ag_native *native);

#endif
