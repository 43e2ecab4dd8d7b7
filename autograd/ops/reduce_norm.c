/* Euclidean norms and log sum exp, without overflow. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "reduce_impl.h"

#include <float.h>
#include <math.h>

/* ---- norm ---- */

/* Whether a sum of squares can be trusted: no square that matters to it was lost to overflow or underflow. */
static bool is_safe_sum(ag_type type, double sum) {
    return type == AG_F64 ? sum > 1e-280 && sum < 1e300 : sum > 1e-26 && sum < 1e37;
}

/* The norm of one result's elements, scaled by a power of two near the greatest. */
static double scaled_norm(const ag_block *b, int64_t column) {
    const void *x = b->call->in[0].data;
    int64_t first = b->x + column;
    double most = 0, sum = 0;
    for (int64_t i = 0; i < b->count; i++) {
        double size = fabs(ag_load(b->type, x, first + i * b->stride));
        if (isnan(size)) return size;
        if (size > most) most = size;
    }
    if (most == 0 || isinf(most)) return most;
    int exponent;
    (void)frexp(most, &exponent);
    for (int64_t i = 0; i < b->count; i++) {
        double scaled = ldexp(ag_load(b->type, x, first + i * b->stride), -exponent);
        sum += scaled * scaled;
    }
    return ldexp(sqrt(sum), exponent);
}

static bool norm_block(const ag_block *b) {
    void *x = b->call->in[0].data;
    ag_buffer sums;
    if (b->count == 0) {
        memset(sums, 0, sizeof sums);
    } else if (b->stride == 1) {
        ag_store(b->type, sums, 0, b->kernels->dot((size_t)b->count, ag_piece_of(b, x, 0), ag_piece_of(b, x, 0)));
    } else {
        memset(sums, 0, ag_piece(b, 0) * ag_type_size(b->type));
        for (int64_t i = 0; i < b->count; i += b->copies) {
            const void *piece = ag_piece_of(b, x, i);
            b->kernels->value[AG_FMA](ag_piece(b, i), sums, piece, piece, sums);
        }
        ag_fold_copies(b, AG_ADD, b->copies, sums);
    }
    for (int64_t j = 0; j < b->width; j++) {
        double sum = ag_load(b->type, sums, j);
        ag_store(b->type, b->call->out.data, b->y + j, is_safe_sum(b->type, sum) ? sqrt(sum) : scaled_norm(b, j));
    }
    return true;
}

static bool norm_forward(const ag_call *call) { return ag_reduce_blocks(call, AG_FORWARD, norm_block); }

/* One result's derivatives w x / r, where w / r cannot be taken first. */
static void add_directions(const ag_block *b, int64_t column, double w, double r) {
    void *to = b->call->in_adjoint[0].data;
    for (int64_t i = 0; i < b->count && r != 0; i++) {
        int64_t at = b->x + column + i * b->stride;
        double partial = ag_load(b->type, b->call->in[0].data, at) / r;
        ag_store(b->type, to, at, ag_load(b->type, to, at) + ag_chain_number(w, partial));
    }
}

static bool norm_adjoint_block(const ag_block *b) {
    const ag_call *call = b->call;
    ag_buffer scale;
    double least = b->type == AG_F64 ? 1e-290 : 1e-35, most = 1 / least;
    bool easy = false;
    for (int64_t j = 0; j < b->width; j++) {
        double w = ag_load_adjoint(call, b->y + j), r = ag_load(b->type, call->out.data, b->y + j), quotient = w / r;
        bool ordinary = fabs(quotient) > least && fabs(quotient) < most && r < most;
        ag_store(b->type, scale, j, ordinary ? quotient : 0);
        easy |= ordinary;
        if (!ordinary && w != 0) add_directions(b, j, w, r);
    }
    if (!easy) return true;
    ag_repeat(b, scale);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        const void *x = ag_piece_of(b, call->in[0].data, i);
        void *to = ag_piece_of(b, call->in_adjoint[0].data, i);
        b->kernels->partial[AG_MUL][0](ag_piece(b, i), to, scale, x, x, NULL, x); /* to += chain(scale, x) */
    }
    return true;
}

