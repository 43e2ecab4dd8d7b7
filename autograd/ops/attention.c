/* Scaled dot-product attention and its adjoint, each one operation on (batch, positions, heads, width), by heads
 * (attention_loops.inc) that threads share. Probabilities are computed anew in reverse, so nothing is kept. What is not seen
 * is left out: its values do not matter. */
#include "attention_rows_impl.h"
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "structural_impl.h"
#include <math.h>

enum { Q, K, V, W };
enum { LEAST_WORK = 1 << 16 }; /* multiplications from which threads are worth it */

typedef struct attending {
    double scale;
    int64_t causal;
} attending;

/* ---- shapes ---- */

static bool refuse(const ag_call *call, const char *why) {
    ag_fail(call->tape, AG_ERR_SHAPE, "attention: q of shape %s, k of %s, v of %s: %s",
            ag_show_view(call->in[Q].view).text, ag_show_view(call->in[K].view).text,
            ag_show_view(call->in[V].view).text, why);
    return false;
}

/* Checks q, k and v, and `keep`, operand number n if there are more. */
static bool check(const ag_call *call, int n) {
    const ag_view *q = call->in[Q].view, *k = call->in[K].view, *v = call->in[V].view;
    if (q->rank != 4 || k->rank != 4 || v->rank != 4) return refuse(call, "they are (batch, positions, heads, width)");
    if (q->dim[0] != k->dim[0] || k->dim[0] != v->dim[0] || q->dim[2] != k->dim[2] || k->dim[2] != v->dim[2])
        return refuse(call, "batch and heads must be the same");
    if (q->dim[3] != k->dim[3]) return refuse(call, "queries and keys must be equally wide");
    if (k->dim[1] != v->dim[1]) return refuse(call, "each key has a value");
    if (call->n <= n) return true;
    const ag_view *keep = call->in[n].view;
    if (keep->rank == 2 && keep->dim[0] == k->dim[0] && keep->dim[1] == k->dim[1]) return true;
    ag_fail(call->tape, AG_ERR_SHAPE, "attention: `keep` of shape %s, not (%lld, %lld), (batch, keys)",
            ag_show_view(keep).text, (long long)k->dim[0], (long long)k->dim[1]);
    return false;
}

static ag_shape result_shape(const ag_view *q, const ag_view *v) {
    return AG_SHAPE(q->dim[0], q->dim[1], q->dim[2], v->dim[3]);
}

static bool attention_shape(ag_call *call) {
    if (!check(call, 3)) return false;
    call->shape = result_shape(call->in[Q].view, call->in[V].view);
    return true;
}

/* ---- the parts of the adjoint's result ----
 * Of operands of one shape a position's dq, dk and dv lie side by side, as those of a packed product of a layer do; of two,
 * dk and dv. */

typedef struct parts {
    int64_t offset[3], stride[3][4], count;
} parts;

static bool are_alike(const ag_shape *x, const ag_shape *y) { return memcmp(x->dim, y->dim, 4 * sizeof *x->dim) == 0; }

static bool parts_of(const ag_shape shapes[3], parts *r) {
    *r = (parts){.count = 0};
    for (int k = 0, n; k < 3; k += n) {
        n = 1;
        while (k + n < 3 && are_alike(&shapes[k], &shapes[k + n])) n++;
        int64_t row = shapes[k].dim[2] * shapes[k].dim[3], size;
        if (!ag_shape_count(shapes[k], &size) || !ag_multiply_sizes(size, n, &size) ||
            __builtin_add_overflow(size, r->count, &size))
            return false;
        for (int i = 0; i < n; i++) {
            const int64_t stride[4] = {shapes[k].dim[1] * n * row, n * row, shapes[k].dim[3], 1};
            r->offset[k + i] = r->count + i * row;
            memcpy(r->stride[k + i], stride, sizeof stride);
        }
        r->count = size;
    }
    return true;
}

