/* A program in scalars only: every operation on tensors is replaced by those on their elements. What runs over lanes,
 * and what is printed as straight-line code, is such a program. */
#include "program_impl.h"

enum { MOST_ELEMENTS_IN_ALL = 1 << 24 };

typedef struct ag_unrolling {
    ag_tape *t;
    const ag_program *p;
    const ag_var *const *x; /* elements of the inputs */
    ag_var **value;         /* of each instruction, its elements */
} ag_unrolling;

/* Row-major elements of an operand of some shape, which may be larger: it is broadcast. */
static void elements_of(const ag_unrolling *u, ag_ref r, ag_shape shape, ag_var *out) {
    const ag_var *from = u->value[r.value] + ag_where_offset(u->p, r.where);
    int64_t stride[AG_MAX_RANK] = {0}, index[AG_MAX_RANK] = {0}, at = 0, count;
    if (!(r.where & WHERE_ELEMENT)) {
        const ag_view *v = &ag_pview_at(u->p, r.where)->view;
        int lead = shape.rank - v->rank;
        for (int i = 0; i < v->rank; i++) stride[lead + i] = v->dim[i] == 1 ? 0 : v->stride[i];
    }
    if (!ag_shape_count(shape, &count)) return;
    for (int64_t n = 0; n < count; n++) {
        out[n] = from[at];
        for (int i = shape.rank - 1; i >= 0; i--) {
            at += stride[i];
            if (++index[i] < shape.dim[i]) break;
            at -= stride[i] * shape.dim[i];
            index[i] = 0;
        }
    }
}

static ag_var apply(uint32_t op, const ag_var *in) {
    switch (ag_op_table[op].arity) {
    case 1: return ag_apply1_((ag_opcode)op, in[0]);
    case 2: return ag_apply2_((ag_opcode)op, in[0], in[1]);
    default: return ag_apply3_((ag_opcode)op, in[0], in[1], in[2]);
    }
}

/* Room for the elements of all operands, each in `shapes[k]`; in[k] points at them. NULL after an error. */
static ag_var *open_operands(const ag_unrolling *u, const ag_code *c, const ag_shape *shapes, const ag_var **in) {
    uint32_t n = ag_operand_count(u->p, c);
    int64_t total = 0, count;
    for (uint32_t k = 0; k < n; k++) total += ag_shape_count(shapes[k], &count) ? count : 0;
    ag_var *space = ag_scratch(u->t, (size_t)total * sizeof *space + 1), *at = space;
    for (uint32_t k = 0; space && k < n; k++) {
        elements_of(u, *ag_ref_at(u->p, c->in + k), shapes[k], at);
        in[k] = at;
        at += ag_shape_count(shapes[k], &count) ? count : 0;
    }
    return space;
}

static void unroll_elementwise(const ag_unrolling *u, const ag_code *c, ag_var *out) {
    ag_shape shape = ag_where_shape(u->p, c->view), shapes[3] = {shape, shape, shape};
    const ag_var *in[3] = {NULL, NULL, NULL};
    int64_t count;
    ag_var *space = open_operands(u, c, shapes, in);
    if (!space || !ag_shape_count(shape, &count)) return;
    for (int64_t i = 0; i < count; i++) {
        ag_var x[3] = {in[0][i], in[1] ? in[1][i] : ag_num(0), in[2] ? in[2][i] : ag_num(0)};
        out[i] = apply(c->op, x);
    }
    ag_scratch_free(u->t, space);
}

static void unroll_call(const ag_unrolling *u, const ag_code *c, ag_var *out) {
    const ag_pcall *call = ag_pcall_at(u->p, c->extra);
    if (!call->operation->scalars) {
        ag_fail(u->t, AG_ERR_UNSUPPORTED, "%s: this operation has no scalar form, which running over lanes needs",
                call->operation->name);
        return;
    }
    ag_shape *shapes = ag_scratch(u->t, call->n * sizeof *shapes + 1);
    const ag_var **in = ag_scratch(u->t, call->n * sizeof *in + 1);
    for (uint32_t k = 0; shapes && k < call->n; k++)
        shapes[k] = ag_where_shape(u->p, ag_ref_at(u->p, c->in + k)->where);
    ag_var *space = shapes && in ? open_operands(u, c, shapes, in) : NULL;
    if (space) {
        ag_elements e = {.tape = u->t,
                         .n = (int)call->n,
                         .shapes = shapes,
                         .in = in,
                         .shape = ag_where_shape(u->p, c->view),
                         .out = out,
                         .params = ag_pparams_at(u->p, call->params),
                         .params_size = call->params_size};
        call->operation->scalars(&e);
    }
    ag_scratch_free(u->t, space);
    ag_scratch_free(u->t, in);
    ag_scratch_free(u->t, shapes);
}

