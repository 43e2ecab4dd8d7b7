#include "nn/check/evaluate.h"

#include "nn/check/functions.h"
#include "nn/check/solve.h"
#include "nn/memory.h"
#include "nn/shapes.h"

#include <math.h>
#include <stdlib.h>

enum { KEPT_DEFINITIONS = 1 << 20 }; /* bytes */

/* Asked by the tape before it takes memory. */
static bool permit(void *context, size_t bytes) {
    ac_evaluator *e = context;
    size_t held = e->has_program ? e->held : e->tape == NULL ? 0 : ag_tape_held(e->tape);
    size_t beside = e->has_program ? atomic_fetch_add(&e->beside, bytes) : 0, limit = e->file->limits.bytes;
    return bytes <= limit && held <= limit - bytes && beside <= limit - bytes - held && ac_clock() <= e->file->deadline;
}

bool ac_evaluator_open(ac_evaluator *e, const ac_file *file, ac_error *error, uint64_t seed) {
    size_t count = (size_t)file->symbol_count;
    memset(e, 0, sizeof *e);
    e->file = file;
    e->error = error;
    e->seed = seed;
    e->names = ac_arena_held(file->arena);
    e->values = nn_allocate(count, sizeof *e->values);
    e->recorded = nn_allocate(count, sizeof *e->recorded);
    e->glimpses = nn_allocate(count, sizeof *e->glimpses);
    e->draws = nn_allocate(count, sizeof *e->draws);
    e->needed = nn_allocate(count, sizeof *e->needed);
    e->order = nn_allocate(count, sizeof *e->order);
    e->lasting = e->generation = 1;
    e->tape = ag_tape_new_with(&(ag_options){.type = AG_F64, .permit = permit, .context = e});
    if (e->values != NULL && e->recorded != NULL && e->glimpses != NULL && e->draws != NULL && e->needed != NULL &&
        e->order != NULL)
        return true;
    return ac_fail(error, (ac_span){0, 0}, "out of memory");
}

void ac_evaluator_close(ac_evaluator *e) {
    ag_tape_free(e->tape);
    for (int i = 0; e->draws != NULL && i < e->file->symbol_count; i++) nn_release(e->draws[i].x);
    nn_release(e->draws);
    nn_release(e->values);
    nn_release(e->recorded);
    nn_release(e->glimpses);
    nn_release(e->needed);
    nn_release(e->order);
    nn_release(e->locals);
    memset(e, 0, sizeof *e);
}

bool ac_is_fine(ac_evaluator *e, ac_span span) {
    if (e->error->set) return false;
    if (!ac_is_in_time(e->file, e->error, span)) return false;
    ag_status status = ag_tape_status(e->tape);
    if (status == AG_OK) return true;
    if (status == AG_ERR_MEMORY || status == AG_ERR_SLOTS)
        return ac_fail(e->error, span, "this needs more memory than the limit of %zu MB", e->file->limits.bytes >> 20);
    return ac_fail(e->error, span, "%s", ag_tape_message(e->tape));
}