static bool parts_of_call(const ag_call *call, parts *r) {
    const ag_shape shapes[3] = {ag_dims_of(call->in[Q].view), ag_dims_of(call->in[K].view),
                                ag_dims_of(call->in[V].view)};
    return parts_of(shapes, r);
}

static bool back_shape(ag_call *call) {
    parts r;
    if (!check(call, 4)) return false;
    ag_shape w = ag_dims_of(call->in[W].view), want = result_shape(call->in[Q].view, call->in[V].view);
    if (w.rank != 4 || !are_alike(&w, &want)) return refuse(call, "an adjoint of another shape than the result");
    if (!parts_of_call(call, &r)) return refuse(call, "too many elements");
    call->shape = AG_SHAPE(r.count);
    return true;
}

/* ---- heads, by threads ---- */

typedef enum direction { FORWARD, BACK, TWICE } direction;

/* A tensor of four axes: the rows of its first head, and steps to others. */
typedef struct tensor {
    ag_head_rows rows;
    int64_t batch, head;
} tensor;

typedef struct heads {
    const ag_call *call;
    direction way;
    ag_attend p; /* what heads have in common */
    tensor in[4], out, to[4], along[3];
    ag_array keep;
    int threads;
    size_t room, rows; /* bytes for each thread: of kernels, and for care */
    char *memory;
} heads;

static tensor tensor_of(void *data, const int64_t *stride) {
    return (tensor){{data, stride[1], stride[3]}, stride[0], stride[2]};
}
static tensor tensor_of_array(const ag_array *x) { return tensor_of(x->data, x->view->stride); }
static tensor tensor_of_part(ag_type type, void *data, const parts *r, int k) {
    return tensor_of(data ? ag_element(type, data, r->offset[k]) : NULL, r->stride[k]);
}

static ag_head_rows head_of(ag_type type, const tensor *x, int64_t b, int64_t h) {
    ag_head_rows rows = x->rows;
    if (rows.data) rows.data = ag_element(type, rows.data, b * x->batch + h * x->head);
    return rows;
}

/* Head number i, of all batches. */
static void set_head(const heads *s, int64_t i, ag_attend *p) {
    ag_type type = s->call->type;
    int64_t count = s->call->in[Q].view->dim[2], b = i / count, h = i % count;
    *p = s->p;
    ag_head_rows *const operands[] = {&p->q, &p->k, &p->v, &p->w};
    for (int k = 0; k < 4; k++) *operands[k] = head_of(type, &s->in[k], b, h);
    if (s->keep.data) p->keep = ag_element(type, s->keep.data, b * s->keep.view->stride[0]);
    p->out = head_of(type, &s->out, b, h);
    for (int k = 0; k < 3 && s->way == BACK; k++) p->to[k] = head_of(type, &s->to[k], b, h);
}

static void run_head(const heads *s, const ag_attend *p, int64_t i, void *room, double *rows) {
    ag_type type = s->call->type;
    const ag_kernels *kernels = ag_kernels_for(type);
    ag_careful careful = {type, p, rows};
    if (s->way == FORWARD) {
        if (p->keys == 0 || !kernels->attend(p, room)) ag_attend_carefully(&careful);
    } else if (s->way == BACK) {
        if (p->keys == 0 || !kernels->attend_back(p, room)) ag_attend_back_carefully(&careful);
    } else {
        ag_head_rows along[3], to[4];
        int64_t count = s->call->in[Q].view->dim[2], b = i / count, h = i % count;
        for (int k = 0; k < 3; k++) along[k] = head_of(type, &s->along[k], b, h);
        for (int k = 0; k < 4; k++) to[k] = head_of(type, &s->to[k], b, h);
        ag_attend_back_twice(&careful, along, to);
    }
}

