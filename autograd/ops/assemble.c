/* Tensors put together from parts: zeros, to which each part is added at a view of the result. Concatenation, stacking,
 * padding, tiling, contiguous copies and the adjoints of all views are this one linear operation; the triangles of a
 * matrix are a second. */
#include "builtin_impl.h"
#include "c_form_impl.h"
#include "structural_impl.h"

enum {
    DISJOINT = 1, /* no element of the result is reached twice: parts are copied, not added */
    COVERS = 2,   /* every element is reached: no zeros first */
    FEW = 16,     /* up to so many parts, parameters are built on the stack */
};

/* Parameters: this, then one placement for each part. */
typedef struct assembly {
    ag_shape shape;
    int64_t flags;
} assembly;

static size_t assembly_size(int n) { return sizeof(assembly) + (size_t)n * sizeof(ag_placement); }
static const ag_placement *placements(const assembly *a) { return (const ag_placement *)(const void *)(a + 1); }

/* Parameters while they are built. */
typedef struct draft {
    struct {
        assembly header;
        ag_placement where[FEW];
    } few;
    assembly *params;
    ag_placement *where;
} draft;

static bool draft_begin(draft *d, ag_tape *tape, ag_shape shape, int64_t flags, int n) {
    d->params = n <= FEW ? &d->few.header : ag_scratch(tape, assembly_size(n));
    if (d->params == NULL) return false;
    memset(d->params, 0, sizeof(assembly));
    d->params->shape = shape;
    d->params->flags = flags;
    d->where = (ag_placement *)(void *)(d->params + 1);
    return true;
}

static void draft_end(draft *d, ag_tape *tape) {
    if (d->params != NULL && d->params != &d->few.header) ag_scratch_free(tape, d->params);
}

static bool assemble_shape(ag_call *call) {
    const assembly *a = call->params;
    call->shape = a->shape;
    return true;
}

static bool assemble_forward(const ag_call *call) {
    const assembly *a = call->params;
    const ag_placement *where = placements(a);
    if (!(a->flags & COVERS)) memset(call->out.data, 0, (size_t)call->out.view->count * ag_type_size(call->type));
    for (int k = 0; k < call->n; k++) {
        const ag_view *view = call->in[k].view;
        void *at = ag_element(call->type, call->out.data, where[k].offset);
        if (view->count == 1) {
            double before = a->flags & DISJOINT ? 0 : ag_load(call->type, at, 0);
            ag_store(call->type, at, 0, before + ag_load(call->type, call->in[k].data, 0));
        } else if (a->flags & DISJOINT) {
            ag_strided_copy(call->type, view->rank, view->dim, at, where[k].stride, call->in[k].data, view->stride);
        } else {
            ag_strided_add(call->type, view->rank, view->dim, at, where[k].stride, call->in[k].data, view->stride);
        }
    }
    return true;
}

static bool assemble_adjoint(const ag_call *call) {
    const ag_placement *where = placements(call->params);
    for (int k = 0; k < call->n; k++) {
        if (call->in_adjoint[k].data == NULL) continue;
        const ag_view *view = call->in_adjoint[k].view;
        const void *w = ag_element(call->type, call->out_adjoint.data, where[k].offset);
        if (view->count == 1) {
            double before = ag_load(call->type, call->in_adjoint[k].data, 0);
            ag_store(call->type, call->in_adjoint[k].data, 0, before + ag_load(call->type, w, 0));
        } else {
            ag_strided_add(call->type, view->rank, view->dim, call->in_adjoint[k].data, view->stride, w,
                           where[k].stride);
        }
    }
    return true;
}

static ag_var assemble_tangent(const ag_rule *rule, const ag_var *tangents);

static void assemble_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    const ag_placement *where = placements(rule->params);
    ag_var whole = ag_contiguous(w);
    for (int k = 0; k < rule->n; k++) {
        if (!rule->wanted[k]) continue;
        contributions[k] = ag_view_of(whole, where[k].offset, ag_shape_of(rule->in[k]), where[k].stride);
    }
}

