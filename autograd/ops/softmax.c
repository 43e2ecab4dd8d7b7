/* Softmax and its logarithm over one axis.
 *
 * Entries of -inf are masked: their probability is 0, their logarithm -inf, and both have derivative 0, whatever the
 * adjoint. If all are -inf, all are masked. Entries of +inf share the probability equally. NaN gives NaN.
 *
 * Over the last axis rows go through row kernels, many short ones at once; over others columns go in blocks
 * (reduce_impl.h). */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "softmax_impl.h"

#include <math.h>

/* What to do with columns whose greatest element is m, not finite; `stride` apart. */
static void softmax_edge(ag_type type, int64_t count, int64_t stride, void *out, const void *x, double m, bool logs) {
    int64_t infinite = 0;
    for (int64_t i = 0; i < count; i++) infinite += ag_load(type, x, i * stride) == HUGE_VAL;
    for (int64_t i = 0; i < count; i++) {
        double p = isnan(m) ? m : ag_load(type, x, i * stride) == HUGE_VAL ? 1 / (double)infinite : 0;
        ag_store(type, out, i * stride, logs ? log(p) : p);
    }
}

/* A row's exps = exp(x - shift), shift its greatest element, and their sum; at the edges exps are the probabilities. */
static void exps_of_row(const ag_block *b, double *shift, double *sum) {
    void *x = ag_piece_of(b, b->call->in[0].data, 0), *exps = ag_piece_of(b, b->call->out.data, 0);
    *shift = b->kernels->max((size_t)b->count, x);
    if (isfinite(*shift)) {
        *sum = b->kernels->exp_shifted((size_t)b->count, exps, x, *shift);
    } else {
        softmax_edge(b->type, b->count, 1, exps, x, *shift, false);
        *sum = 1;
    }
}

/* The same for columns, without what is special at the edges. */
static void exps_of_columns(const ag_block *b, void *shift, void *sum) {
    const ag_kernels *kernels = b->kernels;
    ag_fold(b, AG_MAX, shift);
    ag_repeat(b, shift);
    memset(sum, 0, ag_piece(b, 0) * ag_type_size(b->type));
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        void *to = ag_piece_of(b, b->call->out.data, i);
        kernels->value[AG_SUB](n, to, ag_piece_of(b, b->call->in[0].data, i), shift, NULL);
        kernels->value[AG_EXP](n, to, to, NULL, NULL);
        kernels->add_to(n, sum, to);
    }
    ag_fold_copies(b, AG_ADD, b->copies, sum);
}

/* What is special: columns whose greatest element is not finite. */
static void edges_of_columns(const ag_block *b, const void *shift, bool logs) {
    void *x = b->call->in[0].data, *out = b->call->out.data;
    for (int64_t j = 0; j < b->width; j++) {
        double m = ag_load(b->type, shift, j);
        if (isfinite(m)) continue;
        softmax_edge(b->type, b->count, b->stride, ag_element(b->type, out, b->x + j), ag_element(b->type, x, b->x + j),
                     m, logs);
    }
}

static bool exps_block(const ag_block *b) {
    double *heads = (double *)b->call->saved + 2 * b->y;
    exps_of_row(b, &heads[0], &heads[1]);
    return true;
}

/* Many short rows. */
static void exps_of_short_rows(const ag_call *call, ag_extent e, double *heads, void *exps) {
    ag_buffer most, sums;
    for (int64_t row = 0, rows; row < e.outer; row += rows) {
        rows = ag_rows_at_once(e, row);
        void *x = ag_element(call->type, call->in[0].data, row * e.count);
        void *out = ag_element(call->type, exps, row * e.count);
        ag_exps_of_rows(call->type, rows, e.count, x, most, out, sums);
        for (int64_t j = 0; j < rows; j++, heads += 2) {
            heads[0] = ag_load(call->type, most, j);
            heads[1] = isfinite(heads[0]) ? ag_load(call->type, sums, j) : 1;
            if (isfinite(heads[0])) continue;
            softmax_edge(call->type, e.count, 1, ag_element(call->type, out, j * e.count),
                         ag_element(call->type, x, j * e.count), heads[0], false);
        }
    }
}

