/* Picking and adding slices by index. Gather and scatter are each other's adjoint and have the same parameters; so are
 * those whose indices are a tensor, which has no derivative. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "structural_impl.h"
#include <math.h>

/* Parameters: this, then n indices. */
typedef struct picking {
    int64_t axis;
    int64_t length; /* of the axis that the indices point into */
    int64_t n;
} picking;

static const int64_t *indices_of(const picking *p) { return (const int64_t *)(const void *)(p + 1); }

static bool check_indices(ag_tape *tape, const char *what, const picking *p) {
    const int64_t *index = indices_of(p);
    for (int64_t i = 0; i < p->n; i++) {
        if (index[i] >= 0 && index[i] < p->length) continue;
        ag_fail(tape, AG_ERR_VALUE, "%s: index %lld at position %lld is outside axis %d, of length %lld", what,
                (long long)index[i], (long long)i, (int)p->axis, (long long)p->length);
        return false;
    }
    return true;
}

static bool picked_shape(ag_call *call, const char *what, int64_t along_axis) {
    const picking *p = call->params;
    int64_t count;
    call->shape = ag_dims_of(call->in[0].view);
    call->shape.dim[p->axis] = along_axis;
    return check_indices(call->tape, what, p) && ag_checked_count(call->tape, what, call->shape, &count);
}

static bool gather_shape(ag_call *call) {
    const picking *p = call->params;
    return picked_shape(call, "gather", p->n);
}

static bool scatter_shape(ag_call *call) {
    const picking *p = call->params;
    return picked_shape(call, "scatter_add", p->length);
}

/* Both loops take two row-major arrays: `picked`, with n slices along the axis, and `whole`, with `length`. */
typedef struct slices {
    const picking *p;
    ag_type type;
    int64_t outer, inner;
} slices;

static slices slices_of(const ag_call *call) {
    const picking *p = call->params;
    const ag_view *view = call->in[0].view;
    return (slices){p, call->type, ag_count_dims(view->dim, 0, (int)p->axis),
                    ag_count_dims(view->dim, (int)p->axis + 1, view->rank)};
}

/* picked[i] = (or, with `add`, +=) whole[index[i]] */
static void pick(const slices *s, bool add, void *picked, void *whole) {
    const int64_t *index = indices_of(s->p);
    const ag_kernels *kernels = ag_kernels_for(s->type);
    size_t bytes = (size_t)s->inner * ag_type_size(s->type);
    for (int64_t o = 0; o < s->outer; o++) {
        for (int64_t i = 0; i < s->p->n; i++) {
            void *to = ag_element(s->type, picked, (o * s->p->n + i) * s->inner);
            const void *from = ag_element(s->type, whole, (o * s->p->length + index[i]) * s->inner);
            if (s->inner == 1) {
                ag_store(s->type, to, 0, (add ? ag_load(s->type, to, 0) : 0) + ag_load(s->type, from, 0));
            } else if (add) {
                kernels->add_to((size_t)s->inner, to, from);
            } else {
                memcpy(to, from, bytes);
            }
        }
    }
}

/* whole[index[i]] += picked[i] */
static void scatter(const slices *s, void *whole, void *picked) {
    const int64_t *index = indices_of(s->p);
    const ag_kernels *kernels = ag_kernels_for(s->type);
    for (int64_t o = 0; o < s->outer; o++) {
        for (int64_t i = 0; i < s->p->n; i++) {
            void *to = ag_element(s->type, whole, (o * s->p->length + index[i]) * s->inner);
            const void *from = ag_element(s->type, picked, (o * s->p->n + i) * s->inner);
            if (s->inner == 1) ag_store(s->type, to, 0, ag_load(s->type, to, 0) + ag_load(s->type, from, 0));
            else kernels->add_to((size_t)s->inner, to, from);
        }
    }
}

static bool gather_forward(const ag_call *call) {
    slices s = slices_of(call);
    pick(&s, false, call->out.data, call->in[0].data);
    return true;
}

static bool gather_adjoint(const ag_call *call) {
    slices s = slices_of(call);
    scatter(&s, call->in_adjoint[0].data, call->out_adjoint.data);
    return true;
}