/* Adds element `index` of a part along the axes from `axis` on. */
static int64_t place_scalars(const ag_elements *e, int k, const ag_placement *where, int axis, int64_t from,
                             int64_t to) {
    const ag_shape *s = &e->shapes[k];
    if (axis < s->rank) {
        for (int64_t i = 0; i < s->dim[axis]; i++)
            from = place_scalars(e, k, where, axis + 1, from, to + i * where->stride[axis]);
        return from;
    }
    ag_var x = e->in[k][from];
    e->out[to] = ag_is_zero(e->out[to]) ? x : ag_add(e->out[to], x);
    return from + 1;
}

static void assemble_scalars(const ag_elements *e) {
    int64_t count = ag_count_dims(e->shape.dim, 0, e->shape.rank);
    for (int64_t i = 0; i < count; i++) e->out[i] = ag_num(0);
    for (int k = 0; k < e->n; k++) {
        const ag_placement *where = placements(e->params) + k;
        if (ag_count_dims(e->shapes[k].dim, 0, e->shapes[k].rank) > 0) place_scalars(e, k, where, 0, 0, where->offset);
    }
}

static bool assemble_c_form(const ag_c_form *f) {
    const assembly *a = f->params;
    const ag_placement *where = placements(a);
    int64_t count = ag_count_dims(f->shape.dim, 0, f->shape.rank);
    if (!(a->flags & COVERS)) ag_c_line(f, "for (long i = 0; i < %lld; i++) %s[i] = 0;", (long long)count, f->out);
    for (int k = 0; k < f->n; k++) {
        const ag_view *v = f->views[k];
        if (v->count == 0) continue;
        ag_c_open_all(f, v->dim, v->rank);
        ag_c_line(f, "%s[%s] %s %s[%s];", f->out, ag_c_index(v->rank, v->dim, where[k].stride, where[k].offset).text,
                  a->flags & DISJOINT ? "=" : "+=", f->in[k], ag_c_index_of(v).text);
        ag_c_close(f, v->rank);
    }
    return true;
}

static bool is_injective(ag_shape shape, const int64_t *stride);

/* Whether all that a part reaches is inside of `total` elements, and no stride makes anything overflow. */
static bool reaches_inside(const ag_view *v, const ag_placement *where, int64_t total) {
    int64_t lo = where->offset, hi = lo;
    if (lo < 0 || lo > total) return false;
    for (int i = 0; i < v->rank; i++) {
        int64_t length;
        if (__builtin_mul_overflow(v->dim[i], where->stride[i], &length)) return false;
        if (v->dim[i] == 1 && (where->stride[i] > total || where->stride[i] < -total)) return false;
        if (v->count == 0) continue;
        int64_t reach = length - where->stride[i];
        if (reach < 0 ? __builtin_add_overflow(lo, reach, &lo) : __builtin_add_overflow(hi, reach, &hi)) return false;
    }
    return v->count == 0 || (lo >= 0 && hi < total);
}

/* That all elements are covered is not believed unless it is plain to see: COVERS is taken back by the reader. */
static bool assemble_valid(const ag_call *call) {
    const assembly *a = call->params;
    int64_t total;
    if (call->n < 1 || call->params_size != assembly_size(call->n) || (a->flags & ~(DISJOINT | COVERS))) return false;
    if (a->shape.rank < 0 || a->shape.rank > AG_MAX_RANK || !ag_shape_count(a->shape, &total)) return false;
    for (int k = 0; k < call->n; k++)
        if (!reaches_inside(call->in[k].view, &placements(a)[k], total)) return false;
    return true;
}

/* Whether a part is positions at, at + 1, ... of an axis, how many of them. */
static bool is_slab(const assembly *a, int axis, const ag_view *part, const ag_placement *where, int64_t at,
                    int64_t *length) {
    int64_t stride[AG_MAX_RANK];
    int rank = a->shape.rank;
    bool keeps = part->rank == rank; /* the axis */
    if (!keeps && part->rank + 1 != rank) return false;
    ag_row_major(rank, a->shape.dim, stride);
    *length = keeps ? part->dim[axis] : 1;
    for (int i = 0; i < rank; i++) {
        if (i == axis && !keeps) continue;
        int own = keeps || i < axis ? i : i - 1;
        if (i != axis && part->dim[own] != a->shape.dim[i]) return false;
        if (part->dim[own] > 1 && where->stride[own] != stride[i]) return false;
    }
    return *length <= a->shape.dim[axis] - at && where->offset == at * stride[axis];
}

