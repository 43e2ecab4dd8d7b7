/* A program over steps with a state, as an operation. scan.c runs it, scan_rules.c derives it, scan_record.c records it
 * with as many states as may be kept. */
#ifndef AG_SCAN_IMPL_H
#define AG_SCAN_IMPL_H

#include "../ops/structural_impl.h"
#include "program_impl.h"

/* Parameters. The result is flat: the last state, then the other outputs, step after step. */
typedef struct ag_scanning {
    const ag_program *p;
    const ag_program *base; /* of which p is the extension by the states, as outputs; or NULL */
    int64_t steps;
    int32_t carries, nx, ny;
    int32_t backward;
    uint8_t along[]; /* of the inputs, padded to 8 bytes */
} ag_scanning;

static inline ag_along ag_scan_along(const ag_scanning *m, int k) {
    return k < m->carries ? AG_SHARED : (ag_along)m->along[k];
}
static inline int64_t ag_scan_output_count(const ag_scanning *m, int k) {
    return ag_rows_count(ag_program_output(m->p, k), m->steps, k < m->carries ? AG_SHARED : AG_EACH);
}
static inline size_t ag_scanning_size(int nx) { return sizeof(ag_scanning) + ag_pad8((size_t)nx); }

/* Records one scan operation of p, with steps and direction of `like`; along is of all inputs of p. */
void ag_scan_apply(ag_tape *t, const ag_scanning *like, const ag_program *p, const ag_program *base, int carries,
                   const ag_var *xs, const uint8_t *along, ag_var *ys);

/* ---- scan_rules.c ---- */
/* The adjoint of a step: takes inputs, adjoints of outputs; gives adjoints of the state before, then of each other wanted
 * input its adjoint; of a shared one two outputs, the adjoint and nothing or, where factors[k] is set, matrices a and b
 * with the adjoint a^T b. NULL after an error. A reference for the caller. */
ag_program *ag_scan_return(ag_tape *t, const ag_scanning *m, const bool *wanted, bool *factors);
void ag_scan_record(const ag_rule *rule, ag_var w, ag_var *contributions);
ag_var ag_scan_tangent(const ag_rule *rule, const ag_var *tangents);
void ag_scan_scalars(const ag_elements *e);

#endif
