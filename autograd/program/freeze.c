/* From a tape to a program: the instructions between inputs and outputs, in order. */
#include "program_impl.h"

#include <math.h>

/* Where a tape's slots are in the program. Those of tensors have one for all, and the rest of the array stays what it was when
 * it was new: zeros, which take no memory where nobody looks. */
typedef struct ag_scalar_home {
    uint32_t number; /* of the value, and 1; 0: not emitted */
    uint32_t offset;
} ag_scalar_home;

typedef struct ag_base_home {
    uint32_t value; /* UNKNOWN: not emitted */
    bool uniform;   /* all its elements are the one at offset */
    int64_t offset;
} ag_base_home;

#define UNKNOWN UINT32_MAX

typedef struct ag_freezing {
    ag_tape *t;
    ag_builder b;
    uint32_t top; /* slots that are looked at */
    ag_scalar_home *scalar;
    ag_base_home *base;
} ag_freezing;

/* ---- where things are ---- */

static uint32_t base_number(const ag_tape *t, const ag_base *base) { return (uint32_t)(base - ag_bases(t)); }

static void settle_base(ag_freezing *f, const ag_base *base, ag_ref r) {
    const ag_program *p = f->b.p;
    f->base[base_number(f->t, base)] = (ag_base_home){r.value, ag_ref_is_uniform(p, r), ag_where_offset(p, r.where)};
}

/* A tensor that nothing computes: its values are constants. */
static void settle_constant(ag_freezing *f, const ag_base *base) {
    ag_shape shape = ag_view_shape(ag_view_at(f->t, base->view));
    settle_base(f, base, ag_emit_constant(&f->b, shape, ag_value_at(f->t, base->start)));
}

/* An operand of the tape in the program; what was not emitted yet is a constant, and so is what has no elements, for which
 * nothing needs to be computed. */
static ag_ref ref_of(ag_freezing *f, ag_operand x) {
    ag_tape *t = f->t;
    ag_program *p = f->b.p;
    const ag_view *v = ag_view_at(t, x.view);
    const ag_base *base = ag_base_of(t, x.slot);
    static const int64_t none[AG_MAX_RANK];
    if (v->count == 0) return ag_emit_constant(&f->b, ag_view_shape(v), NULL);
    if (base) {
        ag_base_home *home = &f->base[base_number(t, base)];
        if (home->value == UNKNOWN) settle_constant(f, base);
        int64_t offset = home->offset + (home->uniform ? 0 : (int64_t)x.slot - base->start);
        return (ag_ref){home->value, ag_program_view(p, v->rank, v->dim, home->uniform ? none : v->stride, offset)};
    }
    ag_scalar_home *home = &f->scalar[x.slot];
    if (home->number == 0) {
        ag_ref r = ag_emit_number(&f->b, ag_load(t->type, t->values.base, x.slot), (ag_shape){.rank = 0});
        *home = (ag_scalar_home){r.value + 1, 0};
    }
    return (ag_ref){home->number - 1, ag_program_view(p, v->rank, v->dim, none, home->offset)};
}

/* What computes a slot is in the program from now on. */
static void settle(ag_freezing *f, uint32_t slot, ag_ref r) {
    const ag_base *base = ag_base_of(f->t, slot);
    if (base) settle_base(f, base, r);
    else f->scalar[slot] = (ag_scalar_home){r.value + 1, (uint32_t)ag_where_offset(f->b.p, r.where)};
}

static uint32_t home_of(const ag_freezing *f, uint32_t slot) {
    const ag_base *base = ag_base_of(f->t, slot);
    return base ? f->base[base_number(f->t, base)].value : f->scalar[slot].number - 1;
}

static bool is_settled(const ag_freezing *f, uint32_t slot) { return home_of(f, slot) != UNKNOWN; }

/* Whether a result has to be computed from operands in these slots. What the inputs do not reach keeps its value, which
 * may not be what its operands would give now; but if there are no values, everything is computed. */
static bool is_computed(const ag_freezing *f, uint32_t slot) {
    uint32_t value = slot == NOTHING ? UNKNOWN : home_of(f, slot);
    return f->t->abstract || (value != UNKNOWN && ag_code_at(f->b.p, value)->op != CODE_CONSTANT);
}

/* ---- instructions ---- */

static void freeze_scalar(ag_freezing *f, const ag_instruction_ *i, uint32_t slot) {
    uint32_t in[3];
    double number;
    ag_ref r[3];
    bool computed = false;
    int n = ag_scalar_operands(i, in, &number);
    for (int k = 0; k < n; k++) computed |= is_computed(f, in[k]);
    if (!computed) return;
    for (int k = 0; k < n; k++)
        r[k] = in[k] == NOTHING ? ag_emit_number(&f->b, number, (ag_shape){.rank = 0})
                                : ref_of(f, (ag_operand){in[k], VIEW_SCALAR});
    settle(f, slot, ag_emit(&f->b, ag_op_of(i), r, (ag_shape){.rank = 0}));
}

static void freeze_node(ag_freezing *f, ag_node *node) {
    ag_tape *t = f->t;
    ag_program *p = f->b.p;
    ag_ref few[8], *in = few;
    bool computed = t->abstract;
    for (uint32_t k = 0; k < node->n; k++) computed |= is_computed(f, node->in[k].slot);
    if (!computed) return;
    if (node->n > 8) in = ag_memory_resize(&p->memory, NULL, 0, node->n * sizeof *in);
    if (!in) {
        ag_program_fail(p, AG_ERR_MEMORY, "program: out of memory: it holds %zu bytes", p->memory.held);
        return;
    }
    for (uint32_t k = 0; k < node->n; k++) in[k] = ref_of(f, node->in[k]);
    ag_shape shape = ag_view_shape(ag_view_at(t, node->view));
    ag_pcall call = {
        .operation = node->operation, .n = node->n, .params_size = node->params_size, .saved_size = node->saved_size};
    ag_ref r = node->operation ? ag_emit_call(&f->b, &call, ag_node_params(node), in, shape)
                               : ag_emit(&f->b, node->code, in, shape);
    if (ag_view_at(t, node->view)->count == 0) r = ag_emit_constant(&f->b, shape, NULL);
    if (in != few) ag_memory_free(&p->memory, in, node->n * sizeof *in);
    if (p->status == AG_OK) settle(f, node->slot, r);
}