/* Whether parts lie one after the other along an axis and fill it: as concatenations and stacks do. */
static bool is_joined(const assembly *a, const ag_view *const *parts, int n) {
    for (int axis = 0; axis < a->shape.rank; axis++) {
        int64_t at = 0, length;
        int k = 0;
        for (; k < n && is_slab(a, axis, parts[k], &placements(a)[k], at, &length); k++) at += length;
        if (k == n && at == a->shape.dim[axis]) return true;
    }
    return false;
}

/* Whether part k is one number, of n numbers number k. */
static bool is_number(int64_t count, const ag_placement *where, int k) { return count == 1 && where[k].offset == k; }

static bool is_list(const assembly *a, const ag_view *const *parts, int n) {
    int64_t total;
    int k = 0;
    while (k < n && is_number(parts[k]->count, placements(a), k)) k++;
    return k == n && ag_shape_count(a->shape, &total) && total == n;
}

void ag_assemble_distrust(void *params, const ag_view *const *parts, int n) {
    assembly *a = params;
    int64_t total;
    if (n > 1 && (is_joined(a, parts, n) || ((a->flags & DISJOINT) && is_list(a, parts, n)))) return;
    bool whole = n == 1 && ag_shape_count(a->shape, &total) && parts[0]->count == total &&
                 is_injective(ag_dims_of(parts[0]), placements(a)[0].stride);
    if (!whole) a->flags &= ~(int64_t)COVERS;
}

static const ag_operation assemble_operation = {
    .name = "assemble",
    .shape = assemble_shape,
    .forward = assemble_forward,
    .adjoint = assemble_adjoint,
    .tangent = assemble_tangent,
    .record = assemble_record,
    .scalars = assemble_scalars,
    .strided = true,
    .c_form = assemble_c_form,
    .valid = assemble_valid,
};
const ag_operation *const ag_builtin_assemble = &assemble_operation;

const ag_placement *ag_parts_of(const ag_operation *operation, const void *params) {
    return operation == &assemble_operation ? placements(params) : NULL;
}

const ag_placement *ag_placements_of(const ag_operation *operation, const void *params) {
    const assembly *a = params;
    bool pure = operation == &assemble_operation && (a->flags & DISJOINT) && (a->flags & COVERS);
    return pure ? placements(a) : NULL;
}

/* Linear: the tangents are assembled as the parts were, without those that are 0. */
static ag_var assemble_tangent(const ag_rule *rule, const ag_var *tangents) {
    const assembly *a = rule->params;
    const ag_placement *where = placements(a);
    int active = 0;
    for (int k = 0; k < rule->n; k++) active += !ag_is_zero(tangents[k]);
    if (active == rule->n) return ag_apply(&assemble_operation, tangents, rule->n, a, rule->params_size);
    if (active == 0) return ag_num(0);

    ag_var result = ag_inert(rule->tape), few[FEW];
    ag_var *parts = active <= FEW ? few : ag_scratch(rule->tape, (size_t)active * sizeof *parts);
    draft d = {.params = NULL};
    if (parts == NULL || !draft_begin(&d, rule->tape, a->shape, a->flags & DISJOINT, active)) goto done;
    for (int k = 0, i = 0; k < rule->n; k++) {
        if (ag_is_zero(tangents[k])) continue;
        parts[i] = tangents[k];
        d.where[i++] = where[k];
    }
    result = ag_apply(&assemble_operation, parts, active, d.params, assembly_size(active));
done:
    draft_end(&d, rule->tape);
    if (parts != few) ag_scratch_free(rule->tape, parts);
    return result;
}

