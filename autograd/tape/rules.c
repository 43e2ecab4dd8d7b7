/* Rules of recorded derivatives: of elementwise operations, from the table; and for operations that lack their own. */
#include "tape_impl.h"

/* ---- elementwise ---- */

#define AG_OP1(NAME, name, ...)                                                                                        \
    static inline ag_var v_##name(ag_var x) { return ag_##name(x); }
#define AG_OP2(NAME, name, ...)                                                                                        \
    static inline ag_var v_##name(ag_var x, ag_var y) { return ag_apply2_(AG_##NAME, x, y); }
#define AG_OP3(NAME, name, ...)                                                                                        \
    static inline ag_var v_##name(ag_var x, ag_var y, ag_var z) { return ag_apply3_(AG_##NAME, x, y, z); }
#include "../ops/elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3

/* The formatter would take the lines behind these macros for parts of them. */
/* clang-format off */
static ag_var partial(ag_opcode op, int k, ag_var x, ag_var y, ag_var z, ag_var r) {
#define F(name) v_##name
#define K(c) ag_num(c)
    switch (op) {
#define AG_OP1(NAME, name, form, value, dx, ...)                                                                       \
    case AG_##NAME: return dx;
#define AG_OP2(NAME, name, form, value, dx, dy, ...)                                                                   \
    case AG_##NAME: return k == 0 ? (dx) : (dy);
#define AG_OP3(NAME, name, form, value, dx, dy, dz, ...)                                                               \
    case AG_##NAME: return k == 0 ? (dx) : k == 1 ? (dy) : (dz);
#include "../ops/elementwise.def"
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
    case AG_OPCODES: break;
    }
#undef F
#undef K
    (void)y, (void)z, (void)r;
    return ag_num(0);
}

/* clang-format on */

/* chain(w, p), without an instruction where w or p is a plain number that makes it w, -w, p or 0. */
static ag_var chain(ag_var w, ag_var p) {
    if (!ag_tape_of(p)) {
        double c = p.value;
        if (c == 1) return w;
        if (c == -1) return ag_neg(w);
        return c == 0 ? ag_num(0) : ag_mul(w, p);
    }
    if (!ag_tape_of(w) && w.value == 1) return p;
    return ag_chain(w, p);
}

ag_var ag_elementwise_rule(ag_opcode op, int k, ag_var w, const ag_var *in, ag_var r) {
    if (ag_op_table[op].traits & AG_FLAT) return ag_num(0);
    int n = ag_op_table[op].arity;
    return chain(w, partial(op, k, in[0], n > 1 ? in[1] : ag_num(0), n > 2 ? in[2] : ag_num(0), r));
}

ag_var ag_elementwise_contribution(ag_tape *t, ag_opcode op, int k, ag_var w, const ag_var *in, ag_var r,
                                   ag_shape shape) {
    if (ag_op_table[op].traits & AG_FLAT) return ag_num(0);
    int n = ag_op_table[op].arity;
    ag_var p = partial(op, k, in[0], n > 1 ? in[1] : ag_num(0), n > 2 ? in[2] : ag_num(0), r);
    if (!ag_tape_of(p) && ag_tape_of(w)) return chain(ag_sum_to(t, w, shape), p);
    return ag_sum_to(t, chain(w, p), shape);
}

/* ---- shapes ---- */

ag_var ag_expand_to(ag_tape *t, ag_var x, ag_shape shape) {
    return ag_expand(ag_tape_of(x) ? x : ag_constant(t, x.value), shape);
}

ag_var ag_sum_to(ag_tape *t, ag_var x, ag_shape shape) {
    if (!ag_tape_of(x)) return ag_expand_to(t, x, shape);
    ag_shape from = ag_shape_of(x);
    if (from.rank < shape.rank) return ag_expand_to(t, x, shape);
    int lead = from.rank - shape.rank;
    ag_axes axes = {0};
    bool smaller = false;
    for (int i = 0; i < from.rank; i++) {
        int64_t d = i < lead ? 1 : shape.dim[i - lead];
        if (i < lead || (d == 1 && from.dim[i] != 1)) axes.axis[axes.count++] = i;
        smaller |= i >= lead && d != 1 && from.dim[i] == 1;
    }
    if (axes.count) x = ag_reshape(ag_sum_over(x, axes, true), shape);
    return smaller ? ag_expand_to(t, x, shape) : x;
}