static bool norm_adjoint(const ag_call *call) { return ag_reduce_blocks(call, AG_ADJOINT, norm_adjoint_block); }

/* x / r, and 0 where r is 0. */
static ag_var directions(const ag_rule *rule) {
    ag_var r = ag_reduce_align(rule->out, ag_shape_of(rule->in[0]), rule->params);
    return ag_select(ag_eq(r, 0.0), 0.0, ag_div(rule->in[0], r));
}

static ag_var norm_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_reduce_sum(ag_chain(tangents[0], directions(rule)), rule->params);
}

static void norm_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var aligned = ag_reduce_align(w, ag_shape_of(rule->in[0]), rule->params);
    contributions[0] = ag_chain(aligned, directions(rule));
}

static void norm_scalars(const ag_elements *e);

/* Scaled by the greatest magnitude. */
static bool norm_c_form(const ag_c_form *f) {
    ag_c_text x = ag_c_index_of(f->views[0]);
    ag_c_use(f, AG_MAX);
    int kept = ag_c_kept(f);
    ag_c_line(f, "%s scale = 0, sum = 0;", f->number);
    int n = ag_c_reduced(f);
    ag_c_line(f, "scale = ad_max%s(scale, fabs%s(%s[%s]));", f->suffix, f->suffix, f->in[0], x.text);
    ag_c_close(f, n);
    ag_c_line(f, "if (!(scale > 0 && scale < INFINITY)) scale = 1;");
    n = ag_c_reduced(f);
    ag_c_line(f, "sum += %s[%s] / scale * (%s[%s] / scale);", f->in[0], x.text, f->in[0], x.text);
    ag_c_close(f, n);
    ag_c_line(f, "%s[%s] = scale * sqrt%s(sum);", f->out, ag_c_result_index(f).text, f->suffix);
    ag_c_close(f, kept);
    return true;
}

static const ag_operation norm_operation = {
    .name = "norm",
    .shape = ag_reduce_shape,
    .forward = norm_forward,
    .adjoint = norm_adjoint,
    .tangent = norm_tangent,
    .record = norm_record,
    .scalars = norm_scalars,
    .c_form = norm_c_form,
    .valid = ag_reduce_valid_adjacent,
};
const ag_operation *const ag_builtin_norm = &norm_operation;

ag_var ag_norm_over(ag_var x, ag_axes axes, bool keep) {
    return ag_reduce(&norm_operation, AG_ADJACENT_AXES, x, axes, keep);
}

/* ---- log sum exp ----
 * Its derivative by an element is exp(x - r), r the result: a share of 1. A large r is rounded by more than it has of the
 * logarithm of a sum; then shares are divided by what they add up to. Where r is -inf (nothing but -inf) all shares
 * are 0; where it is +inf, elements that are +inf have equal shares and the others none; NaN gives NaN. */

static bool logsumexp_row(const ag_block *b) {
    const void *x = ag_piece_of(b, b->call->in[0].data, 0);
    ag_buffer part;
    double most = b->kernels->max((size_t)b->count, x), sum = 0;
    if (isfinite(most)) {
        for (int64_t i = 0; i < b->count; i += b->copies) {
            sum += b->kernels->exp_shifted(ag_piece(b, i), part, ag_piece_of(b, b->call->in[0].data, i), most);
        }
        most += log(sum);
    }
    ag_store(b->type, b->call->out.data, b->y, most);
    return true;
}

static bool logsumexp_block(const ag_block *b) {
    const ag_kernels *kernels = b->kernels;
    ag_buffer most, sum, part;
    if (b->count == 0) {
        for (int64_t j = 0; j < b->width; j++) ag_store(b->type, b->call->out.data, b->y + j, -HUGE_VAL);
        return true;
    }
    if (b->stride == 1) return logsumexp_row(b);
    ag_fold(b, AG_MAX, most);
    ag_repeat(b, most);
    memset(sum, 0, ag_piece(b, 0) * ag_type_size(b->type));
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        kernels->value[AG_SUB](n, part, ag_piece_of(b, b->call->in[0].data, i), most, NULL);
        kernels->value[AG_EXP](n, part, part, NULL, NULL);
        kernels->add_to(n, sum, part);
    }
    ag_fold_copies(b, AG_ADD, b->copies, sum);
    for (int64_t j = 0; j < b->width; j++) {
        double m = ag_load(b->type, most, j);
        ag_store(b->type, b->call->out.data, b->y + j, isfinite(m) ? m + log(ag_load(b->type, sum, j)) : m);
    }
    return true;
}