/* True if no two indices meet in one element: by growing stride, each steps over all that the lesser ones reach. */
static bool is_injective(ag_shape shape, const int64_t *stride) {
    bool taken[AG_MAX_RANK] = {false};
    int64_t reach = 0;
    for (int i = 0; i < shape.rank; i++) {
        int least = -1;
        int64_t least_size = 0;
        for (int j = 0; j < shape.rank; j++) {
            int64_t size = stride[j] < 0 ? -stride[j] : stride[j];
            if (taken[j] || (least >= 0 && size >= least_size)) continue;
            if (shape.dim[j] == 1) size = INT64_MAX; /* a stride that is never taken: last */
            if (least >= 0 && size >= least_size) continue;
            least = j;
            least_size = size;
        }
        taken[least] = true;
        if (shape.dim[least] <= 1) continue;
        if (least_size <= reach) return false;
        reach += (shape.dim[least] - 1) * least_size;
    }
    return true;
}

/* The parts at their places; the caller vouches for the flags. */
static ag_var assemble(ag_tape *tape, ag_shape shape, const ag_var *parts, const ag_placement *where, int n,
                       int64_t flags) {
    draft d;
    if (!draft_begin(&d, tape, shape, flags, n)) return ag_inert(tape);
    for (int k = 0; k < n; k++) { /* the rest stays 0: parameters are compared and saved byte by byte */
        d.where[k] = (ag_placement){.offset = where[k].offset};
        memcpy(d.where[k].stride, where[k].stride, (size_t)ag_shape_of(parts[k]).rank * sizeof where[k].stride[0]);
    }
    ag_var result = ag_apply(&assemble_operation, parts, n, d.params, assembly_size(n));
    draft_end(&d, tape);
    return result;
}

ag_var ag_assemble(ag_tape *tape, ag_shape shape, const ag_var *parts, const ag_placement *where, int n) {
    int inert = ag_find_inert(parts, n);
    if (inert >= 0) return parts[inert];
    int64_t flags = 0, total;
    if (!ag_checked_count(tape, "assemble", shape, &total)) return ag_inert(tape);
    if (n == 0) return ag_zeros(tape, shape);
    if (n == 1) {
        ag_shape part = ag_shape_of(parts[0]);
        if (is_injective(part, where[0].stride)) {
            flags = ag_count_dims(part.dim, 0, part.rank) == total ? DISJOINT | COVERS : DISJOINT;
        }
    } else if (n == total) {
        int k = 0;
        while (k < n && is_number(ag_count(parts[k]), where, k)) k++;
        if (k == n) flags = DISJOINT | COVERS;
    }
    return assemble(tape, shape, parts, where, n, flags);
}

ag_var ag_contiguous(ag_var x) {
    if (ag_tape_of(x) == NULL || ag_data(x) != NULL) return x;
    if (!ag_usable(x, "contiguous")) return ag_inert(ag_tape_of(x));
    ag_shape shape = ag_shape_of(x);
    ag_placement where = {.offset = 0};
    ag_row_major(shape.rank, shape.dim, where.stride);
    return assemble(ag_tape_of(x), shape, &x, &where, 1, DISJOINT | COVERS);
}

/* ---- concatenation ---- */

/* Adds n >= 0 to *size; false on overflow. */
static bool grow(int64_t *size, int64_t n) {
    if (*size > INT64_MAX - n) return false;
    *size += n;
    return true;
}

/* The shape of a concatenation; false, with the tape in error, if an operand does not fit the first. */
static bool concat_shape(ag_tape *tape, const ag_var *xs, int n, int axis, ag_shape *result) {
    for (int k = 1; k < n; k++) {
        ag_shape s = ag_shape_of(xs[k]);
        bool fits = s.rank == result->rank;
        for (int i = 0; fits && i < s.rank; i++) fits = i == axis || s.dim[i] == result->dim[i];
        if (!fits) {
            ag_fail(tape, AG_ERR_SHAPE, "concat: operand %d has shape %s, which does not fit %s outside axis %d", k,
                    ag_show_shape(s).text, ag_show_shape(ag_shape_of(xs[0])).text, axis);
            return false;
        }
        if (!grow(&result->dim[axis], s.dim[axis])) {
            ag_fail(tape, AG_ERR_SLOTS, "concat: the length of axis %d overflows at operand %d", axis, k);
            return false;
        }
    }
    int64_t count;
    return ag_checked_count(tape, "concat", *result, &count);
}