static void run_share(void *context, int thread) {
    const heads *s = context;
    char *room = s->memory + (size_t)thread * (s->room + s->rows);
    const ag_view *q = s->call->in[Q].view;
    int64_t count = q->dim[0] * q->dim[2];
    ag_attend p[2];
    int now = 0;
    set_head(s, thread, &p[now]);
    for (int64_t i = thread, next; i < count; i = next, now = !now) {
        next = i + s->threads;
        if (next < count) set_head(s, next, &p[!now]);
        p[now].next = next < count ? &p[!now] : NULL;
        run_head(s, &p[now], i, room + s->rows, (double *)(void *)room);
    }
}

/* Whether heads write to places of their own, whichever thread has them: what is written is laid out as positions, each
 * with its heads side by side, perhaps with those of another tensor in between; or nobody else writes there. */
static bool are_apart(const heads *s) {
    const ag_shape dims = ag_dims_of(s->call->in[Q].view);
    for (int i = 0; i < 3; i++) {
        const tensor *x = &s->to[i];
        const ag_view *v = s->call->in[i].view;
        if (!x->rows.data) continue;
        int64_t all = dims.dim[2] * x->head; /* of a position */
        if (x->rows.col != 1 || x->head < v->dim[3] || x->rows.row < all || x->batch < v->dim[1] * x->rows.row)
            return false;
        for (int j = 0; j < i; j++) {
            const tensor *y = &s->to[j];
            if (!y->rows.data) continue;
            int64_t size = (int64_t)ag_type_size(s->call->type), reach_x = dims.dim[0] * x->batch * size,
                    reach_y = dims.dim[0] * y->batch * size,
                    apart = (int64_t)((uintptr_t)x->rows.data - (uintptr_t)y->rows.data);
            if (apart >= reach_y || -apart >= reach_x) continue;
            int64_t between = (apart < 0 ? -apart : apart) / size;
            if (x->head != y->head || x->rows.row != y->rows.row || x->batch != y->batch) return false;
            if (between != 0 && (between < all || between + all > x->rows.row)) return false;
        }
    }
    return true;
}

static bool run_heads(heads *s) {
    const ag_call *call = s->call;
    const attending *params = call->params;
    const ag_view *q = call->in[Q].view, *k = call->in[K].view, *v = call->in[V].view;
    s->p.queries = q->dim[1];
    s->p.keys = k->dim[1];
    s->p.width = q->dim[3];
    s->p.values = v->dim[3];
    s->p.scale = params->scale;
    s->p.causal = params->causal != 0;
    s->p.keep = s->keep.data;
    s->p.keep_step = s->keep.data ? s->keep.view->stride[1] : 0;
    int64_t count = q->dim[0] * q->dim[2], most = s->way == FORWARD || are_apart(s) ? ag_threads() : 1;
    if ((double)count * (double)s->p.queries * (double)s->p.keys * (double)(s->p.width + s->p.values) < LEAST_WORK)
        most = 1;
    s->threads = (int)(count < most ? count : most);
    if (s->threads == 0) return true;
    if (s->way != TWICE && s->p.keys > 0)
        s->room = (ag_kernels_for(call->type)->attend_room(&s->p, s->way == BACK) + 63) / 64 * 64;
    s->rows = ((size_t)s->p.keys * 4 * sizeof(double) + 64) / 64 * 64;
    s->memory = ag_scratch(call->tape, (size_t)s->threads * (s->room + s->rows));
    if (!s->memory) return false;
    ag_parallel(s->threads, run_share, s);
    ag_scratch_free(call->tape, s->memory);
    return true;
}

/* The tensors that are read; operand n, if there is one, is `keep`. */
static heads heads_of(const ag_call *call, direction way, int n) {
    heads s = {.call = call, .way = way};
    for (int i = 0; i < n; i++) s.in[i] = tensor_of_array(&call->in[i]);
    if (call->n > n) s.keep = call->in[n];
    return s;
}

static bool attention_forward(const ag_call *call) {
    heads s = heads_of(call, FORWARD, 3);
    s.out = tensor_of_array(&call->out);
    return run_heads(&s);
}

