/* What every program holds to, checked: after each transformation in debug builds, and of what was read from a file. */
#include "program_impl.h"

static bool wrong(ag_program *p, uint64_t i, const char *what) {
    ag_program_fail(p, AG_ERR_VALUE, "verify: instruction %llu: %s", (unsigned long long)i, what);
    return false;
}

/* ---- views ---- */

/* A view is as its shape and strides say, and nothing about it overflows. */
static bool verify_view(ag_program *p, uint64_t i) {
    const ag_pview *w = ag_pview_at(p, i < UINT32_MAX ? (uint32_t)i : 0);
    const ag_view *v = &w->view;
    int64_t count, lo = 0, hi = 0, natural = 1;
    bool ok = v->rank > 0 && v->rank <= AG_MAX_RANK && w->offset >= 0, contiguous = true;
    ok = ok && ag_shape_count(ag_view_shape(v), &count) && count == v->count;
    for (int k = ok ? v->rank - 1 : -1; k >= 0 && count; k--) {
        int64_t reach;
        ok &= v->stride[k] > INT64_MIN &&
              ag_multiply_sizes(v->dim[k] - 1, v->stride[k] < 0 ? -v->stride[k] : v->stride[k], &reach);
        if (!ok || lo < INT64_MIN / 2 + reach || hi > INT64_MAX / 2 - reach) {
            ok = false;
            break;
        }
        if (v->stride[k] < 0) lo -= reach;
        else hi += reach;
        contiguous &= v->dim[k] == 1 || v->stride[k] == natural;
        natural *= v->dim[k];
    }
    if (ok && v->lo == lo && v->hi == hi && v->contiguous == contiguous) return true;
    ag_program_fail(p, AG_ERR_VALUE, "verify: view %llu: its extent is not that of its shape and strides",
                    (unsigned long long)i);
    return false;
}

static bool is_where(const ag_program *p, uint32_t where) { return where & WHERE_ELEMENT || where < p->views.count; }

/* Whether a ref to one of the first `defined` values lies inside it. */
static bool is_inside(const ag_program *p, ag_ref r, uint64_t defined) {
    if (r.value >= defined || !is_where(p, r.where)) return false;
    int64_t count = ag_value_count(p, r.value), at = ag_where_offset(p, r.where);
    if (r.where & WHERE_ELEMENT) return at < count;
    const ag_view *v = &ag_pview_at(p, r.where)->view;
    return v->count == 0 || (at <= count && at + v->lo >= 0 && at + v->hi < count);
}

/* ---- instructions ---- */

static bool broadcasts_to(ag_shape from, ag_shape to, bool *gives) {
    int lead = to.rank - from.rank;
    for (int i = 0; i < from.rank && lead >= 0; i++) {
        int64_t d = from.dim[i], e = to.dim[lead + i];
        if (d != e && d != 1) return false;
        gives[lead + i] |= d == e;
    }
    return lead >= 0;
}

/* Operands broadcast to the result's shape, and give it each of its dims. */
static bool verify_elementwise(ag_program *p, uint64_t i, const ag_code *c) {
    ag_shape shape = ag_where_shape(p, c->view);
    bool gives[AG_MAX_RANK] = {false}, all = true;
    int rank = 0;
    for (int k = 0; k < ag_op_table[c->op].arity; k++) {
        ag_shape own = ag_where_shape(p, ag_ref_at(p, c->in + (uint32_t)k)->where);
        if (own.rank > rank) rank = own.rank;
        if (!broadcasts_to(own, shape, gives)) return wrong(p, i, "an operand does not broadcast to the result");
    }
    for (int k = 0; k < shape.rank; k++) all &= gives[k];
    return (all && rank == shape.rank) || wrong(p, i, "the operands do not broadcast to the result's shape");
}

/* The operation's own rule gives this shape, and as many bytes to save. `t` is for what it has to say. */
static bool verify_shape(ag_program *p, uint64_t i, const ag_code *c, ag_tape *t) {
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    static const ag_view scalar = {.contiguous = true, .count = 1};
    ag_array few[8], *in = call->n <= 8 ? few : ag_scratch(t, call->n * sizeof *in);
    for (uint32_t k = 0; in && k < call->n; k++) {
        uint32_t where = ag_ref_at(p, c->in + k)->where;
        in[k] = (ag_array){NULL, where & WHERE_ELEMENT ? &scalar : &ag_pview_at(p, where)->view};
    }
    ag_call rule = {.tape = t,
                    .type = p->type,
                    .n = (int)call->n,
                    .in = in,
                    .params = ag_pparams_at(p, call->params),
                    .params_size = call->params_size};
    bool ok = in && call->operation->shape(&rule) && t->status == AG_OK;
    if (in != few) ag_scratch_free(t, in);
    if (!ok) ag_program_fail(p, t->status, "verify: instruction %llu: %s", (unsigned long long)i, t->message);
    if (!ok) return wrong(p, i, "the operation does not take its operands");
    ag_shape shape = ag_where_shape(p, c->view);
    bool same = rule.shape.rank == shape.rank && rule.saved_size <= call->saved_size;
    for (int k = 0; same && k < shape.rank; k++) same = rule.shape.dim[k] == shape.dim[k];
    return same || wrong(p, i, "the operation gives another shape, or saves more bytes than it has room for");
}

