/* Which elements of an output depend on which elements of an input: sets of input elements are passed on from value to
 * value, element by element. Elementwise operations unite the sets of those operands by which they have a partial that is
 * not always 0 (the table of kernels tells), so what is flat stops them, and a factor that is the constant 0 does too.
 * Of a matrix product the shapes tell, and constant zeros; of a program over rows or steps the program
 * (dependence_rows.c). Other structural operations are taken apart into scalar ones (ag_operation.scalars) and followed
 * there; what has no scalar form depends on all of its operands. */
#include "dependence_impl.h"

#include <math.h>

/* ---- operands, element by element ---- */

ag_walker ag_walker_of(const ag_following *f, ag_ref r, ag_shape shape) {
    const ag_code *c = ag_code_at(f->p, r.value);
    ag_walker w = {.at = ag_where_offset(f->p, r.where)};
    if (f->needed[r.value] & ACTIVE) w.set = f->set + f->first[r.value];
    if (c->op == CODE_CONSTANT) w.constant = ag_pconstant_at(f->p, c->extra);
    if (r.where & WHERE_ELEMENT) return w;
    const ag_view *v = &ag_pview_at(f->p, r.where)->view;
    for (int i = 0, lead = shape.rank - v->rank; i < v->rank; i++)
        w.stride[lead + i] = v->dim[i] == 1 ? 0 : v->stride[i];
    return w;
}

void ag_walk_on(ag_walker *w, int n, ag_shape shape, int64_t *index) {
    for (int i = shape.rank - 1; i >= 0; i--) {
        for (int k = 0; k < n; k++) w[k].at += w[k].stride[i];
        if (++index[i] < shape.dim[i]) return;
        for (int k = 0; k < n; k++) w[k].at -= w[k].stride[i] * shape.dim[i];
        index[i] = 0;
    }
}

/* A product: linear in either factor, but not in both together. */
static bool is_product(uint32_t op) {
    return (ag_op_table[op].traits & (AG_LINEAR_X | AG_LINEAR_Y | AG_LINEAR_XY)) == (AG_LINEAR_X | AG_LINEAR_Y);
}

static void follow_elementwise(ag_following *f, const ag_code *c, uint32_t *out) {
    ag_shape shape = ag_where_shape(f->p, c->view);
    int64_t count = ag_where_count(f->p, c->view), index[AG_MAX_RANK] = {0};
    int n = ag_op_table[c->op].arity;
    bool product = is_product(c->op);
    ag_walker w[3];
    for (int k = 0; k < n; k++) {
        w[k] = ag_walker_of(f, *ag_ref_at(f->p, c->in + (uint32_t)k), shape);
        if (!f->kernels->partial[c->op][k]) w[k].set = NULL;
    }
    for (int64_t i = 0; i < count; i++) {
        for (int k = 0; k < n; k++) {
            if (!w[k].set || (product && w[1 - k].constant && w[1 - k].constant[w[1 - k].at] == 0)) continue;
            out[i] = ag_sets_union(&f->sets, out[i], w[k].set[w[k].at]);
        }
        ag_walk_on(w, n, shape, index);
    }
}

/* ---- matrix products ---- */

/* The operation that ag_matmul records. */
static const ag_operation *find_matmul(void) {
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, NULL, AG_SHAPE(1, 1));
    ag_matmul(x, x);
    const ag_operation *found = NULL;
    if (t->status == AG_OK) {
        const ag_instruction_ *last = t->head.next - 1;
        if (ag_op_of(last) == OP_NODE) found = ag_node_at(t, last->a)->operation;
    }
    ag_tape_free(t);
    return found;
}

/* An operand as matrices: rows and columns of one, and the steps between batches. */
typedef struct ag_factor {
    ag_walker w;           /* over the batches */
    int64_t across, along; /* steps over the free index and the one that is summed over */
    int64_t n;             /* length of the free index */
    uint32_t *all;         /* for each free index, the union over the summed one */
    bool *zeros;           /* for each free index of a constant, whether there is a 0 */
} ag_factor;

