/* Greatest and least elements, and where the greatest is. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "reduce_impl.h"

#include <math.h>

/* ---- max and min ---- */

static bool max_shape(ag_call *call) { return ag_reduce_shape_nonempty(call, "max"); }
static bool min_shape(ag_call *call) { return ag_reduce_shape_nonempty(call, "min"); }

static bool extreme_block(const ag_block *b, ag_opcode op) {
    if (b->stride == 1) {
        const void *row = ag_piece_of(b, b->call->in[0].data, 0);
        double value = (op == AG_MAX ? b->kernels->max : b->kernels->min)((size_t)b->count, row);
        ag_store(b->type, b->call->out.data, b->y, value);
        return true;
    }
    ag_buffer best;
    ag_fold(b, op, best);
    memcpy(ag_element(b->type, b->call->out.data, b->y), best, (size_t)b->width * ag_type_size(b->type));
    return true;
}

static bool max_block(const ag_block *b) { return extreme_block(b, AG_MAX); }
static bool min_block(const ag_block *b) { return extreme_block(b, AG_MIN); }

static bool extreme_forward(const ag_call *call, ag_opcode op) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    ag_extent e;
    if (!ag_reduces_short_rows(call, &e))
        return ag_reduce_blocks(call, AG_FORWARD, op == AG_MAX ? max_block : min_block);
    (op == AG_MAX ? kernels->max_rows : kernels->min_rows)((size_t)e.outer, (size_t)e.count, call->out.data,
                                                           call->in[0].data);
    return true;
}
static bool max_forward(const ag_call *call) { return extreme_forward(call, AG_MAX); }
static bool min_forward(const ag_call *call) { return extreme_forward(call, AG_MIN); }

/* Twice through the elements: how many equal the result, then an equal share for each. Where the result is NaN none
 * does, and the derivative is 0. */
static bool extreme_adjoint_block(const ag_block *b) {
    const ag_call *call = b->call;
    const ag_kernels *kernels = b->kernels;
    ag_buffer result, equal, share;
    ag_repeat_results(b, call->out.data, result);
    memset(share, 0, ag_piece(b, 0) * ag_type_size(b->type));
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        kernels->value[AG_EQ](n, equal, ag_piece_of(b, call->in[0].data, i), result, NULL);
        kernels->add_to(n, share, equal);
    }
    ag_fold_copies(b, AG_ADD, b->copies, share);
    for (int64_t j = 0; j < b->width; j++) {
        double equals = ag_load(b->type, share, j);
        ag_store(b->type, share, j, equals > 0 ? ag_load_adjoint(call, b->y + j) / equals : 0);
    }
    ag_repeat(b, share);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        kernels->value[AG_EQ](n, equal, ag_piece_of(b, call->in[0].data, i), result, NULL);
        /* to += chain(share, equal) */
        kernels->partial[AG_MUL][0](n, ag_piece_of(b, call->in_adjoint[0].data, i), share, equal, equal, NULL, equal);
    }
    return true;
}

static bool extreme_adjoint(const ag_call *call) { return ag_reduce_blocks(call, AG_ADJOINT, extreme_adjoint_block); }

/* 1 where an element equals its result, else 0, and how many do, at least 1; both broadcast to the operand. */
static ag_var which(const ag_rule *rule, ag_var *equals) {
    const ag_reduction *p = rule->params;
    ag_shape shape = ag_shape_of(rule->in[0]);
    ag_var equal = ag_eq(rule->in[0], ag_reduce_align(rule->out, shape, p));
    *equals = ag_max(ag_reduce_sum(equal, p), 1.0);
    return equal;
}

static ag_var extreme_tangent(const ag_rule *rule, const ag_var *tangents) {
    ag_var equals, equal = which(rule, &equals);
    return ag_div(ag_reduce_sum(ag_chain(tangents[0], equal), rule->params), equals);
}

static void extreme_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var equals, equal = which(rule, &equals);
    ag_var share = ag_reduce_align(ag_div(w, equals), ag_shape_of(rule->in[0]), rule->params);
    contributions[0] = ag_chain(share, equal);
}

static void max_scalars(const ag_elements *e) { ag_reduce_scalars(e, AG_MAX, -HUGE_VAL); }
static void min_scalars(const ag_elements *e) { ag_reduce_scalars(e, AG_MIN, HUGE_VAL); }

static bool extreme_c_form(const ag_c_form *f, ag_opcode op) {
    int kept = ag_c_kept(f);
    ag_c_most(f, op);
    ag_c_line(f, "%s[%s] = most;", f->out, ag_c_result_index(f).text);
    ag_c_close(f, kept);
    return true;
}
static bool max_c_form(const ag_c_form *f) { return extreme_c_form(f, AG_MAX); }
static bool min_c_form(const ag_c_form *f) { return extreme_c_form(f, AG_MIN); }