static bool verify_call(ag_program *p, uint64_t i, const ag_code *c, ag_tape **t) {
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    if (!call->operation || !call->operation->shape || !call->operation->forward)
        return wrong(p, i, "there is no operation");
    if (call->params % 8 || call->params > p->params.count || call->params_size > p->params.count - call->params)
        return wrong(p, i, "its parameters are not there");
    if (!*t) *t = ag_tape_new_with(&(ag_options){p->type, p->memory.permit, p->memory.context, true});
    if ((*t)->status == AG_OK) (*t)->tracing = true; /* as where programs are recorded: nothing is saved for a sweep */
    ag_tape_recover(*t);
    return verify_shape(p, i, c, *t);
}

/* That its view and its operands are there, before anything is asked about them. */
static bool verify_operands(ag_program *p, uint64_t i, const ag_code *c) {
    if (c->op >= CODE_COUNT) return wrong(p, i, "no such operation");
    if (c->op == CODE_CALL && c->extra >= p->calls.count) return wrong(p, i, "its call is not there");
    uint64_t n = ag_operand_count(p, c);
    if (n && c->in + n > p->refs.count) return wrong(p, i, "its operands are not there");
    bool whole = c->view == WHERE_ELEMENT;
    if (!(c->view & WHERE_ELEMENT) && is_where(p, c->view)) {
        const ag_pview *w = ag_pview_at(p, c->view);
        whole = w->offset == 0 && w->view.contiguous;
    }
    if (!whole) return wrong(p, i, "its value is not a row-major tensor");
    for (uint64_t k = 0; k < n; k++)
        if (!is_inside(p, *ag_ref_at(p, c->in + k), i))
            return wrong(p, i, "an operand is not defined before, or not inside its value");
    return true;
}

static bool verify_input(ag_program *p, uint64_t i, const ag_code *c) {
    if (c->extra >= p->inputs.count) return wrong(p, i, "no such input");
    ag_ref r = ag_pinput_at(p, c->extra)->ref;
    return (r.value == i && r.where == c->view) || wrong(p, i, "the input is another value");
}

static bool verify_constant(ag_program *p, uint64_t i, const ag_code *c) {
    uint64_t n = (uint64_t)ag_where_count(p, c->view);
    return (c->extra <= p->constants.count && n <= p->constants.count - c->extra) ||
           wrong(p, i, "its numbers are not there");
}

static bool verify_code(ag_program *p, uint64_t i, ag_tape **t) {
    const ag_code *c = ag_code_at(p, i);
    if (!verify_operands(p, i, c)) return false;
    switch (c->op) {
    case CODE_INPUT: return verify_input(p, i, c);
    case CODE_CONSTANT: return verify_constant(p, i, c);
    case CODE_CALL: return verify_call(p, i, c, t);
    default: return verify_elementwise(p, i, c);
    }
}

/* ---- the whole ---- */

static bool verify_port(ag_program *p, const ag_pport *port, bool input) {
    bool named =
        port->name < p->names.count && memchr(ag_name_at(p, port->name), 0, p->names.count - port->name) != NULL;
    bool ok = named && is_inside(p, port->ref, p->codes.count);
    if (ok && input) ok = ag_code_at(p, port->ref.value)->op == CODE_INPUT;
    if (!ok) ag_program_fail(p, AG_ERR_VALUE, "verify: an %s has no name or no value", input ? "input" : "output");
    return ok;
}

bool ag_program_verify(ag_program *p) {
    ag_tape *t = NULL;
    bool ok = p->status == AG_OK;
    for (uint64_t i = 0; ok && i < p->views.count; i++) ok = verify_view(p, i);
    for (uint64_t i = 0; ok && i < p->codes.count; i++) ok = verify_code(p, i, &t);
    for (uint64_t k = 0; ok && k < p->inputs.count; k++) {
        const ag_pport *port = ag_pinput_at(p, k);
        ok = verify_port(p, port, true);
        if (ok && ag_code_at(p, port->ref.value)->extra != k)
            ok = wrong(p, port->ref.value, "two inputs are one value");
    }
    for (uint64_t k = 0; ok && k < p->outputs.count; k++) ok = verify_port(p, ag_poutput_at(p, k), false);
    ag_tape_free(t);
    return ok;
}