ag_var ag_concat(const ag_var *xs, int n, int axis) {
    ag_tape *tape = ag_find_tape(xs, n);
    if (tape == NULL) return ag_inert(NULL);
    for (int k = 0; k < n; k++)
        if (!ag_usable_on(tape, xs[k], "concat")) return ag_inert(tape);
    ag_shape shape = ag_shape_of(xs[0]);
    axis = ag_check_axis(tape, "concat", axis, shape);
    draft d;
    if (axis < 0 || !concat_shape(tape, xs, n, axis, &shape)) return ag_inert(tape);
    if (!draft_begin(&d, tape, shape, DISJOINT | COVERS, n)) return ag_inert(tape);
    int64_t stride[AG_MAX_RANK] = {0}, at = 0;
    ag_row_major(shape.rank, shape.dim, stride);
    for (int k = 0; k < n; k++) {
        d.where[k].offset = at * stride[axis];
        memcpy(d.where[k].stride, stride, sizeof stride);
        at += ag_shape_of(xs[k]).dim[axis];
    }
    ag_var result = ag_apply(&assemble_operation, xs, n, d.params, assembly_size(n));
    draft_end(&d, tape);
    return result;
}

/* The shape of n parts along a new axis; false, with the tape in error, if there is none. */
static bool stack_shape(ag_tape *tape, const ag_var *xs, int n, int *axis, ag_shape *result) {
    ag_shape part = ag_shape_of(xs[0]);
    if (part.rank >= AG_MAX_RANK) {
        ag_fail(tape, AG_ERR_SHAPE, "stack: operands of shape %s would make a result of more than %d axes",
                ag_show_shape(part).text, AG_MAX_RANK);
        return false;
    }
    result->rank = part.rank + 1;
    if (*axis < -result->rank || *axis >= result->rank) {
        ag_fail(tape, AG_ERR_VALUE, "stack: a new axis %d for operands of shape %s is outside %d..%d", *axis,
                ag_show_shape(part).text, -result->rank, part.rank);
        return false;
    }
    if (*axis < 0) *axis += result->rank;
    for (int i = 0; i < result->rank; i++) result->dim[i] = i == *axis ? n : part.dim[i < *axis ? i : i - 1];
    for (int k = 1; k < n; k++) {
        ag_shape s = ag_shape_of(xs[k]);
        bool fits = s.rank == part.rank && memcmp(s.dim, part.dim, (size_t)s.rank * sizeof *s.dim) == 0;
        if (!fits) {
            ag_fail(tape, AG_ERR_SHAPE, "stack: operand %d has shape %s, operand 0 has %s", k, ag_show_shape(s).text,
                    ag_show_shape(part).text);
            return false;
        }
    }
    int64_t count;
    return ag_checked_count(tape, "stack", *result, &count);
}

ag_var ag_stack(const ag_var *xs, int n, int axis) {
    ag_tape *tape = ag_find_tape(xs, n);
    if (tape == NULL) return ag_inert(NULL);
    for (int k = 0; k < n; k++)
        if (!ag_usable_on(tape, xs[k], "stack")) return ag_inert(tape);
    ag_shape shape = {.rank = 0};
    draft d;
    if (!stack_shape(tape, xs, n, &axis, &shape)) return ag_inert(tape);
    if (!draft_begin(&d, tape, shape, DISJOINT | COVERS, n)) return ag_inert(tape);
    int64_t stride[AG_MAX_RANK] = {0}, of_part[AG_MAX_RANK] = {0};
    ag_row_major(shape.rank, shape.dim, stride);
    for (int i = 0; i + 1 < shape.rank; i++) of_part[i] = stride[i < axis ? i : i + 1];
    for (int k = 0; k < n; k++) {
        d.where[k].offset = k * stride[axis];
        memcpy(d.where[k].stride, of_part, sizeof of_part);
    }
    ag_var result = ag_apply(&assemble_operation, xs, n, d.params, assembly_size(n));
    draft_end(&d, tape);
    return result;
}