static const ag_operation max_operation = {
    .name = "max",
    .shape = max_shape,
    .forward = max_forward,
    .adjoint = extreme_adjoint,
    .tangent = extreme_tangent,
    .record = extreme_record,
    .scalars = max_scalars,
    .c_form = max_c_form,
    .valid = ag_reduce_valid_adjacent,
};
const ag_operation *const ag_builtin_max = &max_operation;
static const ag_operation min_operation = {
    .name = "min",
    .shape = min_shape,
    .forward = min_forward,
    .adjoint = extreme_adjoint,
    .tangent = extreme_tangent,
    .record = extreme_record,
    .scalars = min_scalars,
    .c_form = min_c_form,
    .valid = ag_reduce_valid_adjacent,
};
const ag_operation *const ag_builtin_min = &min_operation;

ag_var ag_max_over(ag_var x, ag_axes axes, bool keep) {
    return ag_reduce(&max_operation, AG_ADJACENT_AXES, x, axes, keep);
}

ag_var ag_min_over(ag_var x, ag_axes axes, bool keep) {
    return ag_reduce(&min_operation, AG_ADJACENT_AXES, x, axes, keep);
}

/* ---- argmax ---- */

static bool argmax_shape(ag_call *call) { return ag_reduce_shape_nonempty(call, "argmax"); }

/* The first of the greatest, or the first NaN: the value first, by kernels, then a search for it. */
static bool argmax_block(const ag_block *b) {
    void *x = b->call->in[0].data;
    ag_buffer best;
    ag_fold(b, AG_MAX, best);
    for (int64_t j = 0; j < b->width; j++) {
        double value = ag_load(b->type, best, j);
        int64_t at = b->x + j, i = 0;
        for (; i < b->count - 1; i++, at += b->stride) {
            double candidate = ag_load(b->type, x, at);
            if (candidate == value || isnan(candidate)) break;
        }
        ag_store(b->type, b->call->out.data, b->y + j, (double)i);
    }
    return true;
}

static bool argmax_forward(const ag_call *call) { return ag_reduce_blocks(call, AG_FORWARD, argmax_block); }

static bool argmax_adjoint(const ag_call *call) {
    (void)call;
    return true;
}

static ag_var argmax_tangent(const ag_rule *rule, const ag_var *tangents) {
    (void)rule, (void)tangents;
    return ag_num(0);
}

static void argmax_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    (void)rule, (void)w, (void)contributions;
}

/* The best so far and its position; nothing is better than a NaN. */
static void argmax_scalars(const ag_elements *e) {
    int64_t count = ag_count_dims(e->shapes[0].dim, 0, e->shapes[0].rank);
    int64_t results = ag_count_dims(e->shape.dim, 0, e->shape.rank);
    ag_var *best = ag_scratch(e->tape, (size_t)results * (sizeof *best + sizeof(int64_t)) + 1);
    if (!best) return;
    int64_t *seen = (int64_t *)(void *)(best + results);
    for (int64_t j = 0; j < results; j++) seen[j] = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t j = ag_reduce_target(e, i), position = seen[j]++;
        ag_var x = e->in[0][i];
        ag_var better = position ? ag_select(ag_le(x, best[j]), 0.0, ag_eq(best[j], best[j])) : ag_num(1);
        e->out[j] = position ? ag_select(better, (double)position, e->out[j]) : ag_num(0);
        best[j] = position ? ag_select(better, x, best[j]) : x;
    }
    ag_scratch_free(e->tape, best);
}

/* Over one axis: the first of the greatest, or the first NaN. */
static bool argmax_c_form(const ag_c_form *f) {
    const ag_view *v = f->views[0];
    int axis = 0;
    while (((const ag_reduction *)f->params)->mask >> (axis + 1)) axis++;
    ag_c_text x = ag_c_index_of(v);
    int kept = ag_c_kept(f);
    const char *i = ag_c_loop(axis);
    ag_c_line(f, "long at = 0;");
    ag_c_line(f, "%s best = 0;", f->number);
    ag_c_open(f, axis, v->dim[axis]);
    ag_c_line(f, "if (%s == 0 || (best == best && !(%s[%s] <= best))) {", i, f->in[0], x.text);
    ag_c_line(f, "best = %s[%s];", f->in[0], x.text);
    ag_c_line(f, "at = %s;", i);
    ag_c_close(f, 2);
    ag_c_line(f, "%s[%s] = (%s)at;", f->out, ag_c_result_index(f).text, f->number);
    ag_c_close(f, kept);
    return true;
}

static bool argmax_valid(const ag_call *call) {
    const ag_reduction *p = call->params;
    return ag_reduce_valid_adjacent(call) && p->mask && !(p->mask & (p->mask - 1)) && !p->keep;
}

static const ag_operation argmax_operation = {
    .name = "argmax",
    .shape = argmax_shape,
    .forward = argmax_forward,
    .adjoint = argmax_adjoint,
    .tangent = argmax_tangent,
    .record = argmax_record,
    .scalars = argmax_scalars,
    .c_form = argmax_c_form,
    .valid = argmax_valid,
};
const ag_operation *const ag_builtin_argmax = &argmax_operation;

ag_var ag_argmax(ag_var x, int axis) {
    if (ag_tape_of(x) == NULL) return ag_inert(NULL);
    ag_pause(ag_tape_of(x)); /* a constant */
    ag_var result = ag_reduce(&argmax_operation, AG_ADJACENT_AXES, x, (ag_axes){.count = 1, .axis = {axis}}, false);
    ag_resume(ag_tape_of(x));
    return result;
}
