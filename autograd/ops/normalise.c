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

static bool is_by_rows(const norming *p) { return !(p->flags & CHANNELS); }

/* Rows, or their means and scales alone, which go to `saved`. */
static void normalise_rows(const ag_call *call, int64_t rows, int64_t n, void *y, const void *x, double *saved) {
    const norming *p = call->params;
    const void *weight = y && call->n > 1 ? call->in[1].data : NULL, *bias = y && call->n > 2 ? call->in[2].data : NULL;
    ag_kernels_for(call->type)
        ->norm_rows((size_t)rows, (size_t)n, y, x, p->epsilon, p->flags & CENTRED, weight, bias, saved);
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
    const void *weight = call->n > 1 ? call->in[1].data : NULL, *bias = call->n > 2 ? call->in[2].data : NULL;
    if (is_by_rows(p)) {
        normalise_rows(call, e.groups, e.inner, call->out.data, call->in[0].data, saved);
        return true;
    }
    for (int64_t b = 0; b < e.groups; b++) {
        double *mean = &saved[2 * b], *scale = &saved[2 * b + 1];
        measure(call, &e, b, mean, scale);
        double factor = weight ? *scale * ag_load(call->type, weight, b) : *scale;
        double shift = bias ? ag_load(call->type, bias, b) : 0;
        for (int64_t a = 0; a < e.outer; a++)
            kernels->norm_apply((size_t)e.inner, piece(call, &e, call->out.data, a, b),
                                piece(call, &e, call->in[0].data, a, b), *mean, factor, shift, NULL, NULL);
    }
    return true;
}

/* ---- adjoints ---- */

/* What the adjoints of all groups have in common. */
typedef struct reverse {
    const ag_call *call;
    const norming *p;
    extent e;
    void *x, *w; /* w: the result's adjoint */
    const void *weight;
    void *dx, *dweight, *dbias; /* NULL where nobody asks; the last two are added to */
    bool add;                   /* to dx, too */
} reverse;

static void add_number(ag_type type, void *to, int64_t i, double term) {
    ag_store(type, to, i, ag_load(type, to, i) + term);
}

/* Rows from number `first` on, whose means and scales are in `saved`. */
static void rows_adjoint(const reverse *r, int64_t first, int64_t rows, const double *saved) {
    ag_type type = r->call->type;
    int64_t at = first * r->e.inner;
    ag_norm_rows p = {.rows = (size_t)rows,
                      .n = (size_t)r->e.inner,
                      .x = ag_element(type, r->x, at),
                      .w = ag_element(type, r->w, at),
                      .weight = r->weight,
                      .saved = saved,
                      .centred = r->p->flags & CENTRED,
                      .add = r->add,
                      .dx = r->dx ? ag_element(type, r->dx, at) : NULL,
                      .dweight = r->dweight,
                      .dbias = r->dbias};
    ag_kernels_for(type)->norm_rows_back(&p);
}

/* A channel: x, and its weights. */
static void channel_adjoint(const reverse *r, int64_t b, double mean, double scale) {
    const ag_call *call = r->call;
    const ag_kernels *kernels = ag_kernels_for(call->type);
    const extent *e = &r->e;
    double sums[2] = {0, 0}, factor = r->weight ? scale * ag_load(call->type, r->weight, b) : scale;
    double count = (double)(e->outer * e->inner);
    for (int64_t a = 0; a < e->outer; a++)
        kernels->norm_sums((size_t)e->inner, piece(call, e, r->w, a, b), piece(call, e, r->x, a, b), mean, NULL, sums);
    double first = r->p->flags & CENTRED ? sums[0] / count : 0, second = sums[1] / count * scale * scale;
    for (int64_t a = 0; r->dx && a < e->outer; a++)
        kernels->norm_back((size_t)e->inner, piece(call, e, r->dx, a, b), piece(call, e, r->w, a, b),
                           piece(call, e, r->x, a, b), mean, factor, first, second, NULL, r->add);
    if (r->dweight) add_number(call->type, r->dweight, b, sums[1] * scale);
    if (r->dbias) add_number(call->type, r->dbias, b, sums[0]);
}

/* Adjoints that are not set yet become 0. */
static void clear_fresh(const ag_call *call, int first) {
    for (int k = first; k < call->n; k++)
        if (call->fresh >> k & 1 && call->in_adjoint[k].data)
            memset(call->in_adjoint[k].data, 0, (size_t)call->in[k].view->count * ag_type_size(call->type));
}