ag_var ag_pad(ag_var x, int axis, int64_t before, int64_t after) {
    if (ag_tape_of(x) == NULL) return ag_inert(NULL);
    if (!ag_usable(x, "pad")) return ag_inert(ag_tape_of(x));
    ag_shape shape = ag_shape_of(x);
    axis = ag_check_axis(ag_tape_of(x), "pad", axis, shape);
    if (axis < 0) return ag_inert(ag_tape_of(x));
    if (before < 0 || after < 0 || !grow(&shape.dim[axis], before) || !grow(&shape.dim[axis], after)) {
        ag_fail(ag_tape_of(x), AG_ERR_VALUE, "pad: %lld and %lld more along axis %d of shape %s", (long long)before,
                (long long)after, axis, ag_show_shape(ag_shape_of(x)).text);
        return ag_inert(ag_tape_of(x));
    }
    int64_t count;
    if (!ag_checked_count(ag_tape_of(x), "pad", shape, &count)) return ag_inert(ag_tape_of(x));
    ag_placement where = {.offset = 0};
    ag_row_major(shape.rank, shape.dim, where.stride);
    where.offset = before * where.stride[axis];
    return assemble(ag_tape_of(x), shape, &x, &where, 1, before + after == 0 ? DISJOINT | COVERS : DISJOINT);
}

/* A copy of a view with a new axis of stride 0. The axes on either side are merged, so that there is room for one. */
ag_var ag_tile(ag_var x, int axis, int64_t times) {
    if (ag_tape_of(x) == NULL) return ag_inert(NULL);
    if (!ag_usable(x, "tile")) return ag_inert(ag_tape_of(x));
    ag_shape shape = ag_shape_of(x);
    axis = ag_check_axis(ag_tape_of(x), "tile", axis, shape);
    if (axis < 0) return ag_inert(ag_tape_of(x));
    if (times < 0) {
        ag_fail(ag_tape_of(x), AG_ERR_VALUE, "tile: %lld times along axis %d of shape %s", (long long)times, axis,
                ag_show_shape(shape).text);
        return ag_inert(ag_tape_of(x));
    }
    int64_t outer = ag_count_dims(shape.dim, 0, axis), rest = ag_count_dims(shape.dim, axis, shape.rank), length, count;
    ag_shape whole = shape;
    if (!ag_multiply_sizes(shape.dim[axis], times, &length)) {
        ag_fail(ag_tape_of(x), AG_ERR_SLOTS, "tile: %lld times along axis %d of shape %s is too long", (long long)times,
                axis, ag_show_shape(shape).text);
        return ag_inert(ag_tape_of(x));
    }
    whole.dim[axis] = length;
    if (!ag_checked_count(ag_tape_of(x), "tile", whole, &count)) return ag_inert(ag_tape_of(x));
    ag_var copies = ag_expand(ag_reshape(x, AG_SHAPE(outer, 1, rest)), AG_SHAPE(outer, times, rest));
    return ag_reshape(copies, whole);
}

/* ---- triangles ---- */

typedef struct triangle {
    int64_t k; /* from diagonal k downwards, or upwards */
    int64_t upper;
} triangle;

static bool triangle_shape(ag_call *call) {
    const triangle *p = call->params;
    call->shape = ag_dims_of(call->in[0].view);
    if (call->shape.rank >= 2) return true;
    ag_fail(call->tape, AG_ERR_SHAPE, "%s: shape %s is not a matrix", p->upper ? "triu" : "tril",
            ag_show_shape(call->shape).text);
    return false;
}

/* The kept columns first..last-1 of row i. */
static void kept_columns(const triangle *p, int64_t i, int64_t columns, int64_t *first, int64_t *last) {
    int64_t at = i + p->k + (p->upper ? 0 : 1);
    at = at < 0 ? 0 : at > columns ? columns : at;
    *first = p->upper ? at : 0;
    *last = p->upper ? columns : at;
}

static bool triangle_forward(const ag_call *call) {
    const ag_view *view = call->out.view;
    int64_t rows = view->dim[view->rank - 2], columns = view->dim[view->rank - 1], first, last;
    size_t size = ag_type_size(call->type);
    memset(call->out.data, 0, (size_t)view->count * size);
    for (int64_t row = 0; columns > 0 && row < view->count / columns; row++) {
        kept_columns(call->params, row % rows, columns, &first, &last);
        int64_t at = row * columns + first;
        memcpy(ag_element(call->type, call->out.data, at), ag_element(call->type, call->in[0].data, at),
               (size_t)(last - first) * size);
    }
    return true;
}