static bool scatter_forward(const ag_call *call) {
    slices s = slices_of(call);
    memset(call->out.data, 0, (size_t)call->out.view->count * ag_type_size(call->type));
    scatter(&s, call->out.data, call->in[0].data);
    return true;
}

static bool scatter_adjoint(const ag_call *call) {
    slices s = slices_of(call);
    pick(&s, !(call->fresh & 1), call->in_adjoint[0].data, call->out_adjoint.data);
    return true;
}

static ag_var gather_tangent(const ag_rule *rule, const ag_var *tangents);
static ag_var scatter_tangent(const ag_rule *rule, const ag_var *tangents);
static void gather_record(const ag_rule *rule, ag_var w, ag_var *contributions);
static void scatter_record(const ag_rule *rule, ag_var w, ag_var *contributions);

/* Element (o, i, j) of what is picked is (o, index[i], j) of the whole. */
static void pick_scalars(const ag_elements *e, bool back) {
    const picking *p = e->params;
    const int64_t *dim = e->shapes[0].dim, *index = indices_of(p);
    int64_t outer = ag_count_dims(dim, 0, (int)p->axis),
            inner = ag_count_dims(dim, (int)p->axis + 1, e->shapes[0].rank);
    for (int64_t n = back ? outer * p->length * inner : 0; n-- > 0;) e->out[n] = ag_num(0);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < p->n; i++)
            for (int64_t j = 0; j < inner; j++) {
                int64_t picked = (o * p->n + i) * inner + j, whole = (o * p->length + index[i]) * inner + j;
                if (!back) e->out[picked] = e->in[0][whole];
                else if (ag_is_zero(e->out[whole])) e->out[whole] = e->in[0][picked];
                else e->out[whole] = ag_add(e->out[whole], e->in[0][picked]);
            }
}

static void gather_scalars(const ag_elements *e) { pick_scalars(e, false); }
static void scatter_scalars(const ag_elements *e) { pick_scalars(e, true); }

/* Loops over what is picked; `whole` is the other operand's index. */
static bool pick_c_form(const ag_c_form *f, bool back) {
    const picking *p = f->params;
    int64_t dim[AG_MAX_RANK], own[AG_MAX_RANK], stride[AG_MAX_RANK], axis = p->axis;
    int rank = f->shape.rank;
    memcpy(dim, back ? f->views[0]->dim : f->shape.dim, sizeof dim);
    ag_row_major(rank, dim, own);
    int64_t picked = dim[axis];
    dim[axis] = p->length;
    ag_row_major(rank, dim, stride);
    dim[axis] = picked;
    if (back)
        ag_c_line(f, "for (long i = 0; i < %lld; i++) %s[i] = 0;", (long long)ag_count_dims(f->shape.dim, 0, rank),
                  f->out);
    if (p->n == 0) return true;
    ag_c_table(f, indices_of(p), p->n);
    ag_c_text at = ag_c_index(rank, dim, own, 0);
    int64_t step = stride[axis];
    stride[axis] = 0;
    ag_c_text rest = ag_c_index(rank, dim, stride, 0);
    ag_c_open_all(f, dim, rank);
    const char *i = ag_c_loop((int)axis);
    if (back)
        ag_c_line(f, "%s[at[%s] * %lld + %s] += %s[%s];", f->out, i, (long long)step, rest.text, f->in[0], at.text);
    else ag_c_line(f, "%s[%s] = %s[at[%s] * %lld + %s];", f->out, at.text, f->in[0], i, (long long)step, rest.text);
    ag_c_close(f, rank);
    return true;
}
static bool gather_c_form(const ag_c_form *f) { return pick_c_form(f, false); }
static bool scatter_c_form(const ag_c_form *f) { return pick_c_form(f, true); }

static bool picking_valid(const ag_call *call, bool back) {
    const picking *p = call->params;
    const ag_view *v = call->in[0].view;
    if (call->params_size < sizeof *p || p->axis < 0 || p->axis >= v->rank || p->length < 0 || p->n < 0) return false;
    if ((size_t)p->n != (call->params_size - sizeof *p) / sizeof(int64_t) || call->params_size % sizeof(int64_t))
        return false;
    return v->dim[p->axis] == (back ? p->n : p->length);
}
static bool gather_valid(const ag_call *call) { return picking_valid(call, false); }
static bool scatter_valid(const ag_call *call) { return picking_valid(call, true); }