static bool attention_adjoint(const ag_call *call) {
    heads s = heads_of(call, BACK, 3);
    s.in[W] = tensor_of_array(&call->out_adjoint);
    for (int i = 0; i < 3; i++) {
        s.to[i] = tensor_of_array(&call->in_adjoint[i]);
        s.p.store[i] = (call->fresh >> i & 1) != 0;
    }
    if (call->n > 3 && call->in_adjoint[3].data &&
        call->fresh >> 3 & 1) /* it has no derivative, but may have to be set */
        memset(call->in_adjoint[3].data, 0, (size_t)call->in[3].view->count * ag_type_size(call->type));
    return run_heads(&s);
}

static bool back_forward(const ag_call *call) {
    heads s = heads_of(call, BACK, 4);
    parts r;
    (void)parts_of_call(call, &r);
    for (int i = 0; i < 3; i++) {
        s.to[i] = tensor_of_part(call->type, call->out.data, &r, i);
        s.p.store[i] = true;
    }
    return run_heads(&s);
}

static bool back_adjoint(const ag_call *call) {
    heads s = heads_of(call, TWICE, 4);
    parts r;
    (void)parts_of_call(call, &r);
    for (int i = 0; i < 3; i++) s.along[i] = tensor_of_part(call->type, call->out_adjoint.data, &r, i);
    for (int i = 0; i < 4; i++) s.to[i] = tensor_of_array(&call->in_adjoint[i]);
    return run_heads(&s);
}

/* ---- recorded derivatives, by ordinary operations on (batch, heads, positions, width) ---- */

static const ag_operation attention, attention_back;

static ag_var by_heads(ag_var x) { return ag_permute(x, AG_AXES(0, 2, 1, 3)); } /* and back */

/* x y' and x' y of matrices in the last two axes. */
static ag_var times_turned(ag_var x, ag_var y) { return ag_matmul(x, ag_transpose(y)); }
static ag_var turned_times(ag_var x, ag_var y) { return ag_matmul(ag_transpose(x), y); }

typedef struct recorded {
    double scale;
    ag_var q, k, v, p; /* p: the probabilities */
} recorded;

static recorded recorded_of(const ag_rule *rule, int n) {
    const attending *a = rule->params;
    recorded r = {a->scale, by_heads(rule->in[Q]), by_heads(rule->in[K]), by_heads(rule->in[V]), ag_num(0)};
    ag_var scores = times_turned(ag_mul(r.q, r.scale), r.k);
    ag_shape s = ag_shape_of(scores);
    if (a->causal) {
        ag_var past = ag_tril(ag_ones(rule->tape, AG_SHAPE(s.dim[2], s.dim[3])), 0);
        scores = ag_select(past, scores, -HUGE_VAL);
    }
    if (rule->n > n) scores = ag_select(ag_reshape(rule->in[n], AG_SHAPE(s.dim[0], 1, 1, s.dim[3])), scores, -HUGE_VAL);
    r.p = ag_softmax(scores, -1);
    return r;
}

/* The derivative of the probabilities by the scores, a symmetric matrix, times x. */
static ag_var project(const recorded *r, ag_var x) {
    return ag_chain(r->p, ag_sub(x, ag_sum_over(ag_chain(r->p, x), AG_AXES(-1), true)));
}

/* The scores' tangent of those of q and k, (batch, heads, positions, width) or the number 0. */
static ag_var scores_along(const recorded *r, ag_var q, ag_var k) {
    ag_var sum = ag_num(0);
    if (!ag_is_zero(q)) sum = times_turned(q, r->k);
    if (!ag_is_zero(k)) sum = ag_add(sum, times_turned(r->q, k));
    return ag_is_zero(sum) ? sum : ag_mul(sum, r->scale);
}

