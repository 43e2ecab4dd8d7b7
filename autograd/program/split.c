/* A VJP in two programs: what does not depend on the seeds, and the rest, which takes what that kept. */
#include "guard_impl.h"

enum { MOST_AGAIN = 4 }; /* operations, one on another, that are computed again rather than kept */

typedef enum ag_part { UNUSED, AGAIN, KEPT, LATE } ag_part;

typedef struct ag_splitting {
    const ag_program *p; /* the VJP, */
    int nx, ny;          /* of a program with so many inputs and outputs, which are the first of its own */
    uint8_t *late;       /* of each instruction, whether it depends on a seed; */
    uint8_t *part;       /* what the second program needs of it; */
    uint8_t *again;      /* and how many operations would be computed again above it */
    int kept;
} ag_splitting;

static void find_late(ag_splitting *s) {
    const ag_program *p = s->p;
    for (uint32_t i = 0; i < p->codes.count; i++) {
        const ag_code *c = ag_code_at(p, i);
        s->late[i] = c->op == CODE_INPUT && c->extra >= (uint32_t)s->nx;
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n; k++)
            s->late[i] |= s->late[ag_ref_at(p, c->in + k)->value];
    }
}

static bool is_cheap(const ag_code *c) {
    return c->op == AG_CHAIN || (c->op < AG_OPCODES && ag_op_table[c->op].traits & AG_CHEAP);
}

/* What an instruction is in the second program that needs it. */
static ag_part part_of(const ag_splitting *s, uint32_t i) {
    const ag_code *c = ag_code_at(s->p, i);
    if (s->late[i]) return LATE;
    bool given = c->op == CODE_INPUT || c->op == CODE_CONSTANT;
    return given || (is_cheap(c) && s->again[i] < MOST_AGAIN) ? AGAIN : KEPT;
}

/* From the end on, so that all that needs an instruction is known before it. */
static void find_parts(ag_splitting *s) {
    const ag_program *p = s->p;
    for (uint64_t k = (uint64_t)s->ny; k < p->outputs.count; k++) s->part[ag_poutput_at(p, k)->ref.value] = AGAIN;
    for (uint32_t i = (uint32_t)p->codes.count; i-- > 0;) {
        const ag_code *c = ag_code_at(p, i);
        if (s->part[i] == UNUSED && !(s->late[i] && ag_can_refuse(p, c))) continue;
        s->part[i] = (uint8_t)part_of(s, i);
        s->kept += s->part[i] == KEPT;
        for (uint32_t k = 0, n = s->part[i] == KEPT ? 0 : ag_operand_count(p, c); k < n; k++) {
            uint32_t v = ag_ref_at(p, c->in + k)->value;
            uint8_t again = s->part[i] == LATE ? 0 : (uint8_t)(s->again[i] + 1);
            s->part[v] = AGAIN;
            if (again > s->again[v]) s->again[v] = again;
        }
    }
}

/* ---- recording -------------------------------------------------------------------------------------------------- */

static void trace_forward(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_splitting *s = context;
    uint64_t n = s->p->codes.count;
    const ag_replay r = {t, s->p, ag_scratch(t, n * sizeof *r.value + 1)};
    if (!r.value) return;
    for (uint32_t i = 0; i < n; i++)
        if (!s->late[i]) r.value[i] = ag_replay_code(&r, i, xs);
    for (int k = 0; k < s->ny; k++) *ys++ = ag_replay_operand(&r, ag_poutput_at(s->p, (uint64_t)k)->ref);
    for (uint32_t i = 0; i < n; i++)
        if (s->part[i] == KEPT) *ys++ = r.value[i];
    ag_scratch_free(t, r.value);
}

static void trace_back(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_splitting *s = context;
    uint64_t n = s->p->codes.count;
    const ag_var *kept = xs + s->p->inputs.count;
    const ag_replay r = {t, s->p, ag_scratch(t, n * sizeof *r.value + 1)};
    if (!r.value) return;
    for (uint32_t i = 0; i < n; i++) {
        if (s->part[i] == KEPT) r.value[i] = *kept++;
        else if (s->part[i] != UNUSED) r.value[i] = ag_replay_code(&r, i, xs);
    }
    for (uint64_t k = (uint64_t)s->ny; k < s->p->outputs.count; k++)
        *ys++ = ag_replay_operand(&r, ag_poutput_at(s->p, k)->ref);
    ag_scratch_free(t, r.value);
}

/* What is kept, called alike: the program gives numbers. */
static int add_kept(const ag_splitting *s, ag_port *ports) {
    int count = 0;
    for (uint32_t i = 0; i < s->p->codes.count; i++)
        if (s->part[i] == KEPT) ports[count++] = ag_in("kept", ag_where_shape(s->p, ag_code_at(s->p, i)->view));
    return count;
}

static ag_program *trace_part(ag_splitting *s, bool forward) {
    int nx = ag_program_inputs(s->p), ny = ag_program_outputs(s->p), n_in = 0, n_out = 0;
    ag_memory memory = {s->p->memory.permit, s->p->memory.context, true, 0};
    size_t size = ((size_t)nx + (size_t)ny + (size_t)s->kept) * sizeof(ag_port) + 1;
    ag_port *in = ag_memory_zeroed(&memory, size);
    if (!in) return ag_program_failed(s->p, AG_ERR_MEMORY, "vjp: out of memory");
    for (int k = 0; k < (forward ? s->nx : nx); k++) in[n_in++] = ag_program_input(s->p, k);
    if (!forward) n_in += add_kept(s, in + n_in);
    ag_port *out = in + n_in;
    for (int k = forward ? 0 : s->ny; k < (forward ? s->ny : ny); k++) out[n_out++] = ag_program_output(s->p, k);
    if (forward) n_out += add_kept(s, out + n_out);
    ag_program *q = ag_trace_like(s->p, forward ? trace_forward : trace_back, s, in, n_in, out, n_out);
    ag_memory_free(&memory, in, size);
    return q;
}

/* ---- the transformations ---------------------------------------------------------------------------------------- */

static ag_program *split(const ag_program *p, const int *wrt, int n, bool forward) {
    ag_program *vjp = ag_program_vjp(p, wrt, n), *q;
    if (ag_program_status(vjp) != AG_OK) return vjp;
    ag_splitting s = {.p = vjp, .nx = ag_program_inputs(p), .ny = ag_program_outputs(p)};
    ag_memory memory = {p->memory.permit, p->memory.context, true, 0};
    size_t count = vjp->codes.count;
    s.late = ag_memory_zeroed(&memory, 3 * count + 1);
    if (s.late) {
        s.part = s.late + count;
        s.again = s.part + count;
        find_late(&s);
        find_parts(&s);
        q = trace_part(&s, forward);
    } else {
        q = ag_program_failed(p, AG_ERR_MEMORY, "vjp: out of memory");
    }
    ag_memory_free(&memory, s.late, 3 * count + 1);
    ag_program_free(vjp);
    return q;
}

ag_program *ag_program_forward(const ag_program *p, const int *wrt, int n) { return split(p, wrt, n, true); }
ag_program *ag_program_back(const ag_program *p, const int *wrt, int n) { return split(p, wrt, n, false); }