static bool norm_adjoint(const ag_call *call) {
    const norming *p = call->params;
    reverse r = {.call = call,
                 .p = p,
                 .e = extent_of(p, call->in[0].view->rank, call->in[0].view->dim),
                 .x = call->in[0].data,
                 .w = call->out_adjoint.data,
                 .weight = call->n > 1 ? call->in[1].data : NULL,
                 .dx = call->in_adjoint[0].data,
                 .dweight = call->n > 1 ? call->in_adjoint[1].data : NULL,
                 .dbias = call->n > 2 ? call->in_adjoint[2].data : NULL,
                 .add = !(call->fresh & 1)};
    const double *saved = call->saved;
    clear_fresh(call, 1);
    if (is_by_rows(p)) rows_adjoint(&r, 0, r.e.groups, saved);
    else
        for (int64_t b = 0; b < r.e.groups; b++) channel_adjoint(&r, b, saved[2 * b], saved[2 * b + 1]);
    return true;
}

/* ---- the adjoint as an operation: of x, w and perhaps the weight; its result is dx, then dweight, in one row ---- */

static bool back_shape(ag_call *call) {
    const norming *p = call->params;
    const ag_view *v = call->in[0].view, *w = call->in[1].view;
    if (v->rank < (p->flags & CHANNELS ? 2 : (int)p->axes)) {
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: x of shape %s", name_of(p), ag_show_view(v).text);
        return false;
    }
    extent e = extent_of(p, v->rank, v->dim);
    int64_t weights = call->n > 2 ? call->in[2].view->count : 0, count;
    bool fits = w->rank == v->rank && memcmp(w->dim, v->dim, (size_t)v->rank * sizeof *v->dim) == 0 &&
                e.outer * e.inner > 0 && (call->n < 3 || weights == (p->flags & CHANNELS ? e.groups : e.inner)) &&
                !__builtin_add_overflow(v->count, weights, &count);
    if (fits) call->shape = AG_SHAPE(count);
    else
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: an adjoint of shape %s for x of shape %s", name_of(p),
                ag_show_view(w).text, ag_show_view(v).text);
    return fits;
}

static bool back_forward(const ag_call *call) {
    const norming *p = call->params;
    const ag_view *v = call->in[0].view;
    reverse r = {.call = call,
                 .p = p,
                 .e = extent_of(p, v->rank, v->dim),
                 .x = call->in[0].data,
                 .w = call->in[1].data,
                 .weight = call->n > 2 ? call->in[2].data : NULL,
                 .dx = call->out.data,
                 .dweight = call->n > 2 ? ag_element(call->type, call->out.data, v->count) : NULL};
    if (r.dweight) memset(r.dweight, 0, (size_t)call->in[2].view->count * ag_type_size(call->type));
    enum { TOGETHER = 64 };
    double saved[2 * TOGETHER];
    for (int64_t b = 0, rows; b < r.e.groups; b += rows) {
        rows = !is_by_rows(p) ? 1 : r.e.groups - b < TOGETHER ? r.e.groups - b : TOGETHER;
        if (is_by_rows(p)) {
            normalise_rows(call, rows, r.e.inner, NULL, ag_element(call->type, r.x, b * r.e.inner), saved);
            rows_adjoint(&r, b, rows, saved);
        } else {
            measure(call, &r.e, b, &saved[0], &saved[1]);
            channel_adjoint(&r, b, saved[0], saved[1]);
        }
    }
    return true;
}

/* With a and c what is along dx and dweight, v = w c, J(u) = scale (u - mean(u) - z mean(u z)), p and q the means of h z and
 * a z over n elements:
 *     y's adjoint w gets J(a) weight + c z        the weight gets w J(a)
 *     x gets J(v - scale (q h + p a)) - z scale^2 / n (sum(h a) - n mean(h) mean(a) - n p q)
 * Number by number: it is rare. */