/* ---- an operation's adjoint as an operation ---- */

typedef struct ag_vjp_params {
    const ag_operation *operation;
    int k; /* the operand that the adjoint is for */
    size_t params_size;
} ag_vjp_params; /* the operation's own parameters follow */

/* Operands: w, then those of the operation. */
static bool vjp_shape(ag_call *c) {
    const ag_vjp_params *p = c->params;
    c->shape = ag_view_shape(c->in[1 + p->k].view);
    return true;
}

static bool vjp_forward(const ag_call *c) {
    const ag_vjp_params *p = c->params;
    const ag_operation *op = p->operation;
    size_t size = ag_type_size(c->type), out_size = (size_t)c->in[0].view->count * size;
    ag_array adjoints[AG_MAX_RANK * 2] = {{NULL, NULL}};
    if (c->n - 1 > AG_MAX_RANK * 2) {
        ag_fail(c->tape, AG_ERR_UNSUPPORTED,
                "%s: without `record`, an operation of %d operands has no recorded derivative", op->name, c->n - 1);
        return false;
    }
    for (int k = 0; k < c->n - 1; k++) adjoints[k].view = c->in[1 + k].view;
    adjoints[p->k].data = c->out.data;
    memset(c->out.data, 0, (size_t)c->out.view->count * size);
    ag_call call = {.tape = c->tape,
                    .type = c->type,
                    .n = c->n - 1,
                    .in = c->in + 1,
                    .in_adjoint = adjoints,
                    .out_adjoint = c->in[0],
                    .params = p + 1,
                    .params_size = p->params_size};
    if (!op->shape(&call)) return false;
    char *work = ag_scratch(c->tape, ag_pad8(out_size) + call.saved_size);
    if (!work) return false;
    call.out = (ag_array){work, c->in[0].view};
    call.saved = work + ag_pad8(out_size);
    bool ok = op->forward(&call) && op->adjoint(&call);
    ag_scratch_free(c->tape, work);
    return ok;
}

static bool vjp_adjoint(const ag_call *c) {
    const ag_vjp_params *p = c->params;
    ag_fail(c->tape, AG_ERR_UNSUPPORTED, "%s: a derivative of its derivative needs its `record` function",
            p->operation->name);
    return false;
}

static void vjp_record(const ag_rule *r, ag_var w, ag_var *contributions) {
    const ag_vjp_params *p = r->params;
    (void)w, (void)contributions;
    ag_fail(r->tape, AG_ERR_UNSUPPORTED, "%s: a derivative of its derivative needs its `record` function",
            p->operation->name);
}

static const ag_operation vjp_operation = {
    .name = "vjp", .shape = vjp_shape, .forward = vjp_forward, .adjoint = vjp_adjoint, .record = vjp_record};

static bool fail_without_reverse(ag_tape *t, const ag_operation *op) {
    ag_fail(t, AG_ERR_UNSUPPORTED, "%s: reverse mode needs its `adjoint` or its `record` function", op->name);
    return false;
}

void ag_record_by_adjoint(const ag_operation *op, const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_tape *t = rule->tape;
    if (!op->adjoint) {
        fail_without_reverse(t, op);
        return;
    }
    size_t n = (size_t)rule->n + 1;
    ag_var *in = ag_scratch(t, n * sizeof *in);
    ag_vjp_params *p = ag_scratch(t, sizeof *p + rule->params_size);
    if (in && p) {
        in[0] = w;
        for (size_t k = 1; k < n; k++) in[k] = rule->in[k - 1];
        p->operation = op;
        p->params_size = rule->params_size;
        if (rule->params_size) memcpy(p + 1, rule->params, rule->params_size);
        for (int k = 0; k < rule->n; k++) {
            if (!rule->wanted[k]) continue;
            p->k = k;
            contributions[k] = ag_apply(&vjp_operation, in, (int)n, p, sizeof *p + rule->params_size);
        }
    }
    ag_scratch_free(t, in);
    ag_scratch_free(t, p);
}

