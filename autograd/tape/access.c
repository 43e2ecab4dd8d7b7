/* Tensors from data, and reading values and adjoints. */
#include "watch_impl.h"

#include <math.h>

/* ---- making ---- */

/* The number of elements of a shape from outside; -1 after an error. */
static int64_t checked_count(ag_tape *t, const char *what, ag_shape s) {
    int64_t count;
    if (ag_shape_count(s, &count)) return count;
    ag_fail(t, AG_ERR_SHAPE, "%s: %s is not a shape: at most %d dims, none negative, and a product below 2^63", what,
            ag_show_shape(s).text, AG_MAX_RANK);
    return -1;
}

/* Copies n numbers between two types; from NULL: zeros. */
static void convert(ag_type to_type, void *to, ag_type from_type, const void *from, int64_t n) {
    if (n == 0) return;
    if (!from) memset(to, 0, (size_t)n * ag_type_size(to_type));
    else if (to_type == from_type) memcpy(to, from, (size_t)n * ag_type_size(to_type));
    else
        for (int64_t i = 0; i < n; i++) ag_store(to_type, to, i, ag_load(from_type, from, i));
}

/* Room for a leaf's values; false after an error. */
static bool open_leaf(ag_tape *t, ag_shape shape, bool constant, ag_pending *p, uint32_t *view) {
    if (!t || t->status != AG_OK || checked_count(t, "tensor", shape) < 0) return false;
    *view = ag_intern_shape(t, shape, constant);
    return *view != VIEW_INERT && ag_reserve_tensor(t, "tensor", *view, p);
}

static ag_var leaf(ag_tape *t, ag_shape shape, bool constant, ag_type type, const void *data) {
    ag_pending p;
    uint32_t view;
    if (!open_leaf(t, shape, constant, &p, &view)) return ag_inert(t);
    convert(t->type, ag_value_at(t, p.slot), type, data, p.count);
    return ag_commit_tensor(t, p, NOTHING, view);
}

ag_var ag_input_without_values(ag_tape *t, ag_shape shape) {
    ag_pending p;
    uint32_t view;
    return open_leaf(t, shape, false, &p, &view) ? ag_commit_tensor(t, p, NOTHING, view) : ag_inert(t);
}

ag_var ag_tensor(ag_tape *t, const double *data, ag_shape shape) { return leaf(t, shape, false, AG_F64, data); }
ag_var ag_tensor_f32(ag_tape *t, const float *data, ag_shape shape) { return leaf(t, shape, false, AG_F32, data); }
ag_var ag_constant_tensor(ag_tape *t, const double *data, ag_shape shape) { return leaf(t, shape, true, AG_F64, data); }
ag_var ag_constant_tensor_f32(ag_tape *t, const float *data, ag_shape shape) {
    return leaf(t, shape, true, AG_F32, data);
}

ag_var ag_zeros(ag_tape *t, ag_shape shape) { return leaf(t, shape, true, AG_F64, NULL); }
ag_var ag_ones(ag_tape *t, ag_shape shape) { return ag_full(t, 1, shape); }

/* A constant of zeros, to be filled; *data is NULL if it is inert. */
static ag_var blank(ag_tape *t, ag_shape shape, void **data) {
    ag_var x = ag_zeros(t, shape);
    *data = ag_data(x);
    return x;
}

ag_var ag_full(ag_tape *t, double value, ag_shape shape) {
    void *data;
    ag_var x = blank(t, shape, &data);
    for (int64_t i = 0, n = ag_count(x); data && i < n; i++) ag_store(t->type, data, i, value);
    return x;
}

ag_var ag_eye(ag_tape *t, int64_t n) {
    void *data;
    ag_var x = blank(t, AG_SHAPE(n, n), &data);
    for (int64_t i = 0; data && i < n; i++) ag_store(t->type, data, i * (n + 1), 1);
    return x;
}

ag_var ag_arange(ag_tape *t, double start, double step, int64_t n) {
    void *data;
    ag_var x = blank(t, AG_SHAPE(n), &data);
    for (int64_t i = 0; data && i < n; i++) ag_store(t->type, data, i, start + (double)i * step);
    return x;
}