static bool logsumexp_forward(const ag_call *call) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    ag_extent e;
    ag_buffer most, exps, sums;
    if (!ag_reduces_short_rows(call, &e)) return ag_reduce_blocks(call, AG_FORWARD, logsumexp_block);
    for (int64_t row = 0, rows; row < e.outer; row += rows) {
        rows = ag_rows_at_once(e, row);
        void *out = ag_element(call->type, call->out.data, row);
        ag_exps_of_rows(call->type, rows, e.count, ag_element(call->type, call->in[0].data, row * e.count), most, exps,
                        sums);
        kernels->value[AG_LOG]((size_t)rows, sums, sums, NULL, NULL);
        kernels->value[AG_ADD]((size_t)rows, out, most, sums, NULL);
        for (int64_t j = 0; j < rows; j++) {
            double m = ag_load(call->type, most, j);
            if (!isfinite(m)) ag_store(call->type, out, j, m);
        }
    }
    return true;
}

/* The results, repeated, as what to shift the elements by: 0 for -inf. */
static void shifts(const ag_block *b, const void *results, void *r) {
    ag_repeat_results(b, results, r);
    for (int64_t j = 0; j < b->width; j++) {
        if (ag_load(b->type, r, j) == -HUGE_VAL) ag_store(b->type, r, j, 0);
    }
    ag_repeat(b, r);
}

/* shares = exp(x - r) for the piece at i. Not right yet where r is +inf. */
static void shares_of_piece(const ag_block *b, int64_t i, const void *r, void *shares) {
    size_t n = ag_piece(b, i);
    b->kernels->value[AG_SUB](n, shares, ag_piece_of(b, b->call->in[0].data, i), r, NULL);
    b->kernels->value[AG_EXP](n, shares, shares, NULL, NULL);
}

/* Is a result rounded so far from 0 that shares have to be divided by their sum? */
static bool is_coarse(double r) { return fabs(r) > 16 && isfinite(r); }

/* What shares add up to, in a buffer, repeated: 1 where they need not be divided. False if that is everywhere. */
static bool sums_of_shares(const ag_block *b, const void *r, void *sums) {
    bool coarse = false;
    for (int64_t j = 0; j < b->width; j++) coarse |= is_coarse(ag_load(b->type, r, j));
    if (!coarse || b->count == 0) return false;
    ag_buffer shares;
    memset(sums, 0, ag_piece(b, 0) * ag_type_size(b->type));
    for (int64_t i = 0; i < b->count; i += b->copies) {
        shares_of_piece(b, i, r, shares);
        b->kernels->add_to(ag_piece(b, i), sums, shares);
    }
    ag_fold_copies(b, AG_ADD, b->copies, sums);
    for (int64_t j = 0; j < b->width; j++)
        if (!is_coarse(ag_load(b->type, r, j))) ag_store(b->type, sums, j, 1);
    ag_repeat(b, sums);
    return true;
}

/* to = (or, with `add`, +=) w * share for the elements, from `first` on, of a result that is +inf. */
static void infinite_shares(const ag_block *b, int64_t first, double w, bool add, void *to) {
    const void *x = b->call->in[0].data;
    int64_t infinite = 0;
    for (int64_t i = 0; i < b->count; i++) infinite += ag_load(b->type, x, first + i * b->stride) == HUGE_VAL;
    for (int64_t i = 0; i < b->count; i++) {
        int64_t at = first + i * b->stride;
        double share = ag_load(b->type, x, at) == HUGE_VAL ? 1 / (double)infinite : 0;
        ag_store(b->type, to, at, (add ? ag_load(b->type, to, at) : 0) + ag_chain_number(w, share));
    }
}