void ag_softmax_exps(const ag_call *call, double *heads, void *exps) {
    ag_reduction over = {1u << (call->in[0].view->rank - 1), true};
    ag_call rows = *call;
    ag_extent e;
    rows.params = &over;
    rows.out = (ag_array){exps, call->in[0].view};
    rows.saved = heads;
    if (ag_reduces_short_rows(&rows, &e)) exps_of_short_rows(&rows, e, heads, exps);
    else (void)ag_reduce_blocks(&rows, AG_FORWARD | AG_WHOLE, exps_block);
}

/* ---- values ---- */

static bool softmax_shape(ag_call *call) {
    call->shape = ag_dims_of(call->in[0].view);
    return true;
}

static bool softmax_row(const ag_block *b) {
    double shift, sum;
    exps_of_row(b, &shift, &sum);
    void *out = ag_piece_of(b, b->call->out.data, 0);
    if (sum != 1) b->kernels->scale((size_t)b->count, out, 1 / sum, out);
    return true;
}

static bool log_softmax_row(const ag_block *b) {
    void *x = ag_piece_of(b, b->call->in[0].data, 0), *out = ag_piece_of(b, b->call->out.data, 0);
    size_t n = (size_t)b->count;
    double m = b->kernels->max(n, x);
    if (!isfinite(m)) {
        softmax_edge(b->type, b->count, 1, out, x, m, true);
        return true;
    }
    double log_sum = log(b->kernels->exp_shifted(n, out, x, m));
    for (size_t i = 0; i < n; i += AG_BLOCK) { /* (x - m) - log sum: for large m that is not x - (m + log sum) */
        size_t width = n - i < AG_BLOCK ? n - i : AG_BLOCK, size = ag_type_size(b->type);
        void *to = ag_element(b->type, out, (int64_t)i);
        memcpy(to, (const char *)x + i * size, width * size);
        b->kernels->add_value(width, to, -m);
        b->kernels->add_value(width, to, -log_sum);
    }
    return true;
}

static bool columns(const ag_block *b, bool logs) {
    const ag_kernels *kernels = b->kernels;
    ag_buffer shift, sum;
    if (b->count == 0) return true;
    exps_of_columns(b, shift, sum);
    kernels->value[logs ? AG_LOG : AG_RECIP]((size_t)b->width, sum, sum, NULL, NULL);
    ag_repeat(b, sum);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        void *to = ag_piece_of(b, b->call->out.data, i);
        if (logs) {
            kernels->value[AG_SUB](n, to, ag_piece_of(b, b->call->in[0].data, i), shift, NULL);
            kernels->value[AG_SUB](n, to, to, sum, NULL);
        } else {
            kernels->value[AG_MUL](n, to, to, sum, NULL);
        }
    }
    edges_of_columns(b, shift, logs);
    return true;
}

static bool softmax_block(const ag_block *b) { return b->stride == 1 ? softmax_row(b) : columns(b, false); }
static bool log_softmax_block(const ag_block *b) { return b->stride == 1 ? log_softmax_row(b) : columns(b, true); }

/* Many short rows. */
static void short_rows(const ag_call *call, ag_extent e, bool logs) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    ag_buffer most, sums, part;
    for (int64_t row = 0, rows; row < e.outer; row += rows) {
        rows = ag_rows_at_once(e, row);
        size_t high = (size_t)rows, wide = (size_t)e.count, n = high * wide;
        void *x = ag_element(call->type, call->in[0].data, row * e.count);
        void *out = ag_element(call->type, call->out.data, row * e.count);
        ag_exps_of_rows(call->type, rows, e.count, x, most, out, sums);
        kernels->value[logs ? AG_LOG : AG_RECIP](high, sums, sums, NULL, NULL);
        if (logs) {
            kernels->spread(high, wide, part, most);
            kernels->value[AG_SUB](n, out, x, part, NULL);
        }
        kernels->spread(high, wide, part, sums);
        kernels->value[logs ? AG_SUB : AG_MUL](n, out, out, part, NULL);
        for (int64_t j = 0; j < rows; j++) {
            double m = ag_load(call->type, most, j);
            if (isfinite(m)) continue;
            softmax_edge(call->type, e.count, 1, ag_element(call->type, out, j * e.count),
                         ag_element(call->type, x, j * e.count), m, logs);
        }
    }
}

