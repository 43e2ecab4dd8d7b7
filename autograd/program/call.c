/* A program's operations recorded on a tape. */
#include "program_impl.h"

ag_var ag_replay_operand(const ag_replay *r, ag_ref x) {
    const ag_program *p = r->p;
    ag_var v = r->value[x.value];
    bool scalar = ag_code_at(p, x.value)->view & WHERE_ELEMENT;
    if (x.where & WHERE_ELEMENT) return scalar ? v : ag_at(v, (int64_t)(x.where & ~WHERE_ELEMENT));
    const ag_pview *w = ag_pview_at(p, x.where);
    ag_shape shape = ag_view_shape(&w->view);
    if (scalar) return ag_expand_to(r->t, v, shape);
    if (x.where == ag_code_at(p, x.value)->view) return v;
    return ag_view_of(v, w->offset, shape, w->view.stride);
}

static ag_var constant_of(const ag_replay *r, const ag_code *c) {
    const double *data = ag_pconstant_at(r->p, c->extra);
    if (c->view & WHERE_ELEMENT) return ag_num(*data);
    return ag_constant_tensor(r->t, data, ag_where_shape(r->p, c->view));
}

static ag_var replay_call(const ag_replay *r, const ag_code *c) {
    const ag_pcall *call = ag_pcall_at(r->p, c->extra);
    ag_var few[8], *in = call->n <= 8 ? few : ag_scratch(r->t, call->n * sizeof *in);
    if (!in) return ag_inert(r->t);
    for (uint32_t k = 0; k < call->n; k++) {
        in[k] = ag_replay_operand(r, *ag_ref_at(r->p, c->in + k));
        if (!ag_tape_of(in[k])) in[k] = ag_constant(r->t, in[k].value);
    }
    ag_var y = ag_apply(call->operation, in, (int)call->n, ag_pparams_at(r->p, call->params), call->params_size);
    if (in != few) ag_scratch_free(r->t, in);
    return y;
}

ag_var ag_replay_code(const ag_replay *r, uint32_t i, const ag_var *xs) {
    const ag_code *c = ag_code_at(r->p, i);
    if (c->op == CODE_INPUT) return ag_contiguous(xs[c->extra]);
    if (c->op == CODE_CONSTANT) return constant_of(r, c);
    if (c->op == CODE_CALL) return replay_call(r, c);
    ag_var in[3] = {ag_num(0), ag_num(0), ag_num(0)};
    int n = ag_op_table[c->op].arity;
    for (int k = 0; k < n; k++) in[k] = ag_replay_operand(r, *ag_ref_at(r->p, c->in + (uint32_t)k));
    ag_opcode op = (ag_opcode)c->op;
    return n == 1 ? ag_apply1_(op, in[0]) : n == 2 ? ag_apply2_(op, in[0], in[1]) : ag_apply3_(op, in[0], in[1], in[2]);
}

/* The xs as vars of the tape, of the shapes that the program takes. */
static bool check_inputs(ag_tape *t, const ag_program *p, const ag_var *xs, ag_var *own) {
    if (p->type != ag_tape_type(t)) ag_fail(t, AG_ERR_VALUE, "call: the program is of another precision than the tape");
    for (int k = 0; k < ag_program_inputs(p) && t->status == AG_OK; k++) {
        ag_port port = ag_program_input(p, k);
        own[k] = ag_tape_of(xs[k]) ? xs[k] : ag_constant(t, xs[k].value);
        if (!ag_usable_on(t, own[k], "call")) return false;
        ag_shape shape = ag_shape_of(own[k]);
        bool fits = shape.rank == port.shape.rank;
        for (int i = 0; i < shape.rank && fits; i++) fits = shape.dim[i] == port.shape.dim[i];
        if (!fits)
            ag_fail(t, AG_ERR_SHAPE, "call: input %s takes shape %s, not %s", port.name, ag_show_shape(port.shape).text,
                    ag_show_shape(shape).text);
    }
    return t->status == AG_OK;
}

void ag_program_call(ag_tape *t, const ag_program *p, const ag_var *xs, ag_var *ys) {
    int ny = ag_program_outputs(p);
    if (t && ag_program_status(p) != AG_OK) ag_fail(t, ag_program_status(p), "call: %s", ag_program_message(p));
    else if (t && !ag_program_given(t, p, "call", xs, ys)) ny = 0;
    size_t n = p ? p->codes.count : 0, nx = (size_t)ag_program_inputs(p);
    ag_var *space = ag_tape_status(t) == AG_OK ? ag_scratch(t, (n + nx) * sizeof *space + 1) : NULL;
    ag_replay r = {t, p, space ? space + nx : NULL};
    if (space && check_inputs(t, p, xs, space)) { /* from here on ys may be the same array as xs */
        for (uint32_t i = 0; i < n && t->status == AG_OK; i++) r.value[i] = ag_replay_code(&r, i, space);
        for (int k = 0; k < ny && t->status == AG_OK; k++) {
            ys[k] = ag_replay_operand(&r, ag_poutput_at(p, (uint64_t)k)->ref);
            if (!ag_tape_of(ys[k])) ys[k] = ag_constant(t, ys[k].value);
        }
    }
    for (int k = 0; ys && k < ny && ag_tape_status(t) != AG_OK; k++) ys[k] = ag_inert(t);
    ag_scratch_free(t, space);
}