static void unroll(const ag_unrolling *u, const ag_code *c, int64_t count, ag_var *out) {
    for (int64_t i = 0; c->op == CODE_INPUT && i < count; i++) out[i] = u->x[c->extra][i];
    for (int64_t i = 0; c->op == CODE_CONSTANT && i < count; i++)
        out[i] = ag_num(*ag_pconstant_at(u->p, c->extra + (uint64_t)i));
    if (c->op == CODE_CALL) unroll_call(u, c, out);
    else if (c->op < AG_OPCODES) unroll_elementwise(u, c, out);
}

void ag_program_unroll(ag_tape *t, const ag_program *p, const ag_var *const *x, ag_var *ys) {
    uint64_t n = p->codes.count;
    int64_t total = 0;
    for (uint32_t i = 0; i < n && total <= MOST_ELEMENTS_IN_ALL; i++) total += ag_value_count(p, i);
    if (total > MOST_ELEMENTS_IN_ALL)
        ag_fail(t, AG_ERR_SLOTS, "scalars: the program has more than %d elements in all", MOST_ELEMENTS_IN_ALL);
    ag_var *space = ag_scratch(t, (size_t)total * sizeof *space + 1), *at = space;
    ag_unrolling u = {t, p, x, ag_scratch(t, n * sizeof *u.value + 1)};
    for (uint32_t i = 0; space && u.value && i < n && t->status == AG_OK; i++) {
        int64_t count = ag_value_count(p, i);
        u.value[i] = at;
        unroll(&u, ag_code_at(p, i), count, at);
        at += count;
    }
    for (uint64_t k = 0; t->status == AG_OK && k < p->outputs.count; k++) {
        ag_ref r = ag_poutput_at(p, k)->ref;
        elements_of(&u, r, ag_where_shape(p, r.where), ys);
        ys += ag_where_count(p, r.where);
    }
    ag_scratch_free(t, u.value);
    ag_scratch_free(t, space);
}

typedef struct ag_unrolled {
    const ag_program *p;
    const uint8_t *summed;
} ag_unrolled;

/* The elements of the outputs, one after the other, to ys. */
static void trace_elements(ag_tape *t, const ag_program *p, const ag_var *xs, ag_var *ys) {
    uint64_t nx = p->inputs.count;
    int64_t total = 0;
    for (uint64_t k = 0; k < nx; k++) total += ag_where_count(p, ag_pinput_at(p, k)->ref.where);
    ag_var *space = ag_scratch(t, (size_t)total * sizeof *space + 1), *at = space;
    const ag_var **x = ag_scratch(t, nx * sizeof *x + 1);
    for (uint64_t k = 0; space && x && k < nx; k++) {
        uint32_t where = ag_pinput_at(p, k)->ref.where;
        x[k] = at;
        for (int64_t i = 0; i < ag_where_count(p, where); i++) *at++ = where & WHERE_ELEMENT ? xs[k] : ag_at(xs[k], i);
    }
    if (space && x) ag_program_unroll(t, p, x, ys);
    ag_scratch_free(t, x);
    ag_scratch_free(t, space);
}

static int64_t output_count(const ag_program *p, uint64_t k) {
    return ag_where_count(p, ag_poutput_at(p, k)->ref.where);
}

static int64_t outputs_count(const ag_program *p) {
    int64_t n = 0;
    for (uint64_t k = 0; k < p->outputs.count; k++) n += output_count(p, k);
    return n;
}

static void trace_scalars(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_unrolled *u = context;
    const ag_program *p = u->p;
    int64_t at_output = 0;
    trace_elements(t, p, xs, ys);
    for (uint64_t k = 0; u->summed && k < p->outputs.count && t->status == AG_OK; k++) {
        int64_t end = at_output + output_count(p, k);
        for (; at_output < end; at_output++)
            if (u->summed[k]) ys[at_output] = ag_add(ag_at(xs[p->inputs.count], at_output), ys[at_output]);
    }
}

/* `like` has the type and the memory of the result. */
static ag_program *scalars_of(const ag_program *p, const uint8_t *summed, const ag_program *like) {
    int nx = ag_program_inputs(p);
    int64_t ny = outputs_count(p);
    ag_memory memory = {p->memory.permit, p->memory.context, true, 0};
    size_t size = (size_t)(nx + 1) * sizeof(ag_port);
    ag_port *in = ag_memory_resize(&memory, NULL, 0, size);
    ag_program *q;
    if (in && ny < INT32_MAX) {
        for (int k = 0; k < nx; k++) in[k] = ag_program_input(p, k);
        in[nx] = ag_in("sums", AG_SHAPE(ny));
        ag_unrolled u = {p, summed};
        q = ag_trace_like(like, trace_scalars, &u, in, nx + (summed != NULL), NULL, (int)ny);
    } else {
        q = ag_program_failed(p, AG_ERR_MEMORY, "scalars: out of memory, or %lld outputs are too many", (long long)ny);
    }
    ag_memory_free(&memory, in, size);
    return q;
}