static ag_var result_along(const recorded *r, ag_var scores, ag_var v) {
    ag_var sum = ag_num(0);
    if (!ag_is_zero(scores)) sum = ag_matmul(project(r, scores), r->v);
    if (!ag_is_zero(v)) sum = ag_add(sum, ag_matmul(r->p, v));
    return sum;
}

static ag_var attention_tangent(const ag_rule *rule, const ag_var *tangents) {
    recorded r = recorded_of(rule, 3);
    ag_var t[3];
    for (int i = 0; i < 3; i++) t[i] = ag_is_zero(tangents[i]) ? tangents[i] : by_heads(tangents[i]);
    ag_var sum = result_along(&r, scores_along(&r, t[Q], t[K]), t[V]);
    return ag_is_zero(sum) ? sum : by_heads(sum);
}

static void attention_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    const ag_var in[] = {rule->in[0], rule->in[1], rule->in[2], w, rule->n > 3 ? rule->in[3] : ag_num(0)};
    const ag_shape shapes[3] = {ag_shape_of(in[Q]), ag_shape_of(in[K]), ag_shape_of(in[V])};
    parts r;
    if (!parts_of(shapes, &r)) return;
    ag_var all = ag_apply(&attention_back, in, rule->n + 1, rule->params, rule->params_size);
    for (int i = 0; i < 3; i++)
        if (rule->wanted[i]) contributions[i] = ag_view_of(all, r.offset[i], shapes[i], r.stride[i]);
    if (rule->n > 3) contributions[3] = ag_num(0);
}

/* See ag_attend_back_twice. */
static void back_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    recorded r = recorded_of(rule, 4);
    const ag_shape shapes[3] = {ag_shape_of(rule->in[Q]), ag_shape_of(rule->in[K]), ag_shape_of(rule->in[V])};
    parts at;
    ag_var along[3], x = by_heads(rule->in[W]);
    if (!parts_of(shapes, &at)) return;
    w = ag_contiguous(w);
    for (int i = 0; i < 3; i++) along[i] = by_heads(ag_view_of(w, at.offset[i], shapes[i], at.stride[i]));
    ag_var u = scores_along(&r, along[Q], along[K]), g = times_turned(x, along[V]), dp = times_turned(x, r.v);
    ag_var s = project(&r, dp), e = project(&r, u), rows = ag_sum_over(ag_chain(r.p, u), AG_AXES(-1), true);
    ag_var mean = ag_sum_over(ag_chain(r.p, dp), AG_AXES(-1), true);
    ag_var t = project(&r, ag_sub(ag_add(g, ag_mul(u, ag_sub(dp, mean))), ag_mul(rows, dp)));
    ag_var scaled_s = ag_mul(s, r.scale), scaled_t = ag_mul(t, r.scale), results[4];
    results[Q] = ag_add(ag_matmul(scaled_t, r.k), ag_matmul(scaled_s, along[K]));
    results[K] = ag_add(turned_times(scaled_t, r.q), turned_times(scaled_s, along[Q]));
    results[V] = turned_times(e, x);
    results[W] = ag_add(ag_matmul(e, r.v), ag_matmul(r.p, along[V]));
    for (int i = 0; i < 4; i++)
        if (rule->wanted[i]) contributions[i] = by_heads(results[i]);
    if (rule->n > 4) contributions[4] = ag_num(0);
}

/* ---- C: loops i over batch, i1 queries, i2 heads, i3 keys, i4 width ---- */

typedef struct places {
    ag_c_text q, k, v, w, out[3];
} places;

/* Of (batch, positions, heads, width), positions those of keys or of queries. */
static ag_c_text place_of(const int64_t *dim, const int64_t *stride, bool keys, int64_t offset) {
    const int64_t dims[] = {dim[0], keys ? 1 : dim[1], dim[2], keys ? dim[1] : 1, dim[3]},
                  strides[] = {stride[0], keys ? 0 : stride[1], stride[2], keys ? stride[1] : 0, stride[3]};
    return ag_c_index(5, dims, strides, offset);
}