static const ag_operation gather_operation = {
    .name = "gather",
    .shape = gather_shape,
    .forward = gather_forward,
    .adjoint = gather_adjoint,
    .tangent = gather_tangent,
    .record = gather_record,
    .scalars = gather_scalars,
    .c_form = gather_c_form,
    .valid = gather_valid,
};
const ag_operation *const ag_builtin_gather = &gather_operation;
static const ag_operation scatter_operation = {
    .name = "scatter_add",
    .shape = scatter_shape,
    .forward = scatter_forward,
    .adjoint = scatter_adjoint,
    .tangent = scatter_tangent,
    .record = scatter_record,
    .scalars = scatter_scalars,
    .stores = true,
    .c_form = scatter_c_form,
    .valid = scatter_valid,
};
const ag_operation *const ag_builtin_scatter_add = &scatter_operation;

static ag_var gather_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_apply(&gather_operation, tangents, 1, rule->params, rule->params_size);
}

static ag_var scatter_tangent(const ag_rule *rule, const ag_var *tangents) {
    return ag_apply(&scatter_operation, tangents, 1, rule->params, rule->params_size);
}

static void gather_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[0] = ag_apply(&scatter_operation, &w, 1, rule->params, rule->params_size);
}

static void scatter_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[0] = ag_apply(&gather_operation, &w, 1, rule->params, rule->params_size);
}

/* Applies gather or scatter with these parameters and indices. */
static ag_var apply(const ag_operation *operation, ag_var x, picking p, const int64_t *indices) {
    enum { FEW = 64 };
    struct {
        picking header;
        int64_t index[FEW];
    } few;
    if (p.n < 0 || (p.n > 0 && indices == NULL) || p.length < 0) {
        ag_fail(ag_tape_of(x), AG_ERR_VALUE, "%s: %lld indices at %s into length %lld", operation->name, (long long)p.n,
                indices == NULL ? "NULL" : "an address", (long long)p.length);
        return ag_inert(ag_tape_of(x));
    }
    int64_t bytes;
    if (!ag_multiply_sizes(p.n, sizeof *indices, &bytes) || bytes > INT64_MAX - (int64_t)sizeof p) {
        ag_fail(ag_tape_of(x), AG_ERR_VALUE, "%s: %lld indices are too many", operation->name, (long long)p.n);
        return ag_inert(ag_tape_of(x));
    }
    size_t size = sizeof p + (size_t)bytes;
    picking *params = p.n <= FEW ? &few.header : ag_scratch(ag_tape_of(x), size);
    if (params == NULL) return ag_inert(ag_tape_of(x));
    *params = p;
    if (p.n > 0) memcpy(params + 1, indices, (size_t)bytes);
    ag_var result = ag_apply(operation, &x, 1, params, size);
    if (params != &few.header) ag_scratch_free(ag_tape_of(x), params);
    return result;
}

ag_var ag_gather(ag_var x, int axis, const int64_t *indices, int64_t n) {
    if (ag_tape_of(x) == NULL) return ag_inert(NULL);
    if (!ag_usable(x, "gather")) return ag_inert(ag_tape_of(x));
    ag_shape shape = ag_shape_of(x);
    axis = ag_check_axis(ag_tape_of(x), "gather", axis, shape);
    if (axis < 0) return ag_inert(ag_tape_of(x));
    return apply(&gather_operation, x, (picking){axis, shape.dim[axis], n}, indices);
}

ag_var ag_scatter_add(ag_var x, int axis, const int64_t *indices, int64_t length) {
    if (ag_tape_of(x) == NULL) return ag_inert(NULL);
    if (!ag_usable(x, "scatter_add")) return ag_inert(ag_tape_of(x));
    ag_shape shape = ag_shape_of(x);
    axis = ag_check_axis(ag_tape_of(x), "scatter_add", axis, shape);
    if (axis < 0) return ag_inert(ag_tape_of(x));
    return apply(&scatter_operation, x, (picking){axis, length, shape.dim[axis]}, indices);
}

/* ---- indices in a tensor ---- */

/* Parameters of both: the axis and the length that indices point into. What is picked has the indices' axes there. */
typedef struct place {
    int64_t axis, length;
} place;