void ac_forgive(ac_evaluator *e) {
    if (ac_clock() > e->file->deadline) return;
    e->error->set = false;
    ag_tape_recover(e->tape);
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

ag_var ac_own(ac_evaluator *e, ag_var x) {
    if (ag_is_inert(x)) return x;
    if (!ag_is_constant(x)) return ag_mul(x, 1.0);
    ag_shape shape = ag_shape_of(x);
    if (shape.rank == 0) return ag_input(e->tape, ag_value(x));
    double *data = nn_allocate((size_t)ag_count(x), sizeof *data);
    if (data == NULL) ag_fail(e->tape, AG_ERR_MEMORY, "out of memory");
    else ag_read(x, data);
    ag_var copy = ag_tensor(e->tape, data, shape);
    nn_release(data);
    return copy;
}

/* Is the result of the expression surely a new var? */
static bool is_new(const ac_node *node) {
    static const char *const makers[] = {"softmax", "cross_entropy", "bce", "mse", "dot", "outer", "inv"};
    if (node->kind != AC_CALL) return (node->kind >= AC_ADD && node->kind <= AC_POWER) || node->kind == AC_NEGATE;
    bool found = node->function->elementwise != NULL;
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        found = found || strcmp(node->function->name, makers[i]) == 0;
    return found;
}

static ag_var define_value(ac_evaluator *e, const ac_node *body) {
    if (body->kind == AC_NUMBER) return ag_input(e->tape, *body->values);
    if (body->kind == AC_ARRAY) return ag_tensor(e->tape, body->values, body->shape);
    ag_var x = ac_record(e, body);
    return is_new(body) && !ag_is_constant(x) ? x : ac_own(e, x);
}

bool ac_is_recorded(const ac_evaluator *e, const ac_symbol *s) {
    return e->recorded[s->index] == (s->random ? e->passing : e->lasting);
}

/* Definitions that are recorded again at every draw are read once a statement, as long as they are short. */
static void forget_definition(const ac_evaluator *e, const ac_symbol *s, ac_bookmark before) {
    if (!s->random || ac_arena_held(e->file->arena) > e->names + KEPT_DEFINITIONS) ac_go_back(e->file, before, NULL);
}

static bool record_symbol(ac_evaluator *e, ac_symbol *s) {
    int base = e->base, top = e->top;
    ac_bookmark before = ac_bookmark_here(e->file);
    ag_var x = ag_num(NAN);
    e->base = top;
    e->top = top + s->frame_size;
    if (ac_read_definition(s, e->error)) x = s->kind == AC_QUANTIFIED ? ac_draw_value(e, s) : define_value(e, s->body);
    forget_definition(e, s, before);
    e->base = base;
    e->top = top;
    if (!ac_is_fine(e, s->span)) return false;
    if (e->named) ag_name(x, s->name);
    e->values[s->index] = x;
    e->recorded[s->index] = s->random ? e->passing : e->lasting;
    return true;
}

static int by_index(const void *a, const void *b) {
    int i = (*(ac_symbol *const *)a)->index, j = (*(ac_symbol *const *)b)->index;
    return (i > j) - (i < j);
}

/* The symbols that these need, functions too, and they themselves, in order of definition; into e->order. Without `all`:
 * not what is recorded, nor what only that needs. */
static int collect(ac_evaluator *e, ac_symbol *const *uses, int count, bool all) {
    int found = 0;
    e->stamp++;
    for (int next = -1; next < found; next++) {
        ac_symbol *const *more = next < 0 ? uses : e->order[next]->uses;
        int more_count = next < 0 ? count : e->order[next]->use_count;
        for (int i = 0; i < more_count; i++) {
            if (e->needed[more[i]->index] == e->stamp) continue;
            if (!all && more[i]->kind != AC_DEFINED && ac_is_recorded(e, more[i])) continue;
            e->needed[more[i]->index] = e->stamp;
            e->order[found++] = more[i];
        }
    }
    qsort(e->order, (size_t)found, sizeof(ac_symbol *), by_index);
    return found;
}

static void glimpse(ac_evaluator *e, const ac_symbol *s) {
    ag_var x = e->values[s->index];
    e->glimpses[s->index] =
        (ac_glimpse){true, ag_shape_of(x), ag_count(x) > 0 ? ag_value(ag_at(ag_reshape(x, AG_SHAPE(-1)), 0)) : 0};
}

bool ac_prepare(ac_evaluator *e, ac_symbol *const *uses, int count, bool all) {
    int found = collect(e, uses, count, false);
    for (int i = 0; i < found; i++) {
        ac_symbol *s = e->order[i];
        if (s->kind == AC_DEFINED || (s->random && !all)) continue;
        if (!record_symbol(e, s)) return false;
        if (!e->glimpses[s->index].known && (e->draw == 0 || !s->random)) glimpse(e, s);
    }
    return ac_is_fine(e, (ac_span){0, 0});
}

void ac_mark_needed(ac_evaluator *e, ac_symbol *const *uses, int count) { (void)collect(e, uses, count, true); }

void ac_start_draw(ac_evaluator *e, int draw) {
    e->draw = draw;
    e->passing = ++e->generation;
}

bool ac_set_aside(ac_evaluator *e, ac_aside *m) {
    size_t count = (size_t)e->file->symbol_count;
    *m = (ac_aside){nn_allocate(count, sizeof *m->values), nn_allocate(count, sizeof *m->recorded), e->lasting,
                    e->passing};
    if (m->values == NULL || m->recorded == NULL) {
        nn_release(m->values);
        nn_release(m->recorded);
        return ac_fail(e->error, (ac_span){0, 0}, "out of memory");
    }
    memcpy(m->values, e->values, count * sizeof *m->values);
    memcpy(m->recorded, e->recorded, count * sizeof *m->recorded);
    e->lasting = ++e->generation;
    e->passing = ++e->generation;
    return true;
}

void ac_bring_back(ac_evaluator *e, ac_aside *m) {
    size_t count = (size_t)e->file->symbol_count;
    memcpy(e->values, m->values, count * sizeof *m->values);
    memcpy(e->recorded, m->recorded, count * sizeof *m->recorded);
    e->lasting = m->lasting;
    e->passing = m->passing;
    nn_release(m->values);
    nn_release(m->recorded);
}

void ac_forget(ac_evaluator *e) {
    ag_tape_clear(e->tape);
    ag_tape_trim(e->tape);
    e->lasting = ++e->generation;
    e->passing = ++e->generation;
}

/* ---- expressions ------------------------------------------------------------------------------------------------ */

ag_var ac_evaluate(ac_evaluator *e, const ac_node *node, int frame_size) {
    int base = e->base, top = e->top;
    e->base = top;
    e->top = top + frame_size;
    ag_var x = ac_record(e, node);
    e->base = base;
    e->top = top;
    return x;
}

/* Names that depend on `name` are recorded again, with it standing for `value`, and restored in the end. */
ag_var ac_record_with(ac_evaluator *e, const ac_node *node, ac_symbol *const *uses, int use_count, int frame_size,
                      ac_symbol *name, ag_var value) {
    int found = collect(e, uses, use_count, true), changed = 0;
    ag_var *old = nn_allocate((size_t)found, sizeof *old);
    uint64_t *recorded = nn_allocate((size_t)found, sizeof *recorded);
    ac_symbol **order = nn_allocate((size_t)found, sizeof *order);
    ag_var result = ag_num(NAN);
    if (old == NULL || recorded == NULL || order == NULL) ac_fail(e->error, node->span, "out of memory");
    for (int i = 0; i < found && !e->error->set; i++) {
        ac_symbol *s = e->order[i];
        bool depends = s == name;
        for (int j = 0; j < s->use_count && !depends; j++) depends = e->recorded[s->uses[j]->index] == UINT64_MAX;
        if (!depends) continue;
        old[changed] = e->values[s->index];
        recorded[changed] = e->recorded[s->index];
        order[changed++] = s;
        e->recorded[s->index] = UINT64_MAX;
    }
    for (int i = 0; i < changed && !e->error->set; i++) {
        if (order[i] == name) e->values[name->index] = value;
        else if (order[i]->kind != AC_DEFINED) record_symbol(e, order[i]);
    }
    if (!e->error->set) result = ac_evaluate(e, node, frame_size);
    for (int i = 0; i < changed; i++) {
        e->values[order[i]->index] = old[i];
        e->recorded[order[i]->index] = recorded[i];
    }
    nn_release(old);
    nn_release(recorded);
    nn_release(order);
    return result;
}

static bool grow_locals(ac_evaluator *e) {
    if (e->top <= e->local_capacity) return true;
    int capacity = 2 * e->top + 64;
    ag_var *locals = nn_allocate((size_t)capacity, sizeof *locals);
    if (locals == NULL) return ac_fail(e->error, (ac_span){0, 0}, "out of memory");
    if (e->local_capacity > 0) memcpy(locals, e->locals, (size_t)e->local_capacity * sizeof *locals);
    nn_release(e->locals);
    e->locals = locals;
    e->local_capacity = capacity;
    return true;
}

bool ac_set_local(ac_evaluator *e, ag_var x) {
    e->top++;
    bool fine = grow_locals(e);
    e->top--;
    if (fine) e->locals[e->top] = x;
    return fine;
}

static ag_var record_name(ac_evaluator *e, const ac_node *node) {
    const ac_symbol *s = node->symbol;
    return s->kind == AC_LOCAL ? e->locals[e->base + s->index] : e->values[s->index];
}

/* Numbers become a vector, vectors the rows of a matrix. */
static ag_var record_list(ac_evaluator *e, const ac_node *node) {
    int count = node->operand_count;
    ag_var *items = nn_allocate((size_t)count, sizeof *items), list = ag_num(NAN);
    char first[80], other[80];
    if (items == NULL) ac_fail(e->error, node->span, "out of memory");
    for (int i = 0; i < count && !e->error->set; i++) {
        items[i] = ac_record(e, node->operands[i]);
        ag_shape shape = ag_shape_of(items[i]), want = ag_shape_of(items[0]);
        if (e->error->set) break;
        if (shape.rank > 1) ac_fail(e->error, node->operands[i]->span, "a matrix within brackets");
        else if (shape.rank != want.rank || (shape.rank == 1 && shape.dim[0] != want.dim[0]))
            ac_fail(e->error, node->operands[i]->span, "entry %d is %s, entry 1 is %s", i + 1,
                    ac_shape_words(shape, other, sizeof other), ac_shape_words(want, first, sizeof first));
    }
    if (!e->error->set) list = ag_stack(items, count, 0);
    nn_release(items);
    return list;
}

/* One position of an index along `axis`, which goes. */
static ag_var take_position(ac_evaluator *e, const ac_node *node, int operand, ag_var x, int axis) {
    ac_call call = {e->tape, e->error, node, (ag_var[3]){x, x, x}, 3, e->tracing};
    ag_var position = ac_record(e, node->operands[operand]);
    int64_t i;
    call.x = (ag_var[3]){position, position, position};
    if (e->error->set || !ac_whole(&call, operand, "the position", 1, ag_shape_of(x).dim[axis], &i)) return x;
    return ag_index(x, axis, i - 1);
}

static ag_var record_index(ac_evaluator *e, const ac_node *node) {
    ag_var x = ac_record(e, node->operands[0]);
    if (e->error->set) return x;
    int rank = ag_shape_of(x).rank, positions = node->operand_count - 1;
    char shape[80];
    if (rank != positions) {
        ac_fail(e->error, node->span, "%d position%s in %s", positions, positions == 1 ? "" : "s",
                ac_shape_words(ag_shape_of(x), shape, sizeof shape));
        if (rank == 2) ac_hint(e->error, "write [i, :] for a row, [:, j] for a column");
        return x;
    }
    for (int axis = positions - 1; axis >= 0 && !e->error->set; axis--)
        if (node->operands[axis + 1] != NULL) x = take_position(e, node, axis + 1, x, axis);
    return x;
}

enum { FEW = 4 };

static ag_var record_call(ac_evaluator *e, const ac_node *node) {
    ag_var x[FEW] = {{0}};
    ac_call call = {e->tape, e->error, node, x, node->operand_count, e->tracing};
    for (int i = 0; i < node->operand_count; i++) {
        x[i] = ac_record(e, node->operands[i]);
        if (e->error->set) return x[i];
    }
    if (node->kind == AC_CALL) return ac_function_apply(&call);
    if (node->kind == AC_MATMUL) return ac_matmul(&call);
    if (node->kind == AC_NEGATE) return ag_neg(x[0]);
    if (node->kind == AC_TRANSPOSE) return ac_transpose(x[0]);
    return ac_binary(&call);
}

static ag_var record_apply(ac_evaluator *e, const ac_node *node) {
    ac_symbol *f = node->symbol;
    int base = e->base, top = e->top;
    ag_var x = ag_num(NAN);
    if (!ac_read_definition(f, e->error)) return x;
    e->top = top + f->frame_size;
    for (int i = 0; i < node->operand_count && grow_locals(e); i++) {
        x = ac_record(e, node->operands[i]);
        if (e->error->set) break;
        e->locals[top + i] = f->nesting > 0 ? ac_own(e, x) : x;
    }
    e->base = top;
    if (!e->error->set) {
        x = ac_record(e, f->body);
        if (e->error->set && *e->error->hint == '\0') {
            ac_place call = ac_place_of(&e->file->source, node->span.start);
            ac_hint(e->error, "in %s as called in line %lld, column %lld", f->name, (long long)call.line,
                    (long long)call.column);
        }
    }
    e->base = base;
    e->top = top;
    return x;
}

/* ---- derivatives ------------------------------------------------------------------------------------------------ */

static bool check_ranks(ac_evaluator *e, const ac_node *node, ag_var y, ag_var x) {
    static const struct {
        const char *name;
        int y_least, y_most, x_most;
        const char *wanted_y;
    } rules[] = {{"grad", 0, 0, 2, "a number"}, {"jac", 1, 1, 1, "a vector"}, {"hess", 0, 0, 1, "a number"}};
    int rule = (int)node->kind - AC_GRAD, rank = ag_shape_of(y).rank;
    char shape[80];
    if (rank < rules[rule].y_least || rank > rules[rule].y_most) {
        ac_fail(e->error, node->operands[0]->span, "%s is taken of %s, not of %s", rules[rule].name,
                rules[rule].wanted_y, ac_shape_words(ag_shape_of(y), shape, sizeof shape));
        if (node->kind == AC_GRAD && rank == 1)
            ac_hint(e->error, ag_count(y) == 1 ? "a row @ a vector is a vector of one entry, a vector @ a vector a "
                                                 "number: x @ y, not x' @ y"
                                               : "jac is taken of a vector; sum(...) of it is a number");
        if (node->kind == AC_JAC && rank == 0) ac_hint(e->error, "grad is taken of a number");
        return false;
    }
    return ag_shape_of(x).rank <= rules[rule].x_most ||
           ac_fail(e->error, node->operands[1]->span, "%s is taken by a number or vector, not by %s", rules[rule].name,
                   ac_shape_words(ag_shape_of(x), shape, sizeof shape));
}

/* The Jacobian's rows times columns stay below the limit of a value. */
static bool check_size(ac_evaluator *e, const ac_node *node, ag_var y, ag_var x) {
    double rows = (double)ag_count(node->kind == AC_HESS ? x : y), count = rows * (double)ag_count(x);
    return count <= AC_MAX_NUMBERS ||
           ac_fail(e->error, node->span, "a derivative of %.0f numbers, more than the limit of %d", count,
                   AC_MAX_NUMBERS);
}

ag_var ac_derivative(ac_evaluator *e, const ac_node *node, ag_var y, ag_var x) {
    ag_var d = x;
    if (!ac_is_fine(e, node->span) || !check_ranks(e, node, y, x) || !check_size(e, node, y, x)) return x;
    if (ag_is_constant(y)) y = ag_add(y, ag_mul(0.0, ag_input(e->tape, 0))); /* of which the derivative is 0 */
    if (node->kind == AC_JAC) return ag_jacobian(y, x);
    if (node->kind == AC_HESS) return ag_hessian(y, x);
    ag_gradient(y, &x, 1, &d);
    return d;
}

static ag_var record_derivative(ac_evaluator *e, const ac_node *node) {
    const ac_variant *variant = node == e->variant.derivative ? &e->variant : NULL;
    ag_var x =
        variant != NULL && variant->other != NULL ? e->values[variant->other->index] : ac_record(e, node->operands[1]);
    ag_var y = e->error->set ? x : ac_record(e, node->operands[0]);
    if (e->error->set) return x;
    ag_var d = ac_derivative(e, node, y, x);
    if (variant != NULL && variant->other != NULL && !e->error->set)
        e->derivative_is_zero = ag_value(ag_sum(ag_abs(d))) == 0;
    if (variant == NULL || variant->term == NULL || e->error->set) return d;
    ag_var term = ac_record(e, variant->term);
    if (e->error->set) return d;
    return ag_sub(d, ag_mul(variant->share, ac_derivative(e, node, term, x)));
}

static ag_var record_node(ac_evaluator *e, const ac_node *node) {
    switch (node->kind) {
    case AC_NUMBER: return ag_constant(e->tape, *node->values);
    case AC_ARRAY: return ag_constant_tensor(e->tape, node->values, node->shape);
    case AC_LIST: return record_list(e, node);
    case AC_NAME: return record_name(e, node);
    case AC_INDEX: return record_index(e, node);
    case AC_APPLY: return record_apply(e, node);
    case AC_GRAD:
    case AC_JAC:
    case AC_HESS: return record_derivative(e, node);
    case AC_SOLVE: return ac_solve(e, node);
    default: return record_call(e, node);
    }
}

/* The same place in the text: there may be copies. */
static bool is_step(const ac_evaluator *e, const ac_node *node) {
    const ac_node *step = e->variant.step;
    return step != NULL && node->kind == step->kind && node->span.start == step->span.start &&
           node->span.end == step->span.end;
}

/* The value of a step, with the derivative 1 or 0. */
static ag_var record_passing(ac_evaluator *e, const ac_node *node) {
    ag_var y = record_node(e, node);
    if (e->variant.operand < 0) return e->error->set ? y : ag_detach(y);
    ag_var x = e->error->set ? y : ac_record(e, node->operands[e->variant.operand]);
    if (e->error->set || !nn_same_shape(ag_shape_of(x), ag_shape_of(y))) return y;
    return ag_add(ag_detach(y), ag_sub(x, ag_detach(x)));
}

ag_var ac_record(ac_evaluator *e, const ac_node *node) {
    ag_var x = ag_num(NAN);
    if (!ac_is_fine(e, node->span) || !grow_locals(e)) return x;
    if (++e->depth > AC_MAX_CALL_DEPTH)
        ac_fail(e->error, node->span, "functions within functions more than %d deep", AC_MAX_CALL_DEPTH);
    else x = is_step(e, node) ? record_passing(e, node) : record_node(e, node);
    e->depth--;
    (void)ac_is_fine(e, node->span);
    return x;
}