static ag_factor factor_of(const ag_following *f, ag_ref r, bool first, ag_shape batch) {
    const ag_view *v = &ag_pview_at(f->p, r.where)->view;
    ag_factor a = {.w = ag_walker_of(f, r, (ag_shape){.rank = v->rank}), .n = 1};
    int64_t stride[AG_MAX_RANK] = {0};
    int batches = v->rank > 2 ? v->rank - 2 : 0, last = v->rank - 1;
    for (int i = 0; i < batches; i++) stride[batch.rank - batches + i] = v->dim[i] == 1 ? 0 : v->stride[i];
    a.along = v->stride[first || v->rank == 1 ? last : last - 1];
    if (v->rank > 1) {
        a.across = v->stride[first ? last - 1 : last];
        a.n = v->dim[first ? last - 1 : last];
    }
    memcpy(a.w.stride, stride, sizeof stride);
    return a;
}

/* Unions over the summed index, of length k, in the current batch. */
static void sum_up(ag_following *f, ag_factor *a, int64_t k) {
    for (int64_t i = 0; i < a->n; i++) {
        a->all[i] = 0;
        a->zeros[i] = false;
        for (int64_t l = 0; l < k; l++) {
            int64_t at = a->w.at + i * a->across + l * a->along;
            if (a->w.set) a->all[i] = ag_sets_union(&f->sets, a->all[i], a->w.set[at]);
            if (a->w.constant) a->zeros[i] |= a->w.constant[at] == 0;
        }
    }
}

/* What row i of a contributes to its product with column j of b. */
static uint32_t row_times(ag_following *f, const ag_factor *a, int64_t i, const ag_factor *b, int64_t j, int64_t k) {
    if (!a->w.set) return 0;
    if (!b->zeros[j]) return a->all[i];
    uint32_t set = 0;
    for (int64_t l = 0; l < k; l++)
        if (b->w.constant[b->w.at + j * b->across + l * b->along] != 0)
            set = ag_sets_union(&f->sets, set, a->w.set[a->w.at + i * a->across + l * a->along]);
    return set;
}

/* result[.., i, j] = sum_l a[.., i, l] b[.., l, j] */
static bool follow_matmul(ag_following *f, const ag_code *c, uint32_t *out) {
    const ag_ref *in = ag_ref_at(f->p, c->in);
    const ag_view *va = &ag_pview_at(f->p, in[0].where)->view, *vb = &ag_pview_at(f->p, in[1].where)->view;
    ag_shape batch = ag_where_shape(f->p, c->view);
    batch.rank -= (va->rank > 1) + (vb->rank > 1);
    ag_factor a = factor_of(f, in[0], true, batch), b = factor_of(f, in[1], false, batch);
    int64_t k = va->dim[va->rank - 1], batches, index[AG_MAX_RANK] = {0};
    size_t size = (size_t)(a.n + b.n) * (sizeof *a.all + sizeof *a.zeros) + 1;
    a.all = ag_memory_resize(f->memory, NULL, 0, size);
    if (!a.all) return false;
    b.all = a.all + a.n;
    a.zeros = (bool *)(b.all + b.n);
    b.zeros = a.zeros + a.n;
    if (!ag_shape_count(batch, &batches)) batches = 0;
    for (int64_t t = 0; t < batches; t++) {
        sum_up(f, &a, k);
        sum_up(f, &b, k);
        for (int64_t i = 0; i < a.n; i++)
            for (int64_t j = 0; j < b.n; j++)
                *out++ = ag_sets_union(&f->sets, row_times(f, &a, i, &b, j, k), row_times(f, &b, j, &a, i, k));
        ag_walker w[2] = {a.w, b.w};
        ag_walk_on(w, 2, batch, index);
        a.w.at = w[0].at;
        b.w.at = w[1].at;
    }
    ag_memory_free(f->memory, a.all, size);
    return true;
}

/* ---- other structural operations ---- */

/* Everything depends on everything. */
static void follow_densely(ag_following *f, const ag_code *c, int64_t count, uint32_t *out) {
    uint32_t all = 0;
    for (uint32_t k = 0, n = ag_operand_count(f->p, c); k < n; k++) {
        ag_ref r = *ag_ref_at(f->p, c->in + k);
        ag_shape shape = ag_where_shape(f->p, r.where);
        int64_t index[AG_MAX_RANK] = {0};
        ag_walker w = ag_walker_of(f, r, shape);
        for (int64_t i = 0, m = ag_where_count(f->p, r.where); w.set && i < m; i++) {
            all = ag_sets_union(&f->sets, all, w.set[w.at]);
            ag_walk_on(&w, 1, shape, index);
        }
    }
    for (int64_t i = 0; i < count; i++) out[i] = all;
}

