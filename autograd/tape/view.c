/* Views: shapes with strides, each kept once per tape and named by a number, and the operations that make them. */
#include "../support/hash_impl.h"
#include "tape_impl.h"

struct ag_interned {
    ag_view view;                     /* first: `views` points here */
    int64_t key[1 + 2 * AG_MAX_RANK]; /* rank and constant, dims, strides */
    uint32_t id;
    UT_hash_handle hh;
};

static void set_extent(ag_view *v) {
    v->count = 1;
    for (int i = 0; i < v->rank; i++)
        if (v->dim[i] == 0) v->count = 0;
    for (int i = 0; i < v->rank; i++) v->count *= v->count ? v->dim[i] : 1;
    v->contiguous = true;
    if (v->count == 0) return;
    int64_t stride = 1;
    for (int i = v->rank - 1; i >= 0; i--) {
        int64_t reach = (v->dim[i] - 1) * v->stride[i];
        if (reach < 0) v->lo += reach;
        else v->hi += reach;
        v->contiguous &= v->dim[i] == 1 || v->stride[i] == stride;
        stride *= v->dim[i];
    }
}

static const ag_interned *interned_at(const ag_tape *t, uint32_t id) {
    return (const ag_interned *)(const void *)ag_view_at(t, id);
}

/* Adds a new view under the next number; VIEW_INERT after an error. */
static uint32_t add_view(ag_tape *t, const ag_interned *wanted, size_t key_size) {
    ag_memory *memory = &t->memory;
    uint32_t id = t->view_count;
    if (id >= VIEW_INERT) {
        ag_fail(t, AG_ERR_SLOTS, "view: a tape has at most %d different views (shapes with strides)", VIEW_INERT);
        return VIEW_INERT;
    }
    ag_interned *v = NULL;
    if (ag_range_grow(memory, &t->views, (id + (size_t)1) * sizeof v, VIEW_INERT * sizeof v))
        v = ag_memory_resize(memory, NULL, 0, sizeof *v);
    if (!v) {
        ag_out_of_memory(t, "view", sizeof *v);
        return VIEW_INERT;
    }
    *v = *wanted;
    v->id = id;
    set_extent(&v->view);
    HASH_ADD_KEYPTR(hh, t->interned, v->key, key_size, v);
    if (!v->hh.tbl) {
        ag_memory_free(memory, v, sizeof *v);
        ag_out_of_memory(t, "view", sizeof *v);
        return VIEW_INERT;
    }
    ((const ag_view **)(void *)t->views.base)[id] = &v->view;
    t->view_count++;
    return id;
}

uint32_t ag_intern(ag_tape *t, int rank, const int64_t *dim, const int64_t *stride, bool constant) {
    if (rank == 0 && t->view_count > VIEW_CONSTANT) return constant ? VIEW_CONSTANT : VIEW_SCALAR;
    ag_interned wanted; /* only what is set below is read: this is on the path of every small tensor */
    wanted.view.rank = rank;
    wanted.view.constant = constant;
    wanted.view.lo = wanted.view.hi = 0;
    int64_t natural = 1; /* an axis of length 1 gets the stride that a row-major tensor would have */
    bool empty = false;  /* all strides are 0 then */
    for (int i = 0; i < rank; i++) empty |= dim[i] == 0;
    for (int i = rank - 1; i >= 0; i--) {
        wanted.view.dim[i] = dim[i];
        wanted.view.stride[i] = empty ? 0 : dim[i] == 1 ? natural : stride[i];
        if (!empty) natural = wanted.view.stride[i] * dim[i];
    }
    wanted.key[0] = rank | (constant ? 16 : 0);
    uint64_t mix = (uint64_t)wanted.key[0];
    for (int i = 0; i < rank; i++) {
        wanted.key[1 + i] = wanted.view.dim[i];
        wanted.key[1 + rank + i] = wanted.view.stride[i];
        mix = (mix * 31 + (uint64_t)wanted.view.dim[i]) * 31 + (uint64_t)wanted.view.stride[i];
    }
    size_t key_size = (size_t)(1 + 2 * rank) * sizeof wanted.key[0];
    uint32_t *recent = &t->recent_views[mix % RECENT_VIEWS];
    if (*recent < t->view_count && memcmp(interned_at(t, *recent)->key, wanted.key, key_size) == 0) return *recent;
    ag_interned *found = NULL;
    HASH_FIND(hh, t->interned, wanted.key, key_size, found);
    return *recent = found ? found->id : add_view(t, &wanted, key_size);
}

