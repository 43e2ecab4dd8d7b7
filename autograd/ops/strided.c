/* Loops over strided tensors: copies, sums, broadcasts and transposes of any views, and small helpers on shapes. */
#include "ops_impl.h"

/* The dims of one call, brought into a form with fewer cases: no dim of length 1, dims merged where both operands allow
 * it, strides of the destination not negative and descending. Dims that are summed over (a destination stride of 0)
 * come last, from the outermost in the source to the innermost. */
typedef struct strided_loop {
    int rank, kept; /* the dims from `kept` on are summed over */
    int64_t dim[AG_MAX_RANK], to[AG_MAX_RANK], from[AG_MAX_RANK];
    int64_t to_start, from_start; /* element with index 0, 0, ... after strides changed sign */
} strided_loop;

static int64_t magnitude(int64_t n) { return n < 0 ? -n : n; }

/* Whether a dim with strides (to, from) belongs outside one with strides (to2, from2). */
static bool is_outer(int64_t to, int64_t from, int64_t to2, int64_t from2) {
    return to != to2 ? to > to2 : magnitude(from) > magnitude(from2);
}

static void insert_dim(strided_loop *l, int64_t dim, int64_t to, int64_t from) {
    if (to < 0 || (to == 0 && from < 0)) {
        l->to_start += to * (dim - 1);
        l->from_start += from * (dim - 1);
        to = -to;
        from = -from;
    }
    int i = l->rank++;
    for (; i > 0 && is_outer(to, from, l->to[i - 1], l->from[i - 1]); i--) {
        l->dim[i] = l->dim[i - 1];
        l->to[i] = l->to[i - 1];
        l->from[i] = l->from[i - 1];
    }
    l->dim[i] = dim;
    l->to[i] = to;
    l->from[i] = from;
}

/* False if there is nothing to do. */
static bool make_loop(strided_loop *l, int rank, const int64_t *dim, const int64_t *to, const int64_t *from) {
    l->rank = l->kept = 0;
    l->to_start = l->from_start = 0;
    for (int i = 0; i < rank; i++) {
        if (dim[i] <= 0) return false;
        if (dim[i] > 1) insert_dim(l, dim[i], to[i], from[i]);
    }
    int n = 0; /* merged dims */
    for (int i = 0; i < l->rank; i++) {
        if (n > 0 && l->to[n - 1] == l->to[i] * l->dim[i] && l->from[n - 1] == l->from[i] * l->dim[i]) {
            l->dim[n - 1] *= l->dim[i];
        } else {
            l->dim[n] = l->dim[i];
            n++;
        }
        l->to[n - 1] = l->to[i];
        l->from[n - 1] = l->from[i];
    }
    l->rank = n;
    while (l->kept < n && l->to[l->kept] != 0) l->kept++;
    return true;
}

/* The dim of from..to-1 along which the source moves least, but moves; -1 if there is none. */
static int find_finest(const strided_loop *l, int from, int to) {
    int best = -1;
    for (int i = from; i < to; i++)
        if (l->from[i] != 0 && (best < 0 || magnitude(l->from[i]) <= magnitude(l->from[best]))) best = i;
    return best;
}

/* Moves dim i to place j and those between by one. */
static void move_dim(strided_loop *l, int i, int j) {
    int step = i < j ? 1 : -1;
    int64_t dim = l->dim[i], to = l->to[i], from = l->from[i];
    for (; i != j; i += step) {
        l->dim[i] = l->dim[i + step];
        l->to[i] = l->to[i + step];
        l->from[i] = l->from[i + step];
    }
    l->dim[j] = dim;
    l->to[j] = to;
    l->from[j] = from;
}

/* A position in dims 0..n-1. */
typedef struct odometer {
    int64_t index[AG_MAX_RANK], to, from;
} odometer;

/* To the next position; false after the last one. */
static inline bool advance(odometer *o, const strided_loop *l, int n) {
    for (int i = n - 1; i >= 0; i--) {
        o->to += l->to[i];
        o->from += l->from[i];
        if (++o->index[i] < l->dim[i]) return true;
        o->to -= l->to[i] * l->dim[i];
        o->from -= l->from[i] * l->dim[i];
        o->index[i] = 0;
    }
    return false;
}