/* The operands' elements as vars: constants are numbers, what depends on the input has a var of its own. The sets of those
 * go to `sets`, in the order in which their vars are recorded. */
static void tape_operands(ag_following *f, const ag_code *c, ag_elements *e, ag_shape *shapes, const ag_var **in,
                          ag_var *at, uint32_t *sets) {
    ag_var unknown = ag_input(e->tape, (double)NAN);
    for (int k = 0; k < e->n; k++) {
        ag_ref r = *ag_ref_at(f->p, c->in + (uint32_t)k);
        shapes[k] = ag_where_shape(f->p, r.where);
        ag_walker w = ag_walker_of(f, r, shapes[k]);
        int64_t index[AG_MAX_RANK] = {0};
        in[k] = at;
        for (int64_t i = 0, m = ag_where_count(f->p, r.where); i < m; i++) {
            uint32_t set = w.set ? w.set[w.at] : 0;
            *at++ = set ? ag_input(e->tape, (double)NAN) : w.constant ? ag_num(w.constant[w.at]) : unknown;
            if (set) *sets++ = set;
            ag_walk_on(&w, 1, shapes[k], index);
        }
    }
    e->shapes = shapes;
    e->in = in;
}

/* The sets of all slots of a tape of scalars, inputs and then operations. False if there is something else on it. */
static bool follow_tape(ag_following *f, const ag_tape *t, const uint32_t *input_sets, uint32_t *of_slot) {
    uint32_t slot = 0, inputs = 0;
    for (const ag_instruction_ *i = ag_instructions(t); i < t->head.next; i++) {
        uint32_t op = ag_op_of(i), in[3];
        double number;
        if (op >= OP_NODE) slot = i->b;
        if (op == OP_NODE) return false;
        if (op == OP_LEAF && i->a == SCALAR_INPUT) of_slot[slot] = inputs++ ? *input_sets++ : 0;
        for (int k = 0, n = op < OP_NODE ? ag_scalar_operands(i, in, &number) : 0; k < n; k++) {
            bool zero = is_product(op) && in[1 - k] == NOTHING && number == 0;
            if (in[k] != NOTHING && f->kernels->partial[op][k] && !zero)
                of_slot[slot] = ag_sets_union(&f->sets, of_slot[slot], of_slot[in[k]]);
        }
        slot = ag_next_slot(t, i, slot);
    }
    return true;
}

/* Takes the operation apart on a tape of its own. False if that is not possible; the status is then the tape's. */
static bool follow_scalars(ag_following *f, const ag_code *c, int64_t count, uint32_t *out, ag_status *status) {
    const ag_pcall *call = ag_pcall_at(f->p, c->extra);
    ag_tape *t = ag_tape_new_with(&(ag_options){
        .type = f->p->type, .permit = f->memory->permit, .context = f->memory->context, .no_reserve = true});
    t->tracing = t->abstract = t->status == AG_OK;
    uint64_t total = 0;
    for (uint32_t k = 0; k < call->n; k++) total += (uint64_t)ag_where_count(f->p, ag_ref_at(f->p, c->in + k)->where);
    ag_var *vars = ag_scratch(t, (total + (uint64_t)count) * sizeof *vars + 1);
    uint32_t *sets = ag_scratch(t, total * sizeof *sets + 1), *of_slot = NULL;
    ag_shape *shapes = ag_scratch(t, call->n * (sizeof *shapes + sizeof(ag_var *)) + 1);
    bool done = false;
    if (vars && sets && shapes) {
        ag_elements e = {.tape = t,
                         .n = (int)call->n,
                         .shape = ag_where_shape(f->p, c->view),
                         .out = vars + total,
                         .params = ag_pparams_at(f->p, call->params),
                         .params_size = call->params_size};
        tape_operands(f, c, &e, shapes, (const ag_var **)(void *)(shapes + call->n), vars, sets);
        if (t->status == AG_OK) call->operation->scalars(&e);
        size_t size = ag_top(t) * sizeof *of_slot + 1;
        of_slot = t->status == AG_OK ? ag_scratch(t, size) : NULL;
        if (of_slot) memset(of_slot, 0, size);
        done = of_slot && follow_tape(f, t, sets, of_slot);
        for (int64_t i = 0; done && i < count; i++)
            out[i] = ag_tape_of(e.out[i]) ? of_slot[(uint32_t)e.out[i].place] : 0;
    }
    *status = t->status;
    ag_scratch_free(t, of_slot);
    ag_scratch_free(t, shapes);
    ag_scratch_free(t, sets);
    ag_scratch_free(t, vars);
    ag_tape_free(t);
    return done;
}