/* ---- and the other way round: an adjoint by what is recorded for it, on a tape of its own ---- */

static ag_var leaf_of(ag_tape *t, const ag_array *x) {
    ag_shape shape = ag_view_shape(x->view);
    if (shape.rank == 0) return ag_input(t, ag_load(t->type, x->data, 0));
    return t->type == AG_F64 ? ag_tensor(t, x->data, shape) : ag_tensor_f32(t, x->data, shape);
}

static void add_contributions(ag_tape *t, const ag_call *call, const ag_rule *rule, ag_var *contributions) {
    for (int k = 0; k < call->n && t->status == AG_OK; k++) {
        if (!rule->wanted[k] || ag_is_zero(contributions[k])) continue;
        ag_var c = ag_contiguous(ag_sum_to(t, contributions[k], ag_view_shape(call->in[k].view)));
        const void *from = ag_data(c);
        if (from) t->kernels->add_to((size_t)call->in[k].view->count, call->in_adjoint[k].data, from);
    }
}

bool ag_adjoint_by_record(const ag_operation *op, const ag_call *call) {
    if (!op->record) return fail_without_reverse(call->tape, op);
    size_t n = (size_t)call->n;
    const ag_memory *memory = &call->tape->memory;
    ag_tape *t = ag_tape_new_with(&(ag_options){call->type, memory->permit, memory->context, true});
    ag_var *in = t->status == AG_OK ? ag_scratch(t, n * (2 * sizeof *in + sizeof(bool)) + 1) : NULL;
    if (in) {
        ag_var *contributions = in + n, w = leaf_of(t, &call->out_adjoint);
        bool *wanted = (bool *)(void *)(contributions + n);
        for (size_t k = 0; k < n; k++) {
            in[k] = leaf_of(t, &call->in[k]);
            contributions[k] = ag_num(0);
            wanted[k] = call->in_adjoint[k].data != NULL;
        }
        ag_rule rule = {t,
                        call->n,
                        in,
                        ag_apply(op, in, call->n, call->params, call->params_size),
                        wanted,
                        call->params,
                        call->params_size};
        if (t->status == AG_OK) op->record(&rule, w, contributions);
        add_contributions(t, call, &rule, contributions);
    }
    if (t->status != AG_OK) ag_fail(call->tape, t->status, "%s", t->message);
    ag_scratch_free(t, in);
    ag_tape_free(t);
    return call->tape->status == AG_OK;
}

/* J v as the derivative by u of <J' u, v>: J' u is linear in u, so u may be anything. */
ag_var ag_tangent_by_record(const ag_operation *op, const ag_rule *rule, const ag_var *tangents) {
    ag_tape *t = rule->tape;
    if (!op->record) {
        ag_fail(t, AG_ERR_UNSUPPORTED, "%s: forward mode needs its `tangent` or its `record` function", op->name);
        return ag_inert(t);
    }
    size_t n = (size_t)rule->n;
    ag_var *back = ag_scratch(t, 2 * n * sizeof *back);
    if (!back) return ag_inert(t);
    ag_var *along = back + n;
    uint32_t paused = ag_suspend_pause(t); /* u has to be recorded even now */
    ag_var u = ag_shape_of(rule->out).rank ? ag_tensor(t, NULL, ag_shape_of(rule->out)) : ag_input(t, 0);
    for (size_t k = 0; k < n; k++) back[k] = ag_num(0);
    op->record(rule, u, back);
    int m = 0;
    for (size_t k = 0; k < n; k++) {
        if (!rule->wanted[k] || !ag_tape_of(back[k])) continue;
        back[m] = back[k];
        along[m++] = tangents[k];
    }
    ag_var result = ag_num(0);
    if (m) ag_vjp(back, along, m, &u, 1, &result);
    ag_restore_pause(t, paused);
    ag_scratch_free(t, back);
    return result;
}
