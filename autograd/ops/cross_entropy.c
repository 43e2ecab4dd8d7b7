/* Cross-entropy of logits, -log softmax(logits) at a label or averaged over target probabilities: softmax and logarithm
 * fused, so that neither under- nor overflows. What is masked (softmax.c) has derivative 0; so has a loss of +inf, the
 * loss of a label that is masked. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "softmax_impl.h"

#include <math.h>

/* The saved bytes: two doubles for each row, what logits are shifted by and the sum of the unnormalised probabilities;
 * then those probabilities. */
static bool set_saved_size(ag_call *call, const char *what, int64_t rows, int64_t classes) {
    int64_t heads, exps, size;
    if (ag_multiply_sizes(rows, 2 * sizeof(double), &heads) && ag_multiply_sizes(rows, classes, &exps) &&
        ag_multiply_sizes(exps, (int64_t)ag_type_size(call->type), &exps) && heads <= INT64_MAX - exps) {
        size = heads + exps;
        call->saved_size = (size_t)size;
        return true;
    }
    ag_fail(call->tape, AG_ERR_SLOTS, "%s: logits of shape %s have too many elements", what,
            ag_show_view(call->in[0].view).text);
    return false;
}

static int64_t class_count(const ag_call *call) { return call->in[0].view->dim[call->in[0].view->rank - 1]; }

/* The losses' shape, that of the logits without the last axis; returns their number, -1 after an error. */
static int64_t losses(ag_call *call, const char *what) {
    ag_shape shape = ag_dims_of(call->in[0].view);
    if (shape.rank == 0) {
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: logits are a scalar, not one for each class", what);
        return -1;
    }
    shape.rank--;
    call->shape = shape;
    return ag_count_dims(shape.dim, 0, shape.rank);
}

/* ---- labels ---- */

static bool labels_shape(ag_call *call) {
    static const char what[] = "cross_entropy";
    const int64_t *labels = call->params;
    int64_t rows = losses(call, what);
    if (rows < 0) return false;
    int64_t classes = class_count(call);
    for (int64_t i = 0; i < rows; i++) {
        if (labels != NULL && labels[i] >= 0 && labels[i] < classes) continue;
        if (labels == NULL) ag_fail(call->tape, AG_ERR_VALUE, "%s: no labels for %lld rows", what, (long long)rows);
        else {
            ag_fail(call->tape, AG_ERR_VALUE, "%s: label %lld of row %lld is not one of %lld classes (0..%lld)", what,
                    (long long)labels[i], (long long)i, (long long)classes, (long long)classes - 1);
        }
        return false;
    }
    return set_saved_size(call, what, rows, classes);
}

/* The label of a row, from the parameters or the second operand; below 0: ignored. */
static int64_t label_of(const ag_call *call, int64_t row) {
    if (call->n == 1) return ((const int64_t *)call->params)[row];
    return (int64_t)ag_load(call->type, call->in[1].data, row);
}

static bool labels_forward(const ag_call *call) {
    int64_t rows = call->out.view->count, classes = class_count(call);
    double *heads = call->saved;
    void *exps = heads + 2 * rows;
    ag_softmax_exps(call, heads, exps);
    for (int64_t i = 0; i < rows; i++) {
        int64_t label = label_of(call, i), at = i * classes + label;
        double shift = heads[2 * i], sum = heads[2 * i + 1], loss = 0;
        if (label >= 0)
            loss = isfinite(shift) ? log(sum) - (ag_load(call->type, call->in[0].data, at) - shift)
                                   : log(1 / ag_load(call->type, exps, at));
        ag_store(call->type, call->out.data, i, loss);
    }
    return true;
}

