/* Straight-line code as instructions of the processor, which run faster than what finds the next operation at run time, and
 * keep numbers in registers. */
#ifndef AG_NATIVE_IMPL_H
#define AG_NATIVE_IMPL_H

#include "../support/memory_impl.h"
#include "ops_impl.h"

typedef void ag_native_code(void *work);
typedef void ag_native_rows(void *const *rows);

/* Zeroed: none. */
typedef struct ag_native {
    unsigned char *base, *at; /* where the next code goes */
    size_t size;
} ag_native;

/* Bytes that a code of `count` instructions may need, on single numbers and on rows. */
size_t ag_native_room(size_t count);
size_t ag_native_rows_room(size_t count);
/* Room for codes. False if this machine, or the system, does not allow any, or there is no memory: one has to do without. */
bool ag_native_open(ag_memory *memory, ag_native *native, ag_type type, size_t room);
/* Translates code on single numbers: the same results as ag_kernels.straight, to the bit. What has no translation is done by
 * the kernels, which read `code` then: it must stay where it is. NULL if places are too far to reach. */
ag_native_code *ag_native_add(ag_native *native, ag_type type, const ag_straight *code, size_t count);
/* The same on rows of `lanes` numbers, of which the first `results`, and sums, are read afterwards. NULL if this machine lacks
 * the instructions, or nothing would be gained. */
ag_native_rows *ag_native_add_rows(ag_native *native, ag_type type, const ag_straight *code, uint32_t count,
                                   int64_t lanes, uint32_t results);
/* The same on places of AG_LANES numbers, as ag_kernels.straight_lanes has them. */
ag_native_code *ag_native_add_lanes(ag_native *native, ag_type type, const ag_straight *code, uint32_t count,
                                    uint32_t results);
/* Before the first run; nothing is added any more. False if the system does not allow it. */
bool ag_native_seal(ag_memory *memory, ag_native *native);
void ag_native_close(ag_memory *memory, ag_native *native);

#endif