static void freeze_instructions(ag_freezing *f) {
    ag_tape *t = f->t;
    const ag_instruction_ *i = ag_instructions(t);
    for (uint32_t slot = 0; i < t->head.next && f->b.p->status == AG_OK; i++) {
        uint32_t op = ag_op_of(i);
        if (op >= OP_NODE) slot = i->b;
        if (slot >= f->top) return;
        if (op < OP_NODE && !is_settled(f, slot)) freeze_scalar(f, i, slot);
        if (op == OP_NODE && !is_settled(f, slot)) freeze_node(f, ag_node_at(t, i->a));
        slot = ag_next_slot(t, i, slot);
    }
}

/* ---- inputs and outputs ---- */

static bool freeze_inputs(ag_freezing *f, const char *what, const ag_operand *x, const char *const *names, int n) {
    for (int k = 0; k < n; k++) {
        const ag_view *v = ag_view_at(f->t, x[k].view);
        const ag_base *base = ag_base_of(f->t, x[k].slot);
        bool whole = !base || (v->contiguous && base->start == x[k].slot && base->count == v->count);
        if (!whole || is_settled(f, x[k].slot)) {
            ag_fail(f->t, AG_ERR_VALUE, "%s: input %d, of shape %s, is %s", what, k, ag_show_view(v).text,
                    whole ? "the same as another" : "a part of a tensor, not all of it");
            return false;
        }
        settle(f, x[k].slot, ag_emit_input(&f->b, names ? names[k] : NULL, ag_view_shape(v)));
    }
    return true;
}

static bool open_homes(ag_freezing *f, const char *what) {
    ag_memory *memory = &f->t->memory;
    f->scalar = ag_memory_sparse(memory, f->top * sizeof *f->scalar + 1);
    f->base = ag_memory_resize(memory, NULL, 0, f->t->base_count * sizeof *f->base + 1);
    if (!f->scalar || !f->base) return ag_out_of_memory(f->t, what, f->top * sizeof *f->scalar);
    memset(f->base, 0xff, f->t->base_count * sizeof *f->base);
    return true;
}

static void close_homes(ag_freezing *f) {
    ag_memory *memory = &f->t->memory;
    ag_memory_sparse_free(memory, f->scalar, f->top * sizeof *f->scalar + 1);
    ag_memory_free(memory, f->base, f->t->base_count * sizeof *f->base + 1);
}

/* Operands of vars, all on one tape; NULL after an error. */
static ag_operand *operands_of(ag_tape *t, const char *what, const ag_var *v, int n) {
    ag_operand *o = ag_scratch(t, (size_t)n * sizeof *o + 1);
    for (int k = 0; o && k < n; k++) {
        if (ag_resolve(t, what, v[k], &o[k])) continue;
        ag_scratch_free(t, o);
        o = NULL;
    }
    return o;
}

ag_program *ag_freeze_as(ag_tape *t, const char *what, const ag_var *xs, const char *const *x_names, int nx,
                         const ag_var *ys, const char *const *y_names, int ny, bool derived) {
    ag_memory plain = {0};
    ag_freezing f = {.t = t};
    if (!ag_builder_open(&f.b, ag_tape_type(t), t ? &t->memory : &plain)) return f.b.p;
    ag_operand *x = NULL, *y = NULL;
    if (t && t->status == AG_OK) {
        x = operands_of(t, what, xs, nx);
        y = x ? operands_of(t, what, ys, ny) : NULL;
        f.top = ag_top(t);
        if (y && open_homes(&f, what) && freeze_inputs(&f, what, x, x_names, nx)) {
            freeze_instructions(&f);
            for (int k = 0; k < ny && f.b.p->status == AG_OK; k++)
                ag_program_add_port(f.b.p, &f.b.p->outputs, y_names ? y_names[k] : NULL, "y", ref_of(&f, y[k]));
            if (x_names) ag_program_settle_names(f.b.p, &f.b.p->inputs, x_names, derived ? NULL : what);
            if (y_names) ag_program_settle_names(f.b.p, &f.b.p->outputs, y_names, derived ? NULL : what);
        }
        close_homes(&f);
        ag_scratch_free(t, x);
        ag_scratch_free(t, y);
    }
    if (ag_tape_status(t) != AG_OK) ag_program_fail(f.b.p, ag_tape_status(t), "%s", ag_tape_message(t));
    return ag_builder_close(&f.b);
}

ag_program *ag_program_freeze(const ag_var *xs, const char *const *x_names, int nx, const ag_var *ys,
                              const char *const *y_names, int ny) {
    if (nx < 0 || ny < 0 || (nx && !xs) || (ny && !ys))
        return ag_program_failed(NULL, AG_ERR_VALUE, "freeze: %d inputs, %d outputs, or an array of them that is NULL",
                                 nx, ny);
    ag_tape *t = ag_tape_among(xs, nx);
    if (!t) t = ag_tape_among(ys, ny);
    if (!t) return ag_program_failed(NULL, AG_ERR_VALUE, "freeze: no input or output is a var of a tape");
    return ag_freeze_as(t, "freeze", xs, x_names, nx, ys, y_names, ny, false);
}