uint32_t ag_intern_shape(ag_tape *t, ag_shape shape, bool constant) {
    int64_t stride[AG_MAX_RANK];
    ag_row_major(shape.rank, shape.dim, stride);
    return ag_intern(t, shape.rank, shape.dim, stride, constant);
}

bool ag_open_views(ag_tape *t) {
    uint32_t scalar = ag_intern(t, 0, NULL, NULL, false), constant = ag_intern(t, 0, NULL, NULL, true);
    return scalar == VIEW_SCALAR && constant == VIEW_CONSTANT;
}

void ag_close_views(ag_tape *t) {
    ag_memory *memory = &t->memory;
    HASH_CLEAR(hh, t->interned);
    for (uint32_t i = 0; i < t->view_count; i++) {
        void *v = (void *)(uintptr_t)ag_view_at(t, i);
        ag_memory_free(memory, v, sizeof(ag_interned));
    }
    t->view_count = 0;
}

/* ---- operations ---- */

ag_shape ag_make_shape_(int rank, const int64_t *dim) {
    ag_shape s = {.rank = dim || rank < 0 ? rank : -rank};
    for (int i = 0; i < s.rank && i < AG_MAX_RANK; i++) s.dim[i] = dim[i];
    return s;
}

ag_axes ag_make_axes_(int count, const int *axis) {
    ag_axes a = {.count = axis || count < 0 ? count : -count};
    for (int i = 0; i < a.count && i < AG_MAX_RANK; i++) a.axis[i] = axis[i];
    return a;
}

/* An operand of a view operation: false if there is nothing to view (a number, or an error; *result is then the answer). */
static bool open_view(const char *what, ag_var x, ag_operand *o, const ag_view **v, ag_var *result) {
    *result = x;
    if (!ag_tape_of(x)) return false;
    if (ag_tape_of(x)->status != AG_OK || !ag_resolve(ag_tape_of(x), what, x, o)) {
        *result = ag_inert(ag_tape_of(x));
        return false;
    }
    *v = ag_view_at(ag_tape_of(x), o->view);
    return true;
}

static ag_var make_view(ag_tape *t, ag_operand o, int64_t offset, int rank, const int64_t *dim, const int64_t *stride) {
    bool constant = ag_is_constant_view(t, o.view);
    uint32_t id = ag_intern(t, rank, dim, stride, constant);
    if (id == VIEW_INERT) return ag_inert(t);
    uint32_t slot = (uint32_t)((int64_t)o.slot + offset);
    if (ag_view_at(t, id)->count == 0) slot = o.slot; /* nothing to point at */
    if (rank == 0 && o.view > VIEW_CONSTANT) {
        ag_base *base = ag_base_of(t, slot);
        if (base && !base->scalars) {
            base->scalars = 1;
            /* its adjoints count as set from now on */
            if (t->swept_top > base->start && base->epoch != t->epoch) {
                uint32_t end = base->start + base->count;
                if (end > t->swept_top) end = t->swept_top;
                memset(ag_adjoint_at(t, base->start), 0, (end - base->start) * ag_type_size(t->type));
            }
            base->epoch = t->epoch;
        }
    }
    return ag_var_of(t, slot, id);
}

ag_var ag_view_of(ag_var x, int64_t offset, ag_shape shape, const int64_t *stride) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("view", x, &o, &v, &result)) return result;
    return make_view(ag_tape_of(x), o, offset, shape.rank, shape.dim, stride);
}

