/* Structural operations, built in and the user's own: recorded by ag_apply, swept by ag_apply_adjoint. */
#include "tape_impl.h"

enum { FEW = 4 }; /* operands that need no scratch memory */

/* Values and adjoints of an instruction's operands. */
typedef struct ag_arrays {
    ag_array few[2 * FEW], *in, *adjoint;
} ag_arrays;

static bool open_arrays(ag_tape *t, ag_arrays *a, uint32_t n) {
    a->in = n <= FEW ? a->few : ag_scratch(t, 2 * (size_t)n * sizeof *a->in);
    if (!a->in) return false;
    a->adjoint = a->in + n;
    return true;
}

static void close_arrays(ag_tape *t, ag_arrays *a) {
    if (a->in != a->few) ag_scratch_free(t, a->in);
}

static void set_views(const ag_tape *t, ag_arrays *a, const ag_operand *in, uint32_t n) {
    for (uint32_t k = 0; k < n; k++) {
        a->in[k].view = a->adjoint[k].view = ag_view_at(t, in[k].view);
        a->in[k].data = a->adjoint[k].data = NULL;
    }
}

static void set_values(const ag_tape *t, ag_arrays *a, const ag_operand *in, uint32_t n) {
    for (uint32_t k = 0; k < n; k++) a->in[k].data = ag_value_at(t, in[k].slot);
}

/* Sets all but the dims of call->shape: zeroing them is a good part of what a small operation costs. */
static void begin_call(ag_call *call, ag_tape *t, uint32_t n, const ag_arrays *arrays, const void *params,
                       size_t size) {
    call->tape = t;
    call->type = t->type;
    call->n = (int)n;
    call->in = arrays->in;
    call->in_adjoint = arrays->adjoint;
    call->out.data = call->out_adjoint.data = NULL;
    call->out.view = call->out_adjoint.view = NULL;
    call->params = params;
    call->params_size = size;
    call->saved = NULL;
    call->fresh = 0;
    call->shape.rank = 0;
    call->saved_size = 0;
}

/* ---- what parameters refer to ---- */

void ag_drop_held(ag_tape *t) {
    ag_held *held = (ag_held *)(void *)t->held.base;
    while (t->held_count > 0) {
        ag_held *h = &held[--t->held_count];
        h->operation->hold(h->params, -1);
        ag_memory_free(&t->memory, h->params, h->size);
    }
}

/* Keeps a copy of the parameters, unless there is one. False after an error. */
static bool hold(ag_tape *t, const ag_operation *op, const void *params, size_t size) {
    ag_held *held = (ag_held *)(void *)t->held.base;
    for (uint32_t i = t->held_count; i-- > 0;)
        if (held[i].operation == op && held[i].size == size && memcmp(held[i].params, params, size) == 0) return true;
    size_t need = (t->held_count + (size_t)1) * sizeof *held;
    if (need > t->held.size && !ag_range_grow(&t->memory, &t->held, need, MOST_SLOTS * sizeof *held))
        return ag_out_of_memory(t, op->name, need);
    void *copy = ag_memory_resize(&t->memory, NULL, 0, size);
    if (!copy) return ag_out_of_memory(t, op->name, size);
    memcpy(copy, params, size);
    op->hold(copy, 1);
    ((ag_held *)(void *)t->held.base)[t->held_count++] = (ag_held){op, copy, size};
    return true;
}

/* ---- recording ---- */

AG_INLINE_ bool resolve_operands(ag_tape *t, const ag_operation *op, const ag_var *v, uint32_t n, ag_operand *in) {
    for (uint32_t k = 0; k < n; k++) {
        if (!ag_resolve(t, op->name, v[k], &in[k])) return false;
        if (op->strided || ag_view_at(t, in[k].view)->contiguous) continue;
        if (!ag_resolve(t, op->name, ag_contiguous(v[k]), &in[k])) return false;
    }
    return t->status == AG_OK;
}

/* The view of a result of this shape; VIEW_INERT after an error. */
static uint32_t result_view(ag_tape *t, const ag_operation *op, const ag_shape *s, bool constant) {
    if (s->rank == 0) return constant ? VIEW_CONSTANT : VIEW_SCALAR;
    int64_t count;
    if (ag_shape_count(*s, &count)) return ag_intern_shape(t, *s, constant);
    ag_fail(t, AG_ERR_SHAPE, "%s: a result of shape %s is not possible: at most %d dims and a product below 2^63",
            op->name, ag_show_shape(*s).text, AG_MAX_RANK);
    return VIEW_INERT;
}

AG_INLINE_ ag_var record(ag_tape *t, const ag_operation *op, const ag_operand *in, uint32_t n, const void *params,
                         size_t params_size, ag_arrays *arrays) {
    bool constant = true;
    for (uint32_t k = 0; k < n; k++) constant &= ag_is_constant_view(t, in[k].view);
    constant |= ag_is_pausing(t);
    set_views(t, arrays, in, n);
    ag_call call;
    begin_call(&call, t, n, arrays, params, params_size);
    if (!op->shape(&call) || t->status != AG_OK) return ag_inert(t);
    if (op->hold && params_size && !hold(t, op, params, params_size)) return ag_inert(t);
    uint32_t view = result_view(t, op, &call.shape, constant), offset;
    ag_pending p;
    if (view == VIEW_INERT || !ag_reserve_tensor(t, op->name, view, &p)) return ag_inert(t);
    if (!ag_reserve_node(t, op->name, n, params_size, call.saved_size, &offset)) return ag_inert(t);
    ag_node *node = ag_node_at(t, offset);
    node->operation = op;
    node->slot = p.slot;
    node->view = view;
    if (n) memcpy(node->in, in, n * sizeof *in);
    if (params_size) memcpy(ag_node_params(node), params, params_size);
    set_values(t, arrays, in, n);
    call.params = ag_node_params(node);
    call.saved = ag_node_saved(node);
    call.out = (ag_array){ag_value_at(t, p.slot), ag_view_at(t, view)};
    /* of an empty result there is nothing to compute, though its other dims may be huge */
    bool computes = call.out.view->count > 0 && (constant || !t->abstract);
    if (computes && (!op->forward(&call) || t->status != AG_OK)) return ag_inert(t);
    return ag_commit_tensor(t, p, constant ? NOTHING : offset, view);
}

