/* What flows along the tape while a derivative is recorded: adjoints (backwards) or tangents (forwards), as vars that
 * belong to slots. Of a tensor, several pieces may arrive through different views of its base; they are settled into one
 * var for the whole base when it is needed. */
#ifndef AG_FLOW_IMPL_H
#define AG_FLOW_IMPL_H

#include "tape_impl.h"

typedef struct ag_piece {
    ag_var var;
    ag_operand where;
    uint32_t next; /* of the same scalar or base; 0: none */
} ag_piece;

typedef struct ag_flow {
    ag_tape *t;
    uint32_t lo, hi;  /* the slots it is about: from the first x to the last y */
    uint8_t *depends; /* of each slot (of a base: its first), whether it depends on the xs: then it is not 0 */
    uint32_t *first;  /* of each, its first piece; 0: none */
    ag_piece *pieces; /* from 1 */
    uint32_t count, capacity;
} ag_flow;

/* A walk down the instructions of a flow. First slots of instructions are found going up; this keeps them going down. What
 * is recorded meanwhile does not matter. */
typedef struct ag_descent {
    const ag_tape *t;
    uint32_t first, left;       /* the lowest instruction, and how many there are from it on */
    uint32_t last_slot;         /* of the next one, if that is scalar */
    uint32_t instruction, slot; /* where the walk is: what is computed there */
} ag_descent;

static inline ag_descent ag_descent_of(const ag_flow *f) {
    uint32_t slot;
    ag_descent d = {.t = f->t, .first = ag_find_instruction(f->t, f->lo, &slot)};
    d.left = ag_find_instruction(f->t, f->hi - 1, &d.last_slot) + 1 - d.first;
    return d;
}

/* One down; false below the lowest. */
static inline bool ag_descend(ag_descent *d) {
    if (d->left == 0) return false;
    d->instruction = d->first + --d->left;
    const ag_instruction_ *i = ag_instructions(d->t) + d->instruction;
    bool scalar = ag_op_of(i) < OP_NODE;
    d->slot = scalar ? d->last_slot : i->b;
    if (d->left) d->last_slot = (scalar ? d->slot : i->c) - 1 - ag_constants_after(i - 1);
    return true;
}

/* One instruction with its operands, copied, so that recording may move the tape's memory. */
typedef struct ag_step_info {
    const ag_operation *operation; /* NULL: elementwise, `code` */
    ag_opcode code;
    ag_operand result;
    uint32_t n;
    ag_operand few[4], *in; /* a slot of NOTHING: `number` */
    double number;
    void *params;
    size_t params_size;
    void *memory;
} ag_step_info;

/* A flow about the slots from the xs to the ys. False after an error. */
bool ag_flow_open(ag_flow *f, ag_tape *t, const ag_operand *xs, int nx, const ag_operand *ys, int ny);
/* Only what the ys need depends on the xs from now on. False after an error. */
bool ag_flow_keep_needed(ag_flow *f, const ag_operand *ys, int ny);
/* Of a flow's slots, those that results depend on: first ag_flow_need for each result, then all that these need, through
 * instructions that pass it on (NULL: all do). `needed` has a byte, 0 at first, for each slot from lo to hi. */
void ag_flow_need(const ag_flow *f, uint8_t *needed, uint32_t slot);
void ag_flow_need_all(const ag_flow *f, uint8_t *needed, bool (*passes)(const ag_tape *t, const ag_instruction_ *i));
void ag_flow_close(ag_flow *f);
bool ag_flow_depends(const ag_flow *f, ag_operand x);
/* Adds what arrives at x (in x's shape; the number 0: nothing). */
void ag_flow_add(ag_flow *f, ag_operand x, ag_var var);
/* All that arrived at x, in x's shape; the number 0 if nothing did. */
ag_var ag_flow_at(ag_flow *f, ag_operand x);

/* Reads an instruction whose first slot is known. False if it computes nothing, or after an error. */
bool ag_step_open(ag_tape *t, uint32_t instruction, uint32_t slot, ag_step_info *s);
void ag_step_close(ag_tape *t, ag_step_info *s);

static inline ag_shape ag_operand_shape(const ag_tape *t, ag_operand x) { return ag_view_shape(ag_view_at(t, x.view)); }

#endif
