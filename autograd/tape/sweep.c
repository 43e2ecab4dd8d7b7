/* The reverse sweep: where it starts, what adjoints are before it, and which loop does it. */
#include "sweep_impl.h"
#include "watch_impl.h"

/* ---- from slots to instructions ---- */

typedef struct ag_checkpoint {
    uint32_t instruction, slot; /* and its first slot */
} ag_checkpoint;

enum { CHECKPOINT_STEP = 64 };

uint32_t ag_next_slot(const ag_tape *t, const ag_instruction_ *i, uint32_t slot) {
    uint32_t op = ag_op_of(i), after = ag_constants_after(i);
    if (op < OP_NODE) return slot + 1 + after;
    if (op == OP_LEAF && i->a >= SCALAR_INPUT) return i->b + (i->a == SCALAR_INPUT) + after;
    uint32_t count = ag_bases(t)[op == OP_NODE ? ag_node_at(t, i->a)->base : i->a].count;
    return i->b + (count ? count : 1) + after;
}

static uint32_t first_slot_of_next(const ag_tape *t, const ag_instruction_ *i, uint32_t slot) {
    return ag_op_of(&i[1]) < OP_NODE ? ag_next_slot(t, i, slot) : i[1].b;
}

/* Remembers every 64th instruction up to `slot`; without memory for that, searches take longer. */
static void extend_checkpoints(ag_tape *t, uint32_t slot) {
    ag_checkpoint *c = (ag_checkpoint *)(void *)t->checkpoints.base;
    ag_checkpoint at = {0, ag_instructions(t)[0].b};
    if (t->checkpoint_count) at = c[t->checkpoint_count - 1];
    const ag_instruction_ *first = ag_instructions(t), *last = t->head.next - 1;
    for (const ag_instruction_ *i = first + at.instruction; i < last && at.slot < slot; i++) {
        uint32_t number = (uint32_t)(i - first);
        if (number % CHECKPOINT_STEP == 0 && number / CHECKPOINT_STEP == t->checkpoint_count) {
            size_t need = (t->checkpoint_count + (size_t)1) * sizeof *c;
            if (!ag_range_grow(&t->memory, &t->checkpoints, need, MOST_SLOTS * sizeof *c)) return;
            c = (ag_checkpoint *)(void *)t->checkpoints.base;
            c[t->checkpoint_count++] = (ag_checkpoint){number, at.slot};
        }
        at.slot = first_slot_of_next(t, i, at.slot);
    }
}

uint32_t ag_find_instruction(ag_tape *t, uint32_t slot, uint32_t *first_slot) {
    const ag_instruction_ *first = ag_instructions(t), *last = t->head.next - 1;
    *first_slot = ag_op_of(last) < OP_NODE ? ag_top(t) - 1 - ag_constants_after(last) : last->b;
    if (slot >= *first_slot) return (uint32_t)(last - first);
    const ag_base *base = ag_base_of(t, slot);
    if (base) {
        *first_slot = base->start;
        return base->instruction;
    }
    extend_checkpoints(t, slot);
    const ag_checkpoint *c = (const ag_checkpoint *)(void *)t->checkpoints.base;
    uint32_t lo = 0, hi = t->checkpoint_count;
    while (hi > lo) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (c[mid].slot <= slot) lo = mid + 1;
        else hi = mid;
    }
    ag_checkpoint at = lo ? c[lo - 1] : (ag_checkpoint){0, first[0].b};
    const ag_instruction_ *i = first + at.instruction;
    while (i < last) {
        uint32_t next = first_slot_of_next(t, i, at.slot);
        if (next > slot) break;
        at.slot = next;
        i++;
    }
    *first_slot = at.slot;
    return (uint32_t)(i - first);
}

/* ---- adjoints that are not kept ---- */

char ag_forgotten[1];

enum { BLOCKS = sizeof((ag_tape *)0)->blocks / sizeof(ag_adjoint_block) };

/* The smallest of the free blocks that is large enough, but not by far; else a new one, in the place of one that is free. NULL if
 * there is no place or no memory. */
static ag_adjoint_block *take_block(ag_tape *t, size_t size) {
    ag_adjoint_block *best = NULL, *place = NULL;
    for (int i = 0; i < BLOCKS; i++) {
        ag_adjoint_block *b = &t->blocks[i];
        if (b->used) continue;
        if (b->size >= size && b->size <= 2 * size && (!best || b->size < best->size)) best = b;
        if (!place || b->size < place->size) place = b;
    }
    if (best || !place) return best;
    ag_memory_free(&t->memory, place->data, place->size);
    *place = (ag_adjoint_block){ag_memory_resize(&t->memory, NULL, 0, size), size, false};
    if (place->data) return place;
    place->size = 0;
    return NULL;
}

/* Without a block it is at its slots, as ever. */
void ag_place_adjoint(ag_tape *t, ag_base *base) {
    base->epoch = t->epoch;
    size_t size = base->count * ag_type_size(t->type);
    if (!t->forgets || size < t->forget_from || base->scalars ||
        ag_op_of(&ag_instructions(t)[base->instruction]) != OP_NODE)
        return;
    ag_adjoint_block *b = take_block(t, size);
    if (!b) return;
    b->used = true;
    base->adjoint = b->data;
}

