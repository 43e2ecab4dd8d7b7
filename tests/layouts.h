/* For tests of operations: views of a leaf that lie in memory in every way. */
#ifndef LAYOUTS_H
#define LAYOUTS_H

#include "derivatives.h"

typedef enum layout { ROW_MAJOR, REVERSED_AXES, EVERY_SECOND, FLIPPED, EXPANDED_FIRST, EXPANDED_LAST, LAYOUTS } layout;

static UNUSED_OK const char *layout_name(layout l) {
    static const char *const name[LAYOUTS] = {"row-major", "reversed axes",  "every second",
                                              "flipped",   "first expanded", "last expanded"};
    return name[l];
}

/* The shape of the leaf for a view of this shape. */
static UNUSED_OK ag_shape layout_leaf_shape(layout l, ag_shape s) {
    ag_shape leaf = s;
    for (int i = 0; i < s.rank; i++) {
        if (l == REVERSED_AXES) leaf.dim[i] = s.dim[s.rank - 1 - i];
        if (l == EVERY_SECOND) leaf.dim[i] = 2 * s.dim[i];
        if ((l == EXPANDED_FIRST && i == 0) || (l == EXPANDED_LAST && i == s.rank - 1)) leaf.dim[i] = 1;
    }
    return leaf;
}

/* The view of shape s. */
static UNUSED_OK ag_var layout_view(layout l, ag_var leaf, ag_shape s) {
    ag_axes order = {.count = s.rank};
    switch (l) {
    case REVERSED_AXES:
        for (int i = 0; i < s.rank; i++) order.axis[i] = s.rank - 1 - i;
        return ag_permute(leaf, order);
    case EVERY_SECOND:
        for (int i = 0; i < s.rank; i++) leaf = ag_slice(leaf, i, 1, AG_END, 2);
        return leaf;
    case FLIPPED:
        for (int i = 0; i < s.rank; i++) leaf = ag_flip(leaf, i);
        return leaf;
    case EXPANDED_FIRST:
    case EXPANDED_LAST: return ag_expand(leaf, s);
    default: return leaf;
    }
}

static UNUSED_OK double *values_of(ag_var x) {
    double *values = new_numbers(ag_count(x));
    ag_read(x, values);
    return values;
}

/* From a row-major position to one index an axis, and back. */
static UNUSED_OK void position_to_index(int64_t at, ag_shape s, int64_t *index) {
    for (int i = s.rank - 1; i >= 0; i--) {
        index[i] = at % s.dim[i];
        at /= s.dim[i];
    }
}

static UNUSED_OK int64_t index_to_position(const int64_t *index, ag_shape s) {
    int64_t at = 0;
    for (int i = 0; i < s.rank; i++) at = at * s.dim[i] + index[i];
    return at;
}

/* NaN and -NaN are equal, other numbers as they are: what a tape of this type can tell. */
static UNUSED_OK double tolerance_of(ag_type type) { return type == AG_F64 ? 1e-12 : 2e-5; }

#endif
