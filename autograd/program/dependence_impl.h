/* Following which elements of a program's values depend on which elements of its inputs. dependence.c follows operations
 * on elements, dependence_rows.c those that run another program. */
#ifndef AG_DEPENDENCE_IMPL_H
#define AG_DEPENDENCE_IMPL_H

#include "sparse_impl.h"

typedef struct ag_following {
    const ag_program *p;
    ag_memory *memory;
    ag_sets sets;
    uint8_t
        *needed; /* of each value, whether an output needs it; ACTIVE: and it depends on an input that is followed */
    uint64_t *first;   /* and where its elements are in `set` */
    uint32_t *set;     /* of all elements of all values */
    uint64_t elements; /* how many those are */
    const ag_kernels *kernels;
    const ag_operation *matmul; /* what ag_matmul records; NULL: not looked up yet */
    const uint8_t *followed;    /* of each input, whether it is; their elements count on from one to the next */
} ag_following;

enum { NEEDED = 1, ACTIVE = 2 };

/* An operand in the order of a shape that it is broadcast to. */
typedef struct ag_walker {
    const uint32_t *set;    /* NULL: does not depend on the inputs */
    const double *constant; /* NULL: not one */
    int64_t stride[AG_MAX_RANK], at;
} ag_walker;

ag_walker ag_walker_of(const ag_following *f, ag_ref r, ag_shape shape);
/* To the next element; index counts along the axes. */
void ag_walk_on(ag_walker *w, int n, ag_shape shape, int64_t *index);

/* ag_program_dependence of the outputs from..to - 1, one after the other, on the inputs that are followed, likewise. */
ag_status ag_program_dependences(const ag_program *p, int from, int to, const uint8_t *followed, ag_memory *memory,
                                 ag_entries *out);

/* The sets of a map's or scan's results. False if c is another operation. */
bool ag_follow_rows(ag_following *f, const ag_code *c, uint32_t *out, ag_status *status);

#endif
