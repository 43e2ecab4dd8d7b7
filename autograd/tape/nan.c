/* Where a NaN or an infinity comes from. */
#include "flow_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>

typedef struct ag_words {
    char *text;
    size_t size, length;
} ag_words;

static void say(ag_words *w, const char *format, ...) AG_FORMAT_(2, 3);
static void say(ag_words *w, const char *format, ...) {
    va_list args;
    if (w->length + 1 >= w->size) return;
    va_start(args, format);
    int n = vsnprintf(w->text + w->length, w->size - w->length, format, args);
    va_end(args);
    if (n > 0) w->length += (size_t)n < w->size - w->length ? (size_t)n : w->size - w->length - 1;
}

/* Moves an index to the next element of a shape; false behind the last. */
static bool advance(const ag_view *v, int64_t *index) {
    for (int i = v->rank - 1; i >= 0; i--) {
        if (++index[i] < v->dim[i]) return true;
        index[i] = 0;
    }
    return false;
}

static double element(const ag_tape *t, uint32_t slot, const ag_view *v, const int64_t *index) {
    int64_t at = 0;
    for (int i = 0; i < v->rank; i++) at += index[i] * v->stride[i];
    return ag_load(t->type, ag_value_at(t, slot), at);
}

/* What is looked for. */
typedef bool ag_wanted(double x);
static bool is_nan(double x) { return isnan(x); }
static bool is_infinite(double x) { return isinf(x); }
static bool is_plus_infinity(double x) { return x > 0 && isinf(x); }
static bool is_minus_infinity(double x) { return x < 0 && isinf(x); }

/* Whether a var has such a number, and at which index. */
static bool has(const ag_tape *t, uint32_t slot, const ag_view *v, ag_wanted *is_wanted, int64_t *index) {
    memset(index, 0, AG_MAX_RANK * sizeof *index);
    if (v->count == 0) return false;
    do {
        if (is_wanted(element(t, slot, v, index))) return true;
    } while (advance(v, index));
    return false;
}

/* "nan" without a sign, "inf", "-inf". */
static const char *name_of(double x) { return isnan(x) ? "nan" : x < 0 ? "-inf" : "inf"; }

static void say_place(ag_words *w, const ag_view *v, const int64_t *index) {
    if (v->rank == 0) return;
    say(w, " at (");
    for (int i = 0; i < v->rank; i++) say(w, "%s%" PRId64, i ? ", " : "", index[i]);
    say(w, ")");
}

static void say_leaf(ag_words *w, const ag_tape *t, uint32_t slot, const ag_view *v, const int64_t *index) {
    const char *name = ag_name_of(t, slot);
    say(w, "%s%s%s is %s", v->constant ? "a constant" : "an input", name ? " " : "", name ? name : "",
        name_of(element(t, slot, v, index)));
    say_place(w, v, index);
}

/* What an operand is at the result's index. */
static void say_operand(ag_words *w, const ag_tape *t, ag_operand x, double number, const ag_view *result,
                        const int64_t *index) {
    if (x.slot == NOTHING) {
        say(w, "%.9g", number);
        return;
    }
    const ag_view *v = ag_view_at(t, x.view);
    const char *name = ag_name_of(t, x.slot);
    int64_t own[AG_MAX_RANK] = {0};
    for (int i = 0; i < v->rank; i++) own[i] = v->dim[i] == 1 ? 0 : index[i + result->rank - v->rank];
    say(w, "%s%s%.9g", name ? name : "", name ? " = " : "", element(t, x.slot, v, own));
}

/* The same of a view: in terms of all that it is a part of. */
static void say_source(ag_words *w, const ag_tape *t, ag_operand x, const ag_view *v, const int64_t *index) {
    const ag_base *base = ag_base_of(t, x.slot);
    if (!base || !base->count) {
        say_leaf(w, t, x.slot, v, index);
        return;
    }
    const ag_view *whole = ag_view_at(t, base->view);
    int64_t at = (int64_t)x.slot - base->start, own[AG_MAX_RANK] = {0};
    for (int i = 0; i < v->rank; i++) at += index[i] * v->stride[i];
    for (int i = whole->rank - 1; i >= 0; at /= whole->dim[i--]) own[i] = at % whole->dim[i];
    say_leaf(w, t, base->start, whole, own);
}

