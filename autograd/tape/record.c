/* Recording: checking operands, leaves, scalar operations outside the inline path, and room for tensors. */
#include "tape_impl.h"
#include "../ops/sine_impl.h"

#define T double
#define M(function) function
#include "../ops/numeric_impl.h"

/* ---- operands ---- */

ag_tape *ag_tape_among(const ag_var *v, int n) {
    ag_tape *t = NULL;
    for (int i = 0; v && i < n && !t; i++) t = ag_tape_of(v[i]);
    return t;
}

/* Whether a var's slots are on its tape now, and were when it was made. */
static bool is_current(const ag_tape *t, ag_var v) {
    uint32_t id = ag_view_id(v);
    if (id >= t->view_count || AG_SLOT_(v) >= ag_top(t)) return false;
    if (ag_stamp_of(v) != ag_section_of(t, AG_SLOT_(v))->stamp) return false;
    const ag_view *view = ag_view_at(t, id);
    return (int64_t)AG_SLOT_(v) + view->lo >= 0 && (int64_t)AG_SLOT_(v) + view->hi < (int64_t)ag_top(t);
}

bool ag_locate(ag_var v, ag_operand *out) {
    const ag_tape *t = ag_tape_of(v);
    if (!t || ag_view_id(v) == VIEW_INERT || !t->view_count || !is_current(t, v)) return false;
    *out = (ag_operand){AG_SLOT_(v), ag_view_id(v)};
    return true;
}

bool ag_resolve(ag_tape *t, const char *what, ag_var v, ag_operand *out) {
    ag_tape *its = ag_tape_of(v);
    if (!its) {
        out->view = VIEW_CONSTANT;
        return ag_push_scalar_constant(t, v.value, &out->slot);
    }
    if (its != t) {
        ag_fail(t, AG_ERR_TAPE, "%s: the operands are on different tapes", what);
        ag_fail(its, AG_ERR_TAPE, "%s: the operands are on different tapes", what);
        return false;
    }
    if (ag_view_id(v) == VIEW_INERT) {
        ag_fail(t, AG_ERR_STALE, "%s: an operand is the result of an operation that failed", what);
        return false;
    }
    if (!is_current(t, v)) {
        ag_fail(t, AG_ERR_STALE, "%s: an operand (slot %u) is of a part of the tape that was rewound or cleared", what,
                AG_SLOT_(v));
        return false;
    }
    *out = (ag_operand){AG_SLOT_(v), ag_view_id(v)};
    return true;
}

bool ag_usable_on(ag_tape *t, ag_var x, const char *what) {
    ag_operand o;
    return !ag_tape_of(x) || (t->status == AG_OK && ag_resolve(t, what, x, &o));
}

bool ag_usable(ag_var x, const char *what) { return ag_usable_on(ag_tape_of(x), x, what); }

int ag_rank_unchecked(ag_var x) {
    const ag_tape *t = ag_tape_of(x);
    uint32_t id = ag_view_id(x);
    return t && id < t->view_count ? ag_view_at(t, id)->rank : 0;
}

bool ag_is_zero(ag_var x) { return !ag_tape_of(x) && x.value == 0; }

/* ---- instructions and scalars ---- */

void ag_push_instruction(ag_tape *t, uint32_t op, uint32_t a, uint32_t b, uint32_t c) {
    *t->head.next++ = (ag_instruction_){op, a, b, c};
}

static void push_value(ag_tape *t, double value) {
    ag_store(t->type, t->values.base, (uint32_t)t->head.place++, value);
}

bool ag_push_scalar_constant(ag_tape *t, double value, uint32_t *slot) {
    if (!ag_make_room(t, "constant", 1, 1)) return false;
    if (t->head.next[-1].head >= MOST_CONSTANTS_HEAD) ag_push_instruction(t, OP_LEAF, NOTHING, ag_top(t), ag_top(t));
    ag_count_constant(&t->head.next[-1]);
    *slot = ag_top(t);
    push_value(t, value);
    ag_set_limit(t);
    return true;
}