/* to (+)= chain(w, shares) */
static void add_shares(const ag_block *b, size_t n, void *to, const void *w, const void *shares) {
    if (b->call->fresh & 1) b->kernels->value[AG_CHAIN](n, to, w, shares, NULL);
    else b->kernels->partial[AG_MUL][0](n, to, w, shares, shares, NULL, shares);
}

/* The results as what to shift by, and their adjoints. What is +inf has its contributions here and an adjoint of 0 then;
 * `step` elements of the operand are from one result's first to the next one's. */
static void begin_adjoint(const ag_block *b, int64_t step, void *r, void *w) {
    const ag_call *call = b->call;
    shifts(b, call->out.data, r);
    ag_repeat_results(b, call->out_adjoint.data, w);
    for (int64_t j = 0; j < b->width; j++) {
        if (ag_load(b->type, r, j) != HUGE_VAL) continue;
        infinite_shares(b, b->x + j * step, ag_load(b->type, w, j), true, call->in_adjoint[0].data);
        ag_store(b->type, w, j, 0);
    }
}

static bool logsumexp_adjoint_block(const ag_block *b) {
    ag_buffer r, w, shares, sums;
    begin_adjoint(b, 1, r, w);
    if (sums_of_shares(b, r, sums)) b->kernels->value[AG_DIV]((size_t)b->width, w, w, sums, NULL);
    ag_repeat(b, w);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        shares_of_piece(b, i, r, shares);
        add_shares(b, ag_piece(b, i), ag_piece_of(b, b->call->in_adjoint[0].data, i), w, shares);
    }
    return true;
}

/* Many short rows. */
static void logsumexp_adjoint_rows(const ag_call *call, ag_extent e) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    ag_block b = {.call = call, .kernels = kernels, .type = call->type, .count = e.count, .stride = 1, .copies = 1};
    ag_buffer head, r, w, shares;
    for (; b.y < e.outer; b.y += b.width) {
        b.width = ag_rows_at_once(e, b.y);
        b.x = b.y * e.count;
        begin_adjoint(&b, e.count, head, w);
        size_t rows = (size_t)b.width, n = rows * (size_t)e.count;
        bool coarse = false;
        for (int64_t j = 0; j < b.width; j++) coarse |= is_coarse(ag_load(b.type, call->out.data, b.y + j));
        kernels->spread(rows, (size_t)e.count, r, head);
        memcpy(head, w, rows * ag_type_size(b.type));
        kernels->spread(rows, (size_t)e.count, w, head);
        kernels->value[AG_SUB](n, shares, ag_element(b.type, call->in[0].data, b.x), r, NULL);
        kernels->value[AG_EXP](n, shares, shares, NULL, NULL);
        if (coarse) {
            kernels->sum_rows(rows, (size_t)e.count, r, shares);
            for (int64_t j = 0; j < b.width; j++)
                if (!is_coarse(ag_load(b.type, call->out.data, b.y + j))) ag_store(b.type, r, j, 1);
            memcpy(head, r, rows * ag_type_size(b.type));
            kernels->spread(rows, (size_t)e.count, r, head);
            kernels->value[AG_DIV](n, shares, shares, r, NULL);
        }
        add_shares(&b, n, ag_element(b.type, call->in_adjoint[0].data, b.x), w, shares);
    }
}

static bool logsumexp_adjoint(const ag_call *call) {
    const ag_array *to = &call->in_adjoint[0];
    ag_call added = *call;
    ag_extent e;
    for (int64_t i = 0; call->fresh & 1 && i < call->out.view->count; i++) { /* begin_adjoint adds */
        if (ag_load(call->type, call->out.data, i) != HUGE_VAL) continue;
        memset(to->data, 0, (size_t)to->view->count * ag_type_size(call->type));
        added.fresh = 0;
        call = &added;
    }
    if (!ag_reduces_short_rows(call, &e)) return ag_reduce_blocks(call, AG_ADJOINT, logsumexp_adjoint_block);
    logsumexp_adjoint_rows(call, e);
    return true;
}