static bool forward(const ag_call *call, bool logs) {
    ag_extent e;
    if (!ag_reduces_short_rows(call, &e))
        return ag_reduce_blocks(call, AG_FORWARD | AG_WHOLE, logs ? log_softmax_block : softmax_block);
    short_rows(call, e, logs);
    return true;
}
static bool softmax_forward(const ag_call *call) { return forward(call, false); }
static bool log_softmax_forward(const ag_call *call) { return forward(call, true); }

/* ---- adjoint of softmax: p (w - <w, p>) ---- */

/* Of a row with some adjoint that is infinite or NaN, perhaps only where p is 0. */
static void softmax_adjoint_carefully(ag_type type, int64_t count, void *to, const void *p, const void *w, bool fresh) {
    double mean = 0;
    for (int64_t i = 0; i < count; i++) mean += ag_chain_number(ag_load(type, w, i), ag_load(type, p, i));
    for (int64_t i = 0; i < count; i++) {
        double before = fresh ? 0 : ag_load(type, to, i);
        ag_store(type, to, i, before + ag_chain_number(ag_load(type, w, i) - mean, ag_load(type, p, i)));
    }
}

static void softmax_adjoint_row(const ag_block *b, bool fresh) {
    const ag_kernels *kernels = b->kernels;
    const void *p = ag_piece_of(b, b->call->out.data, 0), *w = ag_piece_of(b, b->call->out_adjoint.data, 0);
    void *to = ag_piece_of(b, b->call->in_adjoint[0].data, 0);
    size_t n = (size_t)b->count, size = ag_type_size(b->type);
    double mean = kernels->dot(n, w, p);
    ag_buffer part;
    if (isfinite(mean)) {
        for (size_t i = 0; i < n; i += AG_BLOCK) {
            size_t width = n - i < AG_BLOCK ? n - i : AG_BLOCK;
            const void *p_part = (const char *)p + i * size;
            void *to_part = (char *)to + i * size;
            memcpy(part, (const char *)w + i * size, width * size);
            kernels->add_value(width, part, -mean);
            if (fresh) kernels->value[AG_MUL](width, to_part, part, p_part, NULL);
            else kernels->value[AG_FMA](width, to_part, part, p_part, to_part);
        }
        return;
    }
    softmax_adjoint_carefully(b->type, b->count, to, p, w, fresh);
}

static void softmax_adjoint_columns(const ag_block *b, bool fresh) {
    const ag_kernels *kernels = b->kernels;
    void *out = b->call->out.data, *adjoint = b->call->out_adjoint.data;
    ag_buffer mean, part;
    if (b->count == 0) return;
    memset(mean, 0, ag_piece(b, 0) * ag_type_size(b->type));
    for (int64_t i = 0; i < b->count; i += b->copies) {
        const void *p = ag_piece_of(b, out, i);
        /* mean += chain(w, p) */
        kernels->partial[AG_MUL][0](ag_piece(b, i), mean, ag_piece_of(b, adjoint, i), p, p, NULL, p);
    }
    ag_fold_copies(b, AG_ADD, b->copies, mean);
    ag_repeat(b, mean);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        const void *p = ag_piece_of(b, out, i);
        void *to = ag_piece_of(b, b->call->in_adjoint[0].data, i);
        kernels->value[AG_SUB](n, part, ag_piece_of(b, adjoint, i), mean, NULL);
        if (fresh) kernels->value[AG_CHAIN](n, to, p, part, NULL);
        else kernels->partial[AG_MUL][0](n, to, p, part, part, NULL, part); /* to += chain(p, part) */
    }
}

