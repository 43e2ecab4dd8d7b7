/* The tape: slots, views, instructions.
 *
 * Slots are one flat array of numbers; another of the same length holds adjoints. An instruction says how the slots of its
 * result were computed. Which slots those are follows from the order of instructions, so a scalar operation takes 16 bytes
 * of instruction and one slot:
 *
 *   head  bits 0-7 opcode; 8-9 which of two operands is a plain number, if any; 10 whether, and 16-31 how many, slots
 *         follow the result before the next instruction's: constants, which take no instruction
 *   a b c elementwise, scalar: the operands' slots, or one in a and a number in b and c: of two operands the other, of a
 *         function of one its partial
 *         OP_NODE:     a = offset of the ag_node (in 8 bytes), b = first slot of the result, c = top before it
 *         OP_LEAF:     a = base, or SCALAR_INPUT, or NOTHING (a mere position); b = first slot, c = top before it
 *
 * A base is the slots of one tensor as it was recorded. It starts at an aligned slot, and the slot before it holds the
 * number of the base, which is believed only if that base says that it starts there.
 *
 * Adjoints of scalars start a sweep at 0. Those of a base are set when its first contribution arrives (base.epoch tells),
 * so that a tensor's adjoint is written once and a tensor without adjoint costs nothing; bases of which scalars were taken
 * are the exception (base.scalars).
 *
 * A var has a stamp in its upper 14 bits, which tells vars of a rewound or cleared part: 6 bits, three of them set,
 * change when the tape is cleared; 8 bits, four or none of them set, when it is rewound. As codes of equal weight are never
 * part of each other, `place & head.reject` is 0 only for scalars recorded outside any mark or since the last rewind; other
 * vars are looked up in `sections`. (A stale var is taken for a good one only if it is a multiple of 20 clears or of 70 rewinds old.
 * Nothing out of bounds is ever read, even then.) */
#ifndef AG_TAPE_IMPL_H
#define AG_TAPE_IMPL_H

#include "../ops/ops_impl.h"
#include "../support/memory_impl.h"

enum { OP_NODE = AG_OPCODES, OP_LEAF, OP_COUNT };
_Static_assert(OP_COUNT <= 256, "opcodes are 8 bits");
_Static_assert(sizeof(ag_instruction_) == 16, "an instruction is 16 bytes");

enum { CONSTANTS_FOLLOW = 1 << 10, ONE_CONSTANT = 1 << 16 };
#define MOST_CONSTANTS_HEAD (UINT32_MAX - ONE_CONSTANT) /* no more constants can be counted from here on */
static inline uint32_t ag_op_of(const ag_instruction_ *i) { return i->head & 255; }
static inline void ag_count_constant(ag_instruction_ *i) { i->head = (i->head | CONSTANTS_FOLLOW) + ONE_CONSTANT; }
static inline uint32_t ag_constants_after(const ag_instruction_ *i) { return i->head / ONE_CONSTANT; }

#define NOTHING UINT32_MAX
#define SCALAR_INPUT (UINT32_MAX - 1)
enum { VIEW_BITS = 17, VIEW_MASK = (1 << VIEW_BITS) - 1, VIEW_SCALAR = 0, VIEW_CONSTANT = 1, VIEW_INERT = VIEW_MASK };
enum { STAMP_SHIFT = VIEW_BITS + 1 }; /* in the upper half of a place */
enum { NUMBER_BITS = 16 };            /* of a tape */
_Static_assert(AG_TENSOR_ == (uint64_t)1 << (32 + VIEW_BITS), "the bit behind the view");
#define MOST_SLOTS ((uint64_t)UINT32_MAX - 65536)

typedef struct ag_operand {
    uint32_t slot, view; /* the view without its stamp */
} ag_operand;

static inline uint32_t ag_view_id(ag_var v) {
    return v.place & AG_TENSOR_ ? (uint32_t)(v.place >> 32) & VIEW_MASK : (uint32_t)VIEW_SCALAR;
}
static inline uint32_t ag_stamp_of(ag_var v) { return (uint32_t)(v.place >> 32) >> STAMP_SHIFT << STAMP_SHIFT; }

typedef struct ag_base {
    uint32_t start, count; /* slots */
    uint32_t instruction;
    uint32_t view;    /* as recorded */
    uint32_t epoch;   /* its adjoint is set if this is the tape's */
    uint32_t scalars; /* some var of rank 0 looks into it */
    void *adjoint;    /* NULL: at its slots. Else, in a sweep that forgets, where it is now, or ag_forgotten */
} ag_base;