/* Of the n views a run of the last axes lies side by side, and such rows make up everything. */
bool ag_views_tile(const ag_view *const *views, const int64_t *offset, int n, int64_t total) {
    const ag_view *v = views[0];
    int64_t run = 1, step;
    int i = v->rank - 1;
    uint32_t seen = 0;
    if (n < 2 || n > 32 || v->count == 0) return false;
    for (; i >= 0 && (v->dim[i] == 1 || v->stride[i] == run); i--) run *= v->dim[i];
    step = n * run;
    for (; i >= 0; i--) {
        if (v->dim[i] == 1) continue;
        if (v->stride[i] != step) return false;
        step *= v->dim[i];
    }
    for (int k = 0; k < n; k++) {
        bool fits = ag_same_shape(views[k], v) && offset[k] >= 0 && offset[k] % run == 0 && offset[k] / run < n;
        for (int j = 0; fits && j < v->rank; j++) fits = v->dim[j] == 1 || views[k]->stride[j] == v->stride[j];
        if (!fits) return false;
        seen |= 1u << offset[k] / run;
    }
    return step == total && seen == (n == 32 ? UINT32_MAX : (1u << n) - 1);
}

bool ag_is_column_major(ag_var x) {
    ag_operand o;
    if (!ag_tape_of(x) || !ag_resolve(ag_tape_of(x), "view", x, &o)) return false;
    const ag_view *v = ag_view_at(ag_tape_of(x), o.view);
    return v->rank == 2 && v->dim[0] > 1 && v->dim[1] > 1 && v->stride[0] == 1 && v->stride[1] == v->dim[0];
}

/* Strides that show a contiguous run of v's axes under other dims; false if a copy is needed. */
static bool reshaped_strides(const ag_view *v, ag_shape to, int64_t *stride) {
    int i = 0, j = 0;
    while (i < v->rank || j < to.rank) {
        if (i < v->rank && v->dim[i] == 1) {
            i++;
            continue;
        }
        if (j < to.rank && to.dim[j] == 1) {
            stride[j++] = 0;
            continue;
        }
        /* the shortest groups of axes with equal products */
        int i0 = i, j0 = j;
        int64_t from = v->dim[i++], onto = to.dim[j++];
        while (from != onto) {
            if (from < onto) from *= v->dim[i++];
            else onto *= to.dim[j++];
        }
        for (int k = i0; k + 1 < i; k++)
            if (v->stride[k] != v->stride[k + 1] * v->dim[k + 1]) return false;
        int64_t s = v->stride[i - 1];
        for (int k = j - 1; k >= j0; k--) {
            stride[k] = s;
            s *= to.dim[k];
        }
    }
    return true;
}

/* The number of elements if there were 1 along each axis of none. */
static bool count_but_zeros(ag_shape s, int64_t *count) {
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i] == 0) s.dim[i] = 1;
    return ag_shape_count(s, count);
}

/* What the dim that is 1 here has to be for all elements. Of none, (0, 4, 4) goes with (0, 16). */
static int64_t missing_dim(const ag_view *v, ag_shape shape) {
    int64_t count, all;
    if (!ag_shape_count(shape, &count)) return 1;
    if (count > 0) return v->count / count;
    bool fits = count_but_zeros(shape, &count) && count_but_zeros(ag_view_shape(v), &all) && all % count == 0;
    return fits ? all / count : 1;
}

/* The shape with its -1 replaced; false after an error. */
static bool complete_shape(ag_tape *t, const ag_view *v, ag_shape *shape) {
    ag_shape asked = *shape;
    int64_t count;
    for (int i = 0; i < shape->rank && i < AG_MAX_RANK; i++) {
        if (asked.dim[i] != -1) continue;
        shape->dim[i] = 1; /* a second -1 stays, and is no length */
        shape->dim[i] = missing_dim(v, *shape);
        break;
    }
    if (ag_shape_count(*shape, &count) && count == v->count) return true;
    ag_fail(t, AG_ERR_SHAPE, "reshape: shape %s of %lld elements does not fit %s", ag_show_view(v).text,
            (long long)v->count, ag_show_shape(asked).text);
    return false;
}

ag_var ag_reshape(ag_var x, ag_shape shape) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("reshape", x, &o, &v, &result)) return result;
    if (!complete_shape(ag_tape_of(x), v, &shape)) return ag_inert(ag_tape_of(x));
    int64_t stride[AG_MAX_RANK] = {0};
    if (v->contiguous) ag_row_major(shape.rank, shape.dim, stride);
    else if (!reshaped_strides(v, shape, stride)) return ag_reshape(ag_contiguous(x), shape);
    return make_view(ag_tape_of(x), o, 0, shape.rank, shape.dim, stride);
}

