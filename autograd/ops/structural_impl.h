/* What the structural operations share. */
#ifndef AG_STRUCTURAL_IMPL_H
#define AG_STRUCTURAL_IMPL_H

#include "ops_impl.h"

/* An inert var of a tape, which may be NULL: what an operation returns after ag_fail. Defined by the tape. */
ag_var ag_inert(ag_tape *tape);
/* Whether what is recorded now may be swept: where it cannot, nothing need be saved for that. */
bool ag_expects_sweep(const ag_tape *tape);
bool ag_is_tracing(const ag_tape *tape); /* a program is recorded */
/* For rules that differentiate what they record: records even while the tape is paused; how to undo that. */
uint32_t ag_suspend_pause(ag_tape *tape);
void ag_restore_pause(ag_tape *tape, uint32_t paused);

/* The number of elements of a shape. False, with the tape in error, if it or a row-major stride overflows. */
static inline bool ag_checked_count(ag_tape *tape, const char *what, ag_shape shape, int64_t *count) {
    if (ag_shape_count(shape, count)) return true;
    ag_fail(tape, AG_ERR_SLOTS, "%s: a result of shape %s has too many elements", what, ag_show_shape(shape).text);
    return false;
}

/* The product of dims from..to-1. */
static inline int64_t ag_count_dims(const int64_t *dim, int from, int to) {
    int64_t count = 1;
    for (int i = from; i < to; i++) count *= dim[i];
    return count;
}

static inline ag_shape ag_dims_of(const ag_view *view) {
    ag_shape shape = {.rank = view->rank};
    for (int i = 0; i < view->rank; i++) shape.dim[i] = view->dim[i];
    return shape;
}

/* The tape of the first operand that has one; NULL if all are plain numbers. */
static inline ag_tape *ag_find_tape(const ag_var *xs, int n) {
    for (int k = 0; xs != NULL && k < n; k++) {
        if (ag_tape_of(xs[k]) != NULL) return ag_tape_of(xs[k]);
    }
    return NULL;
}

/* The first inert operand, or -1. */
static inline int ag_find_inert(const ag_var *xs, int n) {
    for (int k = 0; k < n; k++) {
        if (ag_is_inert(xs[k])) return k;
    }
    return -1;
}

static inline double ag_load_adjoint(const ag_call *call, int64_t i) {
    return ag_load(call->type, call->out_adjoint.data, i);
}

/* w * p, but 0 if either is 0: how a partial reaches an adjoint. */
static inline double ag_chain_number(double w, double p) { return w == 0 || p == 0 ? 0 : w * p; }

/* One operation of a family that shares set_shape, forward, adjoint, tangent, record, scalars, c_form and valid, which take
 * its role: `id`, and ag_builtin_id. */
#define AG_FAMILY_MEMBER(id, role)                                                                                     \
    static bool id##_shape(ag_call *call) { return set_shape(call, role); }                                            \
    static bool id##_forward(const ag_call *call) { return forward(call, role); }                                      \
    static bool id##_adjoint(const ag_call *call) { return adjoint(call, role); }                                      \
    static ag_var id##_tangent(const ag_rule *rule, const ag_var *v) { return tangent(rule, role, v); }                \
    static void id##_record(const ag_rule *rule, ag_var w, ag_var *to) { record(rule, role, w, to); }                  \
    static void id##_scalars(const ag_elements *e) { scalars(e, role); }                                               \
    static bool id##_c_form(const ag_c_form *f) { return c_form(f, role); }                                            \
    static bool id##_valid(const ag_call *call) { return valid(call, role); }                                          \
    static const ag_operation id = {                                                                                   \
        .name = #id,                                                                                                   \
        .shape = id##_shape,                                                                                           \
        .forward = id##_forward,                                                                                       \
        .adjoint = id##_adjoint,                                                                                       \
        .tangent = id##_tangent,                                                                                       \
        .record = id##_record,                                                                                         \
        .scalars = id##_scalars,                                                                                       \
        .stores = true,                                                                                                \
        .c_form = id##_c_form,                                                                                         \
        .valid = id##_valid,                                                                                           \
    };                                                                                                                 \
    const ag_operation *const ag_builtin_##id = &id;

#endif
