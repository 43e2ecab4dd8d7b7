/* What the parts of planning share. */
#ifndef AG_PLAN_IMPL_H
#define AG_PLAN_IMPL_H

#include "runner_impl.h"

#define NOWHERE UINT32_MAX
enum { ALONE = 0, RECENT_CODES = 1024 };

/* Elements lo..hi-1. */
typedef struct ag_extent {
    int64_t lo, hi;
} ag_extent;

typedef struct ag_extents {
    ag_extent nonzero;  /* others are 0, */
    bool minus;         /* or -0 */
    ag_extent needed;   /* of those that are not 0 */
    ag_extent read;     /* by whole rows */
    ag_extent computed; /* by its group, whole rows, the last of which may not be full */
} ag_extents;

typedef struct ag_planning {
    ag_runner *r;
    const ag_program *p;
    uint32_t n;
    bool recomputes;  /* p is that of the runner with more instructions */
    uint8_t *uses;    /* of each value: 0, 1, 2 = more */
    uint8_t *skipped; /* a product that the sum which uses it takes in */
    /* schedule.c: */
    uint32_t *order, ordered; /* instructions in the order of execution; those of a group stand together */
    uint32_t *group;          /* of each instruction: ALONE, or elementwise ones of one shape that are run together */
    uint32_t *time;           /* when it has been executed: its position, or that of the last of its group */
    uint8_t *stored;          /* needed outside its group */
    uint8_t *quick;           /* a chain that is computed as a product: a NaN in that shows in what its group stores */
    uint32_t *after;          /* what is executed right behind it */
    int8_t *way;         /* of elementwise ones: where shifts of what depends on it go, 1, -1, or 0 if there are none */
    ag_extents *extents; /* extent.c: of each value; NULL: groups compute all elements */
    uint32_t recent[RECENT_CODES]; /* fuse.c: by a hash of their code, the step of a group */
    /* plan.c: */
    uint8_t *by_scalar; /* read by straight-line code on scalars */
    uint32_t *by_few;   /* by how many operations on few elements it is read */
    uint32_t *last;     /* when it is read last */
    ag_spot *spot;      /* offsets of tensors in the work array count from their part */
    uint32_t *free;     /* scalar places, a stack */
    uint32_t free_count, scalars;
    ag_list gaps;
    int64_t tensors;
} ag_planning;

static inline bool ag_is_scalar(const ag_program *p, uint32_t value) {
    return ag_code_at(p, value)->view & WHERE_ELEMENT;
}
static inline bool ag_is_computed(const ag_code *c) { return c->op != CODE_INPUT && c->op != CODE_CONSTANT; }
/* Whether it works on no more elements than straight-line code does at a time. */
static inline bool ag_is_short(const ag_program *p, const ag_code *c) {
    return c->op < AG_OPCODES && !(c->view & WHERE_ELEMENT) && ag_where_count(p, c->view) <= AG_LANES;
}
/* How often it is rounded depends on whether it is a member of a group. */
static inline bool ag_is_product_sum(const ag_code *c) { return c->op == AG_FMA || c->op == AG_FNMA; }
static inline bool ag_is_straight(const ag_code *c) { return c->op < AG_OPCODES && c->view & WHERE_ELEMENT; }

/* What quick code, by products, is when one of them is NaN: with chains, and rounded in the same way, so that what is beside a
 * NaN stays as it is. */
static inline uint32_t ag_exact_op(uint32_t op) {
    if (op == AG_STRAIGHT_FNMA) return AG_STRAIGHT_CHAIN_FNMA;
    bool product = op == AG_MUL || op == AG_STRAIGHT_MUL_SUM || op == AG_STRAIGHT_SHIFT_MUL;
    return product ? AG_CHAIN : AG_STRAIGHT_CHAIN_FMA;
}

/* How many elements at a time a step on `count` of them works on, at most: long rows, but where a part of the last one would
 * cost more than they save. */
static inline int64_t ag_row_lanes(ag_type type, int64_t count) {
    int64_t rest = count % AG_LONG_LANES(type);
    if (count <= AG_HALF_LANES) return count <= AG_FEW_LANES ? AG_FEW_LANES : AG_HALF_LANES;
    int64_t whole = count - rest + (rest ? AG_LONG_LANES(type) : 0);
    return count > AG_LANES && whole - whole / 8 <= (count + AG_LANES - 1) / AG_LANES * AG_LANES ? AG_LONG_LANES(type)
                                                                                                 : AG_LANES;
}

/* The elements of whole rows of `count`. */
static inline int64_t ag_row_room(ag_type type, int64_t count) {
    int64_t lanes = ag_row_lanes(type, count);
    return (count + lanes - 1) / lanes * lanes;
}

/* How many for a stretch of that length. Shifts reach as far as rows of AG_LANES. */
static inline int64_t ag_stretch_lanes(ag_type type, int64_t length, bool shifts) {
    int64_t lanes = ag_row_lanes(type, length);
    return shifts && lanes < AG_LANES ? AG_LANES : lanes;
}

/* ---- shift.c ---- */
typedef struct ag_shift {
    uint32_t parts, part; /* of an assembly, and the one that moves */
    int32_t by;           /* by so many elements to the back, or to the front if that is below 0 */
    const ag_placement *where;
} ag_shift;
/* Whether instruction i is a shift. */
bool ag_find_shift(const ag_planning *g, uint32_t i, ag_shift *shift);

/* ---- schedule.c ---- */
void ag_schedule(ag_planning *g);
/* Which operand of an addition or subtraction is a product that it takes in, or -1. */
int ag_fused_operand(const ag_planning *g, uint32_t i);

/* Whether a value is a member of a group that is shifted there. */
static inline bool ag_is_grouped_shift(const ag_planning *g, uint32_t i) {
    const ag_code *c = ag_code_at(g->p, i);
    return c->op == CODE_CALL && ag_where_count(g->p, c->view) > 1 && g->group[i] != ALONE;
}

/* Whether a ref sees all of its value's elements in their order, in whatever shape. */
bool ag_is_whole(const ag_program *p, ag_ref r);

/* ---- extent.c ---- */
/* Finds which elements groups compute, after the schedule. False if there is no memory. */
bool ag_find_extents(ag_planning *g);

/* A sum over all elements of its group. */
static inline bool ag_is_grouped_sum(const ag_planning *g, uint32_t i) {
    return ag_code_at(g->p, i)->op == CODE_CALL && !ag_is_grouped_shift(g, i);
}

/* ---- plan.c ---- */
void ag_place(ag_planning *g, uint32_t value);
/* Where a ref is and how it is seen. Offsets in the tensors' part of the work array are marked by the sign bit. */
ag_poperand ag_operand_at(const ag_planning *g, ag_ref r);
/* Appends a step; NULL after an error. */
ag_pstep *ag_add_step(ag_planning *g, ag_pstep step, const ag_poperand *operands, uint32_t n);

/* ---- fuse.c ---- */
/* The step of a group: positions first..end-1 of the order. Results that are stored have places. */
void ag_plan_group(ag_planning *g, uint32_t first, uint32_t end);

#endif