/* One row's adjoint, w (p - 1 at the label). */
static void labels_adjoint_row(const ag_call *call, const ag_kernels *kernels, int64_t row, int64_t label, double w) {
    int64_t rows = call->out.view->count, classes = class_count(call);
    double sum = ((const double *)call->saved)[2 * row + 1];
    void *exps = ag_element(call->type, (double *)call->saved + 2 * rows, row * classes);
    void *to = ag_element(call->type, call->in_adjoint[0].data, row * classes);
    bool fresh = call->fresh & 1;
    if (w == 0 || label < 0 || ag_load(call->type, call->out.data, row) == HUGE_VAL) {
        if (fresh) memset(to, 0, (size_t)classes * ag_type_size(call->type));
        return;
    }
    if (isfinite(w)) {
        if (fresh) kernels->scale((size_t)classes, to, w / sum, exps);
        else kernels->add_scaled((size_t)classes, to, w / sum, exps);
        ag_store(call->type, to, label, ag_load(call->type, to, label) - w);
        return;
    }
    for (int64_t j = 0; j < classes; j++) {
        double before = fresh ? 0 : ag_load(call->type, to, j);
        double partial = ag_load(call->type, exps, j) / sum - (j == label);
        ag_store(call->type, to, j, before + ag_chain_number(w, partial));
    }
}

static bool labels_adjoint(const ag_call *call) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    for (int64_t i = 0; i < call->out.view->count; i++) {
        labels_adjoint_row(call, kernels, i, label_of(call, i), ag_load_adjoint(call, i));
    }
    return true;
}

/* The partials by the logits, p - 1 at the label; a factor of 0 for losses of +inf and labels that are ignored. */
static ag_var label_partials(const ag_rule *rule, ag_var *factor) {
    ag_shape shape = ag_shape_of(rule->in[0]);
    int64_t classes = shape.dim[shape.rank - 1];
    *factor = ag_ne(rule->out, HUGE_VAL);
    if (rule->n == 2) {
        *factor = ag_mul(*factor, ag_ge(rule->in[1], 0.0));
        return ag_sub(ag_softmax(rule->in[0], -1),
                      ag_eq(ag_unsqueeze(rule->in[1], -1), ag_arange(rule->tape, 0, 1, classes)));
    }
    ag_var hot = ag_one_hot(rule->tape, rule->params, ag_count_dims(shape.dim, 0, shape.rank - 1), classes);
    return ag_sub(ag_softmax(rule->in[0], -1), ag_reshape(hot, shape));
}

static ag_var labels_tangent(const ag_rule *rule, const ag_var *tangents) {
    ag_var factor, partials = label_partials(rule, &factor);
    return ag_chain(ag_sum_over(ag_chain(tangents[0], partials), AG_AXES(-1), false), factor);
}

static void labels_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var factor, partials = label_partials(rule, &factor);
    contributions[0] = ag_chain(ag_unsqueeze(ag_chain(w, factor), -1), partials);
}

/* log softmax(logits), of rows. NULL after an error. */
static ag_var *logs_of(const ag_elements *e) {
    ag_shape shape = e->shapes[0];
    int64_t count = ag_count_dims(shape.dim, 0, shape.rank);
    ag_reduction over = {1u << (shape.rank - 1), true};
    ag_elements logs = *e;
    logs.out = ag_scratch(e->tape, (size_t)count * sizeof *logs.out + 1);
    if (!logs.out) return NULL;
    logs.shape = shape;
    logs.params = &over;
    ag_log_softmax_scalars(&logs);
    return logs.out;
}

static void labels_scalars(const ag_elements *e) {
    const int64_t *labels = e->params;
    int64_t classes = e->shapes[0].dim[e->shapes[0].rank - 1], rows = ag_count_dims(e->shape.dim, 0, e->shape.rank);
    ag_var *logs = logs_of(e);
    for (int64_t i = 0; logs && i < rows; i++) e->out[i] = ag_neg(logs[i * classes + labels[i]]);
    ag_scratch_free(e->tape, logs);
}

/* The form as reductions over the last axis take it. */
static ag_c_form over_last(const ag_c_form *f, ag_reduction *over) {
    *over = (ag_reduction){1u << (f->views[0]->rank - 1), false};
    ag_c_form rows = *f;
    rows.params = over;
    return rows;
}

