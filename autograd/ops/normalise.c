/* Layer, RMS and batch norm, each one operation: y = (x - mean) / sqrt(variance + epsilon) * weight + bias. Of x as
 * (outer, groups, inner), each group has a mean and a variance over outer and inner: rows, with weights along them, or
 * channels, with one weight each. With h = w * weight, n elements in a group and z what is normalised:
 *     dx = (h - mean(h) - z mean(h z)) / sqrt(variance + epsilon)
 * RMS norm has a mean of 0. Ioffe and Szegedy 2015; Ba et al. 2016; Zhang and Sennrich 2019. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "structural_impl.h"
#include <math.h>

enum { CENTRED = 1, CHANNELS = 2 };

/* axes: the last ones, which rows are made of. */
typedef struct norming {
    double epsilon;
    int64_t flags, axes;
} norming;

typedef struct extent {
    int64_t outer, groups, inner;
} extent;

static extent extent_of(const norming *p, int rank, const int64_t *dim) {
    if (p->flags & CHANNELS) return (extent){dim[0], dim[1], ag_count_dims(dim, 2, rank)};
    int first = rank - (int)p->axes;
    return (extent){1, ag_count_dims(dim, 0, first), ag_count_dims(dim, first, rank)};
}

static const char *name_of(const norming *p) {
    return p->flags & CHANNELS ? "batch_norm" : p->flags & CENTRED ? "layer_norm" : "rms_norm";
}

/* ---- shape ---- */

static bool norm_shape(ag_call *call) {
    const norming *p = call->params;
    const ag_view *v = call->in[0].view;
    call->shape = ag_dims_of(v);
    bool channels = p->flags & CHANNELS;
    int least = channels ? 2 : (int)p->axes, first = channels ? 1 : v->rank - (int)p->axes,
        count = channels ? 1 : (int)p->axes;
    if (v->rank < least) {
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: shape %s has not %d axes", name_of(p), ag_show_view(v).text, least);
        return false;
    }
    for (int k = 1; k < call->n; k++) {
        const ag_view *w = call->in[k].view;
        if (w->rank == count && memcmp(w->dim, v->dim + first, (size_t)count * sizeof *w->dim) == 0) continue;
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: a %s of shape %s for x of shape %s", name_of(p),
                k == 1 ? "weight" : "bias", ag_show_view(w).text, ag_show_view(v).text);
        return false;
    }
    extent e = extent_of(p, v->rank, v->dim);
    int64_t size;
    if (!ag_multiply_sizes(e.groups, 2 * sizeof(double), &size)) return false; /* x has as many elements, or none */
    call->saved_size = (size_t)size;
    if (e.outer * e.inner > 0 || e.groups == 0) return true;
    ag_fail(call->tape, AG_ERR_SHAPE, "%s: nothing to take a mean of in shape %s", name_of(p), ag_show_view(v).text);
    return false;
}

/* ---- values ---- */

/* Piece `a` of group `b`. */
static void *piece(const ag_call *call, const extent *e, void *data, int64_t a, int64_t b) {
    return ag_element(call->type, data, (a * e->groups + b) * e->inner);
}

/* Mean and 1 / sqrt(variance + epsilon) of a group. */
static void measure(const ag_call *call, const extent *e, int64_t b, double *mean, double *scale) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    const norming *p = call->params;
    double sums[2] = {0, 0}, count = (double)(e->outer * e->inner);
    *mean = 0;
    for (int64_t a = 0; p->flags & CENTRED && a < e->outer; a++)
        *mean += kernels->sum((size_t)e->inner, piece(call, e, call->in[0].data, a, b));
    *mean /= count;
    if (call->type == AG_F32) *mean = (float)*mean; /* as it is subtracted */
    for (int64_t a = 0; a < e->outer; a++)
        kernels->norm_sums((size_t)e->inner, NULL, piece(call, e, call->in[0].data, a, b), *mean, NULL, sums);
    *scale = 1 / sqrt(sums[1] / count + p->epsilon);
}