/* A tensor instruction. Its operands, parameters and saved bytes follow it. */
typedef struct ag_node {
    const ag_operation *operation; /* NULL: elementwise */
    uint32_t slot, view, base;     /* of the result */
    uint32_t code;                 /* elementwise: opcode */
    uint32_t n;
    uint32_t params_size;
    uint64_t saved_size;
    ag_operand in[];
} ag_node;

typedef struct ag_section {
    uint64_t id;
    uint32_t start, stamp;
    uint32_t instructions, nodes, bases, names, checkpoints;
} ag_section;

typedef struct ag_label {
    uint32_t slot, view;
    uint32_t text; /* offset in `texts` */
} ag_label;

/* Parameters that refer to something counted: a copy that the tape holds until it is cleared. */
typedef struct ag_held {
    const ag_operation *operation;
    void *params;
    size_t size;
} ag_held;

/* Memory for the adjoint of one tensor after the other. */
typedef struct ag_adjoint_block {
    void *data;
    size_t size;
    bool used;
} ag_adjoint_block;

/* A scalar input of which sweeps tell whether they reached it (watch.c). */
typedef struct ag_watched {
    uint32_t slot;
    bool reached; /* by the last sweep, or those that it added to */
} ag_watched;

typedef struct ag_interned ag_interned;
enum { RECENT_VIEWS = 64 };

struct ag_tape {
    ag_head_ head;
    uint32_t number; /* in ag_tapes_ */
    ag_type type;
    ag_status status;
    uint32_t paused;
    bool tracing;  /* a program is being recorded: what would be a constant by its value alone stays an operation */
    bool abstract; /* inputs have no values, nor has what depends on them: only shapes and instructions are recorded */
    bool without_values; /* abstract, but only for the rest of a trace */
    ag_memory memory;
    ag_range values, adjoints, instructions, nodes, bases, sections, labels, texts, views, checkpoints;
    uint32_t node_top;           /* in 8 bytes */
    ag_range held;               /* ag_held */
    bool forgets;                /* this sweep lets go of adjoints */
    uint32_t forget_from;        /* of so many bytes */
    ag_adjoint_block blocks[16]; /* where they are, and were */
    uint32_t held_count;
    ag_watched *watched; /* by their slots */
    uint32_t watched_count, watched_capacity;
    bool
        keeps_scratch; /* a runner's, whose runs take no memory: blocks that ag_scratch gave out and got back are kept */
    void *spare[8];
    uint32_t base_count, section_count, label_count, text_top, view_count, checkpoint_count;
    ag_interned *interned;               /* views by shape and strides */
    uint32_t recent_views[RECENT_VIEWS]; /* of some, by a cheaper hash: tried first */
    uint64_t next_mark;
    uint32_t epoch;     /* of the last sweep */
    uint32_t swept_top; /* slots whose adjoints it set */
    const ag_kernels *kernels;
    char message[640];
};

/* The next slot. */
static inline uint32_t ag_top(const ag_tape *t) { return (uint32_t)t->head.place; }
/* As a sum, which compilers store in one piece: after half of it, a load of all would wait. */
static inline void ag_set_top(ag_tape *t, uint32_t top) { t->head.place += (uint64_t)top - ag_top(t); }

/* Slots of a scalar instruction's operands, NOTHING for one that is a number; how many there are. */
static inline int ag_scalar_operands(const ag_instruction_ *i, uint32_t slot[3], double *number) {
    memcpy(number, &i->b, sizeof *number);
    slot[0] = i->head & AG_NUMBER_FIRST_ ? NOTHING : i->a;
    slot[1] = i->head & AG_NUMBER_FIRST_ ? i->a : i->head & AG_NUMBER_SECOND_ ? NOTHING : i->b;
    slot[2] = i->c;
    return ag_op_table[ag_op_of(i)].arity;
}

/* ---- tape.c ---- */
static inline ag_instruction_ *ag_instructions(const ag_tape *t) {
    return (ag_instruction_ *)(void *)t->instructions.base;
}
static inline uint32_t ag_instruction_count(const ag_tape *t) { return (uint32_t)(t->head.next - ag_instructions(t)); }
static inline ag_base *ag_bases(const ag_tape *t) { return (ag_base *)(void *)t->bases.base; }
static inline ag_section *ag_sections(const ag_tape *t) { return (ag_section *)(void *)t->sections.base; }
static inline ag_node *ag_node_at(const ag_tape *t, uint32_t offset) {
    return (ag_node *)(void *)(t->nodes.base + (size_t)offset * 8);
}
static inline const ag_view *ag_view_at(const ag_tape *t, uint32_t id) {
    return ((const ag_view *const *)(void *)t->views.base)[id];
}
static inline void *ag_value_at(const ag_tape *t, uint32_t slot) {
    return t->values.base + (size_t)slot * ag_type_size(t->type);
}
/* Adjoints begin behind so many bytes, more than half of a first-level cache and some lines: where their address is like that
 * of the values, a value and its adjoint, which a sweep needs together, would drive each other out of it. */