/* What a caller's own operation may lack. */
static bool is_whole(const ag_operation *op, const void *params, size_t params_size) {
    return op && op->name && op->shape && op->forward && (params || !params_size);
}

static void say_what_lacks(ag_tape *t, const ag_operation *op, size_t params_size) {
    if (!ag_given(t, "apply", "the operation", op)) return;
    if (!op->name || !op->shape || !op->forward)
        ag_fail(t, AG_ERR_VALUE, "apply: the operation %s has no %s", op->name ? op->name : "",
                !op->name    ? "name"
                : !op->shape ? "`shape`"
                             : "`forward`");
    else ag_fail(t, AG_ERR_VALUE, "%s: %zu bytes of parameters at NULL", op->name, params_size);
}

AG_INLINE_ ag_var apply(const ag_operation *op, const ag_var *v, int n, const void *params, size_t params_size) {
    ag_tape *t = ag_tape_among(v, n);
    if (!t || t->status != AG_OK || n < 0) return ag_inert(t);
    if (!is_whole(op, params, params_size)) {
        say_what_lacks(t, op, params_size);
        return ag_inert(t);
    }
    ag_operand few[FEW], *in = n <= FEW ? few : ag_scratch(t, (size_t)n * sizeof *in);
    if (!in) return ag_inert(t);
    ag_var result = ag_inert(t);
    ag_arrays arrays;
    if (resolve_operands(t, op, v, (uint32_t)n, in) && open_arrays(t, &arrays, (uint32_t)n)) {
        result = ag_result(t, record(t, op, in, (uint32_t)n, params, params_size, &arrays));
        close_arrays(t, &arrays);
    }
    if (in != few) ag_scratch_free(t, in);
    return result;
}

/* Twice: for one operand, which compilers then leave loops out for. */
ag_var ag_apply(const ag_operation *op, const ag_var *v, int n, const void *params, size_t params_size) {
    return n == 1 ? apply(op, v, 1, params, params_size) : apply(op, v, n, params, params_size);
}

/* ---- adjoint ---- */

/* Whether no other operand with an adjoint has slots of operand k's base, so that storing cannot undo an addition. */
static bool is_alone(const ag_tape *t, const ag_node *node, uint32_t k) {
    if (node->n > FEW) return false;
    const ag_base *base = ag_base_of(t, node->in[k].slot);
    for (uint32_t j = 0; j < node->n; j++)
        if (j != k && !ag_is_constant_view(t, node->in[j].view) && ag_base_of(t, node->in[j].slot) == base)
            return false;
    return true;
}

/* The operands, as bits, that together are all of a base whose adjoint is not set yet: each may be stored. */
static uint32_t find_tiles(ag_tape *t, const ag_node *node) {
    const ag_view *views[FEW];
    int64_t offset[FEW];
    uint32_t bits = 0;
    if (node->n > FEW) return 0;
    for (uint32_t k = 0; k < node->n; k++) {
        ag_base *base = ag_base_of(t, node->in[k].slot);
        if (bits >> k & 1 || ag_is_constant_view(t, node->in[k].view) || node->in[k].view <= VIEW_CONSTANT || !base ||
            base->epoch == t->epoch)
            continue;
        uint32_t group = 0;
        int n = 0;
        for (uint32_t j = k; j < node->n; j++) {
            if (ag_is_constant_view(t, node->in[j].view) || ag_base_of(t, node->in[j].slot) != base) continue;
            views[n] = ag_view_at(t, node->in[j].view);
            offset[n++] = (int64_t)node->in[j].slot - base->start;
            group |= 1u << j;
        }
        if (!ag_views_tile(views, offset, n, base->count)) continue;
        ag_place_adjoint(t, base);
        bits |= group;
    }
    return bits;
}

bool ag_apply_adjoint(ag_tape *t, ag_node *node) {
    const ag_operation *op = node->operation;
    if (ag_view_at(t, node->view)->count == 0) return true;
    ag_arrays a;
    if (!open_arrays(t, &a, node->n)) return false;
    set_views(t, &a, node->in, node->n);
    set_values(t, &a, node->in, node->n);
    const ag_view *v = ag_view_at(t, node->view);
    ag_call call;
    begin_call(&call, t, node->n, &a, ag_node_params(node), node->params_size);
    call.saved = ag_node_saved(node);
    call.saved_size = node->saved_size;
    call.fresh = op->stores && node->n > 1 ? find_tiles(t, node) : 0;
    for (uint32_t k = 0; k < node->n; k++) {
        if (a.in[k].view->constant) continue;
        bool fresh;
        a.adjoint[k].data = ag_adjoint_of(t, node->in[k], op->stores && is_alone(t, node, k), &fresh);
        if (fresh) call.fresh |= 1u << k;
    }
    call.out = (ag_array){ag_value_at(t, node->slot), v};
    call.out_adjoint = (ag_array){ag_result_adjoint(t, node), v};
    bool ok = (op->adjoint ? op->adjoint(&call) : ag_adjoint_by_record(op, &call)) && t->status == AG_OK;
    close_arrays(t, &a);
    return ok;
}