static bool norm_forward(const ag_call *call) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    const norming *p = call->params;
    extent e = extent_of(p, call->in[0].view->rank, call->in[0].view->dim);
    double *saved = call->saved;
    bool channels = p->flags & CHANNELS;
    const void *weight = call->n > 1 ? call->in[1].data : NULL, *bias = call->n > 2 ? call->in[2].data : NULL;
    for (int64_t b = 0; b < e.groups; b++) {
        double *mean = &saved[2 * b], *scale = &saved[2 * b + 1];
        measure(call, &e, b, mean, scale);
        double factor = channels && weight ? *scale * ag_load(call->type, weight, b) : *scale;
        double shift = channels && bias ? ag_load(call->type, bias, b) : 0;
        for (int64_t a = 0; a < e.outer; a++)
            kernels->norm_apply((size_t)e.inner, piece(call, &e, call->out.data, a, b),
                                piece(call, &e, call->in[0].data, a, b), *mean, factor, shift, channels ? NULL : weight,
                                channels ? NULL : bias);
    }
    return true;
}

/* ---- adjoints ---- */

static void add_number(const ag_call *call, int operand, int64_t i, double term) {
    void *to = call->in_adjoint[operand].data;
    ag_store(call->type, to, i, ag_load(call->type, to, i) + term);
}

/* One group: x, and the weights of its channel or of its elements. */
static void group_adjoint(const ag_call *call, const extent *e, int64_t b) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    const norming *p = call->params;
    bool channels = p->flags & CHANNELS, add = !(call->fresh & 1);
    double mean = ((const double *)call->saved)[2 * b], scale = ((const double *)call->saved)[2 * b + 1],
           sums[2] = {0, 0};
    const void *weight = call->n > 1 ? call->in[1].data : NULL, *along = channels ? NULL : weight;
    void *x = call->in[0].data, *w = call->out_adjoint.data;
    double factor = channels && weight ? scale * ag_load(call->type, weight, b) : scale;
    double count = (double)(e->outer * e->inner);
    for (int64_t a = 0; a < e->outer; a++)
        kernels->norm_sums((size_t)e->inner, piece(call, e, w, a, b), piece(call, e, x, a, b), mean, along, sums);
    double first = p->flags & CENTRED ? sums[0] / count : 0, second = sums[1] / count * scale * scale;
    for (int64_t a = 0; call->in_adjoint[0].data && a < e->outer; a++)
        kernels->norm_back((size_t)e->inner, piece(call, e, call->in_adjoint[0].data, a, b), piece(call, e, w, a, b),
                           piece(call, e, x, a, b), mean, factor, first, second, along, add);
    if (call->n > 1 && call->in_adjoint[1].data) {
        if (channels) add_number(call, 1, b, sums[1] * scale);
        else
            kernels->norm_factors((size_t)e->inner, call->in_adjoint[1].data, piece(call, e, w, 0, b),
                                  piece(call, e, x, 0, b), mean, scale);
    }
    if (call->n > 2 && call->in_adjoint[2].data && channels) add_number(call, 2, b, sums[0]);
}

static bool norm_adjoint(const ag_call *call) {
    const norming *p = call->params;
    extent e = extent_of(p, call->in[0].view->rank, call->in[0].view->dim);
    for (int k = 1; k < call->n; k++)
        if (call->fresh >> k & 1 && call->in_adjoint[k].data)
            memset(call->in_adjoint[k].data, 0, (size_t)call->in[k].view->count * ag_type_size(call->type));
    for (int64_t b = 0; b < e.groups; b++) group_adjoint(call, &e, b);
    if (call->n > 2 && call->in_adjoint[2].data && !(p->flags & CHANNELS))
        ag_kernels_for(call->type)
            ->add_rows((size_t)e.inner, call->in_adjoint[2].data, (size_t)e.groups, e.inner, call->out_adjoint.data);
    return true;
}

/* ---- recorded derivatives, by ordinary operations on (outer, groups, inner) ---- */

typedef struct recorded {
    const norming *p;
    ag_shape shape; /* (outer, groups, inner) */
    ag_var z, scale;
} recorded;

static ag_var group_mean(ag_var x) { return ag_mean_over(x, AG_AXES(0, 2), true); }

static recorded recorded_of(const ag_rule *rule) {
    recorded r = {.p = rule->params};
    ag_shape s = ag_shape_of(rule->in[0]);
    extent e = extent_of(r.p, s.rank, s.dim);
    r.shape = AG_SHAPE(e.outer, e.groups, e.inner);
    ag_var x = ag_reshape(rule->in[0], r.shape), centred = r.p->flags & CENTRED ? ag_sub(x, group_mean(x)) : x;
    r.scale = ag_div(1.0, ag_sqrt(ag_add(group_mean(ag_square(centred)), r.p->epsilon)));
    r.z = ag_mul(centred, r.scale);
    return r;
}