enum { ADJOINTS_AT = 289 * 64 };
static inline void *ag_adjoint_at(const ag_tape *t, uint32_t slot) {
    return t->adjoints.base + ADJOINTS_AT + (size_t)slot * ag_type_size(t->type);
}
static inline bool ag_is_constant_view(const ag_tape *t, uint32_t id) { return ag_view_at(t, id)->constant; }

/* Sets head.limit after anything that it depends on. */
void ag_set_limit(ag_tape *t);
/* Room for that many more slots and instructions; an error and false if there is none. `what` for the sentence. */
bool ag_make_room(ag_tape *t, const char *what, uint64_t slots, uint32_t instructions);
bool ag_out_of_memory(ag_tape *t, const char *what, uint64_t bytes); /* returns false */
bool ag_out_of_slots(ag_tape *t, const char *what, ag_shape shape);  /* for a tensor; returns false */
ag_var ag_inert(ag_tape *t);
/* Whether what is recorded now may be swept: where it cannot, nothing need be saved for that. */
bool ag_expects_sweep(const ag_tape *t);
/* Records even while the tape is paused; and how to undo that. */
uint32_t ag_suspend_pause(ag_tape *t);
void ag_restore_pause(ag_tape *t, uint32_t paused);
/* Whether results are constants now. */
static inline bool ag_is_pausing(const ag_tape *t) { return t->paused && !t->tracing; }
/* A result as it is handed out: while a program is traced, a pause stops the derivative and not the recording. */
ag_var ag_stopped(ag_tape *t, ag_var x);
static inline ag_var ag_result(ag_tape *t, ag_var x) { return t->paused && t->tracing ? ag_stopped(t, x) : x; }
const ag_section *ag_earlier_section(const ag_tape *t, uint32_t slot);
static inline const ag_section *ag_section_of(const ag_tape *t, uint32_t slot) {
    const ag_section *last = &ag_sections(t)[t->section_count - 1];
    if (slot >= last->start) return last;
    return t->section_count == 2 ? last - 1 : ag_earlier_section(t, slot);
}
/* A var for recorded slots. */
ag_var ag_var_of(ag_tape *t, uint32_t slot, uint32_t view);

/* ---- record.c ---- */
/* Whether n > 1 views of one shape, from these offsets on, lie between each other so that each of `total` elements is in exactly
 * one of them: as q, k and v do in the product that they come from. */
bool ag_views_tile(const ag_view *const *views, const int64_t *offset, int n, int64_t total);
/* Checks an operand and finds its slot and view; numbers become constants. False after an error. */
bool ag_resolve(ag_tape *t, const char *what, ag_var v, ag_operand *out);
/* The same for reading, which never sets an error: false if inert or stale, or a number. */
bool ag_locate(ag_var v, ag_operand *out);
/* The tape of the first operand that has one; NULL if all are numbers. */
ag_tape *ag_tape_among(const ag_var *v, int n);
bool ag_push_scalar_constant(ag_tape *t, double value, uint32_t *slot);
void ag_push_instruction(ag_tape *t, uint32_t op, uint32_t a, uint32_t b, uint32_t c);

/* A tensor being recorded: reserved, filled by the caller, then committed or dropped. */
typedef struct ag_pending {
    uint32_t slot, count, old_top;
} ag_pending;
bool ag_reserve_tensor(ag_tape *t, const char *what, uint32_t view, ag_pending *out);
/* Node offset, or NOTHING for a tensor that nothing computes. */
ag_var ag_commit_tensor(ag_tape *t, ag_pending p, uint32_t node, uint32_t view);
/* An input of a trace without values, which takes no memory for them. */
ag_var ag_input_without_values(ag_tape *t, ag_shape shape);
bool ag_reserve_node(ag_tape *t, const char *what, uint32_t n, size_t params, size_t saved, uint32_t *offset);
static inline size_t ag_pad8(size_t n) { return (n + 7) / 8 * 8; }
static inline void *ag_node_params(ag_node *node) { return (char *)node + sizeof *node + node->n * sizeof(ag_operand); }
static inline void *ag_node_saved(ag_node *node) { return (char *)ag_node_params(node) + ag_pad8(node->params_size); }
static inline size_t ag_node_size(const ag_node *node) {
    return sizeof *node + node->n * sizeof(ag_operand) + ag_pad8(node->params_size) + ag_pad8(node->saved_size);
}
/* The base that holds a slot, NULL if it is a scalar's. */
ag_base *ag_base_of(const ag_tape *t, uint32_t slot);