ag_program *ag_program_scalars(const ag_program *p) {
    if (ag_program_status(p) == AG_OK) return scalars_of(p, NULL, p);
    return ag_program_failed(p, ag_program_status(p), "%s", ag_program_message(p));
}

typedef struct ag_allowance {
    const ag_memory *memory;
    size_t left;
} ag_allowance;

static bool allow(void *context, size_t bytes) {
    ag_allowance *a = context;
    if (bytes > a->left || (a->memory->permit && !a->memory->permit(a->memory->context, bytes))) return false;
    a->left -= bytes;
    return true;
}

ag_program *ag_program_row_scalars(const ag_program *p, const uint8_t *summed, size_t bytes) {
    if (ag_program_status(p) != AG_OK) return ag_program_scalars(p);
    ag_allowance a = {&p->memory, bytes};
    const ag_program like = {.type = p->type, .memory = {allow, &a, true, 0}};
    ag_program *q = scalars_of(p, summed, &like);
    if (q->memory.permit == allow) { /* one in error, too: the allowance ends here */
        q->memory.permit = p->memory.permit;
        q->memory.context = p->memory.context;
    }
    return q;
}

/* ---- programs on small tensors ---- */

enum { MOST_IN_SMALL = 1 << 10 };

static const ag_operation *operation_of(const ag_program *p, const ag_code *c) {
    return c->op == CODE_CALL ? ag_pcall_at(p, c->extra)->operation : NULL;
}

/* Whether an instruction works on tensors: it is not in scalars, nor does it just put scalars together. */
static bool works_on_tensors(const ag_program *p, const ag_code *c) {
    if (c->op < AG_OPCODES) return !(c->view & WHERE_ELEMENT);
    return c->op == CODE_CALL &&
           !ag_placements_of(operation_of(p, c), ag_pparams_at(p, ag_pcall_at(p, c->extra)->params));
}

/* Whether all values have at most `most` elements and can be taken apart, and some are better so. */
static bool is_small(const ag_program *p, int64_t most) {
    int64_t total = outputs_count(p);
    bool gains = false;
    for (uint64_t i = 0; i < p->codes.count && total <= MOST_IN_SMALL; i++) {
        const ag_code *c = ag_code_at(p, i);
        const ag_operation *operation = operation_of(p, c);
        int64_t count = ag_where_count(p, c->view);
        if (count > most || (operation && (!operation->scalars || operation->hold))) return false;
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++) {
            ag_ref r = *ag_ref_at(p, c->in + k);
            if (ag_where_count(p, r.where) > most) return false;
            gains |= r.where & WHERE_ELEMENT && ag_code_at(p, r.value)->op == CODE_CALL;
        }
        gains |= works_on_tensors(p, c);
        total += count;
    }
    return gains && total <= MOST_IN_SMALL;
}

static void trace_small(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_program *p = context;
    ag_var *space = ag_scratch(t, (size_t)outputs_count(p) * sizeof *space + 1), *at = space;
    if (!space) return;
    trace_elements(t, p, xs, space);
    for (uint64_t k = 0; k < p->outputs.count && t->status == AG_OK; k++) {
        ag_shape shape = ag_where_shape(p, ag_poutput_at(p, k)->ref.where);
        int64_t count = output_count(p, k);
        ys[k] = shape.rank == 0 ? *at : count ? ag_reshape(ag_stack(at, (int)count, 0), shape) : ag_zeros(t, shape);
        at += count;
    }
    ag_scratch_free(t, space);
}

static ag_program *make_small(const ag_program *p, const void *key) {
    (void)key;
    int nx = ag_program_inputs(p), ny = ag_program_outputs(p);
    ag_memory memory = {p->memory.permit, p->memory.context, true, 0};
    size_t size = (size_t)(nx + ny) * sizeof(ag_port) + 1;
    ag_port *ports = ag_memory_resize(&memory, NULL, 0, size);
    if (!ports) return ag_program_failed(p, AG_ERR_MEMORY, "scalars: out of memory");
    for (int k = 0; k < nx; k++) ports[k] = ag_program_input(p, k);
    for (int k = 0; k < ny; k++) ports[nx + k] = ag_program_output(p, k);
    ag_program *q = ag_trace_like(p, trace_small, (void *)(uintptr_t)p, ports, nx, ports + nx, ny);
    ag_memory_free(&memory, ports, size);
    return q;
}

ag_program *ag_program_small(const ag_program *p, int64_t most) {
    static const char key[] = "small";
    if (!is_small(p, most)) return ag_program_keep(p);
    ag_program *q = ag_program_derived(p, key, sizeof key, make_small);
    if (ag_program_status(q) == AG_OK) return q;
    ag_program_free(q);
    return ag_program_keep(p);
}