static bool labels_c_form(const ag_c_form *f) {
    ag_reduction over;
    ag_c_form rows = over_last(f, &over);
    int64_t count = f->views[0]->count / f->views[0]->dim[f->views[0]->rank - 1];
    const char *cast = f->type == AG_F32 ? "(float)" : "", *i = ag_c_loop(f->views[0]->rank - 1);
    bool given = f->n == 2, choice = given || f->views[0]->dim[f->views[0]->rank - 1] > 1;
    if (choice && !given) ag_c_table(f, f->params, count);
    if (given) {
        const char *at = f->in[1];
        ag_c_line(f, "for (long i = 0; i < %lld; i++)", (long long)count);
        ag_c_line(f, "    if (!(%s[i] < %lld && %s[i] > -1e15%s && %s[i] == rint%s(%s[i]))) return %d;", at,
                  (long long)f->views[0]->dim[f->views[0]->rank - 1], at, f->suffix, at, f->suffix, at,
                  ag_c_check(f, "cross_entropy_at: a wrong label"));
    }
    int kept = ag_c_kept(&rows);
    ag_c_text r = ag_c_result_index(&rows);
    ag_c_softmax_sum(&rows);
    if (choice) ag_c_line(f, "const long %s = (long)%s[%s];", i, given ? f->in[1] : "at", r.text);
    char ignored[32] = "";
    if (given) snprintf(ignored, sizeof ignored, "%s < 0 ? 0 : ", i);
    ag_c_line(f, "const %s best = %s%s[%s];", f->number, ignored, f->in[0], ag_c_index_of(f->views[0]).text);
    ag_c_line(f,
              "%s[%s] = %sisnan(most) ? most : isfinite(most) ? %slog(sum) - (best - most) : best == INFINITY ? "
              "%slog(sum) : INFINITY;",
              f->out, r.text, ignored, cast, cast);
    ag_c_close(f, kept);
    return true;
}

static bool labels_valid(const ag_call *call) {
    const ag_view *v = call->in[0].view;
    int64_t rows = v->rank ? ag_count_dims(v->dim, 0, v->rank - 1) : 0, size;
    return ag_multiply_sizes(rows, sizeof(int64_t), &size) && (size_t)size == call->params_size;
}

static const ag_operation labels_operation = {
    .name = "cross_entropy",
    .shape = labels_shape,
    .forward = labels_forward,
    .adjoint = labels_adjoint,
    .tangent = labels_tangent,
    .record = labels_record,
    .scalars = labels_scalars,
    .stores = true,
    .c_form = labels_c_form,
    .valid = labels_valid,
};
const ag_operation *const ag_builtin_cross_entropy = &labels_operation;

ag_var ag_cross_entropy(ag_var logits, const int64_t *labels) {
    if (!ag_usable(logits, "cross_entropy")) return ag_inert(ag_tape_of(logits));
    ag_shape shape = ag_shape_of(logits);
    int64_t rows = shape.rank > 0 ? ag_count_dims(shape.dim, 0, shape.rank - 1) : 0;
    return ag_apply(&labels_operation, &logits, 1, labels, labels != NULL ? (size_t)rows * sizeof *labels : 0);
}

/* ---- labels in a tensor ---- */

static bool at_shape(ag_call *call) {
    static const char what[] = "cross_entropy_at";
    int64_t rows = losses(call, what);
    if (rows < 0) return false;
    const ag_view *labels = call->in[1].view;
    if (labels->rank == call->shape.rank &&
        memcmp(labels->dim, call->shape.dim, (size_t)labels->rank * sizeof *labels->dim) == 0)
        return set_saved_size(call, what, rows, class_count(call));
    ag_fail(call->tape, AG_ERR_SHAPE, "%s: labels of shape %s for losses of shape %s", what, ag_show_view(labels).text,
            ag_show_shape(call->shape).text);
    return false;
}

static bool at_check(const ag_call *call) {
    int64_t classes = class_count(call);
    for (int64_t i = 0; i < call->out.view->count; i++) {
        double label = ag_load(call->type, call->in[1].data, i);
        if (label == rint(label) && label < (double)classes && label > -0x1p62) continue;
        ag_fail(call->tape, AG_ERR_VALUE,
                "cross_entropy_at: label %.9g of row %lld is not one of %lld classes (0..%lld), nor an integer below 0",
                label, (long long)i, (long long)classes, (long long)classes - 1);
        return false;
    }
    return true;
}

static bool at_forward(const ag_call *call) { return at_check(call) && labels_forward(call); }

static bool at_adjoint(const ag_call *call) {
    if (call->fresh & 2 && call->in_adjoint[1].data)
        memset(call->in_adjoint[1].data, 0, (size_t)call->in[1].view->count * ag_type_size(call->type));
    return !call->in_adjoint[0].data || (at_check(call) && labels_adjoint(call));
}