bool ag_exps_open(const ag_elements *e, ag_exps *x) {
    x->count = ag_count_dims(e->shapes[0].dim, 0, e->shapes[0].rank);
    x->rows = 0;
    for (int64_t i = 0; i < x->count; i++)
        if (ag_reduce_target(e, i) >= x->rows) x->rows = ag_reduce_target(e, i) + 1;
    x->most = ag_scratch(e->tape, (size_t)(3 * x->rows + x->count) * sizeof *x->most + 1);
    if (!x->most) return false;
    x->shift = x->most + x->rows;
    x->sum = x->shift + x->rows;
    x->exps = x->sum + x->rows;
    ag_elements most = *e;
    most.out = x->most;
    most.shape = AG_SHAPE(x->rows);
    ag_reduce_scalars(&most, AG_MAX, -HUGE_VAL);
    for (int64_t j = 0; j < x->rows; j++) {
        x->shift[j] = ag_select(ag_eq(ag_sub(x->most[j], x->most[j]), 0.0), x->most[j], 0.0);
        x->sum[j] = ag_num(0);
    }
    for (int64_t i = 0; i < x->count; i++) {
        int64_t j = ag_reduce_target(e, i);
        ag_var infinite = ag_eq(e->in[0][i], HUGE_VAL);
        x->exps[i] = ag_select(ag_eq(x->most[j], HUGE_VAL), infinite, ag_exp(ag_sub(e->in[0][i], x->shift[j])));
        x->sum[j] = ag_is_zero(x->sum[j]) ? x->exps[i] : ag_add(x->sum[j], x->exps[i]);
    }
    return true;
}

void ag_exps_close(const ag_elements *e, ag_exps *x) { ag_scratch_free(e->tape, x->most); }

static void logsumexp_scalars(const ag_elements *e) {
    ag_exps x;
    int64_t results = ag_count_dims(e->shape.dim, 0, e->shape.rank);
    for (int64_t j = 0; j < results; j++) e->out[j] = ag_num(-HUGE_VAL);
    if (!ag_exps_open(e, &x)) return;
    for (int64_t j = 0; j < x.rows; j++)
        e->out[j] = ag_select(ag_eq(x.most[j], HUGE_VAL), x.most[j], ag_add(x.shift[j], ag_log(x.sum[j])));
    ag_exps_close(e, &x);
}

static void norm_scalars(const ag_elements *e) {
    int64_t count = ag_count_dims(e->shapes[0].dim, 0, e->shapes[0].rank);
    int64_t results = ag_count_dims(e->shape.dim, 0, e->shape.rank);
    ag_var *sum = ag_scratch(e->tape, (size_t)(2 * results) * sizeof *sum + 1);
    if (!sum) return;
    ag_var *scale = sum + results; /* the greatest magnitude, 1 if that is 0 or infinite */
    for (int64_t j = 0; j < results; j++) sum[j] = scale[j] = ag_num(0);
    for (int64_t i = 0; i < count; i++) {
        ag_var *to = &scale[ag_reduce_target(e, i)], magnitude = ag_abs(e->in[0][i]);
        *to = ag_is_zero(*to) ? magnitude : ag_max(*to, magnitude);
    }
    for (int64_t j = 0; j < results; j++)
        scale[j] = ag_select(ag_gt(scale[j], 0.0), ag_select(ag_lt(scale[j], HUGE_VAL), scale[j], 1.0), 1.0);
    for (int64_t i = 0; i < count; i++) {
        int64_t j = ag_reduce_target(e, i);
        ag_var term = ag_square(ag_div(e->in[0][i], scale[j]));
        sum[j] = ag_is_zero(sum[j]) ? term : ag_add(sum[j], term);
    }
    for (int64_t j = 0; j < results; j++) e->out[j] = ag_mul(scale[j], ag_sqrt(sum[j]));
    ag_scratch_free(e->tape, sum);
}

/* ---- the shares, recorded: an operation p = exp(x - r) of elements and results, as if those were independent ---- */

static bool shares_shape(ag_call *call) {
    call->shape = ag_dims_of(call->in[0].view);
    return true;
}