static void group_back_twice(const ag_call *call, const extent *e, int64_t b) {
    const norming *p = call->params;
    ag_type type = call->type;
    bool channels = p->flags & CHANNELS, centred = p->flags & CENTRED;
    double mean, scale, n = (double)(e->outer * e->inner), m[6] = {0}; /* of h, a, v, h z, a z, v z */
    double sum = 0;
    measure(call, e, b, &mean, &scale);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < e->outer * e->inner; i++) {
            int64_t at = (i / e->inner * e->groups + b) * e->inner + i % e->inner, k = channels ? b : i % e->inner;
            double z = (ag_load(type, call->in[0].data, at) - mean) * scale, w = ag_load(type, call->in[1].data, at);
            double weight = call->n > 2 ? ag_load(type, call->in[2].data, k) : 1, a = ag_load_adjoint(call, at);
            double c = call->n > 2 ? ag_load_adjoint(call, call->in[0].view->count + k) : 0, h = w * weight, v = w * c;
            const double terms[6] = {h, a, v, h * z, a * z, v * z};
            for (int t = 0; pass == 0 && t < 6; t++) m[t] += centred || t > 2 ? terms[t] / n : 0;
            if (pass == 0) {
                sum += h * a;
                continue;
            }
            double along = scale * (a - m[1] - z * m[4]), u = v - scale * (m[4] * h + m[3] * a);
            double u_mean = m[2] - scale * (m[4] * m[0] + m[3] * m[1]), u_z = m[5] - 2 * scale * m[3] * m[4];
            double x =
                scale * (u - u_mean - z * u_z) - z * scale * scale / n * (sum - n * m[0] * m[1] - n * m[3] * m[4]);
            if (call->in_adjoint[0].data) add_number(type, call->in_adjoint[0].data, at, x);
            if (call->in_adjoint[1].data) add_number(type, call->in_adjoint[1].data, at, along * weight + c * z);
            if (call->n > 2 && call->in_adjoint[2].data) add_number(type, call->in_adjoint[2].data, k, w * along);
        }
}

static bool back_adjoint(const ag_call *call) {
    extent e = extent_of(call->params, call->in[0].view->rank, call->in[0].view->dim);
    clear_fresh(call, 0);
    for (int64_t b = 0; b < e.groups; b++) group_back_twice(call, &e, b);
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

static ag_axes all_but_weights(const recorded *r) { return r->p->flags & CHANNELS ? AG_AXES(0, 2) : AG_AXES(0, 1); }

static const ag_operation norm_back;

static ag_var part_of(ag_var row, int64_t first, ag_var like) {
    return ag_reshape(ag_slice(row, 0, first, first + ag_count(like), 1), ag_shape_of(like));
}

static void norm_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    const norming *p = rule->params;
    ag_shape s = ag_shape_of(rule->in[0]);
    extent e = extent_of(p, s.rank, s.dim);
    if (rule->wanted[0] || (rule->n > 1 && rule->wanted[1])) {
        ag_var in[] = {rule->in[0], w, rule->n > 1 ? rule->in[1] : ag_num(0)};
        ag_var all = ag_apply(&norm_back, in, rule->n > 1 ? 3 : 2, p, sizeof *p);
        if (rule->wanted[0]) contributions[0] = part_of(all, 0, rule->in[0]);
        if (rule->n > 1 && rule->wanted[1]) contributions[1] = part_of(all, ag_count(rule->in[0]), rule->in[1]);
    }
    if (rule->n > 2 && rule->wanted[2]) {
        ag_var parts = ag_reshape(w, AG_SHAPE(e.outer, e.groups, e.inner));
        ag_axes over = p->flags & CHANNELS ? AG_AXES(0, 2) : AG_AXES(0, 1);
        contributions[2] = ag_reshape(ag_sum_over(parts, over, false), ag_shape_of(rule->in[2]));
    }
}

