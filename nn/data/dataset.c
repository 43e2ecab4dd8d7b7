/* Data sets: samples of arrays, and parts of them. */
#include "nn/data/data_impl.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

nn_dataset nn_dataset_of(const nn_array *arrays, int count, nn_error *e) {
    nn_dataset set = {.field_count = count};
    char text[NN_SHAPE_TEXT], subject[32];
    if (!nn_ok(e)) return (nn_dataset){0};
    if (count < 1 || count > NN_MAX_FIELDS)
        nn_fail(e, AG_ERR_VALUE, "data set: %d arrays, not 1 to %d", count, (int)NN_MAX_FIELDS);
    (void)nn_given(arrays, "data set: the array of arrays", e);
    for (int i = 0; nn_ok(e) && i < count; i++) {
        const nn_array *a = &arrays[i];
        struct nn_field *f = &set.fields[i];
        (void)snprintf(subject, sizeof subject, "data set: array %d", i);
        if (!nn_check_array(a, subject, e)) break;
        if (a->data == NULL || a->shape.rank < 1) {
            nn_fail(e, AG_ERR_SHAPE, "data set: array %d has no rows", i);
        } else if (a->shape.dim[0] != arrays[0].shape.dim[0]) {
            nn_fail(e, AG_ERR_SHAPE, "data set: array %d of shape %s has not %" PRId64 " rows, as array 0 has", i,
                    nn_shape_words(a->shape, text), arrays[0].shape.dim[0]);
        } else {
            *f = (struct nn_field){a->type, {.rank = a->shape.rank - 1}, a->data, 0};
            memcpy(f->shape.dim, a->shape.dim + 1, (size_t)f->shape.rank * sizeof *f->shape.dim);
            f->stride = nn_elements(f->shape, 1) * (int64_t)nn_type_size(a->type);
        }
    }
    if (nn_ok(e) && arrays[0].shape.dim[0] == 0) nn_fail(e, AG_ERR_VALUE, "data set: there are no samples");
    if (!nn_ok(e)) return (nn_dataset){0};
    set.count = arrays[0].shape.dim[0];
    return set;
}

nn_dataset nn_dataset_windows(const nn_array *tokens, int64_t length, int64_t step, nn_error *e) {
    nn_dataset set = {.field_count = 2};
    if (!nn_given(tokens, "windows: the array of tokens", e) || !nn_check_array(tokens, "windows", e))
        return (nn_dataset){0};
    int64_t n = tokens->shape.rank == 1 && tokens->data != NULL ? tokens->shape.dim[0] : 0;
    if (tokens->data == NULL || tokens->shape.rank != 1)
        nn_fail(e, AG_ERR_SHAPE, "windows: the tokens are not a vector");
    else if (length < 1 || step < 1)
        nn_fail(e, AG_ERR_VALUE, "windows: length %" PRId64 ", step %" PRId64, length, step);
    else if (n <= length)
        nn_fail(e, AG_ERR_VALUE, "windows: %" PRId64 " tokens are too few for length %" PRId64 " and the one after it",
                n, length);
    if (!nn_ok(e)) return (nn_dataset){0};
    int64_t size = (int64_t)nn_type_size(tokens->type);
    set.count = (n - 1 - length) / step + 1;
    for (int i = 0; i < 2; i++)
        set.fields[i] = (struct nn_field){
            tokens->type, {1, {length}}, (const char *)tokens->data + i * size, set.count > 1 ? step * size : 0};
    return set;
}

void nn_dataset_free(nn_dataset *set) {
    if (set == NULL) return;
    nn_release(set->rows);
    *set = (nn_dataset){0};
}

/* The same fields, room for so many rows. */
static nn_dataset part_of(const nn_dataset *set, int64_t count, nn_error *e) {
    nn_dataset part = *set;
    part.count = count;
    part.rows = nn_take((size_t)count, sizeof *part.rows, "data set", e);
    return part;
}

void nn_dataset_split(const nn_dataset *set, double fraction, uint64_t seed, nn_dataset *part, nn_dataset *others,
                      nn_error *e) {
    if (part != NULL) *part = (nn_dataset){0};
    if (others != NULL) *others = (nn_dataset){0};
    if (!nn_given(set, "split: the data set", e) || !nn_given(part, "split: a part", e) ||
        !nn_given(others, "split: a part", e))
        return;
    int64_t n = set->count, in = fraction >= 0 && fraction <= 1 ? (int64_t)nearbyint(fraction * (double)n) : 0;
    if (in < 1 || in >= n) {
        nn_fail(e, AG_ERR_VALUE, "split: a fraction of %g of %" PRId64 " samples leaves a part empty", fraction, n);
        return;
    }
    *part = part_of(set, in, e);
    *others = part_of(set, n - in, e);
    if (nn_ok(e)) {
        int64_t p = 0, o = 0;
        for (int64_t i = 0; i < n; i++)
            if (nn_shuffled(i, n, seed) < in) part->rows[p++] = nn_row(set, i);
            else others->rows[o++] = nn_row(set, i);
    } else {
        nn_dataset_free(part);
        nn_dataset_free(others);
    }
}

nn_dataset nn_dataset_slice(const nn_dataset *set, int64_t first, int64_t count, nn_error *e) {
    if (!nn_given(set, "slice: the data set", e)) return (nn_dataset){0};
    if (first < 0 || count < 1 || first > set->count || count > set->count - first) {
        nn_fail(e, AG_ERR_VALUE, "slice: %" PRId64 " samples from %" PRId64 " on, of %" PRId64, count, first,
                set->count);
        return (nn_dataset){0};
    }
    nn_dataset part = part_of(set, count, e);
    if (!nn_ok(e)) return (nn_dataset){0};
    for (int64_t i = 0; i < count; i++) part.rows[i] = nn_row(set, first + i);
    return part;
}
