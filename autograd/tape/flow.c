#include "flow_impl.h"

/* What `depends` says of a slot. Of a base that does: whether all that arrived is one piece for the whole, at its start, so
 * that elements of it can be looked at one after the other without a look at all of them each time. */
enum { DEPENDS = 1, SETTLED = 2 };

static uint32_t key_of(const ag_flow *f, ag_operand x) {
    if (x.view <= VIEW_CONSTANT) return x.slot;
    const ag_base *base = ag_base_of(f->t, x.slot);
    return base ? base->start : x.slot;
}

static bool inside(const ag_flow *f, uint32_t key) { return key >= f->lo && key < f->hi; }

bool ag_flow_depends(const ag_flow *f, ag_operand x) {
    uint32_t key = key_of(f, x);
    return inside(f, key) && f->depends[key - f->lo];
}

/* A base whose scalars are used by themselves is marked all over. */
static void mark(const ag_flow *f, uint32_t slot, uint8_t what) {
    const ag_base *base = ag_base_of(f->t, slot);
    uint32_t start = base ? base->start : slot, count = base && base->scalars ? base->count : 1;
    if (inside(f, start)) memset(f->depends + (start - f->lo), what, count < f->hi - start ? count : f->hi - start);
}

static bool scalar_depends(const ag_flow *f, const ag_instruction_ *i) {
    uint32_t in[3];
    double number;
    for (int k = 0, n = ag_scalar_operands(i, in, &number); k < n; k++)
        if (inside(f, in[k]) && f->depends[in[k] - f->lo]) return true;
    return false;
}

static bool node_depends(const ag_flow *f, const ag_node *node) {
    if (ag_view_at(f->t, node->view)->count == 0) return false;
    for (uint32_t k = 0; k < node->n; k++)
        if (!ag_is_constant_view(f->t, node->in[k].view) && ag_flow_depends(f, node->in[k])) return true;
    return false;
}

static void mark_dependents(ag_flow *f) {
    ag_tape *t = f->t;
    uint32_t slot, number = ag_find_instruction(t, f->lo, &slot);
    for (const ag_instruction_ *i = ag_instructions(t) + number; i < t->head.next && slot < f->hi; i++) {
        uint32_t op = ag_op_of(i);
        if (op >= OP_NODE) slot = i->b;
        if (slot >= f->hi) break;
        if (op < OP_NODE) {
            if (slot >= f->lo && !f->depends[slot - f->lo]) f->depends[slot - f->lo] = scalar_depends(f, i);
        } else if (op == OP_NODE && node_depends(f, ag_node_at(t, i->a))) {
            mark(f, slot, DEPENDS);
        }
        slot = ag_next_slot(t, i, slot);
    }
}

bool ag_flow_open(ag_flow *f, ag_tape *t, const ag_operand *xs, int nx, const ag_operand *ys, int ny) {
    *f = (ag_flow){.t = t, .lo = UINT32_MAX};
    for (int i = 0; i < nx; i++) {
        const ag_base *base = ag_base_of(t, xs[i].slot);
        uint32_t start = base ? base->start : xs[i].slot;
        if (start < f->lo) f->lo = start;
    }
    for (int i = 0; i < ny; i++) {
        const ag_base *base = ag_base_of(t, ys[i].slot);
        uint32_t end = base && base->count ? base->start + base->count : ys[i].slot + 1;
        if (end > f->hi) f->hi = end;
    }
    if (f->hi < f->lo) f->hi = f->lo;
    size_t n = f->hi - f->lo + (size_t)1;
    f->depends = ag_memory_sparse(&t->memory, n); /* of a tensor, the first slot alone is looked at */
    f->first = ag_memory_sparse(&t->memory, n * sizeof *f->first);
    if (!f->depends || !f->first) return ag_out_of_memory(t, "gradient", n * 5);
    for (int i = 0; i < nx; i++)
        if (!ag_is_constant_view(t, xs[i].view)) mark(f, xs[i].slot, DEPENDS);
    mark_dependents(f);
    return true;
}

/* Marks a scalar, or the base that a slot is of. */
static void need(const ag_flow *f, uint8_t *needed, uint32_t slot) {
    const ag_base *base = ag_base_of(f->t, slot);
    if (base && inside(f, base->start)) needed[base->start - f->lo] = 1;
    if (inside(f, slot)) needed[slot - f->lo] = 1;
}