/* ---- asking ---- */

static const ag_view *view_of(ag_var x, ag_operand *o) {
    return ag_locate(x, o) ? ag_view_at(ag_tape_of(x), o->view) : NULL;
}

ag_shape ag_shape_of(ag_var x) {
    ag_operand o;
    const ag_view *v = view_of(x, &o);
    return v ? ag_view_shape(v) : (ag_shape){0};
}

int64_t ag_count(ag_var x) {
    ag_operand o;
    if (!ag_tape_of(x)) return 1;
    const ag_view *v = view_of(x, &o);
    return v ? v->count : 0;
}

bool ag_is_constant(ag_var x) {
    ag_operand o;
    const ag_view *v = view_of(x, &o);
    return !v || v->constant;
}

bool ag_is_inert(ag_var x) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    return t && (t->status != AG_OK || !ag_locate(x, &o));
}

/* The adjoints of these slots: NULL if the last sweep did not set them, so that they are 0; ag_forgotten if it let go of
 * them. */
static void *find_adjoint(const ag_tape *t, ag_operand o, const ag_view *v) {
    if (v->constant || (int64_t)o.slot + v->hi >= (int64_t)t->swept_top) return NULL;
    const ag_base *base = ag_base_of(t, o.slot);
    if (base && base->adjoint == ag_forgotten) return ag_forgotten;
    return !base || base->epoch == t->epoch ? ag_adjoint_in(t, base, o.slot) : NULL;
}

/* ---- reading ---- */

static bool one_element(ag_var x, const ag_view *v, const char *what) {
    if (v->count == 1) return true;
    ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "%s: a var of shape %s is not a single number", what, ag_show_view(v).text);
    return false;
}

/* Of a program that is recorded without examples, only constants have values. */
static bool has_no_value(const ag_tape *t, const ag_view *v) { return t->abstract && !v->constant; }

double ag_value(ag_var x) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    if (!t) return x.value;
    const ag_view *v = view_of(x, &o);
    if (!v || !one_element(x, v, "value") || has_no_value(t, v)) return (double)NAN;
    return ag_load(t->type, t->values.base, o.slot);
}

double ag_grad(ag_var x) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    if (!t) return 0;
    const ag_view *v = view_of(x, &o);
    if (!v || !one_element(x, v, "grad")) return (double)NAN;
    const void *adjoint = find_adjoint(t, o, v);
    if (adjoint == ag_forgotten) return (double)NAN;
    return adjoint ? ag_load(t->type, adjoint, 0) : 0;
}

/* Copies a view's elements out, row-major; from NULL: zeros. */
static void read_view(ag_tape *t, const ag_view *v, const void *from, ag_type type, void *out) {
    if (v->contiguous || !from) {
        convert(type, out, t->type, from, v->count);
        return;
    }
    int64_t index[AG_MAX_RANK] = {0}, offset = 0;
    for (int64_t n = 0; n < v->count; n++) {
        ag_store(type, out, n, ag_load(t->type, from, offset));
        for (int i = v->rank - 1; i >= 0; i--) {
            offset += v->stride[i];
            if (++index[i] < v->dim[i]) break;
            offset -= v->dim[i] * v->stride[i];
            index[i] = 0;
        }
    }
}

static void fill_nan(ag_type type, void *out, int64_t count) {
    for (int64_t i = 0; i < count; i++) ag_store(type, out, i, (double)NAN);
}

/* Whether there is an array, where anything goes into one. */
static bool can_write(ag_var x, const ag_view *v, const char *what, const void *out) {
    return out || (v && v->count > 0 && ag_given(ag_tape_of(x), what, "the array", out));
}

static void read_values(ag_var x, ag_type type, void *out) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    const ag_view *v = view_of(x, &o);
    if (!can_write(x, v, "read", out)) return;
    if (!t) ag_store(type, out, 0, x.value);
    else if (v && has_no_value(t, v)) fill_nan(type, out, v->count);
    else if (v) read_view(t, v, ag_value_at(t, o.slot), type, out);
}