static void forget(ag_tape *t, ag_base *base) {
    if (!base->adjoint) return;
    for (int i = 0; i < BLOCKS; i++)
        if (t->blocks[i].data == base->adjoint) t->blocks[i].used = false;
    base->adjoint = ag_forgotten;
}

static void stop_forgetting(ag_tape *t) {
    for (uint32_t k = 0; t->forgets && k < t->base_count; k++) forget(t, &ag_bases(t)[k]);
    t->forgets = false;
}

void ag_free_blocks(ag_tape *t) {
    for (int i = 0; i < BLOCKS; i++) {
        ag_memory_free(&t->memory, t->blocks[i].data, t->blocks[i].size);
        t->blocks[i] = (ag_adjoint_block){0};
    }
}

/* ---- adjoints ---- */

void *ag_adjoint_of(ag_tape *t, ag_operand x, bool may_store, bool *fresh) {
    *fresh = false;
    if (x.view <= VIEW_CONSTANT) return ag_adjoint_at(t, x.slot);
    ag_base *base = ag_base_of(t, x.slot);
    if (base && base->epoch != t->epoch) {
        ag_place_adjoint(t, base);
        const ag_view *v = ag_view_at(t, x.view);
        *fresh = may_store && v->contiguous && x.slot == base->start && v->count == base->count;
        if (!*fresh) memset(ag_adjoint_in(t, base, base->start), 0, base->count * ag_type_size(t->type));
    }
    return ag_adjoint_in(t, base, x.slot);
}

static void zero_slots(ag_tape *t, uint32_t from, uint32_t to) {
    if (to > from) memset(ag_adjoint_at(t, from), 0, (to - from) * ag_type_size(t->type));
}

/* Adjoints of scalars, and of bases of which scalars were taken, become 0; those of other bases not set, nor is what lies
 * between two of them touched, where no instruction computes scalars. */
static void reset_adjoints(ag_tape *t) {
    uint32_t from = 0, behind = 0; /* all before: its slots, its instructions */
    t->epoch++;
    for (uint32_t k = 0; k < t->base_count; k++) {
        ag_base *b = &ag_bases(t)[k];
        b->adjoint = NULL;
        if (b->scalars) {
            b->epoch = t->epoch;
            continue;
        }
        if (b->instruction != behind) zero_slots(t, from, b->start);
        from = b->start + b->count;
        behind = b->instruction + 1;
    }
    zero_slots(t, from, ag_top(t));
}

/* The same for what instructions compute; what is new since the last sweep starts at 0 too. */
static void reset_results(ag_tape *t) {
    uint32_t old = t->epoch++, new_from = t->swept_top;
    for (uint32_t k = 0; k < t->base_count; k++) {
        ag_base *b = &ag_bases(t)[k];
        b->adjoint = NULL;
        bool leaf = ag_op_of(&ag_instructions(t)[b->instruction]) == OP_LEAF && b->start < new_from;
        bool was_set = b->epoch == old;
        b->epoch = leaf && was_set ? t->epoch : t->epoch - 1;
        if (b->scalars) {
            if (!(leaf && was_set)) zero_slots(t, b->start, b->start + b->count);
            b->epoch = t->epoch;
        }
    }
    uint32_t slot = ag_instructions(t)[0].b;
    for (const ag_instruction_ *i = ag_instructions(t); i < t->head.next; i++) {
        bool scalar = ag_op_of(i) < OP_NODE, input = ag_op_of(i) == OP_LEAF && i->a == SCALAR_INPUT;
        if (!scalar) slot = i->b;
        uint32_t next = ag_next_slot(t, i, slot), after = next - ag_constants_after(i);
        if (scalar || (input && slot >= new_from)) zero_slots(t, slot, slot + 1);
        if (next > new_from) zero_slots(t, after > new_from ? after : new_from, next);
        slot = next;
    }
}

static bool begin_sweep(ag_tape *t, ag_sweep_mode mode) {
    const size_t size = ag_type_size(t->type), most = ADJOINTS_AT + MOST_SLOTS * size;
    size_t need = ADJOINTS_AT + ag_top(t) * size;
    if (need < t->values.size) need = t->values.size; /* as much as values take, so that it grows as seldom */
    if (need > t->adjoints.size && !ag_range_grow(&t->memory, &t->adjoints, need, most))
        return ag_out_of_memory(t, "sweep", need - t->adjoints.size);
    if (mode == AG_ACCUMULATE || mode == AG_ACCUMULATE_FORGET) reset_results(t);
    else reset_adjoints(t);
    t->swept_top = ag_top(t);
    t->forgets = mode == AG_RESET_FORGET || mode == AG_ACCUMULATE_FORGET;
    return true;
}