static void need_operands(const ag_flow *f, uint8_t *needed, const ag_instruction_ *i) {
    uint32_t in[3];
    double number;
    if (ag_op_of(i) == OP_NODE) {
        const ag_node *node = ag_node_at(f->t, i->a);
        for (uint32_t k = 0; k < node->n; k++) need(f, needed, node->in[k].slot);
        return;
    }
    for (int k = 0, n = ag_scalar_operands(i, in, &number); k < n; k++)
        if (in[k] != NOTHING) need(f, needed, in[k]);
}

void ag_flow_need(const ag_flow *f, uint8_t *needed, uint32_t slot) { need(f, needed, slot); }

void ag_flow_need_all(const ag_flow *f, uint8_t *needed, bool (*passes)(const ag_tape *t, const ag_instruction_ *i)) {
    for (ag_descent d = ag_descent_of(f); ag_descend(&d);) {
        const ag_instruction_ *now = ag_instructions(f->t) + d.instruction;
        bool is_needed = ag_op_of(now) != OP_LEAF && inside(f, d.slot) && needed[d.slot - f->lo];
        if (is_needed && (!passes || passes(f->t, now))) need_operands(f, needed, now);
    }
}

bool ag_flow_keep_needed(ag_flow *f, const ag_operand *ys, int ny) {
    uint32_t n = f->hi - f->lo;
    if (n == 0) return true;
    uint8_t *needed = ag_memory_sparse(&f->t->memory, n + (size_t)1);
    if (!needed) return ag_out_of_memory(f->t, "jvp", n);
    for (int i = 0; i < ny; i++) need(f, needed, ys[i].slot);
    ag_flow_need_all(f, needed, NULL);
    for (ag_descent d = ag_descent_of(f); ag_descend(&d);)
        if (inside(f, d.slot) && f->depends[d.slot - f->lo] && !needed[d.slot - f->lo]) mark(f, d.slot, 0);
    ag_memory_sparse_free(&f->t->memory, needed, n + (size_t)1);
    return true;
}

void ag_flow_close(ag_flow *f) {
    ag_memory *memory = &f->t->memory;
    size_t n = f->hi - f->lo + (size_t)1;
    ag_memory_sparse_free(memory, f->depends, n);
    ag_memory_sparse_free(memory, f->first, n * sizeof *f->first);
    ag_memory_free(memory, f->pieces, f->capacity * sizeof *f->pieces);
}

/* ---- pieces ---- */

static void push_piece(ag_flow *f, uint32_t key, ag_operand where, ag_var var) {
    if (f->count + 1 >= f->capacity) {
        uint32_t capacity = f->capacity ? 2 * f->capacity : 64;
        ag_piece *p = ag_memory_resize(&f->t->memory, f->pieces, f->capacity * sizeof *p, capacity * sizeof *p);
        if (!p) {
            ag_out_of_memory(f->t, "gradient", capacity * sizeof *p);
            return;
        }
        f->pieces = p;
        f->capacity = capacity;
    }
    uint32_t *first = &f->first[key - f->lo];
    f->pieces[++f->count] = (ag_piece){var, where, *first};
    *first = f->count;
}

/* Adjoints of transposed matrices, such as weights, are added as they lie in memory. */
static ag_var sum_of(ag_var x, ag_var y) {
    if (!ag_is_column_major(x) || !ag_is_column_major(y)) return ag_add(x, y);
    return ag_transpose(ag_add(ag_transpose(x), ag_transpose(y)));
}

void ag_flow_add(ag_flow *f, ag_operand x, ag_var var) {
    uint32_t key = key_of(f, x);
    if (!inside(f, key) || ag_is_zero(var) || f->t->status != AG_OK) return;
    const ag_base *base = ag_base_of(f->t, x.slot);
    if (base && inside(f, base->start) && f->depends[base->start - f->lo] == SETTLED)
        f->depends[base->start - f->lo] = DEPENDS;
    if (x.view > VIEW_CONSTANT && (!base || base->count == 0)) { /* a scalar seen with more dims: all is one slot */
        var = ag_sum_to(f->t, ag_expand_to(f->t, var, ag_operand_shape(f->t, x)), (ag_shape){0});
        x.view = VIEW_SCALAR;
    }
    for (uint32_t p = f->first[key - f->lo]; p; p = f->pieces[p].next) {
        ag_operand w = f->pieces[p].where;
        if (w.slot != x.slot || (w.view != x.view && (w.view > VIEW_CONSTANT || x.view > VIEW_CONSTANT))) continue;
        f->pieces[p].var = sum_of(f->pieces[p].var, var);
        return;
    }
    push_piece(f, key, x, var);
}