static bool softmax_adjoint_block(const ag_block *b) {
    bool fresh = b->call->fresh & 1;
    if (b->stride == 1) softmax_adjoint_row(b, fresh);
    else softmax_adjoint_columns(b, fresh);
    return true;
}

/* Many short rows. */
static void softmax_adjoint_rows(const ag_call *call, ag_extent e, bool fresh) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    ag_buffer part, means, spread;
    for (int64_t row = 0, rows; row < e.outer; row += rows) {
        rows = ag_rows_at_once(e, row);
        size_t high = (size_t)rows, wide = (size_t)e.count, n = high * wide, size = ag_type_size(call->type);
        char *p = ag_element(call->type, call->out.data, row * e.count);
        char *w = ag_element(call->type, call->out_adjoint.data, row * e.count);
        char *to = ag_element(call->type, call->in_adjoint[0].data, row * e.count);
        kernels->value[AG_MUL](n, part, w, p, NULL);
        kernels->sum_rows(high, wide, means, part);
        kernels->spread(high, wide, spread, means);
        kernels->value[AG_SUB](n, part, w, spread, NULL);
        for (size_t j = 0; j < high; j++)
            if (!isfinite(ag_load(call->type, means, (int64_t)j)))
                memset((char *)part + j * wide * size, 0, wide * size);
        kernels->value[AG_CHAIN](n, fresh ? (void *)to : part, part, p, NULL);
        if (!fresh) kernels->add_to(n, to, part);
        for (size_t j = 0; j < high; j++) {
            size_t at = j * wide * size;
            if (!isfinite(ag_load(call->type, means, (int64_t)j)))
                softmax_adjoint_carefully(call->type, e.count, to + at, p + at, w + at, false);
        }
    }
}

static bool softmax_adjoint(const ag_call *call) {
    ag_extent e;
    if (!ag_reduces_short_rows(call, &e)) return ag_reduce_blocks(call, AG_ADJOINT | AG_WHOLE, softmax_adjoint_block);
    softmax_adjoint_rows(call, e, call->fresh & 1);
    return true;
}

/* ---- adjoint of its logarithm y: w - exp(y) sum(w), without masked entries ---- */

static void log_softmax_adjoint_row(const ag_block *b, bool fresh) {
    const ag_kernels *kernels = b->kernels;
    void *y = ag_piece_of(b, b->call->out.data, 0), *w = ag_piece_of(b, b->call->out_adjoint.data, 0);
    void *to = ag_piece_of(b, b->call->in_adjoint[0].data, 0);
    size_t n = (size_t)b->count, size = ag_type_size(b->type);
    double sum = kernels->sum(n, w);
    ag_buffer p;
    if (isfinite(sum) && kernels->min(n, y) != -HUGE_VAL) {
        for (size_t i = 0; i < n; i += AG_BLOCK) {
            size_t width = n - i < AG_BLOCK ? n - i : AG_BLOCK;
            void *to_part = (char *)to + i * size, *w_part = (char *)w + i * size;
            kernels->value[AG_EXP](width, p, (char *)y + i * size, NULL, NULL);
            if (fresh) memcpy(to_part, w_part, width * size);
            else kernels->add_to(width, to_part, w_part);
            kernels->add_scaled(width, to_part, -sum, p);
        }
        return;
    }
    sum = 0;
    for (int64_t i = 0; i < b->count; i++) sum += ag_load(b->type, y, i) == -HUGE_VAL ? 0 : ag_load(b->type, w, i);
    for (int64_t i = 0; i < b->count; i++) {
        double before = fresh ? 0 : ag_load(b->type, to, i), log_p = ag_load(b->type, y, i), added = 0;
        if (log_p != -HUGE_VAL) added = ag_load(b->type, w, i) - ag_chain_number(sum, exp(log_p));
        ag_store(b->type, to, i, before + added);
    }
}