ag_var ag_permute(ag_var x, ag_axes order) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("permute", x, &o, &v, &result)) return result;
    int64_t dim[AG_MAX_RANK], stride[AG_MAX_RANK];
    unsigned seen = 0;
    for (int i = 0; i < v->rank && order.count == v->rank; i++) {
        int a = ag_check_axis(ag_tape_of(x), "permute", order.axis[i], ag_view_shape(v));
        if (a < 0) return ag_inert(ag_tape_of(x));
        seen |= 1u << a;
        dim[i] = v->dim[a];
        stride[i] = v->stride[a];
    }
    if (order.count != v->rank || seen != (1u << v->rank) - 1) {
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "permute: the %d axes given are not each axis of shape %s once",
                order.count, ag_show_view(v).text);
        return ag_inert(ag_tape_of(x));
    }
    return make_view(ag_tape_of(x), o, 0, v->rank, dim, stride);
}

ag_var ag_transpose(ag_var x) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("transpose", x, &o, &v, &result) || v->rank < 2) return result;
    ag_view w = *v;
    int a = v->rank - 2, b = v->rank - 1;
    w.dim[a] = v->dim[b], w.dim[b] = v->dim[a];
    w.stride[a] = v->stride[b], w.stride[b] = v->stride[a];
    return make_view(ag_tape_of(x), o, 0, w.rank, w.dim, w.stride);
}

static int64_t clamp(int64_t i, int64_t lo, int64_t hi) { return i < lo ? lo : i > hi ? hi : i; }

/* Python's slice: *start is the first position, the number of positions is returned. */
static int64_t slice_length(int64_t dim, int64_t *start, int64_t stop, int64_t step) {
    int64_t first = *start < 0 && *start != AG_END ? *start + dim : *start;
    int64_t last = stop == AG_END ? (step > 0 ? dim : -1) : stop < 0 ? stop + dim : stop;
    if (step > 0) {
        first = clamp(first, 0, dim), last = clamp(last, 0, dim);
        *start = first;
        return first < last ? (last - first - 1) / step + 1 : 0;
    }
    first = clamp(first, -1, dim - 1), last = clamp(last, -1, dim - 1);
    *start = first;
    return first > last ? (first - last - 1) / -step + 1 : 0;
}

static ag_var slice(const char *what, ag_var x, int axis, int64_t start, int64_t stop, int64_t step) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view(what, x, &o, &v, &result)) return result;
    axis = ag_check_axis(ag_tape_of(x), what, axis, ag_view_shape(v));
    if (axis < 0) return ag_inert(ag_tape_of(x));
    if (step == 0 || step < -INT64_MAX) {
        ag_fail(ag_tape_of(x), AG_ERR_VALUE, "slice: step %lld along axis %d of %s", (long long)step, axis,
                ag_show_view(v).text);
        return ag_inert(ag_tape_of(x));
    }
    ag_view w = *v;
    w.dim[axis] = slice_length(v->dim[axis], &start, stop, step);
    w.stride[axis] = w.dim[axis] > 1 ? v->stride[axis] * step : v->stride[axis];
    return make_view(ag_tape_of(x), o, w.dim[axis] ? start * v->stride[axis] : 0, w.rank, w.dim, w.stride);
}

static void remove_axis(ag_view *v, int axis) {
    v->rank--;
    for (int i = axis; i < v->rank; i++) v->dim[i] = v->dim[i + 1], v->stride[i] = v->stride[i + 1];
}

ag_var ag_index(ag_var x, int axis, int64_t i) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("index", x, &o, &v, &result)) return result;
    axis = ag_check_axis(ag_tape_of(x), "index", axis, ag_view_shape(v));
    if (axis < 0) return ag_inert(ag_tape_of(x));
    int64_t n = v->dim[axis];
    if (i < -n || i >= n) {
        ag_fail(ag_tape_of(x), AG_ERR_VALUE, "index: position %lld is outside axis %d of %s", (long long)i, axis,
                ag_show_view(v).text);
        return ag_inert(ag_tape_of(x));
    }
    ag_view w = *v;
    remove_axis(&w, axis);
    return make_view(ag_tape_of(x), o, (i < 0 ? i + n : i) * v->stride[axis], w.rank, w.dim, w.stride);
}