static bool shares_block(const ag_block *b) {
    const ag_call *call = b->call;
    ag_buffer r, sums;
    shifts(b, call->in[1].data, r);
    bool coarse = sums_of_shares(b, r, sums);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        void *to = ag_piece_of(b, call->out.data, i);
        shares_of_piece(b, i, r, to);
        if (coarse) b->kernels->value[AG_DIV](ag_piece(b, i), to, to, sums, NULL);
    }
    for (int64_t j = 0; j < b->width; j++) {
        if (ag_load(b->type, r, j) == HUGE_VAL) infinite_shares(b, b->x + j, 1, false, call->out.data);
    }
    return true;
}

static bool shares_forward(const ag_call *call) { return ag_reduce_blocks(call, AG_FORWARD | AG_WHOLE, shares_block); }

/* dp = p (dx - dr) */
static bool shares_adjoint_block(const ag_block *b) {
    const ag_call *call = b->call;
    ag_buffer sum, part;
    memset(sum, 0, b->count > 0 ? ag_piece(b, 0) * ag_type_size(b->type) : sizeof sum);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        const void *w = ag_piece_of(b, call->out_adjoint.data, i), *p = ag_piece_of(b, call->out.data, i);
        b->kernels->value[AG_CHAIN](n, part, w, p, NULL);
        void *to = call->in_adjoint[0].data ? ag_piece_of(b, call->in_adjoint[0].data, i) : NULL;
        if (to && call->fresh & 1) memcpy(to, part, n * ag_type_size(b->type));
        else if (to) b->kernels->add_to(n, to, part);
        b->kernels->add_to(n, sum, part);
    }
    if (call->in_adjoint[1].data == NULL) return true;
    ag_fold_copies(b, AG_ADD, b->copies, sum);
    void *to = ag_element(b->type, call->in_adjoint[1].data, b->y);
    if (call->fresh & 2) b->kernels->scale((size_t)b->width, to, -1, sum);
    else b->kernels->add_scaled((size_t)b->width, to, -1, sum);
    return true;
}

static bool shares_adjoint(const ag_call *call) {
    return ag_reduce_blocks(call, AG_ADJOINT | AG_WHOLE, shares_adjoint_block);
}

static ag_var shares_tangent(const ag_rule *rule, const ag_var *tangents) {
    ag_var along = tangents[0];
    if (!ag_is_zero(tangents[1])) {
        along = ag_sub(along, ag_reduce_align(tangents[1], ag_shape_of(rule->in[0]), rule->params));
    }
    return ag_chain(rule->out, along);
}

static void shares_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[0] = ag_chain(w, rule->out);
    if (rule->wanted[1]) contributions[1] = ag_neg(ag_reduce_sum(contributions[0], rule->params));
}

static void shares_scalars(const ag_elements *e) {
    int64_t count = ag_count_dims(e->shapes[0].dim, 0, e->shapes[0].rank);
    int64_t results = ag_count_dims(e->shapes[1].dim, 0, e->shapes[1].rank);
    ag_var *infinite = ag_scratch(e->tape, (size_t)(2 * results) * sizeof *infinite + 1);
    if (!infinite) return;
    ag_var *sum = infinite + results; /* of shares: they are divided by it, as r may be rounded */
    for (int64_t j = 0; j < results; j++) infinite[j] = sum[j] = ag_num(0);
    for (int64_t i = 0; i < count; i++) {
        int64_t j = ag_reduce_target(e, i);
        infinite[j] = ag_add(infinite[j], ag_eq(e->in[0][i], HUGE_VAL));
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t j = ag_reduce_target(e, i);
        ag_var x = e->in[0][i], r = e->in[1][j], shift = ag_select(ag_eq(r, -HUGE_VAL), 0.0, r);
        e->out[i] = ag_select(ag_eq(r, HUGE_VAL), ag_div(ag_eq(x, HUGE_VAL), infinite[j]), ag_exp(ag_sub(x, shift)));
        sum[j] = ag_is_zero(sum[j]) ? e->out[i] : ag_add(sum[j], e->out[i]);
    }
    for (int64_t j = 0; j < results; j++) sum[j] = ag_select(ag_eq(sum[j], 0.0), 1.0, sum[j]);
    for (int64_t i = 0; i < count; i++) e->out[i] = ag_div(e->out[i], sum[ag_reduce_target(e, i)]);
    ag_scratch_free(e->tape, infinite);
}