static bool is_matmul(ag_following *f, const ag_operation *operation) {
    if (strcmp(operation->name, "matmul") != 0) return false;
    if (!f->matmul) f->matmul = find_matmul();
    return operation == f->matmul;
}

static ag_status follow_call(ag_following *f, const ag_code *c, int64_t count, uint32_t *out) {
    const ag_operation *operation = ag_pcall_at(f->p, c->extra)->operation;
    ag_status status = AG_OK;
    if (ag_follow_rows(f, c, out, &status)) return status;
    if (is_matmul(f, operation)) return follow_matmul(f, c, out) ? AG_OK : AG_ERR_MEMORY;
    if (operation->scalars && follow_scalars(f, c, count, out, &status)) return AG_OK;
    if (status == AG_ERR_MEMORY) return status;
    follow_densely(f, c, count, out);
    return AG_OK;
}

/* ---- the program ---- */

static int64_t input_count(const ag_program *p, int k) {
    return ag_where_count(p, ag_pinput_at(p, (uint64_t)k)->ref.where);
}

/* How many elements the inputs before number n have that are followed. */
static int64_t followed_before(const ag_program *p, const uint8_t *followed, int n) {
    int64_t count = 0;
    for (int k = 0; k < n; k++)
        if (followed[k]) count += input_count(p, k);
    return count;
}

static bool open_following(ag_following *f, uint64_t inputs) {
    const ag_program *p = f->p;
    uint64_t n = p->codes.count;
    f->needed = ag_memory_zeroed(f->memory, n + 1);
    f->first = ag_memory_resize(f->memory, NULL, 0, n * sizeof *f->first + 1);
    if (!f->needed || !f->first) return false;
    for (uint32_t i = 0; i < n; i++) {
        f->first[i] = f->elements;
        f->elements += (uint64_t)ag_value_count(p, i);
    }
    f->set = ag_memory_zeroed(f->memory, f->elements * sizeof *f->set + 1);
    f->kernels = ag_kernels_for(p->type);
    return ag_sets_open(&f->sets, f->memory, (uint32_t)inputs, 4 * (f->elements + 1024)) && f->set;
}

static void close_following(ag_following *f) {
    uint64_t n = f->p->codes.count;
    ag_sets_close(&f->sets);
    ag_memory_free(f->memory, f->needed, n + 1);
    ag_memory_free(f->memory, f->first, n * sizeof *f->first + 1);
    ag_memory_free(f->memory, f->set, f->elements * sizeof *f->set + 1);
}

/* Marks what outputs from..to - 1 need; the last value of it. */
static uint32_t mark_needed(ag_following *f, int from, int to) {
    const ag_program *p = f->p;
    uint32_t last = 0;
    for (int k = from; k < to; k++) {
        uint32_t value = ag_poutput_at(p, (uint64_t)k)->ref.value;
        f->needed[value] = NEEDED;
        if (value > last) last = value;
    }
    for (uint32_t i = last + 1; i-- > 0;) {
        const ag_code *c = ag_code_at(p, i);
        for (uint32_t k = 0, n = f->needed[i] ? ag_operand_count(p, c) : 0; k < n; k++)
            f->needed[ag_ref_at(p, c->in + k)->value] = NEEDED;
    }
    return last;
}

static ag_status follow(ag_following *f, uint32_t last) {
    const ag_program *p = f->p;
    for (uint32_t i = 0; i <= last; i++) {
        const ag_code *c = ag_code_at(p, i);
        int64_t count = ag_value_count(p, i);
        uint32_t *out = f->set + f->first[i];
        bool active = c->op == CODE_INPUT && f->followed[c->extra];
        for (uint32_t k = 0, n = ag_operand_count(p, c); k < n && !active; k++)
            active = f->needed[ag_ref_at(p, c->in + k)->value] & ACTIVE;
        if (!f->needed[i] || !active) continue;
        f->needed[i] |= ACTIVE;
        ag_status status = AG_OK;
        if (c->op == CODE_CALL) status = follow_call(f, c, count, out);
        else if (c->op < AG_OPCODES) follow_elementwise(f, c, out);
        uint32_t column = c->op == CODE_INPUT ? (uint32_t)followed_before(p, f->followed, (int)c->extra) : 0;
        for (int64_t j = 0; c->op == CODE_INPUT && j < count; j++) out[j] = 1 + column + (uint32_t)j;
        if (status != AG_OK || f->sets.failed) return status != AG_OK ? status : AG_ERR_MEMORY;
    }
    return AG_OK;
}