static ag_var at_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_is_zero(tangents[0]) ? ag_num(0) : labels_tangent(rule, tangents);
}

static void at_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[1] = ag_num(0);
    if (rule->wanted[0]) labels_record(rule, w, contributions);
}

static const ag_operation at_operation = {
    .name = "cross_entropy_at",
    .shape = at_shape,
    .forward = at_forward,
    .adjoint = at_adjoint,
    .tangent = at_tangent,
    .record = at_record,
    .stores = true,
    .c_form = labels_c_form,
};
const ag_operation *const ag_builtin_cross_entropy_at = &at_operation;

ag_var ag_cross_entropy_at(ag_var logits, ag_var labels) {
    if (!ag_usable(logits, "cross_entropy_at")) return ag_inert(ag_tape_of(logits));
    if (!ag_usable(labels, "cross_entropy_at"))
        return ag_inert(ag_tape_of(logits) ? ag_tape_of(logits) : ag_tape_of(labels));
    return ag_apply(&at_operation, (ag_var[]){logits, labels}, 2, NULL, 0);
}

/* ---- target probabilities ---- */

/* A row: logits, targets, unnormalised probabilities, what they were shifted by and their sum. */
typedef struct row {
    const ag_kernels *kernels;
    ag_type type;
    int64_t classes;
    void *x, *q, *exps;
    double shift, sum, log_sum;
} row;

static row row_of(const ag_call *call, int64_t i) {
    int64_t rows = call->out.view->count, classes = class_count(call);
    const double *heads = call->saved;
    return (row){.kernels = ag_kernels_for(call->type),
                 .type = call->type,
                 .classes = classes,
                 .x = ag_element(call->type, call->in[0].data, i * classes),
                 .q = ag_element(call->type, call->in[1].data, i * classes),
                 .exps = ag_element(call->type, (double *)call->saved + 2 * rows, i * classes),
                 .shift = heads[2 * i],
                 .sum = heads[2 * i + 1],
                 .log_sum = log(heads[2 * i + 1])};
}

static double log_probability(const row *r, int64_t j) {
    if (!isfinite(r->shift)) return log(ag_load(r->type, r->exps, j));
    return ag_load(r->type, r->x, j) - r->shift - r->log_sum;
}

/* The logarithms of up to AG_BLOCK probabilities from `first` on; returns how many. */
static size_t log_probabilities(const row *r, int64_t first, void *out) {
    size_t width = (size_t)(r->classes - first < AG_BLOCK ? r->classes - first : AG_BLOCK);
    if (isfinite(r->shift)) {
        memcpy(out, ag_element(r->type, r->x, first), width * ag_type_size(r->type));
        r->kernels->add_value(width, out, -r->shift);
        r->kernels->add_value(width, out, -r->log_sum);
    } else {
        r->kernels->value[AG_LOG](width, out, ag_element(r->type, r->exps, first), NULL, NULL);
    }
    return width;
}

static bool soft_shape(ag_call *call) {
    static const char what[] = "cross_entropy_soft";
    const ag_view *x = call->in[0].view, *q = call->in[1].view;
    if (x->rank != q->rank || memcmp(x->dim, q->dim, (size_t)x->rank * sizeof *x->dim) != 0) {
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: logits have shape %s, probabilities %s", what, ag_show_view(x).text,
                ag_show_view(q).text);
        return false;
    }
    int64_t rows = losses(call, what);
    return rows >= 0 && set_saved_size(call, what, rows, class_count(call));
}

/* The loss of a row that is too short for kernels; not finite where a probability or its logarithm is not. Inlined for
 * each type, like the next one. */
static inline __attribute__((always_inline)) double short_loss(ag_type type, const row *r) {
    double even = 0, odd = 0;
    for (int64_t j = 0; j < r->classes; j += 2) {
        even -= ag_load(type, r->q, j) * (ag_load(type, r->x, j) - r->shift - r->log_sum);
        if (j + 1 < r->classes) {
            odd -= ag_load(type, r->q, j + 1) * (ag_load(type, r->x, j + 1) - r->shift - r->log_sum);
        }
    }
    return even + odd;
}