static bool is_whole(const ag_tape *t, const ag_base *base, ag_operand x) {
    const ag_view *v = ag_view_at(t, x.view);
    return v->contiguous && x.slot == base->start && v->count == base->count;
}

/* Whether a view is all of a base with its axes in another order: that of the base's strides. */
static bool is_permuted(const ag_tape *t, const ag_base *base, ag_operand x, ag_axes *order) {
    const ag_view *v = ag_view_at(t, x.view);
    if (x.slot != base->start || v->count != base->count) return false;
    *order = (ag_axes){.count = v->rank};
    for (int i = 0; i < v->rank; i++) {
        int j = i;
        for (; j > 0 && v->stride[order->axis[j - 1]] < v->stride[i]; j--) order->axis[j] = order->axis[j - 1];
        order->axis[j] = i;
    }
    int64_t step = 1;
    for (int i = v->rank - 1; i >= 0; i--) {
        if (v->stride[order->axis[i]] != step) return false;
        step *= v->dim[order->axis[i]];
    }
    return true;
}

/* The pieces of a base, and of single elements of it, one after the other. */
static uint32_t count_pieces(const ag_flow *f, const ag_base *base) {
    uint32_t n = 0, keys = base->scalars ? base->count : 1;
    for (uint32_t s = base->start; s < base->start + keys && s < f->hi; s++)
        for (uint32_t p = f->first[s - f->lo]; p; p = f->pieces[p].next) n++;
    return n;
}

static ag_var add_piece(ag_var sum, ag_var piece) {
    return ag_is_zero(sum) ? piece : ag_is_zero(piece) ? sum : ag_add(sum, piece);
}

/* Parts that lie in one tensor just as they are to lie: that tensor; inert if they do not. */
static ag_var common_tensor(ag_tape *t, const ag_var *parts, const ag_placement *where, uint32_t n, int64_t total) {
    enum { MOST = 8 };
    const ag_view *views[MOST];
    int64_t offset[MOST];
    const ag_base *whole = NULL;
    if (n < 2 || n > MOST) return ag_inert(NULL);
    for (uint32_t k = 0; k < n; k++) {
        ag_operand o;
        if (ag_tape_of(parts[k]) != t || !ag_locate(parts[k], &o) || o.view <= VIEW_CONSTANT) return ag_inert(NULL);
        const ag_base *base = ag_base_of(t, o.slot);
        views[k] = ag_view_at(t, o.view);
        if (!base || (whole && base != whole)) return ag_inert(NULL);
        whole = base;
        offset[k] = (int64_t)o.slot - base->start;
        if (offset[k] != where[k].offset) return ag_inert(NULL);
        for (int i = 0; i < views[k]->rank; i++)
            if (views[k]->dim[i] != 1 && views[k]->stride[i] != where[k].stride[i]) return ag_inert(NULL);
    }
    if (whole->count != total || !ag_views_tile(views, offset, (int)n, total)) return ag_inert(NULL);
    return ag_reshape(ag_var_of(t, whole->start, whole->view), AG_SHAPE(total));
}

/* Pieces that are all of the base are added, which can be done together with what is computed from it. */
static ag_var assemble_base(ag_flow *f, const ag_base *base, uint32_t n) {
    ag_tape *t = f->t;
    ag_placement *where = ag_scratch(t, n * sizeof *where);
    ag_var *parts = ag_scratch(t, n * sizeof *parts);
    ag_var result = ag_inert(t), all = ag_num(0);
    ag_base b = *base;
    if (where && parts) {
        uint32_t k = 0, keys = b.scalars ? b.count : 1;
        for (uint32_t s = b.start; s < b.start + keys && s < f->hi; s++) {
            for (uint32_t p = f->first[s - f->lo]; p; p = f->pieces[p].next) {
                const ag_view *v = ag_view_at(t, f->pieces[p].where.view);
                if (is_whole(t, &b, f->pieces[p].where)) {
                    ag_var piece = ag_expand_to(t, f->pieces[p].var, ag_view_shape(v));
                    all = add_piece(all, ag_reshape(piece, AG_SHAPE(b.count)));
                    continue;
                }
                where[k].offset = (int64_t)f->pieces[p].where.slot - b.start;
                for (int i = 0; i < v->rank; i++) where[k].stride[i] = v->stride[i];
                parts[k++] = ag_expand_to(t, f->pieces[p].var, ag_view_shape(v));
            }
        }
        if (k > 0) result = common_tensor(t, parts, where, k, b.count);
        if (k > 0 && ag_is_inert(result)) result = ag_assemble(t, AG_SHAPE(b.count), parts, where, (int)k);
        result = k > 0 ? add_piece(result, all) : all;
    }
    ag_scratch_free(t, where);
    ag_scratch_free(t, parts);
    return result;
}