static ag_c_text place_in(const ag_view *v, bool keys) { return place_of(v->dim, v->stride, keys, 0); }

static places places_of(const ag_c_form *f) {
    return (places){
        .q = place_in(f->views[Q], false), .k = place_in(f->views[K], true), .v = place_in(f->views[V], true)};
}

/* Opens loops over heads and queries and makes row[i3] the probabilities; operand n, if there is one, is `keep`. */
static void open_queries(const ag_c_form *f, const places *at, int n, int64_t room) {
    const attending *p = f->params;
    const ag_view *q = f->views[Q];
    long long keys = (long long)f->views[K]->dim[1];
    ag_c_open(f, 0, q->dim[0]);
    ag_c_open(f, 2, q->dim[2]);
    ag_c_open(f, 1, q->dim[1]);
    ag_c_line(f, "%s row[%lld], most = -INFINITY, sum = 0;", f->number, (long long)(room > 0 ? room : 1));
    ag_c_open(f, 3, keys);
    ag_c_line(f, "%s at = 0;", f->number);
    ag_c_open(f, 4, q->dim[3]);
    ag_c_line(f, "at += %s[%s] * %s[%s];", f->in[Q], at->q.text, f->in[K], at->k.text);
    ag_c_close(f, 1);
    ag_c_line(f, "at *= %s%.17g;", f->type == AG_F32 ? "(float)" : "", p->scale);
    if (p->causal) ag_c_line(f, "if (i3 > i1) at = -INFINITY;");
    if (f->n > n) {
        const ag_view *keep = f->views[n];
        const int64_t dim[] = {keep->dim[0], 1, 1, keep->dim[1]}, stride[] = {keep->stride[0], 0, 0, keep->stride[1]};
        ag_c_line(f, "if (%s[%s] == 0) at = -INFINITY;", f->in[n], ag_c_index(4, dim, stride, 0).text);
    }
    ag_c_line(f, "row[i3] = at;");
    ag_c_line(f, "if (at > most) most = at;");
    ag_c_close(f, 1);
    ag_c_open(f, 3, keys);
    ag_c_line(f, "row[i3] = row[i3] == -INFINITY ? 0 : exp%s(row[i3] - most);", f->suffix);
    ag_c_line(f, "sum += row[i3];");
    ag_c_close(f, 1);
    ag_c_line(f, "for (long i3 = 0; i3 < %lld && sum != 0; i3++) row[i3] /= sum;", keys);
}

static bool attention_c_form(const ag_c_form *f) {
    places at = places_of(f);
    int64_t keys = f->views[K]->dim[1], stride[4];
    ag_row_major(4, f->shape.dim, stride);
    open_queries(f, &at, 3, keys);
    ag_c_open(f, 4, f->shape.dim[3]);
    ag_c_line(f, "%s at = 0;", f->number);
    ag_c_line(f, "for (long i3 = 0; i3 < %lld; i3++) if (row[i3] != 0) at += row[i3] * %s[%s];", (long long)keys,
              f->in[V], at.v.text);
    ag_c_line(f, "%s[%s] = at;", f->out, place_of(f->shape.dim, stride, false, 0).text);
    ag_c_close(f, 4);
    return true;
}

