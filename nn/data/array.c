/* Arrays, and tables of what their types are. */
#include "nn/data/data_impl.h"
#include "nn/shapes.h"

#include <inttypes.h>
#include <string.h>

typedef struct type_row {
    const char *name, *npy;
    size_t size;
    char kind;
} type_row;

static const type_row types[] = {
#define X(name, bytes, kind, npy, safetensors) {safetensors, npy, bytes, kind},
    NN_TYPES(X)
#undef X
};
enum { TYPES = sizeof types / sizeof *types };

static bool known(nn_type type) { return (unsigned)type < TYPES; }
size_t nn_type_size(nn_type type) { return known(type) ? types[type].size : 0; }
const char *nn_type_name(nn_type type) { return known(type) ? types[type].name : NULL; }
char nn_type_kind(nn_type type) { return types[type].kind; }
const char *nn_type_npy(nn_type type) { return types[type].npy; }

bool nn_type_of_npy(const char name[2], nn_type *type) {
    for (int i = 0; i < TYPES; i++)
        if (types[i].npy != NULL && memcmp(types[i].npy, name, 2) == 0) {
            *type = (nn_type)i;
            return true;
        }
    return false;
}

bool nn_type_of_safetensors(const char *name, nn_type *type) {
    for (int i = 0; i < TYPES; i++)
        if (strcmp(types[i].name, name) == 0) {
            *type = (nn_type)i;
            return true;
        }
    return false;
}

int64_t nn_elements(ag_shape shape, size_t size) {
    int64_t count = 1, most = INT64_MAX / (int64_t)(size > 0 ? size : 1);
    bool empty = false;
    if (shape.rank < 0 || shape.rank > AG_MAX_RANK) return -1;
    for (int i = 0; i < shape.rank; i++) { /* a 0 does not excuse the other dimensions */
        int64_t n = shape.dim[i];
        if (n < 0) return -1;
        if (n == 0) empty = true;
        else if (count > most / n) return -1;
        else count *= n;
    }
    return empty ? 0 : count;
}

const char *nn_shape_words(ag_shape shape, char text[NN_SHAPE_TEXT]) {
    if (shape.rank > AG_MAX_RANK) shape.rank = AG_MAX_RANK;
    (void)snprintf(text, NN_SHAPE_TEXT, "%s", nn_show_shape(shape).text);
    return text;
}

bool nn_check_array(const nn_array *array, const char *subject, nn_error *e) {
    char text[NN_SHAPE_TEXT];
    int rank = array->shape.rank;
    if (!known(array->type)) nn_fail(e, AG_ERR_VALUE, "%.200s: no type %d", subject, (int)array->type);
    else if (rank < 0 || rank > AG_MAX_RANK)
        nn_fail(e, AG_ERR_SHAPE, "%.200s: %d dimensions, not 0 to %d", subject, rank, AG_MAX_RANK);
    else if (nn_elements(array->shape, nn_type_size(array->type)) < 0)
        nn_fail(e, AG_ERR_SHAPE, "%.200s: no shape %s", subject, nn_shape_words(array->shape, text));
    return nn_ok(e);
}

nn_array nn_array_new(nn_type type, ag_shape shape, nn_error *e) {
    nn_array array = {type, shape, NULL};
    if (nn_ok(e) && nn_check_array(&array, "array", e))
        array.data = nn_take((size_t)nn_elements(shape, nn_type_size(type)), nn_type_size(type), "array", e);
    return nn_ok(e) ? array : (nn_array){.type = NN_F32};
}

nn_array nn_array_of_bytes(const char *name, nn_type type, ag_shape shape, size_t bytes, nn_error *e) {
    size_t width = nn_type_size(type);
    int64_t count = nn_elements(shape, width);
    char text[NN_SHAPE_TEXT];
    if (count < 0 || (uint64_t)count > bytes / width || (size_t)count * width != bytes)
        nn_fail(e, AG_ERR_VALUE, "%.200s: an array of shape %s, %zu bytes a number, does not have %zu bytes", name,
                nn_shape_words(shape, text), width, bytes);
    return nn_array_new(type, shape, e);
}

void nn_array_free(nn_array *array) {
    if (array == NULL) return;
    nn_release(array->data);
    *array = (nn_array){.type = NN_F32};
}

int64_t nn_array_count(const nn_array *array) {
    return array == NULL || array->data == NULL ? 0 : nn_elements(array->shape, nn_type_size(array->type));
}

void nn_arrays_free(nn_arrays *arrays) {
    if (arrays == NULL) return;
    for (int64_t i = 0; i < arrays->count; i++) {
        if (arrays->names != NULL) nn_release(arrays->names[i]);
        if (arrays->arrays != NULL) nn_array_free(&arrays->arrays[i]);
    }
    nn_release(arrays->names);
    nn_release(arrays->arrays);
    *arrays = (nn_arrays){0};
}

const nn_array *nn_arrays_find(const nn_arrays *arrays, const char *name) {
    for (int64_t i = 0; arrays != NULL && name != NULL && i < arrays->count; i++)
        if (strcmp(arrays->names[i], name) == 0) return &arrays->arrays[i];
    return NULL;
}

void nn_swap_bytes(void *data, int64_t count, size_t size) {
    uint8_t *at = data;
    for (int64_t i = 0; size > 1 && i < count; i++, at += size)
        for (size_t k = 0; k < size / 2; k++) {
            uint8_t byte = at[k];
            at[k] = at[size - 1 - k];
            at[size - 1 - k] = byte;
        }
}