/* The shape of what is picked from `whole`, or the other way round. False if there are too many axes. */
static bool replace_axes(const ag_view *v, int axis, int out_of, const ag_view *by, int64_t length, ag_shape *shape) {
    int into = by ? by->rank : 1;
    if (v->rank - out_of + into > AG_MAX_RANK) return false;
    *shape = (ag_shape){.rank = v->rank - out_of + into};
    for (int i = 0; i < shape->rank; i++)
        shape->dim[i] = i < axis           ? v->dim[i]
                        : i >= axis + into ? v->dim[i - into + out_of]
                        : by               ? by->dim[i - axis]
                                           : length;
    return true;
}

static bool gather_at_shape(ag_call *call) {
    const place *p = call->params;
    int64_t count;
    if (replace_axes(call->in[0].view, (int)p->axis, 1, call->in[1].view, 0, &call->shape))
        return ag_checked_count(call->tape, "gather_at", call->shape, &count);
    ag_fail(call->tape, AG_ERR_SHAPE, "gather_at: indices of shape %s for an axis of shape %s make more than %d axes",
            ag_show_view(call->in[1].view).text, ag_show_view(call->in[0].view).text, AG_MAX_RANK);
    return false;
}

static bool has_axes_of(const ag_view *v, int64_t axis, const ag_view *indices) {
    if (axis > v->rank || v->rank - axis < indices->rank) return false;
    return memcmp(v->dim + axis, indices->dim, (size_t)indices->rank * sizeof *v->dim) == 0;
}

static bool scatter_at_shape(ag_call *call) {
    const place *p = call->params;
    const ag_view *v = call->in[0].view, *indices = call->in[1].view;
    int64_t count;
    if (p->length < 0) {
        ag_fail(call->tape, AG_ERR_VALUE, "scatter_add_at: indices into length %lld", (long long)p->length);
        return false;
    }
    if (!has_axes_of(v, p->axis, indices)) {
        ag_fail(call->tape, AG_ERR_SHAPE, "scatter_add_at: indices of shape %s are not the axes of shape %s from %d on",
                ag_show_view(indices).text, ag_show_view(v).text, (int)p->axis);
        return false;
    }
    if (replace_axes(v, (int)p->axis, indices->rank, NULL, p->length, &call->shape))
        return ag_checked_count(call->tape, "scatter_add_at", call->shape, &count);
    ag_fail(call->tape, AG_ERR_SHAPE, "scatter_add_at: shape %s has no room for one more axis", ag_show_view(v).text);
    return false;
}

/* The indices as numbers, in scratch memory; NULL after an error. */
static picking *read_indices(const ag_call *call, const char *what) {
    const place *p = call->params;
    int64_t n = call->in[1].view->count;
    picking *r = ag_scratch(call->tape, sizeof *r + (size_t)n * sizeof(int64_t));
    if (!r) return NULL;
    *r = (picking){p->axis, p->length, n};
    int64_t *index = (int64_t *)(void *)(r + 1);
    for (int64_t i = 0; i < n; i++) {
        double x = ag_load(call->type, call->in[1].data, i);
        if (x >= 0 && x < (double)p->length && x == rint(x)) {
            index[i] = (int64_t)x;
            continue;
        }
        ag_fail(call->tape, AG_ERR_VALUE, "%s: index %.9g at position %lld is no integer in 0..%lld, axis %d", what, x,
                (long long)i, (long long)p->length - 1, (int)p->axis);
        ag_scratch_free(call->tape, r);
        return NULL;
    }
    return r;
}

/* to = (or, with `add`, +=) what is picked from `from`, or that put back where it was. */
static bool move_slices(const ag_call *call, const char *what, const ag_view *whole, bool back, bool add, void *to,
                        void *from) {
    const place *p = call->params;
    picking *r = read_indices(call, what);
    if (!r) return false;
    slices s = {r, call->type, ag_count_dims(whole->dim, 0, (int)p->axis),
                ag_count_dims(whole->dim, (int)p->axis + 1, whole->rank)};
    if (back && !add) memset(to, 0, (size_t)whole->count * ag_type_size(call->type));
    if (back) scatter(&s, to, from);
    else pick(&s, add, to, from);
    ag_scratch_free(call->tape, r);
    return true;
}