/* Columns that are summed at a time; rows that are added up before a sum goes to the next level; levels (the last one
 * grows after 64^3 rows); numbers that are added up one by one. */
enum { COLUMNS = 256, ROWS = 64, LEVELS = 4, SHORT = 16 };

#define T double
#define TYPE AG_F64
#define ID(name) name##_f64
#include "strided.inc"
#undef T
#undef TYPE
#undef ID

#define T float
#define TYPE AG_F32
#define ID(name) name##_f32
#include "strided.inc"

void ag_strided_add(ag_type type, int rank, const int64_t *dim, void *dst, const int64_t *dst_stride, const void *src,
                    const int64_t *src_stride) {
    strided_loop l;
    if (!make_loop(&l, rank, dim, dst_stride, src_stride)) return;
    if (type == AG_F64) add_f64(&l, (double *)dst + l.to_start, (const double *)src + l.from_start);
    else add_f32(&l, (float *)dst + l.to_start, (const float *)src + l.from_start);
}

void ag_strided_copy(ag_type type, int rank, const int64_t *dim, void *dst, const int64_t *dst_stride, const void *src,
                     const int64_t *src_stride) {
    strided_loop l;
    if (!make_loop(&l, rank, dim, dst_stride, src_stride)) return;
    if (type == AG_F64) map_f64(&l, (double *)dst + l.to_start, (const double *)src + l.from_start, false);
    else map_f32(&l, (float *)dst + l.to_start, (const float *)src + l.from_start, false);
}

/* ---- shapes ---- */

void ag_row_major(int rank, const int64_t *dim, int64_t *stride) {
    int64_t s = 1;
    for (int i = 0; i < rank; i++) s = dim[i] == 0 ? 0 : s; /* of nothing: the other dims' product may overflow */
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = s;
        s *= s ? dim[i] : 0;
    }
}

int ag_check_axis(ag_tape *tape, const char *what, int axis, ag_shape shape) {
    if (axis >= -shape.rank && axis < shape.rank) return axis < 0 ? axis + shape.rank : axis;
    ag_fail(tape, AG_ERR_SHAPE, "%s: axis %d of a tensor of shape %s, which has %d axes", what, axis,
            ag_show_shape(shape).text, shape.rank);
    return -1;
}

ag_shape_text ag_show_shape(ag_shape shape) {
    ag_shape_text shown;
    size_t used = 1, room = sizeof shown.text;
    if (shape.rank < 0 || shape.rank > AG_MAX_RANK) {
        snprintf(shown.text, room, "(rank %d)", shape.rank);
        return shown;
    }
    shown.text[0] = '(';
    for (int i = 0; i < shape.rank; i++)
        used += (size_t)snprintf(shown.text + used, room - used, "%s%lld", i == 0 ? "" : ", ", (long long)shape.dim[i]);
    snprintf(shown.text + used, room - used, ")");
    return shown;
}

ag_shape_text ag_show_view(const ag_view *view) {
    ag_shape shape = {.rank = view->rank};
    for (int i = 0; i < view->rank; i++) shape.dim[i] = view->dim[i];
    return ag_show_shape(shape);
}

bool ag_multiply_sizes(int64_t n, int64_t m, int64_t *out) {
    if (n < 0 || m < 0) return false;
    if ((n | m) >> 31 == 0) { /* without the division */
        *out = n * m;
        return true;
    }
    if (n > 0 && m > INT64_MAX / n) return false;
    *out = n * m;
    return true;
}

bool ag_shape_count(ag_shape shape, int64_t *count) {
    int64_t reach = 1;
    bool empty = false, good = shape.rank >= 0 && shape.rank <= AG_MAX_RANK;
    for (int i = 0; good && i < shape.rank; i++) {
        empty |= shape.dim[i] == 0;
        good = ag_multiply_sizes(reach, shape.dim[i] == 0 ? 1 : shape.dim[i], &reach);
    }
    *count = empty ? 0 : reach;
    return good;
}