/* See group_back_twice. */
static void back_record(const ag_rule *rule, ag_var along, ag_var *contributions) {
    recorded r = recorded_of(rule);
    bool weighted = rule->n > 2;
    ag_shape s = ag_shape_of(rule->in[0]);
    ag_var w = ag_reshape(rule->in[1], r.shape), weight = weighted ? aligned(&r, rule->in[2]) : ag_num(1);
    ag_var a = ag_reshape(part_of(along, 0, rule->in[0]), r.shape), moved = project(&r, a);
    ag_var c = weighted ? aligned(&r, part_of(along, ag_count(rule->in[0]), rule->in[2])) : ag_num(0);
    if (rule->wanted[0]) {
        ag_var h = ag_mul(w, weight), p = group_mean(ag_mul(h, r.z)), q = group_mean(ag_mul(a, r.z));
        ag_var rest = ag_sub(group_mean(ag_mul(h, a)), ag_mul(p, q));
        if (r.p->flags & CENTRED) rest = ag_sub(rest, ag_mul(group_mean(h), group_mean(a)));
        ag_var u = ag_sub(ag_mul(w, c), ag_mul(r.scale, ag_add(ag_mul(q, h), ag_mul(p, a))));
        contributions[0] = ag_reshape(ag_sub(project(&r, u), ag_mul(r.z, ag_mul(ag_square(r.scale), rest))), s);
    }
    if (rule->wanted[1]) contributions[1] = ag_reshape(ag_add(ag_mul(moved, weight), ag_mul(c, r.z)), s);
    if (weighted && rule->wanted[2])
        contributions[2] =
            ag_reshape(ag_sum_over(ag_mul(w, moved), all_but_weights(&r), false), ag_shape_of(rule->in[2]));
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

static bool back_c_form(const ag_c_form *f) {
    const norming *p = f->params;
    extent e = extent_of(p, f->views[0]->rank, f->views[0]->dim);
    long long count = e.outer * e.inner, all = f->views[0]->count;
    const char *number = f->number, *weight = p->flags & CHANNELS ? "i1" : "i2";
    char place[96], factor[192] = "1";
    snprintf(place, sizeof place, "(i * %lld + i1) * %lld + i2", (long long)e.groups, (long long)e.inner);
    if (f->n > 2) snprintf(factor, sizeof factor, "%s[%s]", f->in[2], weight);
    if (f->n > 2)
        ag_c_line(f, "for (long i = %lld; i < %lld; i++) %s[i] = 0;", all, all + (long long)f->views[2]->count, f->out);
    ag_c_open(f, 1, e.groups);
    ag_c_line(f, "%s shift = 0, sum = 0, at = 0, best = 0;", number);
    for (int pass = p->flags & CENTRED ? 0 : 1; pass < 4; pass++) {
        ag_c_open(f, 0, e.outer);
        ag_c_open(f, 2, e.inner);
        if (pass == 0) ag_c_line(f, "shift += %s[%s];", f->in[0], place);
        if (pass > 0) ag_c_line(f, "const %s row = %s[%s] - shift;", number, f->in[0], place);
        if (pass == 1) ag_c_line(f, "sum += row * row;");
        if (pass > 1) ag_c_line(f, "const %s most = %s[%s] * %s;", number, f->in[1], place, factor);
        if (pass == 2 && p->flags & CENTRED) ag_c_line(f, "at += most / %lld;", count);
        if (pass == 2) ag_c_line(f, "best += most * row * scale / %lld;", count);
        if (pass == 3) ag_c_line(f, "%s[%s] = scale * (most - at - row * scale * best);", f->out, place);
        if (pass == 3 && f->n > 2)
            ag_c_line(f, "%s[%lld + %s] += %s[%s] * row * scale;", f->out, all, weight, f->in[1], place);
        ag_c_close(f, 2);
        if (pass == 0) ag_c_line(f, "shift /= %lld;", count);
        if (pass == 1)
            ag_c_line(f, "const %s scale = 1 / sqrt%s(sum / %lld + %s%.17g);", number, f->suffix, count,
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

static const ag_operation norm_back = {
    .name = "normalise_back",
    .shape = back_shape,
    .forward = back_forward,
    .adjoint = back_adjoint,
    .record = back_record,
    .stores = true,
    .c_form = back_c_form,
    .valid = norm_valid,
};
const ag_operation *const ag_builtin_normalise_back = &norm_back;

/* ---- calls ---- */

static ag_var apply(ag_var x, const norming *p, ag_var weight, ag_var bias) {
    if (!ag_usable(x, name_of(p))) return ag_inert(ag_tape_of(x));
    if (ag_tape_of(x) == NULL) return ag_inert(ag_tape_of(weight));
    ag_shape s = ag_shape_of(x);
    if (!(p->epsilon >= 0) || isinf(p->epsilon) || (!(p->flags & CHANNELS) && (p->axes < 1 || p->axes > s.rank))) {
        ag_fail(ag_tape_of(x), AG_ERR_VALUE, "%s: %lld axes of shape %s, epsilon %g", name_of(p), (long long)p->axes,
                ag_show_shape(s).text, p->epsilon);
        return ag_inert(ag_tape_of(x));
    }
    int n = !ag_is_zero(bias) ? 3 : !ag_is_zero(weight) ? 2 : 1;
    if (n == 3 && ag_is_zero(weight)) weight = ag_ones(ag_tape_of(x), ag_shape_of(bias));
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