/* A weight or bias as it multiplies (outer, groups, inner). */
static ag_var aligned(const recorded *r, ag_var weight) {
    return ag_reshape(weight,
                      r->p->flags & CHANNELS ? AG_SHAPE(1, r->shape.dim[1], 1) : AG_SHAPE(1, 1, r->shape.dim[2]));
}

/* The derivative of z by x, a symmetric matrix, times h. */
static ag_var project(const recorded *r, ag_var h) {
    ag_var rest = r->p->flags & CENTRED ? ag_sub(h, group_mean(h)) : h;
    return ag_mul(r->scale, ag_sub(rest, ag_mul(r->z, group_mean(ag_mul(h, r->z)))));
}

static void norm_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    recorded r = recorded_of(rule);
    w = ag_reshape(w, r.shape);
    ag_axes over = r.p->flags & CHANNELS ? AG_AXES(0, 2) : AG_AXES(0, 1);
    if (rule->wanted[0]) {
        ag_var h = rule->n > 1 ? ag_mul(w, aligned(&r, rule->in[1])) : w;
        contributions[0] = ag_reshape(project(&r, h), ag_shape_of(rule->in[0]));
    }
    if (rule->n > 1 && rule->wanted[1])
        contributions[1] = ag_reshape(ag_sum_over(ag_mul(w, r.z), over, false), ag_shape_of(rule->in[1]));
    if (rule->n > 2 && rule->wanted[2])
        contributions[2] = ag_reshape(ag_sum_over(w, over, false), ag_shape_of(rule->in[2]));
}

static ag_var norm_tangent(const ag_rule *rule, const ag_var *v) {
    recorded r = recorded_of(rule);
    ag_var sum = ag_num(0);
    if (!ag_is_zero(v[0])) {
        sum = project(&r, ag_reshape(v[0], r.shape));
        if (rule->n > 1) sum = ag_mul(sum, aligned(&r, rule->in[1]));
    }
    if (rule->n > 1 && !ag_is_zero(v[1])) sum = ag_add(sum, ag_mul(r.z, aligned(&r, v[1])));
    if (rule->n > 2 && !ag_is_zero(v[2])) sum = ag_add(sum, aligned(&r, v[2]));
    return ag_is_zero(sum) ? sum : ag_reshape(ag_expand(sum, r.shape), ag_shape_of(rule->out));
}

/* ---- scalars, C ---- */

static void norm_scalars(const ag_elements *el) {
    const norming *p = el->params;
    extent e = extent_of(p, el->shape.rank, el->shape.dim);
    double count = (double)(e.outer * e.inner);
    for (int64_t b = 0; b < e.groups; b++) {
        ag_var mean = ag_num(0), variance = ag_num(0);
        for (int64_t i = 0; p->flags & CENTRED && i < e.outer * e.inner; i++) {
            ag_var x = el->in[0][(i / e.inner * e.groups + b) * e.inner + i % e.inner];
            mean = i ? ag_add(mean, x) : x;
        }
        mean = ag_div(mean, count);
        for (int64_t i = 0; i < e.outer * e.inner; i++) {
            int64_t at = (i / e.inner * e.groups + b) * e.inner + i % e.inner;
            el->out[at] = p->flags & CENTRED ? ag_sub(el->in[0][at], mean) : el->in[0][at];
            ag_var square = ag_square(el->out[at]);
            variance = i ? ag_add(variance, square) : square;
        }
        ag_var scale = ag_div(1.0, ag_sqrt(ag_add(ag_div(variance, count), p->epsilon)));
        for (int64_t i = 0; i < e.outer * e.inner; i++) {
            int64_t at = (i / e.inner * e.groups + b) * e.inner + i % e.inner;
            int64_t weight = p->flags & CHANNELS ? b : i % e.inner;
            el->out[at] = ag_mul(el->out[at], scale);
            if (el->n > 1) el->out[at] = ag_mul(el->out[at], el->in[1][weight]);
            if (el->n > 2) el->out[at] = ag_add(el->out[at], el->in[2][weight]);
        }
    }
}