/* Operands that the tape had before, and that are the cause. */
static bool say_cause(ag_words *w, const ag_tape *t, const ag_operand *in, int n) {
    int64_t index[AG_MAX_RANK];
    for (int k = 0; k < n; k++) {
        if (in[k].slot == NOTHING) continue;
        const ag_view *v = ag_view_at(t, in[k].view);
        if (!has(t, in[k].slot, v, is_nan, index)) continue;
        say_source(w, t, in[k], v, index);
        return true;
    }
    return false;
}

static void say_result(ag_words *w, const char *what, double x, const ag_view *v, const int64_t *index) {
    say(w, "%s", what);
    if (v->rank) say(w, " of shape %s", ag_show_view(v).text);
    say(w, " is %s", name_of(x));
    say_place(w, v, index);
}

/* The operands of an elementwise operation at its result's index. */
static void say_numbers(ag_words *w, const ag_tape *t, const ag_operand *in, int n, double number, const ag_view *v,
                        const int64_t *index) {
    say(w, ", of ");
    for (int k = 0; k < n; k++) {
        if (k) say(w, k + 1 < n ? ", " : " and ");
        say_operand(w, t, in[k], number, v, index);
    }
}

static void say_shapes(ag_words *w, const ag_tape *t, const ag_operand *in, uint32_t n) {
    for (uint32_t k = 0; k < n; k++)
        say(w, "%s%s", k ? ", " : ", of operands of shapes ", ag_show_view(ag_view_at(t, in[k].view)).text);
}

static void say_node(ag_words *w, const ag_tape *t, const ag_node *node, const int64_t *index) {
    const ag_view *v = ag_view_at(t, node->view);
    if (say_cause(w, t, node->in, (int)node->n)) return;
    say_result(w, node->operation ? node->operation->name : ag_op_table[node->code].name, NAN, v, index);
    if (node->operation) say_shapes(w, t, node->in, node->n);
    else say_numbers(w, t, node->in, (int)node->n, 0, v, index);
}

/* Whether what an instruction computes, or brings in, has a NaN; then it is said. */
static bool look(ag_words *w, const ag_tape *t, const ag_instruction_ *i, uint32_t slot) {
    int64_t index[AG_MAX_RANK];
    uint32_t op = ag_op_of(i);
    if (op == OP_NODE) {
        const ag_node *node = ag_node_at(t, i->a);
        if (!has(t, slot, ag_view_at(t, node->view), is_nan, index)) return false;
        say_node(w, t, node, index);
        return true;
    }
    uint32_t view = op == OP_LEAF && i->a < SCALAR_INPUT ? ag_bases(t)[i->a].view : VIEW_SCALAR;
    if (op == OP_LEAF && i->a > SCALAR_INPUT) return false;
    const ag_view *v = ag_view_at(t, view);
    if (!has(t, slot, v, is_nan, index)) return false;
    if (op == OP_LEAF) {
        say_leaf(w, t, slot, v, index);
        return true;
    }
    uint32_t at[3];
    double number;
    int n = ag_scalar_operands(i, at, &number);
    ag_operand in[3];
    for (int k = 0; k < n; k++) in[k] = (ag_operand){at[k], VIEW_SCALAR};
    if (say_cause(w, t, in, n)) return true;
    say_result(w, ag_op_table[op].name, NAN, v, index);
    say_numbers(w, t, in, n, number, v, index);
    return true;
}

bool ag_find_nan(ag_tape *t, ag_mark from, char *text, size_t size) {
    ag_words w = {text, text ? size : 0, 0};
    if (w.size) *text = '\0';
    if (!t || !t->section_count || t->abstract || from.section >= t->section_count) return false;
    const ag_section *s = &ag_sections(t)[from.section];
    if (s->id != from.id) return false;
    uint32_t slot = s->start;
    for (const ag_instruction_ *i = ag_instructions(t) + s->instructions; i < t->head.next; i++) {
        if (ag_op_of(i) >= OP_NODE) slot = i->b;
        if (look(&w, t, i, slot)) return true;
        slot = ag_next_slot(t, i, slot);
    }
    return false;
}