/* ---- view.c ---- */
bool ag_open_views(ag_tape *t);
void ag_close_views(ag_tape *t);
/* The number of a view with this shape and strides; VIEW_INERT after an error. */
uint32_t ag_intern(ag_tape *t, int rank, const int64_t *dim, const int64_t *stride, bool constant);
uint32_t ag_intern_shape(ag_tape *t, ag_shape shape, bool constant);
static inline ag_shape ag_view_shape(const ag_view *v) {
    ag_shape s = {.rank = v->rank};
    for (int i = 0; i < v->rank; i++) s.dim[i] = v->dim[i];
    return s;
}
static inline bool ag_same_shape(const ag_view *a, const ag_view *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

/* ---- elementwise.c ---- */
ag_var ag_elementwise(ag_tape *t, ag_opcode op, const ag_operand *in, int n);
bool ag_elementwise_adjoint(ag_tape *t, ag_node *node);
/* out = op(in), broadcast to out's shape; out is contiguous and overlaps no operand but one that is all of it. */
void ag_elementwise_value(const ag_kernels *kernels, ag_type type, ag_opcode op, const ag_array *in, int n,
                          ag_array out);

/* ---- apply.c ---- */
/* Lets go of all held parameters. */
void ag_drop_held(ag_tape *t);
bool ag_apply_adjoint(ag_tape *t, ag_node *node);

/* ---- sweep.c ---- */
/* Stands for an adjoint that was let go of. */
extern char ag_forgotten[];
void ag_free_blocks(ag_tape *t);
/* Where the adjoint of a slot is; of a base's, if there is one. */
static inline void *ag_adjoint_in(const ag_tape *t, const ag_base *base, uint32_t slot) {
    if (!base || !base->adjoint) return ag_adjoint_at(t, slot);
    return (char *)base->adjoint + (size_t)(slot - base->start) * ag_type_size(t->type);
}
/* The adjoint of what a node computes. */
static inline void *ag_result_adjoint(const ag_tape *t, const ag_node *node) {
    return ag_adjoint_in(t, &ag_bases(t)[node->base], node->slot);
}
/* The adjoint of a base, which nothing was added to yet: where it goes. */
void ag_place_adjoint(ag_tape *t, ag_base *base);
/* The adjoint of an operand, ready to be added to; *fresh: it is not set yet and must be stored instead (asked for only
 * with may_store, and given only if the operand is all of its base). */
void *ag_adjoint_of(ag_tape *t, ag_operand x, bool may_store, bool *fresh);
/* Walks instructions: state of a walk is the instruction and, upwards, its first slot; downwards, the slot after it. */
uint32_t ag_find_instruction(ag_tape *t, uint32_t slot, uint32_t *first_slot);
/* First slot after an instruction and the constants behind it, given its first slot. */
uint32_t ag_next_slot(const ag_tape *t, const ag_instruction_ *i, uint32_t slot);

/* ---- draw.c ---- */
/* The newest name of a slot; NULL if it has none. */
const char *ag_name_of(const ag_tape *t, uint32_t slot);

/* ---- rules.c ---- */
/* Contribution of an adjoint or tangent w through operand k of an elementwise operation: chain(w, partial), recorded. */
ag_var ag_elementwise_rule(ag_opcode op, int k, ag_var w, const ag_var *in, ag_var r);
/* The same of an adjoint on tensors, summed to the operand's shape: before a constant partial, so that it has less to do. */
ag_var ag_elementwise_contribution(ag_tape *t, ag_opcode op, int k, ag_var w, const ag_var *in, ag_var r,
                                   ag_shape shape);
/* x summed over the axes along which `shape` was broadcast to x's shape. */
ag_var ag_sum_to(ag_tape *t, ag_var x, ag_shape shape);
/* x, or a number, as a var of this shape. */
ag_var ag_expand_to(ag_tape *t, ag_var x, ag_shape shape);
/* What `record` and `tangent` do for an operation that lacks them. */
void ag_record_by_adjoint(const ag_operation *op, const ag_rule *rule, ag_var w, ag_var *contributions);
/* Without `adjoint`: adds what `record` gives. False after an error. */
bool ag_adjoint_by_record(const ag_operation *op, const ag_call *call);
ag_var ag_tangent_by_record(const ag_operation *op, const ag_rule *rule, const ag_var *tangents);

#endif