static bool norm_c_form(const ag_c_form *f) {
    const norming *p = f->params;
    extent e = extent_of(p, f->shape.rank, f->shape.dim);
    char place[96], weight[48];
    snprintf(place, sizeof place, "(i * %lld + i1) * %lld + i2", (long long)e.groups, (long long)e.inner);
    snprintf(weight, sizeof weight, "[%s]", p->flags & CHANNELS ? "i1" : "i2");
    long long count = e.outer * e.inner;
    ag_c_open(f, 1, e.groups);
    ag_c_line(f, "%s shift = 0, sum = 0;", f->number);
    const int64_t dims[3] = {e.outer, 1, e.inner};
    for (int pass = p->flags & CENTRED ? 0 : 1; pass < 3; pass++) {
        ag_c_open(f, 0, dims[0]);
        ag_c_open(f, 2, dims[2]);
        if (pass == 0) ag_c_line(f, "shift += %s[%s];", f->in[0], place);
        else if (pass == 1)
            ag_c_line(f, "sum += (%s[%s] - shift) * (%s[%s] - shift);", f->in[0], place, f->in[0], place);
        else
            ag_c_line(f, "%s[%s] = (%s[%s] - shift) * scale%s%s%s%s%s%s;", f->out, place, f->in[0], place,
                      f->n > 1 ? " * " : "", f->n > 1 ? f->in[1] : "", f->n > 1 ? weight : "", f->n > 2 ? " + " : "",
                      f->n > 2 ? f->in[2] : "", f->n > 2 ? weight : "");
        ag_c_close(f, 2);
        if (pass == 0) ag_c_line(f, "shift /= %lld;", count);
        if (pass == 1)
            ag_c_line(f, "const %s scale = 1 / sqrt%s(sum / %lld + %s%.17g);", f->number, f->suffix, count,
                      f->type == AG_F32 ? "(float)" : "", p->epsilon);
    }
    ag_c_close(f, 1);
    return true;
}

/* ---- the operation ---- */

static bool norm_valid(const ag_call *call) {
    const norming *p = call->params;
    if (call->params_size != sizeof *p || !(p->epsilon >= 0) || isinf(p->epsilon) || p->flags < 0 || p->flags > 3)
        return false;
    return p->flags & CHANNELS ? p->axes == 0 && p->flags & CENTRED : p->axes >= 1 && p->axes <= call->in[0].view->rank;
}

static const ag_operation norm = {
    .name = "normalise",
    .shape = norm_shape,
    .forward = norm_forward,
    .adjoint = norm_adjoint,
    .tangent = norm_tangent,
    .record = norm_record,
    .scalars = norm_scalars,
    .stores = true,
    .c_form = norm_c_form,
    .valid = norm_valid,
};
const ag_operation *const ag_builtin_normalise = &norm;

/* ---- calls ---- */

static ag_var apply(ag_var x, const norming *p, ag_var weight, ag_var bias) {
    if (!ag_usable(x, name_of(p))) return ag_inert(x.tape);
    if (x.tape == NULL) return ag_inert(weight.tape);
    ag_shape s = ag_shape_of(x);
    if (!(p->epsilon >= 0) || isinf(p->epsilon) || (!(p->flags & CHANNELS) && (p->axes < 1 || p->axes > s.rank))) {
        ag_fail(x.tape, AG_ERR_VALUE, "%s: %lld axes of shape %s, epsilon %g", name_of(p), (long long)p->axes,
                ag_show_shape(s).text, p->epsilon);
        return ag_inert(x.tape);
    }
    int n = !ag_is_zero(bias) ? 3 : !ag_is_zero(weight) ? 2 : 1;
    if (n == 3 && ag_is_zero(weight)) weight = ag_ones(x.tape, ag_shape_of(bias));
    return ag_apply(&norm, (ag_var[]){x, weight, bias}, n, p, sizeof *p);
}

ag_var ag_layer_norm(ag_var x, int axes, ag_var weight, ag_var bias, double epsilon) {
    return apply(x, &(norming){epsilon, CENTRED, axes}, weight, bias);
}

ag_var ag_rms_norm(ag_var x, int axes, ag_var weight, double epsilon) {
    return apply(x, &(norming){epsilon, 0, axes}, weight, ag_num(0));
}

ag_var ag_batch_norm(ag_var x, ag_var weight, ag_var bias, double epsilon) {
    norming p = {epsilon, CENTRED | CHANNELS, 0};
    if (!ag_usable(x, name_of(&p)) || ag_shape_of(x).rank != 2) return apply(x, &p, weight, bias);
    /* vectors: their elements side by side, so that there are rows to go along */
    ag_shape s = ag_shape_of(x);
    ag_var rows = ag_reshape(ag_contiguous(ag_transpose(x)), AG_SHAPE(1, s.dim[1], s.dim[0]));
    ag_var y = apply(rows, &p, weight, bias);
    return ag_is_inert(y) ? y : ag_transpose(ag_reshape(y, AG_SHAPE(s.dim[1], s.dim[0])));
}