/* ---- back from a var ----------------------------------------------------------------------------------------------- */

/* An element of what an instruction computes, or of an input or constant. */
typedef struct ag_spot {
    uint32_t instruction, slot; /* and its first slot */
    const ag_view *view;        /* of all of it */
    int64_t index[AG_MAX_RANK];
    bool computed;
} ag_spot;

static ag_spot spot_of(ag_tape *t, uint32_t slot) {
    const ag_base *base = ag_base_of(t, slot);
    ag_spot s = {.view = ag_view_at(t, base && base->count ? base->view : VIEW_SCALAR)};
    s.instruction = ag_find_instruction(t, slot, &s.slot);
    uint32_t op = ag_op_of(ag_instructions(t) + s.instruction);
    if (base && base->count) {
        int64_t at = (int64_t)slot - base->start;
        s.slot = base->start;
        for (int i = s.view->rank - 1; i >= 0; at /= s.view->dim[i--]) s.index[i] = at % s.view->dim[i];
        s.computed = op == OP_NODE;
        return s;
    }
    bool constant = slot != s.slot; /* it follows an instruction */
    s.computed = !constant && op != OP_LEAF;
    s.slot = slot;
    if (constant) s.view = ag_view_at(t, VIEW_CONSTANT);
    return s;
}

static uint32_t slot_at(ag_operand x, const ag_view *v, const int64_t *index) {
    int64_t at = x.slot;
    for (int i = 0; i < v->rank; i++) at += index[i] * v->stride[i];
    return (uint32_t)at;
}

/* The slot of an operand's element that is like the result's: at its place, if the operation is elementwise. */
static bool find_like(const ag_tape *t, const ag_step_info *s, uint32_t k, const ag_spot *result, ag_wanted *is_wanted,
                      uint32_t *slot) {
    int64_t own[AG_MAX_RANK] = {0};
    if (s->in[k].slot == NOTHING) return false;
    const ag_view *v = ag_view_at(t, s->in[k].view);
    if (s->operation) {
        if (!has(t, s->in[k].slot, v, is_wanted, own)) return false;
    } else {
        for (int i = 0; i < v->rank; i++) own[i] = v->dim[i] == 1 ? 0 : result->index[i + result->view->rank - v->rank];
        if (!is_wanted(element(t, s->in[k].slot, v, own))) return false;
    }
    *slot = slot_at(s->in[k], v, own);
    return true;
}

static const char *name_of_step(const ag_step_info *s) {
    return s->operation ? s->operation->name : ag_op_table[s->code].name;
}

static void say_step(ag_words *w, const ag_tape *t, const ag_step_info *s, const ag_view *v, const int64_t *index) {
    if (s->operation) say_shapes(w, t, s->in, s->n);
    else say_numbers(w, t, s->in, (int)s->n, s->number, v, index);
}

/* The slot of an infinite operand: rather of this one sign. */
static bool find_infinite(const ag_tape *t, const ag_step_info *s, const ag_spot *result, bool minus, uint32_t *slot) {
    ag_wanted *const wanted[] = {minus ? is_minus_infinity : is_plus_infinity, is_infinite};
    for (int i = 0; i < 2; i++)
        for (uint32_t k = 0; k < s->n; k++)
            if (find_like(t, s, k, result, wanted[i], slot)) return true;
    return false;
}

/* The slot of an operand that is like the number x that it became. */
static bool find_cause(const ag_tape *t, const ag_step_info *s, const ag_spot *result, double x, uint32_t *slot) {
    if (!isnan(x)) return find_infinite(t, s, result, x < 0, slot);
    for (uint32_t k = 0; k < s->n; k++)
        if (find_like(t, s, k, result, is_nan, slot)) return true;
    return false;
}

/* Says what the number in a slot, which is no finite one, comes from: back through operands that are like it. Of a NaN that
 * is made of an infinity, what that comes from first. */
