/* Derivatives recorded as instructions: reverse (adjoints flow back from the ys) and forward (tangents flow from the xs). */
#include "flow_impl.h"

enum { FEW = 4 }; /* operands that need no scratch memory */

/* Operands as vars, what is wanted of each, and room for what the rule gives. */
typedef struct ag_rule_space {
    ag_rule rule;
    ag_var *in, *out, few[2 * FEW];
    bool *wanted, few_wanted[FEW];
} ag_rule_space;

static bool open_rule(ag_flow *f, const ag_step_info *s, ag_rule_space *r) {
    ag_tape *t = f->t;
    r->in = s->n <= FEW ? r->few : ag_scratch(t, s->n * (2 * sizeof *r->in + sizeof *r->wanted));
    if (!r->in) return false;
    r->out = r->in + s->n;
    r->wanted = s->n <= FEW ? r->few_wanted : (bool *)(void *)(r->out + s->n);
    for (uint32_t k = 0; k < s->n; k++) {
        r->out[k] = ag_num(0);
        r->wanted[k] = false;
        r->in[k] = ag_num(s->number);
        if (s->in[k].slot == NOTHING) continue;
        r->in[k] = ag_var_of(t, s->in[k].slot, s->in[k].view);
        r->wanted[k] = !ag_is_constant_view(t, s->in[k].view) && ag_flow_depends(f, s->in[k]);
    }
    r->rule = (ag_rule){.tape = t,
                        .n = (int)s->n,
                        .in = r->in,
                        .out = ag_var_of(t, s->result.slot, s->result.view),
                        .wanted = r->wanted,
                        .params = s->params,
                        .params_size = s->params_size};
    return true;
}

static void close_rule(ag_flow *f, ag_rule_space *r) {
    if (r->in != r->few) ag_scratch_free(f->t, r->in);
}

/* ---- reverse ---- */

/* What an adjoint w of the step's result contributes to its operands. */
static void step_back(ag_flow *f, const ag_step_info *s, ag_var w) {
    ag_tape *t = f->t;
    ag_rule_space r;
    if (!open_rule(f, s, &r)) return;
    if (s->operation) {
        w = ag_expand_to(t, w, ag_operand_shape(t, s->result));
        if (s->operation->record) s->operation->record(&r.rule, w, r.out);
        else ag_record_by_adjoint(s->operation, &r.rule, w, r.out);
    }
    for (uint32_t k = 0; k < s->n && t->status == AG_OK; k++) {
        if (!r.wanted[k]) continue;
        bool tensor = s->in[k].view > VIEW_CONSTANT || s->result.view > VIEW_CONSTANT;
        ag_shape shape = ag_operand_shape(t, s->in[k]);
        if (!s->operation && tensor)
            r.out[k] = ag_elementwise_contribution(t, s->code, (int)k, w, r.in, r.rule.out, shape);
        else if (!s->operation) r.out[k] = ag_elementwise_rule(s->code, (int)k, w, r.in, r.rule.out);
        else if (!ag_is_zero(r.out[k]) && tensor) r.out[k] = ag_sum_to(t, r.out[k], shape);
        if (ag_is_zero(r.out[k])) continue;
        ag_flow_add(f, s->in[k], r.out[k]);
    }
    close_rule(f, &r);
}

static void flow_back(ag_flow *f) {
    ag_tape *t = f->t;
    ag_descent d = ag_descent_of(f);
    while (t->status == AG_OK && ag_descend(&d)) {
        ag_step_info s;
        bool known = d.slot >= f->lo && d.slot < f->hi && ag_op_of(ag_instructions(t) + d.instruction) != OP_LEAF &&
                     f->depends[d.slot - f->lo];
        if (!known || !ag_step_open(t, d.instruction, d.slot, &s)) continue;
        ag_var w = ag_flow_at(f, s.result);
        if (!ag_is_zero(w) && t->status == AG_OK) step_back(f, &s, w);
        ag_step_close(t, &s);
    }
}

static bool resolve_all(ag_tape *t, const char *what, const ag_var *v, int n, ag_operand *out) {
    for (int i = 0; i < n; i++)
        if (!ag_resolve(t, what, v[i], &out[i])) return false;
    return true;
}

static bool check_seed(ag_tape *t, const char *what, ag_var w, ag_operand y) {
    ag_operand o;
    if (!ag_tape_of(w)) return true;
    if (!ag_resolve(t, what, w, &o)) return false;
    const ag_view *from = ag_view_at(t, o.view), *to = ag_view_at(t, y.view);
    if (from->rank == 0 || ag_same_shape(from, to)) return true;
    ag_fail(t, AG_ERR_SHAPE, "%s: a direction or seed of shape %s for a var of shape %s", what, ag_show_view(from).text,
            ag_show_view(to).text);
    return false;
}

/* A var of x's shape for what a flow gives at x. */
static ag_var result_at(ag_flow *f, ag_operand x) {
    ag_tape *t = f->t;
    ag_var v = ag_flow_at(f, x);
    ag_shape shape = ag_operand_shape(t, x);
    if (ag_is_zero(v)) return shape.rank ? ag_zeros(t, shape) : ag_constant(t, 0);
    return ag_tape_of(v) ? v : ag_expand_to(t, v, shape);
}

typedef void ag_flowing(ag_flow *f);

