/* Where a NaN comes from. */
#include "tape_impl.h"

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

/* Whether a var has a NaN, and at which index. */
static bool has_nan(const ag_tape *t, uint32_t slot, const ag_view *v, int64_t *index) {
    memset(index, 0, AG_MAX_RANK * sizeof *index);
    if (v->count == 0) return false;
    do {
        if (isnan(element(t, slot, v, index))) return true;
    } while (advance(v, index));
    return false;
}

static void say_place(ag_words *w, const ag_view *v, const int64_t *index) {
    if (v->rank == 0) return;
    say(w, " at (");
    for (int i = 0; i < v->rank; i++) say(w, "%s%" PRId64, i ? ", " : "", index[i]);
    say(w, ")");
}

static void say_leaf(ag_words *w, const ag_tape *t, uint32_t slot, const ag_view *v, const int64_t *index) {
    const char *name = ag_name_of(t, slot);
    say(w, "%s%s%s is nan", v->constant ? "a constant" : "an input", name ? " " : "", name ? name : "");
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
        if (!has_nan(t, in[k].slot, v, index)) continue;
        say_source(w, t, in[k], v, index);
        return true;
    }
    return false;
}

static void say_result(ag_words *w, const char *what, const ag_view *v, const int64_t *index) {
    say(w, "%s", what);
    if (v->rank) say(w, " of shape %s", ag_show_view(v).text);
    say(w, " is nan");
    say_place(w, v, index);
}

static void say_elementwise(ag_words *w, const ag_tape *t, uint32_t op, const ag_operand *in, int n, double number,
                            const ag_view *v, const int64_t *index) {
    if (say_cause(w, t, in, n)) return;
    say_result(w, ag_op_table[op].name, v, index);
    say(w, ", of ");
    for (int k = 0; k < n; k++) {
        if (k) say(w, k + 1 < n ? ", " : " and ");
        say_operand(w, t, in[k], number, v, index);
    }
}

static void say_node(ag_words *w, const ag_tape *t, const ag_node *node, const int64_t *index) {
    const ag_view *v = ag_view_at(t, node->view);
    if (!node->operation) {
        say_elementwise(w, t, node->code, node->in, (int)node->n, 0, v, index);
        return;
    }
    if (say_cause(w, t, node->in, (int)node->n)) return;
    say_result(w, node->operation->name, v, index);
    for (uint32_t k = 0; k < node->n; k++)
        say(w, "%s%s", k ? ", " : ", of operands of shapes ", ag_show_view(ag_view_at(t, node->in[k].view)).text);
}

/* Whether what an instruction computes, or brings in, has a NaN; then it is said. */
static bool look(ag_words *w, const ag_tape *t, const ag_instruction_ *i, uint32_t slot) {
    int64_t index[AG_MAX_RANK];
    uint32_t op = ag_op_of(i);
    if (op == OP_NODE) {
        const ag_node *node = ag_node_at(t, i->a);
        if (!has_nan(t, slot, ag_view_at(t, node->view), index)) return false;
        say_node(w, t, node, index);
        return true;
    }
    uint32_t view = op == OP_LEAF && i->a < SCALAR_INPUT ? ag_bases(t)[i->a].view : VIEW_SCALAR;
    if (op == OP_LEAF && i->a > SCALAR_INPUT) return false;
    const ag_view *v = ag_view_at(t, view);
    if (!has_nan(t, slot, v, index)) return false;
    if (op == OP_LEAF) {
        say_leaf(w, t, slot, v, index);
        return true;
    }
    uint32_t at[3];
    double number;
    int n = ag_scalar_operands(i, at, &number);
    ag_operand in[3];
    for (int k = 0; k < n; k++) in[k] = (ag_operand){at[k], VIEW_SCALAR};
    say_elementwise(w, t, op, in, n, number, v, index);
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
