/* Products of elements. The derivative by one of them is the product of the others: not the result divided by it, which
 * says nothing where one is 0. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "reduce_impl.h"

#include <float.h>
#include <math.h>

static bool prod_block(const ag_block *b) {
    ag_buffer product;
    for (int64_t j = 0; b->count == 0 && j < b->width; j++) ag_store(b->type, product, j, 1);
    if (b->count > 0) ag_fold(b, AG_MUL, product);
    memcpy(ag_element(b->type, b->call->out.data, b->y), product, (size_t)b->width * ag_type_size(b->type));
    return true;
}

static bool prod_forward(const ag_call *call) { return ag_reduce_blocks(call, AG_FORWARD, prod_block); }

static bool is_normal(ag_type type, double x) {
    double size = fabs(x);
    if (type == AG_F64) return size >= DBL_MIN && size <= DBL_MAX;
    return size >= (double)FLT_MIN && size <= (double)FLT_MAX;
}

/* One result's derivatives w * (product of the others), as products of those before and of those after; `before` has
 * room for them. */
static void add_products_of_others(const ag_block *b, int64_t column, double w, double *before) {
    const ag_call *call = b->call;
    int64_t first = b->x + column;
    double product = 1;
    for (int64_t i = 0; i < b->count; i++) {
        before[i] = product;
        product *= ag_load(b->type, call->in[0].data, first + i * b->stride);
    }
    product = 1;
    for (int64_t i = b->count - 1; i >= 0; i--) {
        int64_t at = first + i * b->stride;
        double sum = ag_load(b->type, call->in_adjoint[0].data, at) + ag_chain_number(w, before[i] * product);
        ag_store(b->type, call->in_adjoint[0].data, at, sum);
        product *= ag_load(b->type, call->in[0].data, at);
    }
}

static bool prod_adjoint_by_others(const ag_block *b) {
    ag_buffer few;
    double *before = few;
    if (b->count > AG_BLOCK) before = ag_scratch(b->call->tape, (size_t)b->count * sizeof *before);
    if (before == NULL) return false;
    for (int64_t j = 0; j < b->width; j++) {
        double w = ag_load_adjoint(b->call, b->y + j);
        if (w != 0) add_products_of_others(b, j, w, before);
    }
    if (before != few) ag_scratch_free(b->call->tape, before);
    return true;
}

/* Where a result is an ordinary number, so are its elements, and dividing by one of them is as good as multiplying the
 * others, and faster. */
static bool prod_adjoint_block(const ag_block *b) {
    const ag_call *call = b->call;
    ag_buffer scaled, part;
    for (int64_t j = 0; j < b->width; j++) {
        double w = ag_load_adjoint(call, b->y + j), r = ag_load(b->type, call->out.data, b->y + j);
        if (!is_normal(b->type, r) || (w != 0 && !is_normal(b->type, w * r))) return prod_adjoint_by_others(b);
        ag_store(b->type, scaled, j, w * r);
    }
    ag_repeat(b, scaled);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        b->kernels->value[AG_DIV](n, part, scaled, ag_piece_of(b, call->in[0].data, i), NULL);
        b->kernels->add_to(n, ag_piece_of(b, call->in_adjoint[0].data, i), part);
    }
    return true;
}

static bool prod_adjoint(const ag_call *call) { return ag_reduce_blocks(call, AG_ADJOINT, prod_adjoint_block); }

/* ---- recorded ----
 * The products of the others, exactly and to any order: a tree of products upwards, then downwards each node's others
 * are its parent's others times its sibling. About 5 log2(count) instructions, which work on 5 numbers an element. */

static ag_var part_of(ag_var x, int64_t from, int64_t to) { return ag_slice(x, 1, from, to, 1); }

/* For x of shape (outer, count, inner): at each position, the product over the other positions. */
static ag_var products_of_others(ag_var x) {
    ag_shape shape = ag_shape_of(x);
    int64_t count = shape.dim[1], half = count / 2;
    if (count <= 1) return ag_ones(ag_tape_of(x), shape);
    ag_var low = part_of(x, 0, half), high = part_of(x, half, 2 * half);
    if (count == 2) return ag_concat((ag_var[]){high, low}, 2, 1);
    ag_var pairs = ag_mul(low, high), odd = part_of(x, 2 * half, count);
    int n = count % 2 ? 2 : 1;
    ag_var others = products_of_others(n == 2 ? ag_concat((ag_var[]){pairs, odd}, 2, 1) : pairs);
    if (ag_is_inert(others)) return others;
    ag_var of_pairs = part_of(others, 0, half);
    ag_var parts[] = {ag_mul(of_pairs, high), ag_mul(of_pairs, low), n == 2 ? part_of(others, half, half + 1) : odd};
    return ag_concat(parts, n + 1, 1);
}

static ag_var prod_partials(const ag_rule *rule) {
    const ag_reduction *p = rule->params;
    ag_shape shape = ag_shape_of(rule->in[0]);
    ag_extent e = ag_reduce_extent(shape.dim, shape.rank, p->mask);
    ag_var flat = ag_reshape(rule->in[0], AG_SHAPE(e.outer, e.count, e.inner));
    return ag_reshape(products_of_others(flat), shape);
}

static ag_var prod_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_reduce_sum(ag_chain(tangents[0], prod_partials(rule)), rule->params);
}

static void prod_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var aligned = ag_reduce_align(w, ag_shape_of(rule->in[0]), rule->params);
    contributions[0] = ag_chain(aligned, prod_partials(rule));
}

static void prod_scalars(const ag_elements *e) { ag_reduce_scalars(e, AG_MUL, 1); }

static bool prod_c_form(const ag_c_form *f) {
    int kept = ag_c_kept(f);
    ag_c_line(f, "%s sum = 1;", f->number);
    int n = ag_c_reduced(f);
    ag_c_line(f, "sum *= %s[%s];", f->in[0], ag_c_index_of(f->views[0]).text);
    ag_c_close(f, n);
    ag_c_line(f, "%s[%s] = sum;", f->out, ag_c_result_index(f).text);
    ag_c_close(f, kept);
    return true;
}

static const ag_operation prod_operation = {
    .name = "prod",
    .shape = ag_reduce_shape,
    .forward = prod_forward,
    .adjoint = prod_adjoint,
    .tangent = prod_tangent,
    .record = prod_record,
    .scalars = prod_scalars,
    .c_form = prod_c_form,
    .valid = ag_reduce_valid_adjacent,
};
const ag_operation *const ag_builtin_prod = &prod_operation;

ag_var ag_prod_over(ag_var x, ag_axes axes, bool keep) {
    return ag_reduce(&prod_operation, AG_ADJACENT_AXES, x, axes, keep);
}