/* Indices have no derivative; their adjoint is still to be set. */
static void clear_index_adjoint(const ag_call *call) {
    if (call->fresh & 2 && call->in_adjoint[1].data)
        memset(call->in_adjoint[1].data, 0, (size_t)call->in[1].view->count * ag_type_size(call->type));
}

static bool gather_at_forward(const ag_call *call) {
    return move_slices(call, "gather_at", call->in[0].view, false, false, call->out.data, call->in[0].data);
}
static bool scatter_at_forward(const ag_call *call) {
    return move_slices(call, "scatter_add_at", call->out.view, true, false, call->out.data, call->in[0].data);
}
static bool gather_at_adjoint(const ag_call *call) {
    clear_index_adjoint(call);
    if (!call->in_adjoint[0].data) return true;
    return move_slices(call, "gather_at", call->in[0].view, true, !(call->fresh & 1), call->in_adjoint[0].data,
                       call->out_adjoint.data);
}
static bool scatter_at_adjoint(const ag_call *call) {
    clear_index_adjoint(call);
    if (!call->in_adjoint[0].data) return true;
    return move_slices(call, "scatter_add_at", call->out.view, false, !(call->fresh & 1), call->in_adjoint[0].data,
                       call->out_adjoint.data);
}

static const ag_operation gather_at_operation, scatter_at_operation;

static ag_var apply_at(const ag_operation *operation, ag_var x, ag_var indices, place p) {
    return ag_apply(operation, (const ag_var[]){x, indices}, 2, &p, sizeof p);
}
static ag_var gather_at_tangent(const ag_rule *rule, const ag_var *v) {
    if (ag_is_zero(v[0])) return ag_num(0);
    return apply_at(&gather_at_operation, v[0], rule->in[1], *(const place *)rule->params);
}
static ag_var scatter_at_tangent(const ag_rule *rule, const ag_var *v) {
    if (ag_is_zero(v[0])) return ag_num(0);
    return apply_at(&scatter_at_operation, v[0], rule->in[1], *(const place *)rule->params);
}
static void gather_at_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[1] = ag_num(0);
    if (rule->wanted[0])
        contributions[0] = apply_at(&scatter_at_operation, w, rule->in[1], *(const place *)rule->params);
}
static void scatter_at_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[1] = ag_num(0);
    if (rule->wanted[0])
        contributions[0] = apply_at(&gather_at_operation, w, rule->in[1], *(const place *)rule->params);
}

static bool move_c_form(const ag_c_form *f, bool back) {
    const place *p = f->params;
    const ag_view *v = f->views[0];
    const int64_t *whole = back ? f->shape.dim : v->dim;
    int rank = back ? f->shape.rank : v->rank;
    long long outer = ag_count_dims(whole, 0, (int)p->axis), inner = ag_count_dims(whole, (int)p->axis + 1, rank);
    long long n = f->views[1]->count, length = p->length;
    ag_c_line(f, "for (long i = 0; i < %lld; i++)", n);
    ag_c_line(f, "    if (!(%s[i] >= 0 && %s[i] < %lld && %s[i] == (%s)(long)%s[i])) return %d;", f->in[1], f->in[1],
              length, f->in[1], f->number, f->in[1],
              ag_c_check(f, back ? "scatter_add_at: a wrong index" : "gather_at: a wrong index"));
    if (back)
        ag_c_line(f, "for (long i = 0; i < %lld; i++) %s[i] = 0;", (long long)ag_count_dims(f->shape.dim, 0, rank),
                  f->out);
    ag_c_open_all(f, (const int64_t[]){outer, n, inner}, 3);
    char picked[160], at[160];
    snprintf(picked, sizeof picked, "(i * %lld + i1) * %lld + i2", n, inner);
    snprintf(at, sizeof at, "(i * %lld + (long)%s[i1]) * %lld + i2", length, f->in[1], inner);
    if (back) ag_c_line(f, "%s[%s] += %s[%s];", f->out, at, f->in[0], picked);
    else ag_c_line(f, "%s[%s] = %s[%s];", f->out, picked, f->in[0], at);
    ag_c_close(f, 3);
    return true;
}
static bool gather_at_c_form(const ag_c_form *f) { return move_c_form(f, false); }
static bool scatter_at_c_form(const ag_c_form *f) { return move_c_form(f, true); }