ag_var ag_input(ag_tape *t, double value) {
    if (!t || t->status != AG_OK || !ag_make_room(t, "input", 1, 1)) return ag_inert(t);
    uint32_t slot = ag_top(t);
    ag_push_instruction(t, OP_LEAF, SCALAR_INPUT, slot, slot);
    push_value(t, value);
    ag_set_limit(t);
    return ag_var_of(t, slot, VIEW_SCALAR);
}

ag_var ag_constant(ag_tape *t, double value) {
    uint32_t slot;
    if (!t || t->status != AG_OK || !ag_push_scalar_constant(t, value, &slot)) return ag_inert(t);
    return ag_var_of(t, slot, VIEW_CONSTANT);
}

static double scalar_value(const ag_tape *t, const ag_op_info *info, const double x[3]) {
    if (t->type == AG_F64) return info->value(x[0], x[1], x[2]);
    return (double)info->value_f32((float)x[0], (float)x[1], (float)x[2]);
}

/* f(x) and f'(x) of functions of one operand: the partial once for all sweeps. */
static inline double partial_of(ag_opcode op, double x, double by_table) {
    if (op == AG_SIN) return ag_sine_shifted(x, 1);
    return op == AG_COS ? ag_sine_shifted(x, 2) : by_table;
}
#define AG_OP1(NAME, name, ...)                                                                                        \
    ag_value_and_partial_ ag_at_##name##_(double x) {                                                                  \
        double value = n_##name(x);                                                                                    \
        return (ag_value_and_partial_){value, partial_of(AG_##NAME, x, p0_##name(x, 0, 0, value))};                    \
    }
#define AG_OP2(...)
#define AG_OP3(...)
#include "../ops/elementwise.def"
#undef AG_OP1
#define AG_OP1(NAME, name, ...) [AG_##NAME] = ag_at_##name##_,
static ag_value_and_partial_ (*const at[AG_OPCODES])(double) = {
#include "../ops/elementwise.def"
};
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3

static ag_value_and_partial_ value_and_partial(const ag_tape *t, ag_opcode op, double x) {
    if (t->type == AG_F64) return at[op](x);
    float p[3], value = ag_op_table[op].value_f32((float)x, 0, 0);
    ag_op_table[op].partials_f32((float)x, 0, 0, value, p);
    return (ag_value_and_partial_){(double)value, (double)p[0]};
}

static ag_var record_scalar(ag_tape *t, ag_opcode op, const ag_operand *in) {
    const ag_op_info *info = &ag_op_table[op];
    bool active = false;
    double x[3] = {0};
    uint32_t slots[3] = {0};
    for (int k = 0; k < info->arity; k++) {
        active |= in[k].view == VIEW_SCALAR;
        x[k] = ag_load(t->type, t->values.base, in[k].slot);
        slots[k] = in[k].slot;
    }
    if (!ag_make_room(t, info->name, 1, 1)) return ag_inert(t);
    double value;
    if (info->arity == 1) {
        ag_value_and_partial_ r = value_and_partial(t, op, x[0]);
        value = r.value;
        memcpy(&slots[1], &r.partial, sizeof r.partial);
    } else {
        value = scalar_value(t, info, x);
    }
    if (!active || ag_is_pausing(t)) return ag_constant(t, value);
    ag_push_instruction(t, op, slots[0], slots[1], slots[2]);
    uint32_t slot = ag_top(t);
    push_value(t, value);
    ag_set_limit(t);
    return ag_var_of(t, slot, VIEW_SCALAR);
}

ag_var ag_stopped(ag_tape *t, ag_var x) {
    uint32_t paused = t->paused;
    if (t->status != AG_OK || ag_is_constant(x)) return x;
    t->paused = 0;
    x = ag_stop(x);
    t->paused = paused;
    return x;
}

static ag_var apply(ag_opcode op, const ag_var *v, int n) {
    const ag_op_info *info = &ag_op_table[op];
    ag_tape *t = ag_tape_among(v, n);
    if (!t) {
        double x[3] = {0};
        for (int k = 0; k < n; k++) x[k] = v[k].value;
        return ag_num(info->value(x[0], x[1], x[2]));
    }
    if (t->status != AG_OK) return ag_inert(t);
    ag_operand in[3];
    bool scalar = true;
    for (int k = 0; k < n; k++) {
        if (!ag_resolve(t, info->name, v[k], &in[k])) return ag_inert(t);
        scalar &= in[k].view <= VIEW_CONSTANT;
    }
    return ag_result(t, scalar ? record_scalar(t, op, in) : ag_elementwise(t, op, in, n));
}

/* The way of small tensors, where every step counts. */
ag_var ag_apply1_(ag_opcode op, ag_var x) {
    ag_tape *t = ag_tape_of(x);
    ag_operand in;
    if (!t || t->status != AG_OK) return apply(op, &x, 1);
    if (!ag_resolve(t, ag_op_table[op].name, x, &in)) return ag_inert(t);
    return ag_result(t, in.view <= VIEW_CONSTANT ? record_scalar(t, op, &in) : ag_elementwise(t, op, &in, 1));
}

#define AG_OP1(NAME, name, ...)                                                                                        \
    ag_var(ag_##name)(ag_var x) { return ag_##name##_(x); }
#define AG_OP2(...)
#define AG_OP3(...)
#include "../ops/elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3

ag_var ag_apply2_(ag_opcode op, ag_var x, ag_var y) {
    const ag_op_info *info = &ag_op_table[op];
    ag_head_ *h = ag_head_of_(x.place ? x : y);
    if (ag_is_fast_(x.place | y.place, h)) {
        if (x.place && y.place)
            return ag_push_(h, op, AG_SLOT_(x), AG_SLOT_(y), 0, info->value(ag_value_(x, h), ag_value_(y, h), 0));
        if (op == AG_POW && !y.place && y.value == 2) return ag_square(x);
        if (x.place)
            return ag_push_num_(h, op | AG_NUMBER_SECOND_, AG_SLOT_(x), y.value,
                                info->value(ag_value_(x, h), y.value, 0));
        return ag_push_num_(h, op | AG_NUMBER_FIRST_, AG_SLOT_(y), x.value, info->value(x.value, ag_value_(y, h), 0));
    }
    if (op == AG_POW && !y.place && y.value == 2) return ag_square(x);
    ag_tape *t = ag_tape_of(x);
    if (!t || t != ag_tape_of(y) || t->status != AG_OK) return apply(op, (ag_var[]){x, y}, 2);
    ag_operand in[2];
    if (!ag_resolve(t, info->name, x, &in[0]) || !ag_resolve(t, info->name, y, &in[1])) return ag_inert(t);
    bool scalar = in[0].view <= VIEW_CONSTANT && in[1].view <= VIEW_CONSTANT;
    return ag_result(t, scalar ? record_scalar(t, op, in) : ag_elementwise(t, op, in, 2));
}

/* Room for constants beside an operation, without growing anything. */
static bool is_roomy(const ag_head_ *h) { return h->limit - h->place > 4 && h->next[-1].head < UINT32_MAX / 2; }

/* The slot of an operand that is fast or a number. */
static uint32_t fast_slot(ag_head_ *h, ag_var x) {
    if (x.place) return AG_SLOT_(x);
    ag_count_constant(&h->next[-1]);
    uint32_t slot = (uint32_t)h->place++;
    h->values[slot] = x.value;
    return slot;
}

ag_var ag_apply3_(ag_opcode op, ag_var x, ag_var y, ag_var z) {
    ag_head_ *h = ag_head_of_(x.place ? x : y.place ? y : z);
    if (!ag_is_fast_(x.place | y.place | z.place, h) || !is_roomy(h)) return apply(op, (ag_var[]){x, y, z}, 3);
    uint32_t a = fast_slot(h, x), b = fast_slot(h, y), c = fast_slot(h, z);
    return ag_push_(h, op, a, b, c, ag_op_table[op].value(h->values[a], h->values[b], h->values[c]));
}

/* ---- tensors ---- */

bool ag_out_of_slots(ag_tape *t, const char *what, ag_shape shape) {
    int64_t count = 0;
    (void)ag_shape_count(shape, &count);
    ag_fail(t, AG_ERR_SLOTS, "%s: out of slots: shape %s needs %lld, %u are in use, a tape has at most %llu", what,
            ag_show_shape(shape).text, (long long)count, ag_top(t), (unsigned long long)MOST_SLOTS);
    return false;
}

bool ag_reserve_tensor(ag_tape *t, const char *what, uint32_t view, ag_pending *out) {
    uint32_t align = t->type == AG_F64 ? 8 : 16; /* 64 bytes */
    const ag_view *v = ag_view_at(t, view);
    int64_t count = v->count;
    if ((uint64_t)count > MOST_SLOTS - ag_top(t)) return ag_out_of_slots(t, what, ag_view_shape(v));
    if (!ag_make_room(t, what, (uint64_t)count + 2 * align, 2)) return false;
    uint64_t need = (t->base_count + (uint64_t)1) * sizeof(ag_base);
    if (need > t->bases.size && !ag_range_grow(&t->memory, &t->bases, need, MOST_SLOTS * sizeof(ag_base)))
        return ag_out_of_memory(t, what, sizeof(ag_base));
    uint32_t slot = ag_top(t) + 1; /* one for the header */
    if (count >= align / 2) slot = (slot + align - 1) / align * align;
    *out = (ag_pending){slot, (uint32_t)count, ag_top(t)};
    return true;
}

ag_var ag_commit_tensor(ag_tape *t, ag_pending p, uint32_t node, uint32_t view) {
    uint32_t base = t->base_count++;
    ag_bases(t)[base] = (ag_base){.start = p.slot,
                                  .count = p.count,
                                  .instruction = ag_instruction_count(t),
                                  .view = view,
                                  .epoch = t->epoch - 1,
                                  .scalars = view <= VIEW_CONSTANT};
    memcpy(ag_value_at(t, p.slot - 1), &base, sizeof base);
    if (node == NOTHING) {
        ag_push_instruction(t, OP_LEAF, base, p.slot, p.old_top);
    } else {
        ag_node *n = ag_node_at(t, node);
        n->base = base;
        t->node_top = node + (uint32_t)(ag_node_size(n) / 8);
        ag_push_instruction(t, OP_NODE, node, p.slot, p.old_top);
    }
    if (p.count == 0) ag_store(t->type, ag_value_at(t, p.slot), 0, 0); /* the slot that it has all the same */
    ag_set_top(t, p.slot + (p.count ? p.count : 1));
    ag_set_limit(t);
    return ag_var_of(t, p.slot, view);
}

bool ag_reserve_node(ag_tape *t, const char *what, uint32_t n, size_t params, size_t saved, uint32_t *offset) {
    const uint64_t most = (uint64_t)UINT32_MAX * 8;
    uint64_t size = sizeof(ag_node) + (uint64_t)n * sizeof(ag_operand);
    if (params >= UINT32_MAX || saved > most) {
        ag_fail(t, AG_ERR_MEMORY, "%s: %zu bytes of parameters and %zu saved bytes are too many", what, params, saved);
        return false;
    }
    uint64_t need = (uint64_t)t->node_top * 8 + size + ag_pad8(params) + ag_pad8(saved);
    if (need > t->nodes.size && !ag_range_grow(&t->memory, &t->nodes, need, most))
        return ag_out_of_memory(t, what, need - t->nodes.size);
    *offset = t->node_top;
    ag_node *node = ag_node_at(t, *offset);
    *node = (ag_node){.n = n, .params_size = (uint32_t)params, .saved_size = saved};
    return true;
}

ag_base *ag_base_of(const ag_tape *t, uint32_t slot) {
    ag_base *bases = ag_bases(t);
    if (t->base_count == 0 || slot < bases[0].start) return NULL;
    uint32_t id;
    memcpy(&id, ag_value_at(t, slot - 1), sizeof id); /* the base's header, if the slot is its first */
    if (id < t->base_count && bases[id].start == slot) return &bases[id];
    uint32_t lo = 0, hi = t->base_count;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (bases[mid].start <= slot) lo = mid;
        else hi = mid;
    }
    return slot - bases[lo].start < bases[lo].count ? &bases[lo] : NULL;
}