/* One var for all of a base, in the shape that it was recorded with. */
static ag_var settle(ag_flow *f, uint32_t start) {
    ag_tape *t = f->t;
    ag_base base = *ag_base_of(t, start);
    uint8_t *state = &f->depends[start - f->lo];
    if (*state == SETTLED) return f->first[start - f->lo] ? f->pieces[f->first[start - f->lo]].var : ag_num(0);
    uint32_t n = count_pieces(f, &base);
    if (*state) *state = SETTLED;
    if (n == 0) return ag_num(0);
    ag_shape shape = ag_view_shape(ag_view_at(t, base.view));
    uint32_t p = f->first[base.start - f->lo];
    ag_axes order;
    ag_var all;
    if (n == 1 && p && is_whole(t, &base, f->pieces[p].where))
        all = ag_expand_to(t, f->pieces[p].var, ag_operand_shape(t, f->pieces[p].where));
    else if (n == 1 && p && is_permuted(t, &base, f->pieces[p].where, &order))
        all = ag_permute(ag_expand_to(t, f->pieces[p].var, ag_operand_shape(t, f->pieces[p].where)), order);
    else all = assemble_base(f, &base, n);
    all = ag_reshape(all, shape);
    uint32_t keys = base.scalars ? base.count : 1;
    for (uint32_t s = base.start; s < base.start + keys && s < f->hi; s++) f->first[s - f->lo] = 0;
    uint32_t view = ag_intern_shape(t, shape, false);
    if (t->status == AG_OK) push_piece(f, base.start, (ag_operand){base.start, view}, all);
    return all;
}

ag_var ag_flow_at(ag_flow *f, ag_operand x) {
    ag_tape *t = f->t;
    const ag_base *base = ag_base_of(t, x.slot);
    if (!base || base->count == 0) {
        if (!inside(f, x.slot)) return ag_num(0);
        uint32_t p = f->first[x.slot - f->lo];
        ag_var v = p ? f->pieces[p].var : ag_num(0);
        return ag_is_zero(v) || x.view <= VIEW_CONSTANT ? v : ag_expand_to(t, v, ag_operand_shape(t, x));
    }
    if (!inside(f, base->start)) return ag_num(0);
    int64_t offset = (int64_t)x.slot - base->start;
    bool whole = is_whole(t, base, x);
    ag_var all = settle(f, base->start);
    if (ag_is_zero(all) || t->status != AG_OK) return all;
    ag_shape shape = ag_operand_shape(t, x);
    if (whole) return ag_reshape(all, shape);
    return ag_view_of(ag_contiguous(all), offset, shape, ag_view_at(t, x.view)->stride);
}

/* ---- steps ---- */

static bool copy_node(ag_tape *t, uint32_t offset, ag_step_info *s) {
    const ag_node *node = ag_node_at(t, offset);
    s->operation = node->operation;
    s->code = (ag_opcode)node->code;
    s->result = (ag_operand){node->slot, node->view};
    s->n = node->n;
    s->params_size = node->params_size;
    size_t in_size = node->n > 4 ? node->n * sizeof *s->in : 0;
    if (in_size + s->params_size) {
        s->memory = ag_scratch(t, in_size + s->params_size);
        if (!s->memory) return false;
        if (in_size) s->in = s->memory;
        s->params = (char *)s->memory + in_size;
        if (s->params_size) memcpy(s->params, ag_node_params((ag_node *)(uintptr_t)node), s->params_size);
    }
    if (node->n) memcpy(s->in, node->in, node->n * sizeof *s->in);
    return true;
}

bool ag_step_open(ag_tape *t, uint32_t instruction, uint32_t slot, ag_step_info *s) {
    *s = (ag_step_info){.in = s->few};
    const ag_instruction_ *i = ag_instructions(t) + instruction;
    uint32_t op = ag_op_of(i);
    if (op == OP_LEAF) return false;
    if (op == OP_NODE) return copy_node(t, i->a, s);
    s->code = (ag_opcode)op;
    s->result = (ag_operand){slot, VIEW_SCALAR};
    uint32_t in[3];
    s->n = (uint32_t)ag_scalar_operands(i, in, &s->number);
    for (uint32_t k = 0; k < s->n; k++) s->in[k] = (ag_operand){in[k], VIEW_SCALAR};
    return true;
}

void ag_step_close(ag_tape *t, ag_step_info *s) { ag_scratch_free(t, s->memory); }