/* Seeds at `from`, lets them flow, and collects at `to`. */
static void derive(const char *what, const ag_var *from, const ag_var *seeds, int nf, const ag_var *to, int nt,
                   bool reverse, ag_flowing *flow, ag_var *out) {
    const ag_var *ys = reverse ? from : to, *xs = reverse ? to : from;
    int ny = reverse ? nf : nt, nx = reverse ? nt : nf;
    ag_tape *t = ag_tape_among(ys, ny);
    if (!t) t = ag_tape_among(xs, nx);
    for (int i = 0; out && i < nt; i++) out[i] = ag_inert(t);
    if (!t || t->status != AG_OK) return;
    if ((nf > 0 && !ag_given(t, what, reverse ? "the array of outputs" : "the array of inputs", from)) ||
        (nf > 0 && !ag_given(t, what, reverse ? "the array of seeds" : "the array of directions", seeds)) ||
        (nt > 0 && !ag_given(t, what, reverse ? "the array of inputs" : "the array of outputs", to)) ||
        (nt > 0 && !ag_given(t, what, "the array of results", out)))
        return;
    if (ny < 0 || nx < 0) {
        ag_fail(t, AG_ERR_VALUE, "%s: %d outputs by %d inputs", what, ny, nx);
        for (int i = 0; i < nt; i++) out[i] = ag_inert(t);
        return;
    }
    ag_operand *y = ag_scratch(t, ((size_t)ny + (size_t)nx) * sizeof *y + 1);
    if (!y) return;
    ag_operand *x = y + ny;
    ag_flow f = {0};
    bool ok = resolve_all(t, what, ys, ny, y) && resolve_all(t, what, xs, nx, x);
    const ag_operand *start = reverse ? y : x, *end = reverse ? x : y;
    for (int i = 0; ok && i < nf; i++) ok = check_seed(t, what, seeds[i], start[i]);
    if (ok && ag_flow_open(&f, t, x, nx, y, ny) && (reverse || ag_flow_keep_needed(&f, y, ny))) {
        for (int i = 0; i < nf; i++) {
            if (!ag_flow_depends(&f, start[i])) continue;
            ag_shape shape = ag_operand_shape(t, start[i]);
            ag_flow_add(&f, start[i], shape.rank ? ag_expand_to(t, seeds[i], shape) : seeds[i]);
        }
        if (nf && nt && f.hi > f.lo) flow(&f);
        for (int i = 0; i < nt && t->status == AG_OK; i++) out[i] = result_at(&f, end[i]);
    }
    if (f.t) ag_flow_close(&f);
    ag_scratch_free(t, y);
    for (int i = 0; i < nt && t->status != AG_OK; i++) out[i] = ag_inert(t);
}

void ag_vjp(const ag_var *ys, const ag_var *ws, int ny, const ag_var *xs, int nx, ag_var *out) {
    derive("vjp", ys, ws, ny, xs, nx, true, flow_back, out);
}

void ag_gradient(ag_var y, const ag_var *xs, int n, ag_var *out) {
    if (ag_tape_of(y) && ag_count(y) != 1 && !ag_is_inert(y))
        ag_fail(ag_tape_of(y), AG_ERR_SHAPE,
                "gradient: the output has shape %s; only a scalar has a gradient, see ag_vjp",
                ag_show_shape(ag_shape_of(y)).text);
    ag_var one = ag_num(1);
    ag_vjp(&y, &one, 1, xs, n, out);
}

/* ---- forward ---- */

static ag_var step_forward(ag_flow *f, const ag_step_info *s) {
    ag_tape *t = f->t;
    ag_rule_space r;
    if (!open_rule(f, s, &r)) return ag_num(0);
    bool any = false;
    for (uint32_t k = 0; k < s->n; k++) {
        if (r.wanted[k]) r.out[k] = ag_flow_at(f, s->in[k]);
        r.wanted[k] &= !ag_is_zero(r.out[k]);
        any |= r.wanted[k];
    }
    ag_var sum = ag_num(0);
    if (any && s->operation) {
        for (uint32_t k = 0; k < s->n; k++)
            if (r.wanted[k]) r.out[k] = ag_expand_to(t, r.out[k], ag_operand_shape(t, s->in[k]));
        sum = s->operation->tangent ? s->operation->tangent(&r.rule, r.out)
                                    : ag_tangent_by_record(s->operation, &r.rule, r.out);
    }
    for (uint32_t k = 0; k < s->n && !s->operation; k++) {
        if (!r.wanted[k]) continue;
        ag_var c = ag_elementwise_rule(s->code, (int)k, r.out[k], r.in, r.rule.out);
        sum = ag_is_zero(sum) ? c : ag_is_zero(c) ? sum : ag_add(sum, c);
    }
    close_rule(f, &r);
    ag_shape shape = ag_operand_shape(t, s->result);
    return ag_is_zero(sum) || (!shape.rank && !ag_tape_of(sum)) ? sum : ag_expand_to(t, sum, shape);
}

static void flow_forward(ag_flow *f) {
    ag_tape *t = f->t;
    uint32_t slot, i = ag_find_instruction(t, f->lo, &slot), count = ag_instruction_count(t);
    for (; i < count && t->status == AG_OK; i++) {
        const ag_instruction_ *now = ag_instructions(t) + i;
        uint32_t op = ag_op_of(now);
        if (op >= OP_NODE) slot = now->b;
        if (slot >= f->hi) break;
        ag_step_info s;
        if (slot >= f->lo && op != OP_LEAF && f->depends[slot - f->lo] && ag_step_open(t, i, slot, &s)) {
            ag_flow_add(f, s.result, step_forward(f, &s));
            ag_step_close(t, &s);
        }
        slot = ag_next_slot(t, ag_instructions(t) + i, slot);
    }
}

void ag_jvp(const ag_var *ys, int ny, const ag_var *xs, const ag_var *vs, int nx, ag_var *out) {
    derive("jvp", xs, vs, nx, ys, ny, false, flow_forward, out);
}