ag_var ag_at(ag_var x, int64_t i) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("at", x, &o, &v, &result)) return result;
    if (i < 0 || i >= v->count) {
        ag_fail(ag_tape_of(x), AG_ERR_VALUE, "at: element %lld of shape %s, which has %lld", (long long)i,
                ag_show_view(v).text, (long long)v->count);
        return ag_inert(ag_tape_of(x));
    }
    int64_t offset = 0;
    for (int k = v->rank - 1; k >= 0; k--) {
        offset += i % v->dim[k] * v->stride[k];
        i /= v->dim[k];
    }
    return make_view(ag_tape_of(x), o, offset, 0, NULL, NULL);
}

ag_var ag_expand(ag_var x, ag_shape shape) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("expand", x, &o, &v, &result)) return result;
    int64_t stride[AG_MAX_RANK] = {0}, count;
    bool fits = ag_shape_count(shape, &count) && shape.rank >= v->rank;
    int lead = fits ? shape.rank - v->rank : 0;
    for (int i = lead; fits && i < shape.rank; i++) {
        if (v->dim[i - lead] == shape.dim[i]) stride[i] = v->stride[i - lead];
        else fits = v->dim[i - lead] == 1;
    }
    if (!fits) {
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "expand: shape %s cannot be broadcast to %s", ag_show_view(v).text,
                ag_show_shape(shape).text);
        return ag_inert(ag_tape_of(x));
    }
    return make_view(ag_tape_of(x), o, 0, shape.rank, shape.dim, stride);
}

ag_var ag_squeeze(ag_var x, int axis) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("squeeze", x, &o, &v, &result)) return result;
    axis = ag_check_axis(ag_tape_of(x), "squeeze", axis, ag_view_shape(v));
    if (axis < 0) return ag_inert(ag_tape_of(x));
    if (v->dim[axis] != 1) {
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "squeeze: axis %d of shape %s has length %lld, not 1", axis,
                ag_show_view(v).text, (long long)v->dim[axis]);
        return ag_inert(ag_tape_of(x));
    }
    return ag_index(x, axis, 0);
}

ag_var ag_unsqueeze(ag_var x, int axis) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("unsqueeze", x, &o, &v, &result)) return result;
    int rank = v->rank + 1;
    if (rank > AG_MAX_RANK || axis < -rank || axis >= rank) {
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "unsqueeze: a new axis at %d of shape %s: there are at most %d axes", axis,
                ag_show_view(v).text, AG_MAX_RANK);
        return ag_inert(ag_tape_of(x));
    }
    if (axis < 0) axis += rank;
    ag_view w = *v;
    for (int i = rank - 1; i > axis; i--) w.dim[i] = v->dim[i - 1], w.stride[i] = v->stride[i - 1];
    w.dim[axis] = 1;
    w.stride[axis] = 0;
    return make_view(ag_tape_of(x), o, 0, rank, w.dim, w.stride);
}

ag_var ag_slice(ag_var x, int axis, int64_t start, int64_t stop, int64_t step) {
    return slice("slice", x, axis, start, stop, step);
}

ag_var ag_flip(ag_var x, int axis) { return slice("flip", x, axis, -1, AG_END, -1); }

ag_var ag_diagonal(ag_var x) {
    ag_operand o;
    const ag_view *v;
    ag_var result;
    if (!open_view("diagonal", x, &o, &v, &result)) return result;
    if (v->rank < 2) {
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "diagonal: shape %s is not a matrix", ag_show_view(v).text);
        return ag_inert(ag_tape_of(x));
    }
    ag_view w = *v;
    int a = v->rank - 2, b = v->rank - 1;
    w.rank = b;
    w.dim[a] = v->dim[a] < v->dim[b] ? v->dim[a] : v->dim[b];
    w.stride[a] = v->stride[a] + v->stride[b];
    return make_view(ag_tape_of(x), o, 0, w.rank, w.dim, w.stride);
}