/* The adjoint of such a row's logits; false, with nothing done, if there is anything infinite or masked. */
static inline __attribute__((always_inline)) bool short_logits(ag_type type, const row *r, double w, void *to) {
    double sum = 0, least = 0;
    for (int64_t j = 0; j < r->classes; j++) {
        double x = ag_load(type, r->x, j) - r->shift;
        sum += ag_load(type, r->q, j);
        least = x < least ? x : least;
    }
    double scale = w * sum / r->sum;
    if (!isfinite(scale) || !isfinite(w) || !isfinite(r->shift) || least == -HUGE_VAL) return false;
    for (int64_t j = 0; j < r->classes; j++) {
        double added = scale * ag_load(type, r->exps, j) - w * ag_load(type, r->q, j);
        ag_store(type, to, j, ag_load(type, to, j) + added);
    }
    return true;
}

static bool soft_forward(const ag_call *call) {
    double *heads = call->saved;
    ag_softmax_exps(call, heads, heads + 2 * call->out.view->count);
    for (int64_t i = 0; i < call->out.view->count; i++) {
        row r = row_of(call, i);
        ag_buffer logs;
        double loss = 0;
        if (r.classes <= AG_SHORT_ROW) loss = r.type == AG_F64 ? short_loss(AG_F64, &r) : short_loss(AG_F32, &r);
        for (int64_t j = 0; r.classes > AG_SHORT_ROW && j < r.classes; j += AG_BLOCK) {
            size_t width = log_probabilities(&r, j, logs);
            loss -= r.kernels->dot(width, logs, ag_element(r.type, r.q, j));
        }
        if (!isfinite(loss)) { /* 0 log 0 is 0 */
            loss = 0;
            for (int64_t j = 0; j < r.classes; j++) {
                loss -= ag_chain_number(ag_load(r.type, r.q, j), log_probability(&r, j));
            }
        }
        ag_store(r.type, call->out.data, i, loss);
    }
    return true;
}

/* Logits: w (p sum(q) - q), masked entries left out. */
static void add_to_logits(const row *r, double w, void *to) {
    size_t n = (size_t)r->classes;
    if (n <= AG_SHORT_ROW) {
        if (r->type == AG_F64 ? short_logits(AG_F64, r, w, to) : short_logits(AG_F32, r, w, to)) return;
    }
    double sum = r->kernels->sum(n, r->q);
    if (isfinite(w * sum) && isfinite(w) && isfinite(r->shift) && r->kernels->min(n, r->x) != -HUGE_VAL) {
        r->kernels->add_scaled(n, to, w * sum / r->sum, r->exps);
        r->kernels->add_scaled(n, to, -w, r->q);
        return;
    }
    sum = 0;
    for (int64_t j = 0; j < r->classes; j++) {
        if (log_probability(r, j) != -HUGE_VAL) sum += ag_load(r->type, r->q, j);
    }
    for (int64_t j = 0; j < r->classes; j++) {
        if (log_probability(r, j) == -HUGE_VAL) continue;
        double partial = ag_chain_number(ag_load(r->type, r->exps, j) / r->sum, sum) - ag_load(r->type, r->q, j);
        ag_store(r->type, to, j, ag_load(r->type, to, j) + ag_chain_number(w, partial));
    }
}

/* Targets: -w log p. */
static void add_to_targets(const row *r, double w, void *to) {
    ag_buffer logs;
    for (int64_t first = 0; first < r->classes; first += AG_BLOCK) {
        size_t width = log_probabilities(r, first, logs);
        if (isfinite(w) && isfinite(r->kernels->sum(width, logs))) {
            r->kernels->add_scaled(width, ag_element(r->type, to, first), -w, logs);
            continue;
        }
        for (int64_t j = 0; j < (int64_t)width; j++) {
            double partial = ag_chain_number(w, -ag_load(r->type, logs, j));
            ag_store(r->type, to, first + j, ag_load(r->type, to, first + j) + partial);
        }
    }
}