static bool back_c_form(const ag_c_form *f) {
    const attending *p = f->params;
    places at = places_of(f);
    parts r;
    const ag_shape shapes[3] = {ag_dims_of(f->views[Q]), ag_dims_of(f->views[K]), ag_dims_of(f->views[V])};
    if (!parts_of(shapes, &r)) return false;
    at.w = place_in(f->views[W], false);
    for (int i = 0; i < 3; i++) at.out[i] = place_of(shapes[i].dim, r.stride[i], i != Q, r.offset[i]);
    long long keys = (long long)f->views[K]->dim[1];
    ag_c_line(f, "for (long i = 0; i < %lld; i++) %s[i] = 0;", (long long)r.count, f->out);
    open_queries(f, &at, 4, 2 * keys);
    ag_c_line(f, "%s shift = 0;", f->number);
    ag_c_open(f, 3, keys);
    ag_c_line(f, "%s at = 0;", f->number);
    ag_c_open(f, 4, shapes[V].dim[3]);
    ag_c_line(f, "at += %s[%s] * %s[%s];", f->in[W], at.w.text, f->in[V], at.v.text);
    ag_c_close(f, 1);
    ag_c_line(f, "row[%lld + i3] = row[i3] != 0 ? at : 0;", keys);
    ag_c_line(f, "shift += row[i3] * row[%lld + i3];", keys);
    ag_c_close(f, 1);
    ag_c_open(f, 3, keys);
    ag_c_line(f, "if (row[i3] == 0) continue;");
    ag_c_line(f, "const %s at = row[i3] * (row[%lld + i3] - shift) * %s%.17g;", f->number, keys,
              f->type == AG_F32 ? "(float)" : "", p->scale);
    ag_c_open(f, 4, shapes[Q].dim[3]);
    ag_c_line(f, "%s[%s] += at * %s[%s];", f->out, at.out[Q].text, f->in[K], at.k.text);
    ag_c_line(f, "%s[%s] += at * %s[%s];", f->out, at.out[K].text, f->in[Q], at.q.text);
    ag_c_close(f, 1);
    ag_c_open(f, 4, shapes[V].dim[3]);
    ag_c_line(f, "%s[%s] += row[i3] * %s[%s];", f->out, at.out[V].text, f->in[W], at.w.text);
    ag_c_close(f, 5);
    return true;
}

/* ---- the operations ---- */

static bool attention_valid(const ag_call *call) {
    const attending *p = call->params;
    return call->params_size == sizeof *p && isfinite(p->scale) && (p->causal == 0 || p->causal == 1);
}

static const ag_operation attention = {
    .name = "attention",
    .shape = attention_shape,
    .forward = attention_forward,
    .adjoint = attention_adjoint,
    .tangent = attention_tangent,
    .record = attention_record,
    .strided = true,
    .stores = true,
    .c_form = attention_c_form,
    .valid = attention_valid,
};
const ag_operation *const ag_builtin_attention = &attention;

static const ag_operation attention_back = {
    .name = "attention_back",
    .shape = back_shape,
    .forward = back_forward,
    .adjoint = back_adjoint,
    .record = back_record,
    .strided = true,
    .c_form = back_c_form,
    .valid = attention_valid,
};
const ag_operation *const ag_builtin_attention_back = &attention_back;

ag_var ag_attention(ag_var q, ag_var k, ag_var v, ag_attention_options options) {
    if (!ag_usable(q, "attention")) return ag_inert(ag_tape_of(q));
    if (ag_tape_of(q) == NULL) return ag_inert(ag_tape_of(k) ? ag_tape_of(k) : ag_tape_of(v));
    if (!ag_usable_on(ag_tape_of(q), k, "attention") || !ag_usable_on(ag_tape_of(q), v, "attention"))
        return ag_inert(ag_tape_of(q));
    ag_shape s = ag_shape_of(q);
    attending p = {options.scale, options.causal};
    if (p.scale == 0 && s.rank > 0) p.scale = s.dim[s.rank - 1] > 0 ? 1 / sqrt((double)s.dim[s.rank - 1]) : 1;
    if (!isfinite(p.scale)) {
        ag_fail(ag_tape_of(q), AG_ERR_VALUE, "attention: a scale of %g", p.scale);
        return ag_inert(ag_tape_of(q));
    }
    return ag_apply(&attention, (const ag_var[]){q, k, v, options.keep}, ag_is_zero(options.keep) ? 3 : 4, &p,
                    sizeof p);
}