static bool gather_at_valid(const ag_call *call) {
    const place *p = call->params;
    const ag_view *v = call->in[0].view;
    return call->params_size == sizeof *p && p->axis >= 0 && p->axis < v->rank && p->length == v->dim[p->axis];
}
static bool scatter_at_valid(const ag_call *call) {
    const place *p = call->params;
    return call->params_size == sizeof *p && p->axis >= 0 && p->length >= 0 &&
           has_axes_of(call->in[0].view, p->axis, call->in[1].view);
}

static const ag_operation gather_at_operation = {
    .name = "gather_at",
    .shape = gather_at_shape,
    .forward = gather_at_forward,
    .adjoint = gather_at_adjoint,
    .tangent = gather_at_tangent,
    .record = gather_at_record,
    .stores = true,
    .c_form = gather_at_c_form,
    .valid = gather_at_valid,
};
const ag_operation *const ag_builtin_gather_at = &gather_at_operation;
static const ag_operation scatter_at_operation = {
    .name = "scatter_add_at",
    .shape = scatter_at_shape,
    .forward = scatter_at_forward,
    .adjoint = scatter_at_adjoint,
    .tangent = scatter_at_tangent,
    .record = scatter_at_record,
    .stores = true,
    .c_form = scatter_at_c_form,
    .valid = scatter_at_valid,
};
const ag_operation *const ag_builtin_scatter_add_at = &scatter_at_operation;

ag_var ag_gather_at(ag_var x, int axis, ag_var indices) {
    if (ag_tape_of(x) == NULL) return ag_inert(ag_tape_of(indices));
    if (!ag_usable(x, "gather_at") || !ag_usable_on(ag_tape_of(x), indices, "gather_at"))
        return ag_inert(ag_tape_of(x));
    ag_shape shape = ag_shape_of(x);
    axis = ag_check_axis(ag_tape_of(x), "gather_at", axis, shape);
    if (axis < 0) return ag_inert(ag_tape_of(x));
    return apply_at(&gather_at_operation, x, indices, (place){axis, shape.dim[axis]});
}

ag_var ag_scatter_add_at(ag_var x, int axis, ag_var indices, int64_t length) {
    ag_tape *tape = ag_tape_of(x) ? ag_tape_of(x) : ag_tape_of(indices);
    if (tape == NULL) return ag_inert(NULL);
    if (!ag_usable_on(tape, x, "scatter_add_at") || !ag_usable_on(tape, indices, "scatter_add_at"))
        return ag_inert(tape);
    ag_shape shape = ag_shape_of(x);
    if (axis < 0) axis += shape.rank;
    if (axis < 0) {
        ag_fail(tape, AG_ERR_SHAPE, "scatter_add_at: axis %d of shape %s", axis - shape.rank,
                ag_show_shape(shape).text);
        return ag_inert(tape);
    }
    return apply_at(&scatter_at_operation, x, indices, (place){axis, length});
}

ag_var ag_one_hot(ag_tape *tape, const int64_t *labels, int64_t n, int64_t classes) {
    int64_t count;
    if (n < 0 || classes < 0 || (n > 0 && labels == NULL)) {
        ag_fail(tape, AG_ERR_VALUE, "one_hot: %lld labels of %lld classes%s", (long long)n, (long long)classes,
                labels == NULL ? " at NULL" : "");
        return ag_inert(tape);
    }
    if (!ag_checked_count(tape, "one_hot", AG_SHAPE(n, classes), &count)) return ag_inert(tape);
    for (int64_t i = 0; i < n; i++) {
        if (labels[i] >= 0 && labels[i] < classes) continue;
        ag_fail(tape, AG_ERR_VALUE, "one_hot: label %lld of row %lld is not one of %lld classes (0..%lld)",
                (long long)labels[i], (long long)i, (long long)classes, (long long)classes - 1);
        return ag_inert(tape);
    }
    ag_var result = ag_zeros(tape, AG_SHAPE(n, classes));
    void *data = ag_data(result);
    for (int64_t i = 0; data != NULL && i < n; i++) ag_store(ag_tape_type(tape), data, i * classes + labels[i], 1);
    return result;
}
