/* For tests that walk the table of elementwise operations: any of them on vars, inputs in its domain, a tape. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "derivatives.h"

#include <autograd/ops/ops_impl.h>

static UNUSED_OK ag_var apply_op(ag_opcode op, const ag_var *x) {
    switch (ag_op_table[op].arity) {
    case 1: return ag_apply1_(op, x[0]);
    case 2: return ag_apply2_(op, x[0], x[1]);
    default: return ag_apply3_(op, x[0], x[1], x[2]);
    }
}

/* Where operands are drawn: the table's own ranges, or others on the far side of a kink or pole. */
typedef struct op_domain {
    ag_opcode op;
    struct {
        double lo, hi; /* equal: an operand that has no derivative and keeps this value */
    } range[3];
} op_domain;

static UNUSED_OK op_domain table_domain(int op) {
    op_domain d = {.op = (ag_opcode)op};
    for (int k = 0; k < 3; k++)
        d.range[k].lo = ag_op_table[op].range[k].lo, d.range[k].hi = ag_op_table[op].range[k].hi;
    return d;
}

/* Besides the table's ranges: the other side of each kink, other quadrants, other orders. */
static const op_domain FAR_SIDES[] = {
    {AG_DIV, {{-3, 3}, {-3, -0.4}}},
    {AG_RECIP, {{-3, -0.4}}},
    {AG_CHAIN, {{0, 0}, {-3, 3}}},
    {AG_POW, {{-3, -0.4}, {3, 3}}},
    {AG_POW, {{-3, -0.4}, {-2, -2}}},
    {AG_POW, {{2, 3}, {0, 0}}},
    {AG_CBRT, {{-4, -0.2}}},
    {AG_HYPOT, {{-3, -0.3}, {0.3, 3}}},
    {AG_HYPOT, {{-3, -0.3}, {-3, -0.3}}},
    {AG_TAN, {{1.9, 4.2}}},
    {AG_ATAN2, {{-3, -0.3}, {0.3, 3}}},
    {AG_ATAN2, {{-3, -0.3}, {-3, -0.3}}},
    {AG_ATAN2, {{0.3, 3}, {-3, -0.3}}},
    {AG_LGAMMA, {{-0.8, -0.2}}},
    {AG_LGAMMA, {{-2.7, -2.3}}},
    {AG_LGAMMA, {{12, 40}}},
    {AG_DIGAMMA, {{-0.8, -0.2}}},
    {AG_DIGAMMA, {{12, 40}}},
    {AG_TRIGAMMA, {{-1.7, -1.3}}},
    {AG_TRIGAMMA, {{12, 40}}},
    {AG_POLYGAMMA, {{0, 0}, {0.5, 4}}},
    {AG_POLYGAMMA, {{1, 1}, {-0.7, -0.3}}},
    {AG_POLYGAMMA, {{3, 3}, {1, 4}}},
    {AG_ABS, {{-3, -0.2}}},
    {AG_SIGN, {{-3, -0.2}}},
    {AG_FLOOR, {{-2.8, -2.2}}},
    {AG_CEIL, {{-2.8, -2.2}}},
    {AG_ROUND, {{-2.4, -1.6}}},
    {AG_MIN, {{0.1, 3}, {-3, -0.1}}},
    {AG_MAX, {{0.1, 3}, {-3, -0.1}}},
    {AG_CLIP, {{-4, -3}, {-2, -1}, {1, 2}}},
    {AG_CLIP, {{3, 4}, {-2, -1}, {1, 2}}},
    {AG_SELECT, {{0, 0}, {-3, 3}, {-3, 3}}},
    {AG_EQ, {{2, 2}, {2, 2}}},
    {AG_NE, {{2, 2}, {2, 2}}},
    {AG_LT, {{1, 3}, {-2, 0}}},
    {AG_GE, {{1, 3}, {-2, 0}}},
    {AG_RELU, {{-3, -0.1}}},
    {AG_LEAKY_RELU, {{0.1, 3}, {0.05, 0.5}}},
    {AG_ELU, {{0.1, 3}, {0.5, 2}}},
    {AG_SIGMOID, {{-30, 30}}},
    {AG_LOG_SIGMOID, {{-30, 30}}},
    {AG_SOFTPLUS, {{-30, 30}}},
};
enum { FAR_SIDE_COUNT = sizeof FAR_SIDES / sizeof *FAR_SIDES };

static UNUSED_OK bool is_fixed(const op_domain *d, int k) { return d->range[k].lo == d->range[k].hi; }

/* Values for operand k that are the same in both precisions. */
static UNUSED_OK void draw_operand(const op_domain *d, int k, uint64_t *state, double *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = (double)(float)random_number(state, d->range[k].lo, d->range[k].hi);
}

/* A cleared tape: a new one for each of some ten thousand checks would take most of the time. */
static UNUSED_OK ag_tape *fresh_tape(ag_type type) {
    static ag_tape *tapes[2];
    if (!tapes[type]) tapes[type] = ag_tape_new(type);
    ag_tape_clear(tapes[type]);
    return tapes[type];
}

/* The teardown of tests that use it. */
static UNUSED_OK int free_tapes(void **unused) {
    (void)unused;
    ag_tape_free(fresh_tape(AG_F64));
    ag_tape_free(fresh_tape(AG_F32));
    return 0;
}

#endif