/* An output with its seed: a var, or a number if weight.view is VIEW_INERT. */
typedef struct ag_seeded {
    ag_operand y, weight;
    double number;
} ag_seeded;

static bool resolve_seed(ag_tape *t, ag_var y, const ag_var *w, ag_seeded *s) {
    if (!ag_resolve(t, "sweep", y, &s->y)) return false;
    const ag_view *v = ag_view_at(t, s->y.view);
    s->weight.view = VIEW_INERT;
    s->number = w ? w->value : 1;
    if (!w && v->count != 1) {
        ag_fail(t, AG_ERR_SHAPE, "sweep: the output has shape %s; only a scalar can be swept without a seed",
                ag_show_view(v).text);
        return false;
    }
    if (!w || !ag_tape_of(*w)) return true;
    if (!ag_resolve(t, "sweep", *w, &s->weight)) return false;
    const ag_view *from = ag_view_at(t, s->weight.view);
    if (from->count == 1 || ag_same_shape(from, v)) return true;
    ag_fail(t, AG_ERR_SHAPE, "sweep: a seed of shape %s for an output of shape %s", ag_show_view(from).text,
            ag_show_view(v).text);
    return false;
}

static void add_seed(ag_tape *t, const ag_seeded *s) {
    const ag_view *to = ag_view_at(t, s->y.view);
    if (to->constant) return;
    bool fresh, is_number = s->weight.view == VIEW_INERT;
    void *adjoint = ag_adjoint_of(t, s->y, false, &fresh);
    double number[1];
    ag_store(t->type, number, 0, s->number);
    const void *from = is_number ? number : ag_value_at(t, s->weight.slot);
    const ag_view *v = is_number ? NULL : ag_view_at(t, s->weight.view);
    int64_t zeros[AG_MAX_RANK] = {0};
    ag_strided_add(t->type, to->rank, to->dim, adjoint, to->stride, from, !v || v->count == 1 ? zeros : v->stride);
}

/* Whether any adjoint arrived at a base. */
static bool is_reached(const ag_tape *t, const ag_base *base) {
    if (base->epoch != t->epoch) return false;
    if (!base->scalars) return true;
    for (uint32_t i = 0; i < base->count; i++)
        if (ag_load(t->type, ag_adjoint_at(t, base->start), i) != 0) return true;
    return false;
}

bool ag_sweep_node(ag_tape *t, ag_node *node) {
    ag_base *base = &ag_bases(t)[node->base];
    if (!is_reached(t, base)) return true;
    bool fine = node->operation ? ag_apply_adjoint(t, node) : ag_elementwise_adjoint(t, node);
    forget(t, &ag_bases(t)[node->base]);
    return fine;
}

/* The loop compiled for the instruction set that the tape's kernels use. */
static ag_sweep_loop *loop_for(const ag_tape *t) {
    bool f64 = t->type == AG_F64;
#ifdef AG_HAVE_V4
    if (strcmp(t->kernels->isa, "v4") == 0) return f64 ? ag_sweep_f64_v4 : ag_sweep_f32_v4;
#endif
#ifdef AG_HAVE_V3
    if (strcmp(t->kernels->isa, "v3") == 0) return f64 ? ag_sweep_f64_v3 : ag_sweep_f32_v3;
#endif
    return f64 ? ag_sweep_f64_base : ag_sweep_f32_base;
}

/* Which of the watched inputs. */
static bool note_reached(ag_tape *t, const ag_seeded *list, int n, ag_sweep_mode mode) {
    ag_watch_ watch;
    if (!ag_watch_begin(t, mode == AG_ACCUMULATE || mode == AG_ACCUMULATE_FORGET, &watch)) return false;
    for (int i = 0; i < n; i++) ag_watch_output(&watch, list[i].y);
    ag_watch_end(&watch);
    return true;
}

void ag_sweep(const ag_var *ys, const ag_var *seeds, int n, ag_sweep_mode mode) {
    ag_tape *t = ag_tape_among(ys, n);
    if (!t || t->status != AG_OK) return;
    ag_seeded one, *list = n == 1 ? &one : ag_scratch(t, (size_t)n * sizeof *list);
    bool ok = list != NULL;
    for (int i = 0; ok && i < n; i++) ok = resolve_seed(t, ys[i], seeds ? &seeds[i] : NULL, &list[i]);
    ok = ok && begin_sweep(t, mode);
    uint32_t last = 0, last_slot = 0;
    for (int i = 0; ok && i < n; i++) {
        uint32_t slot, instruction = ag_find_instruction(t, list[i].y.slot, &slot);
        if (instruction >= last) last = instruction, last_slot = slot;
        add_seed(t, &list[i]);
    }
    if (ok && t->watched_count > 0) ok = note_reached(t, list, n, mode);
    if (n != 1) ag_scratch_free(t, list);
    if (ok) loop_for(t)(t, last, ag_next_slot(t, ag_instructions(t) + last, last_slot));
    stop_forgetting(t);
}

void ag_backward(ag_var y) { ag_sweep(&y, NULL, 1, AG_RESET); }