static void log_softmax_adjoint_columns(const ag_block *b, bool fresh) {
    const ag_kernels *kernels = b->kernels;
    void *out = b->call->out.data, *adjoint = b->call->out_adjoint.data;
    ag_buffer sum, part, masked;
    if (b->count == 0) return;
    size_t longest = ag_piece(b, 0);
    memset(sum, 0, longest * ag_type_size(b->type));
    for (size_t k = 0; k < longest; k++) ag_store(b->type, masked, (int64_t)k, -HUGE_VAL);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        void *to = ag_piece_of(b, b->call->in_adjoint[0].data, i);
        kernels->value[AG_NE](n, part, ag_piece_of(b, out, i), masked, NULL);
        kernels->value[AG_CHAIN](n, part, ag_piece_of(b, adjoint, i), part, NULL);
        kernels->add_to(n, sum, part);
        if (fresh) memcpy(to, part, n * ag_type_size(b->type));
        else kernels->add_to(n, to, part);
    }
    ag_fold_copies(b, AG_ADD, b->copies, sum);
    ag_repeat(b, sum);
    kernels->scale(longest, sum, -1, sum);
    for (int64_t i = 0; i < b->count; i += b->copies) {
        size_t n = ag_piece(b, i);
        kernels->value[AG_EXP](n, part, ag_piece_of(b, out, i), NULL, NULL);
        /* to += chain(-sum, p) */
        kernels->partial[AG_MUL][0](n, ag_piece_of(b, b->call->in_adjoint[0].data, i), sum, part, part, NULL, part);
    }
}

static bool log_softmax_adjoint_block(const ag_block *b) {
    bool fresh = b->call->fresh & 1;
    if (b->stride == 1) log_softmax_adjoint_row(b, fresh);
    else log_softmax_adjoint_columns(b, fresh);
    return true;
}

static bool log_softmax_adjoint(const ag_call *call) {
    return ag_reduce_blocks(call, AG_ADJOINT | AG_WHOLE, log_softmax_adjoint_block);
}

/* ---- recorded ---- */

/* p (w - <w, p>): the Jacobian is symmetric, so this is the tangent too. */
static ag_var softmax_product(const ag_rule *rule, ag_var w) {
    ag_var mean = ag_reduce_sum(ag_chain(w, rule->out), rule->params);
    return ag_chain(rule->out, ag_sub(w, mean));
}

static ag_var softmax_tangent(const ag_rule *rule, const ag_var *tangents) {
    return softmax_product(rule, tangents[0]);
}

static void softmax_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[0] = softmax_product(rule, w);
}

ag_var ag_log_softmax_tangent(ag_var y, ag_var v, const ag_reduction *over) {
    ag_var mean = ag_reduce_sum(ag_chain(ag_exp(y), v), over);
    return ag_chain(ag_ne(y, -HUGE_VAL), ag_sub(v, mean));
}

ag_var ag_log_softmax_adjoint(ag_var y, ag_var w, const ag_reduction *over) {
    ag_var unmasked = ag_chain(w, ag_ne(y, -HUGE_VAL));
    return ag_sub(unmasked, ag_chain(ag_exp(y), ag_reduce_sum(unmasked, over)));
}

static ag_var log_softmax_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_log_softmax_tangent(rule->out, tangents[0], rule->params);
}

static void log_softmax_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[0] = ag_log_softmax_adjoint(rule->out, w, rule->params);
}

static void softmax_scalars(const ag_elements *e) {
    ag_exps x;
    if (!ag_exps_open(e, &x)) return;
    for (int64_t i = 0; i < x.count; i++) {
        ag_var sum = x.sum[ag_reduce_target(e, i)];
        e->out[i] = ag_select(ag_eq(sum, 0.0), 0.0, ag_div(x.exps[i], sum));
    }
    ag_exps_close(e, &x);
}

void ag_log_softmax_scalars(const ag_elements *e) {
    ag_exps x;
    if (!ag_exps_open(e, &x)) return;
    for (int64_t i = 0; i < x.count; i++) {
        int64_t j = ag_reduce_target(e, i);
        ag_var log = ag_sub(ag_sub(e->in[0][i], x.shift[j]), ag_log(x.sum[j]));
        ag_var edge = ag_select(ag_eq(x.most[j], HUGE_VAL), ag_log(ag_div(x.exps[i], x.sum[j])), log);
        e->out[i] = ag_select(ag_eq(x.most[j], -HUGE_VAL), -HUGE_VAL, edge);
    }
    ag_exps_close(e, &x);
}