static void read_adjoints(ag_var x, ag_type type, void *out) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    const ag_view *v = view_of(x, &o);
    if (!can_write(x, v, "read_grad", out)) return;
    const void *adjoint = t && v ? find_adjoint(t, o, v) : NULL;
    if (!t) ag_store(type, out, 0, 0);
    else if (v && adjoint == ag_forgotten) fill_nan(type, out, v->count);
    else if (v) read_view(t, v, adjoint, type, out);
}

void ag_read(ag_var x, double *out) { read_values(x, AG_F64, out); }
void ag_read_f32(ag_var x, float *out) { read_values(x, AG_F32, out); }
void ag_read_grad(ag_var x, double *out) { read_adjoints(x, AG_F64, out); }
void ag_read_grad_f32(ag_var x, float *out) { read_adjoints(x, AG_F32, out); }

void *ag_data(ag_var x) {
    ag_operand o;
    const ag_view *v = view_of(x, &o);
    return v && v->contiguous ? ag_value_at(ag_tape_of(x), o.slot) : NULL;
}

void *ag_grad_data(ag_var x) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    const ag_view *v = view_of(x, &o);
    if (!v || !v->contiguous || v->constant || (int64_t)o.slot + v->hi >= (int64_t)t->swept_top) return NULL;
    if (find_adjoint(t, o, v) == ag_forgotten) return NULL;
    bool fresh;
    return ag_adjoint_of(t, o, false, &fresh);
}

ag_numbers ag_numbers_of(ag_var x) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    const ag_view *v = view_of(x, &o);
    if (!v || !v->contiguous) return (ag_numbers){NULL, NULL, 0};
    void *adjoint = find_adjoint(t, o, v);
    const ag_watched *watched = o.view == VIEW_SCALAR ? ag_watched_at(t, o.slot) : NULL;
    if (watched && !watched->reached) adjoint = NULL;
    return (ag_numbers){ag_value_at(t, o.slot), adjoint == ag_forgotten ? NULL : adjoint, v->count};
}

/* ---- changing inputs ---- */

/* A contiguous var whose slots no instruction computes; NULL after an error. */
static const ag_view *input_of(ag_var x, const char *what, ag_operand *o) {
    ag_tape *t = ag_tape_of(x);
    if (!t || t->status != AG_OK || !ag_resolve(t, what, x, o)) return NULL;
    const ag_view *v = ag_view_at(t, o->view);
    const ag_base *base = ag_base_of(t, o->slot);
    uint32_t first;
    const ag_instruction_ *i =
        ag_instructions(t) + (base ? base->instruction : ag_find_instruction(t, o->slot, &first));
    bool computed = base ? ag_op_of(i) == OP_NODE : ag_op_of(i) < OP_NODE && first == o->slot;
    if (v->contiguous && !computed) return v;
    ag_fail(t, AG_ERR_VALUE, "%s: a var of shape %s is not an input or constant in one piece", what,
            ag_show_view(v).text);
    return NULL;
}

static void set_values(ag_var x, ag_type type, const void *data) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    const ag_view *v = input_of(x, "set", &o);
    if (v) convert(t->type, ag_value_at(t, o.slot), type, data, v->count);
}

void ag_set(ag_var x, const double *data) { set_values(x, AG_F64, data); }
void ag_set_f32(ag_var x, const float *data) { set_values(x, AG_F32, data); }

void ag_step(ag_var x, double rate) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    const ag_view *v = input_of(x, "step", &o);
    const void *adjoint = v ? find_adjoint(t, o, v) : NULL;
    if (adjoint) t->kernels->add_scaled((size_t)v->count, ag_value_at(t, o.slot), rate, adjoint);
}

ag_var ag_detach(ag_var x) {
    ag_tape *t = ag_tape_of(x);
    ag_operand o;
    if (!t) return x;
    if (t->status != AG_OK || !ag_resolve(t, "detach", x, &o)) return ag_inert(t);
    const ag_view *v = ag_view_at(t, o.view);
    if (v->constant) return x;
    if (t->tracing) return ag_stop(x);
    if (v->rank == 0) return ag_constant(t, ag_value(x));
    ag_var y = ag_zeros(t, ag_view_shape(v));
    void *out = ag_data(y);
    if (out) read_view(t, v, ag_value_at(t, o.slot), t->type, out);
    return y;
}
