/* Straight-line code as instructions of the processor, which run faster than what finds the next operation at run time, and
 * keep numbers in registers. */
#ifndef AG_NATIVE_IMPL_H
#define AG_NATIVE_IMPL_H

#include "../support/memory_impl.h"
#include "ops_impl.h"

/* `spaces` are where arrays are that lists go to. */
typedef void ag_native_code(void *work, char *const *spaces);
typedef void ag_native_rows(void *const *rows);

/* Zeroed: none. */
typedef struct ag_native {
    unsigned char *base, *at; /* where the next code goes */
    size_t size;
} ag_native;

/* Numbers that are put together when a code is done: those of these places, to one array, from this many bytes on. */
typedef struct ag_native_list {
    uint32_t space, count;
    const uint32_t *places;
    int64_t offset;
} ag_native_list;

/* Bytes that a code of `count` instructions, numbers of a list counted, may need, on single numbers and on rows. */
size_t ag_native_room(size_t count);
size_t ag_native_rows_room(size_t count);
/* Room for codes. False if this machine, or the system, does not allow any, or there is no memory: one has to do without. */
bool ag_native_open(ag_memory *memory, ag_native *native, ag_type type, size_t room);
/* Translates code on single numbers: the same results as ag_kernels.straight, to the bit. What has no translation is done by
 * the kernels, which read `code` then: it must stay where it is. The list may be NULL. NULL if places are too far to reach. */
ag_native_code *ag_native_add(ag_native *native, ag_type type, const ag_straight *code, size_t count,
                              const ag_native_list *list);
/* The same on rows of `lanes` numbers, of which the first `results`, and sums, are read afterwards. NULL if this machine lacks
 * the instructions, or nothing would be gained. */
ag_native_rows *ag_native_add_rows(ag_native *native, ag_type type, const ag_straight *code, uint32_t count,
                                   int64_t lanes, uint32_t results);
/* The same on places of AG_LANES numbers, as ag_kernels.straight_lanes has them; there are no spaces. */
ag_native_code *ag_native_add_lanes(ag_native *native, ag_type type, const ag_straight *code, uint32_t count,
                                    uint32_t results);
/* Before the first run; nothing is added any more. False if the system does not allow it. */
bool ag_native_seal(ag_memory *memory, ag_native *native);
void ag_native_close(ag_memory *memory, ag_native *native);

#endif