/* Declares `most` and `sum` of the exponentials, at the edges the number of elements that are +inf. */
void ag_c_softmax_sum(const ag_c_form *f) {
    ag_c_text x = ag_c_index_of(f->views[0]);
    ag_c_most(f, AG_MAX);
    ag_c_line(f, "double sum = 0;");
    int n = ag_c_reduced(f);
    ag_c_line(f, "sum += isfinite(most) ? %sexp%s(%s[%s] - most) : %s[%s] == INFINITY;",
              f->type == AG_F32 ? "(double)" : "", f->suffix, f->in[0], x.text, f->in[0], x.text);
    ag_c_close(f, n);
}

static bool either_c_form(const ag_c_form *f, bool logs) {
    ag_c_text x = ag_c_index_of(f->views[0]);
    const char *cast = f->type == AG_F32 ? "(float)" : "";
    int kept = ag_c_kept(f);
    ag_c_softmax_sum(f);
    int n = ag_c_reduced(f);
    ag_c_line(f, "const %s at = %s[%s];", f->number, f->in[0], x.text);
    if (logs)
        ag_c_line(f,
                  "%s[%s] = isnan(most) ? most : isfinite(most) ? at - most - %slog(sum) : at == INFINITY ? %slog(1 / "
                  "sum) : -INFINITY;",
                  f->out, x.text, cast, cast);
    else
        ag_c_line(f,
                  "%s[%s] = isnan(most) ? most : isfinite(most) ? %s(exp%s(at - most) / sum) : at == INFINITY ? %s(1 / "
                  "sum) : 0;",
                  f->out, x.text, cast, f->suffix, cast);
    ag_c_close(f, n + kept);
    return true;
}
static bool softmax_c_form(const ag_c_form *f) { return either_c_form(f, false); }
static bool log_softmax_c_form(const ag_c_form *f) { return either_c_form(f, true); }

static bool softmax_valid(const ag_call *call) {
    const ag_reduction *p = call->params;
    return ag_reduce_valid_adjacent(call) && p->mask && !(p->mask & (p->mask - 1));
}

static const ag_operation softmax_operation = {
    .name = "softmax",
    .shape = softmax_shape,
    .forward = softmax_forward,
    .adjoint = softmax_adjoint,
    .tangent = softmax_tangent,
    .record = softmax_record,
    .scalars = softmax_scalars,
    .stores = true,
    .c_form = softmax_c_form,
    .valid = softmax_valid,
};
const ag_operation *const ag_builtin_softmax = &softmax_operation;
static const ag_operation log_softmax_operation = {
    .name = "log_softmax",
    .shape = softmax_shape,
    .forward = log_softmax_forward,
    .adjoint = log_softmax_adjoint,
    .tangent = log_softmax_tangent,
    .record = log_softmax_record,
    .scalars = ag_log_softmax_scalars,
    .stores = true,
    .c_form = log_softmax_c_form,
    .valid = softmax_valid,
};
const ag_operation *const ag_builtin_log_softmax = &log_softmax_operation;

static ag_var apply(const ag_operation *operation, ag_var x, int axis) {
    if (ag_tape_of(x) == NULL) return ag_inert(NULL);
    if (!ag_usable(x, operation->name)) return ag_inert(ag_tape_of(x));
    axis = ag_check_axis(ag_tape_of(x), operation->name, axis, ag_shape_of(x));
    if (axis < 0) return ag_inert(ag_tape_of(x));
    ag_reduction over = {1u << axis, true};
    return ag_apply(operation, &x, 1, &over, sizeof over);
}

ag_var ag_softmax(ag_var x, int axis) { return apply(&softmax_operation, x, axis); }
ag_var ag_log_softmax(ag_var x, int axis) { return apply(&log_softmax_operation, x, axis); }