static bool soft_adjoint(const ag_call *call) {
    for (int64_t i = 0; i < call->out.view->count; i++) {
        double w = ag_load_adjoint(call, i);
        if (w == 0) continue;
        row r = row_of(call, i);
        void *logits = call->in_adjoint[0].data, *targets = call->in_adjoint[1].data;
        if (logits != NULL) add_to_logits(&r, w, ag_element(call->type, logits, i * r.classes));
        if (targets != NULL) add_to_targets(&r, w, ag_element(call->type, targets, i * r.classes));
    }
    return true;
}

static ag_reduction last_axis(ag_var x, bool keep) { return (ag_reduction){1u << (ag_shape_of(x).rank - 1), keep}; }

static ag_var soft_tangent(const ag_rule *rule, const ag_var *tangents) {
    ag_reduction keep = last_axis(rule->in[0], true), drop = last_axis(rule->in[0], false);
    ag_var logs = ag_log_softmax(rule->in[0], -1), terms = ag_num(0);
    if (!ag_is_zero(tangents[0])) {
        terms = ag_chain(rule->in[1], ag_log_softmax_tangent(logs, tangents[0], &keep));
    }
    if (!ag_is_zero(tangents[1])) {
        ag_var more = ag_chain(tangents[1], logs);
        terms = ag_is_zero(terms) ? more : ag_add(terms, more);
    }
    return ag_neg(ag_reduce_sum(terms, &drop));
}

static void soft_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_reduction keep = last_axis(rule->in[0], true);
    ag_var logs = ag_log_softmax(rule->in[0], -1), minus_w = ag_neg(ag_unsqueeze(w, -1));
    if (rule->wanted[0]) contributions[0] = ag_chain(minus_w, ag_log_softmax_adjoint(logs, rule->in[1], &keep));
    if (rule->wanted[1]) contributions[1] = ag_chain(minus_w, logs);
}

static void soft_scalars(const ag_elements *e) {
    int64_t classes = e->shapes[0].dim[e->shapes[0].rank - 1], rows = ag_count_dims(e->shape.dim, 0, e->shape.rank);
    ag_var *logs = logs_of(e);
    for (int64_t i = 0; logs && i < rows; i++) {
        ag_var sum = ag_num(0);
        for (int64_t j = 0; j < classes; j++) {
            ag_var term = ag_chain(e->in[1][i * classes + j], logs[i * classes + j]);
            sum = j ? ag_add(sum, term) : term;
        }
        e->out[i] = ag_neg(sum);
    }
    ag_scratch_free(e->tape, logs);
}

static bool soft_c_form(const ag_c_form *f) {
    ag_reduction over;
    ag_c_form rows = over_last(f, &over);
    const char *cast = f->type == AG_F32 ? "(float)" : "";
    ag_c_text x = ag_c_index_of(f->views[0]);
    ag_c_use(f, AG_CHAIN);
    int kept = ag_c_kept(&rows);
    ag_c_softmax_sum(&rows);
    ag_c_line(f, "%s best = 0;", f->number);
    int n = ag_c_reduced(&rows);
    ag_c_line(f, "const %s at = %s[%s];", f->number, f->in[0], x.text);
    ag_c_line(f,
              "best += ad_chain%s(%s[%s], isnan(most) ? most : isfinite(most) ? at - most - %slog(sum) : at == "
              "INFINITY ? %slog(1 / sum) : -INFINITY);",
              f->suffix, f->in[1], x.text, cast, cast);
    ag_c_close(f, n);
    ag_c_line(f, "%s[%s] = -best;", f->out, ag_c_result_index(&rows).text);
    ag_c_close(f, kept);
    return true;
}

static const ag_operation soft_operation = {
    .name = "cross_entropy_soft",
    .shape = soft_shape,
    .forward = soft_forward,
    .adjoint = soft_adjoint,
    .tangent = soft_tangent,
    .record = soft_record,
    .scalars = soft_scalars,
    .c_form = soft_c_form,
};
const ag_operation *const ag_builtin_cross_entropy_soft = &soft_operation;

ag_var ag_cross_entropy_soft(ag_var logits, ag_var probabilities) {
    if (!ag_usable(logits, "cross_entropy_soft")) return ag_inert(ag_tape_of(logits));
    if (!ag_usable(probabilities, "cross_entropy_soft")) return ag_inert(ag_tape_of(probabilities));
    return ag_apply(&soft_operation, (ag_var[]){logits, probabilities}, 2, NULL, 0);
}