static void say_origin(ag_words *w, ag_tape *t, uint32_t slot) {
    bool going_on = true;
    while (going_on) {
        double x = ag_load(t->type, ag_value_at(t, slot), 0);
        ag_spot spot = spot_of(t, slot);
        ag_step_info s;
        if (!spot.computed || !ag_step_open(t, spot.instruction, spot.slot, &s)) {
            say_leaf(w, t, spot.slot, spot.view, spot.index);
            return;
        }
        going_on = find_cause(t, &s, &spot, x, &slot);
        if (!going_on) {
            if (isnan(x) && find_infinite(t, &s, &spot, false, &slot)) { /* masks have -inf */
                say_origin(w, t, slot);                                  /* that of an infinity meets no NaN */
                say(w, "; of that, ");
            }
            say_result(w, name_of_step(&s), x, spot.view, spot.index);
            say_step(w, t, &s, spot.view, spot.index);
        }
        ag_step_close(t, &s);
    }
}

/* ---- in a sweep ---- */

/* An operand, or all that an instruction has set: a scalar, or what is in a base. */
typedef struct ag_reached {
    uint32_t instruction, slot;
    double adjoint; /* in this slot */
} ag_reached;

/* Whether an adjoint in `count` slots from one on is not finite. */
static bool is_bad(const ag_tape *t, const ag_base *base, uint32_t slot, uint32_t count, ag_reached *to) {
    const void *adjoint = ag_adjoint_in(t, base, slot);
    for (uint32_t j = 0; j < count; j++) {
        double x = ag_load(t->type, adjoint, j);
        if (isfinite(x)) continue;
        to->slot = slot + j;
        to->adjoint = x;
        return true;
    }
    return false;
}

/* After a sweep: the last recorded one whose adjoint is not finite. False if there is none. */
static bool find_last_bad(const ag_tape *t, ag_reached *last) {
    uint32_t slot = ag_instructions(t)[0].b;
    bool found = false;
    for (const ag_instruction_ *i = ag_instructions(t); i < t->head.next && slot < t->swept_top; i++) {
        uint32_t op = ag_op_of(i);
        if (op >= OP_NODE) slot = i->b;
        const ag_base *base = op == OP_NODE                          ? &ag_bases(t)[ag_node_at(t, i->a)->base]
                              : op == OP_LEAF && i->a < SCALAR_INPUT ? &ag_bases(t)[i->a]
                                                                     : NULL;
        bool set = base ? base->epoch == t->epoch && !ag_is_constant_view(t, base->view)
                        : op < OP_NODE || (op == OP_LEAF && i->a == SCALAR_INPUT);
        if (set && is_bad(t, base, slot, base ? base->count : 1, last)) {
            last->instruction = (uint32_t)(i - ag_instructions(t));
            found = true;
        }
        slot = ag_next_slot(t, i, slot);
    }
    return found;
}

static bool is_in(const ag_tape *t, ag_operand x, const ag_reached *r) {
    if (x.slot == NOTHING || ag_is_constant_view(t, x.view)) return false;
    const ag_base *base = ag_base_of(t, r->slot);
    return base ? ag_base_of(t, x.slot) == base : x.slot == r->slot;
}

/* Sweeps from y, then from a result alone with the adjoint that it has in that sweep: whether a bad one is bad again. */
static bool makes_it(ag_tape *t, ag_var y, const ag_step_info *s, ag_reached *r) {
    ag_var result = ag_var_of(t, s->result.slot, s->result.view), w;
    ag_shape shape = ag_operand_shape(t, s->result);
    ag_backward(y);
    if (shape.rank) {
        double *adjoint = ag_scratch(t, (size_t)ag_count(result) * sizeof *adjoint + 1);
        if (!adjoint) return false;
        ag_read_grad(result, adjoint);
        w = ag_constant_tensor(t, adjoint, shape);
        ag_scratch_free(t, adjoint);
    } else w = ag_num(ag_grad(result));
    ag_sweep(&result, &w, 1, AG_RESET);
    const ag_base *base = ag_base_of(t, r->slot);
    return t->status == AG_OK && (!base || base->epoch == t->epoch) && is_bad(t, base, r->slot, 1, r);
}