/* The number of elements of an output's sets, without those that are kept as pairs. */
static uint64_t entries_of(const ag_following *f, ag_ref r) {
    ag_shape shape = ag_where_shape(f->p, r.where);
    int64_t index[AG_MAX_RANK] = {0};
    uint64_t total = 0;
    ag_walker w = ag_walker_of(f, r, shape);
    for (int64_t i = 0, n = ag_where_count(f->p, r.where); w.set && i < n; i++) {
        total += ag_sets_count(&f->sets, w.set[w.at]);
        ag_walk_on(&w, 1, shape, index);
    }
    return total;
}

/* The sets of an output's elements as rows of `out` from *row on. */
static ag_status list_output(ag_following *f, ag_ref r, ag_entries *out, ag_list *entries, int64_t *row) {
    ag_shape shape = ag_where_shape(f->p, r.where);
    int64_t rows = ag_where_count(f->p, r.where), index[AG_MAX_RANK] = {0};
    ag_walker w = ag_walker_of(f, r, shape);
    for (int64_t i = 0; i < rows; i++) {
        out->start[(*row)++] = (int32_t)entries->count;
        if (w.set && !ag_sets_list(&f->sets, w.set[w.at], entries)) return AG_ERR_MEMORY;
        if (entries->count >= INT32_MAX) return AG_ERR_SLOTS;
        ag_walk_on(&w, 1, shape, index);
    }
    return AG_OK;
}

/* The sets of the elements of outputs from..to - 1 as rows. */
static ag_status list_rows(ag_following *f, int from, int to, int64_t columns, ag_entries *out) {
    ag_list entries = {{0}, 0};
    uint64_t total = 0;
    int64_t rows = 0, row = 0;
    for (int k = from; k < to; k++) {
        ag_ref r = ag_poutput_at(f->p, (uint64_t)k)->ref;
        rows += ag_where_count(f->p, r.where);
        total += entries_of(f, r);
    }
    if (total >= INT32_MAX || rows >= INT32_MAX) return AG_ERR_SLOTS;
    ag_status status = ag_entries_open(f->memory, out, rows, columns, 0) ? AG_OK : AG_ERR_MEMORY;
    for (int k = from; k < to && status == AG_OK; k++)
        status = list_output(f, ag_poutput_at(f->p, (uint64_t)k)->ref, out, &entries, &row);
    if (status == AG_OK) {
        out->index = ag_memory_resize(f->memory, NULL, 0, entries.count * sizeof *out->index + 1);
        if (!out->index) status = AG_ERR_MEMORY;
    }
    if (status == AG_OK) {
        out->start[rows] = out->count = (int32_t)entries.count;
        if (entries.count) memcpy(out->index, entries.range.base, entries.count * sizeof *out->index);
    }
    ag_range_free(f->memory, &entries.range);
    return status;
}

ag_status ag_program_dependences(const ag_program *p, int from, int to, const uint8_t *followed, ag_memory *memory,
                                 ag_entries *out) {
    ag_following f = {.p = p, .memory = memory, .followed = followed};
    int64_t columns = followed_before(p, followed, ag_program_inputs(p));
    if (columns >= INT32_MAX) return AG_ERR_SLOTS;
    ag_status status = open_following(&f, (uint64_t)columns) ? AG_OK : AG_ERR_MEMORY;
    if (status == AG_OK) status = from < to ? follow(&f, mark_needed(&f, from, to)) : AG_OK;
    if (status == AG_OK) status = list_rows(&f, from, to, columns, out);
    close_following(&f);
    return status;
}

ag_status ag_program_dependence(const ag_program *p, int output, int input, ag_memory *memory, ag_entries *out) {
    size_t size = (size_t)ag_program_inputs(p);
    uint8_t *followed = ag_memory_zeroed(memory, size);
    if (!followed) return AG_ERR_MEMORY;
    followed[input] = 1;
    ag_status status = ag_program_dependences(p, output, output + 1, followed, memory, out);
    ag_memory_free(memory, followed, size);
    return status;
}