static bool triangle_adjoint(const ag_call *call) {
    const ag_view *view = call->out.view;
    const ag_kernels *kernels = ag_kernels_for(call->type);
    int64_t rows = view->dim[view->rank - 2], columns = view->dim[view->rank - 1], first, last;
    for (int64_t row = 0; columns > 0 && row < view->count / columns; row++) {
        kept_columns(call->params, row % rows, columns, &first, &last);
        int64_t at = row * columns + first;
        kernels->add_to((size_t)(last - first), ag_element(call->type, call->in_adjoint[0].data, at),
                        ag_element(call->type, call->out_adjoint.data, at));
    }
    return true;
}

static ag_var triangle_again(const ag_rule *rule, ag_var x) {
    const triangle *p = rule->params;
    return p->upper ? ag_triu(x, p->k) : ag_tril(x, p->k);
}

static ag_var triangle_tangent(const ag_rule *rule, const ag_var *tangents) {
    return triangle_again(rule, tangents[0]);
}

static void triangle_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[0] = triangle_again(rule, w);
}

static void triangle_scalars(const ag_elements *e) {
    int64_t rows = e->shape.dim[e->shape.rank - 2], columns = e->shape.dim[e->shape.rank - 1], first, last;
    int64_t count = ag_count_dims(e->shape.dim, 0, e->shape.rank);
    for (int64_t i = 0; i < count; i++) {
        kept_columns(e->params, i / columns % rows, columns, &first, &last);
        e->out[i] = i % columns >= first && i % columns < last ? e->in[0][i] : ag_num(0);
    }
}

static bool triangle_c_form(const ag_c_form *f) {
    const triangle *p = f->params;
    const ag_view *v = f->views[0];
    ag_c_text x = ag_c_index_of(v);
    ag_c_open_all(f, v->dim, v->rank);
    ag_c_line(f, "%s[%s] = %s - %s %s %lld ? %s[%s] : 0;", f->out, x.text, ag_c_loop(v->rank - 1),
              ag_c_loop(v->rank - 2), p->upper ? ">=" : "<=", (long long)p->k, f->in[0], x.text);
    ag_c_close(f, v->rank);
    return true;
}

static bool triangle_valid(const ag_call *call, int64_t upper) {
    const triangle *p = call->params;
    const int64_t far = INT64_MAX / 2;
    return call->params_size == sizeof *p && p->k >= -far && p->k <= far && p->upper == upper;
}
static bool tril_valid(const ag_call *call) { return triangle_valid(call, 0); }
static bool triu_valid(const ag_call *call) { return triangle_valid(call, 1); }

static const ag_operation tril_operation = {
    .name = "tril",
    .shape = triangle_shape,
    .forward = triangle_forward,
    .adjoint = triangle_adjoint,
    .tangent = triangle_tangent,
    .record = triangle_record,
    .scalars = triangle_scalars,
    .c_form = triangle_c_form,
    .valid = tril_valid,
};
const ag_operation *const ag_builtin_tril = &tril_operation;
static const ag_operation triu_operation = {
    .name = "triu",
    .shape = triangle_shape,
    .forward = triangle_forward,
    .adjoint = triangle_adjoint,
    .tangent = triangle_tangent,
    .record = triangle_record,
    .scalars = triangle_scalars,
    .c_form = triangle_c_form,
    .valid = triu_valid,
};
const ag_operation *const ag_builtin_triu = &triu_operation;

static ag_var apply_triangle(ag_var x, int64_t k, bool upper) {
    /* beyond a matrix' corners every k is the same */
    const int64_t far = INT64_MAX / 2;
    triangle params = {k < -far ? -far : k > far ? far : k, upper};
    return ag_apply(upper ? &triu_operation : &tril_operation, &x, 1, &params, sizeof params);
}

ag_var ag_tril(ag_var x, int64_t k) { return apply_triangle(x, k, false); }
ag_var ag_triu(ag_var x, int64_t k) { return apply_triangle(x, k, true); }