/* Moves `index` through a view, of the result or an operand, to where operand k is the slot. */
static bool find_place(const ag_tape *t, const ag_step_info *s, uint32_t k, uint32_t slot, const ag_view *through,
                       int64_t *index) {
    const ag_view *v = ag_view_at(t, s->in[k].view);
    memset(index, 0, AG_MAX_RANK * sizeof *index);
    do {
        int64_t own[AG_MAX_RANK] = {0};
        for (int i = 0; i < v->rank; i++) own[i] = v->dim[i] == 1 ? 0 : index[i + through->rank - v->rank];
        if (slot_at(s->in[k], v, own) == slot) return true;
    } while (advance(through, index));
    return false;
}

/* Whether this step made the adjoint bad; then it is said. */
static bool look_at_step(ag_words *w, ag_tape *t, ag_var y, const ag_step_info *s, ag_reached *r) {
    uint32_t k = 0;
    int64_t index[AG_MAX_RANK];
    while (k < s->n && !is_in(t, s->in[k], r)) k++;
    if (k == s->n || !makes_it(t, y, s, r)) return false;
    const ag_view *result = ag_view_at(t, s->result.view);
    for (; k < s->n; k++) {
        if (!is_in(t, s->in[k], r)) continue;
        const ag_view *v = ag_view_at(t, s->in[k].view);
        if (!find_place(t, s, k, r->slot, s->operation ? v : result, index)) continue;
        say(w, "the derivative of ");
        if (s->operation) {
            say(w, "%s by operand %u", name_of_step(s), (unsigned)k + 1);
            say_result(w, "", r->adjoint, v, index);
            say_shapes(w, t, s->in, s->n);
        } else {
            say_result(w, name_of_step(s), r->adjoint, result, index);
            say_step(w, t, s, result, index);
        }
        return true;
    }
    return false;
}

/* Which operation's derivative is the first in a sweep that is not finite; false if none is. The earliest step that reads
 * what has the bad adjoint hands nothing else down to it, so steps are tried from there on. */
static bool say_derivative(ag_words *w, ag_tape *t, ag_var y) {
    ag_reached r = {0};
    ag_backward(y);
    if (t->status != AG_OK || !find_last_bad(t, &r)) return false;
    uint32_t slot = ag_instructions(t)[0].b, end = ag_instruction_count(t);
    bool found = false;
    for (uint32_t i = 0; i < end && !found && t->status == AG_OK; i++) {
        ag_step_info s;
        if (ag_op_of(ag_instructions(t) + i) >= OP_NODE) slot = ag_instructions(t)[i].b;
        uint32_t next = ag_next_slot(t, ag_instructions(t) + i, slot);
        if (i > r.instruction && ag_step_open(t, i, slot, &s)) {
            found = look_at_step(w, t, y, &s, &r);
            ag_step_close(t, &s);
        }
        slot = next;
    }
    if (found || t->status != AG_OK) return found;
    ag_spot spot = spot_of(t, r.slot);
    say(w, "a sum of adjoints, of shape %s,", ag_show_view(spot.view).text);
    say_result(w, "", r.adjoint, ag_view_at(t, VIEW_SCALAR), spot.index);
    say_place(w, spot.view, spot.index);
    return true;
}

bool ag_find_infinity(ag_var y, char *text, size_t size) {
    ag_words w = {text, text ? size : 0, 0};
    ag_tape *t = ag_tape_of(y);
    ag_operand o;
    int64_t index[AG_MAX_RANK];
    if (w.size) *text = '\0';
    if (!ag_locate(y, &o) || t->status != AG_OK || t->abstract) return false;
    const ag_view *v = ag_view_at(t, o.view);
    if (has(t, o.slot, v, is_nan, index) || has(t, o.slot, v, is_infinite, index)) {
        say_origin(&w, t, slot_at(o, v, index));
        return true;
    }
    return v->count == 1 && say_derivative(&w, t, y);
}