static bool shares_c_form(const ag_c_form *f) {
    ag_c_text x = ag_c_index_of(f->views[0]), r = ag_c_result_index(f);
    int kept = ag_c_kept(f);
    ag_c_line(f, "const %s most = %s[%s];", f->number, f->in[1], r.text);
    ag_c_line(f, "%s sum = 0;", f->number);
    int n = ag_c_reduced(f);
    ag_c_line(f, "const %s at = %s[%s];", f->number, f->in[0], x.text);
    ag_c_line(f, "%s[%s] = most == INFINITY ? at == INFINITY : most == -INFINITY ? 0 : exp%s(at - most);", f->out,
              x.text, f->suffix);
    ag_c_line(f, "sum += %s[%s];", f->out, x.text);
    ag_c_close(f, n);
    n = ag_c_reduced(f);
    ag_c_line(f, "if (sum != 0) %s[%s] /= sum;", f->out, x.text);
    ag_c_close(f, n + kept);
    return true;
}

/* The second operand is a result of the reduction of the first. */
static bool shares_valid(const ag_call *call) {
    if (!ag_reduce_valid_adjacent(call)) return false;
    ag_call reduction = *call;
    if (!ag_reduce_shape(&reduction)) return false;
    const ag_view *r = call->in[1].view;
    bool same = r->rank == reduction.shape.rank;
    for (int i = 0; same && i < r->rank; i++) same = r->dim[i] == reduction.shape.dim[i];
    return same;
}

static const ag_operation shares_operation = {
    .name = "shares",
    .shape = shares_shape,
    .forward = shares_forward,
    .adjoint = shares_adjoint,
    .tangent = shares_tangent,
    .record = shares_record,
    .scalars = shares_scalars,
    .stores = true,
    .c_form = shares_c_form,
    .valid = shares_valid,
};
const ag_operation *const ag_builtin_shares = &shares_operation;

static ag_var shares(const ag_rule *rule) {
    ag_var operands[] = {rule->in[0], rule->out};
    return ag_apply(&shares_operation, operands, 2, rule->params, rule->params_size);
}

static ag_var logsumexp_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_reduce_sum(ag_chain(tangents[0], shares(rule)), rule->params);
}

static void logsumexp_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var aligned = ag_reduce_align(w, ag_shape_of(rule->in[0]), rule->params);
    contributions[0] = ag_chain(aligned, shares(rule));
}

static bool logsumexp_c_form(const ag_c_form *f) {
    int kept = ag_c_kept(f);
    ag_c_most(f, AG_MAX);
    ag_c_line(f, "%s sum = 0;", f->number);
    int n = ag_c_reduced(f);
    ag_c_line(f, "sum += exp%s(%s[%s] - most);", f->suffix, f->in[0], ag_c_index_of(f->views[0]).text);
    ag_c_close(f, n);
    ag_c_line(f, "%s[%s] = isfinite(most) ? most + log%s(sum) : most;", f->out, ag_c_result_index(f).text, f->suffix);
    ag_c_close(f, kept);
    return true;
}

static const ag_operation logsumexp_operation = {
    .name = "logsumexp",
    .shape = ag_reduce_shape,
    .forward = logsumexp_forward,
    .adjoint = logsumexp_adjoint,
    .tangent = logsumexp_tangent,
    .record = logsumexp_record,
    .scalars = logsumexp_scalars,
    .stores = true,
    .c_form = logsumexp_c_form,
    .valid = ag_reduce_valid_adjacent,
};
const ag_operation *const ag_builtin_logsumexp = &logsumexp_operation;

ag_var ag_logsumexp_over(ag_var x, ag_axes axes, bool keep) {
    return ag_reduce(&logsumexp_operation, AG_ADJACENT_AXES, x, axes, keep);
}
