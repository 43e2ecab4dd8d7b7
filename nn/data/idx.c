/* IDX, the format of MNIST (LeCun, Cortes, Burges): 0, 0, type, rank, dimensions and numbers, all big-endian. */
#include "nn/data/data_impl.h"

#include <string.h>

static bool type_of(uint8_t code, nn_type *type) {
    switch (code) {
    case 0x08: *type = NN_U8; return true;
    case 0x09: *type = NN_I8; return true;
    case 0x0b: *type = NN_I16; return true;
    case 0x0c: *type = NN_I32; return true;
    case 0x0d: *type = NN_F32; return true;
    case 0x0e: *type = NN_F64; return true;
    default: return false;
    }
}

nn_array nn_idx_parse(const char *name, const uint8_t *bytes, size_t size, nn_error *e) {
    nn_array array = {.type = NN_F32};
    ag_shape shape = {0};
    nn_type type = NN_F32;
    if (!nn_ok(e)) return array;
    if (size < 4 || bytes[0] != 0 || bytes[1] != 0)
        nn_fail(e, AG_ERR_VALUE, "%.200s: not an IDX file: it begins with neither 0, 0 nor what gzip writes", name);
    else if (!type_of(bytes[2], &type))
        nn_fail(e, AG_ERR_VALUE, "%.200s: byte 2: there is no type 0x%02x", name, bytes[2]);
    else if (bytes[3] > AG_MAX_RANK)
        nn_fail(e, AG_ERR_VALUE, "%.200s: byte 3: %d dimensions, more than %d", name, bytes[3], AG_MAX_RANK);
    else if (size < 4 + 4 * (size_t)bytes[3])
        nn_fail(e, AG_ERR_VALUE, "%.200s: %zu bytes do not hold %d dimensions", name, size, bytes[3]);
    if (!nn_ok(e)) return array;
    shape.rank = bytes[3];
    for (int i = 0; i < shape.rank; i++)
        for (int k = 0; k < 4; k++) shape.dim[i] = shape.dim[i] << 8 | bytes[4 + 4 * i + k];
    size_t width = nn_type_size(type), head = 4 + 4 * (size_t)shape.rank, left = size - head;
    array = nn_array_of_bytes(name, type, shape, left, e);
    if (array.data == NULL) return array;
    memcpy(array.data, bytes + head, left);
    if (!nn_big_endian()) nn_swap_bytes(array.data, nn_array_count(&array), width);
    return array;
}

nn_array nn_idx_read(const char *path, nn_error *e) {
    nn_content content = nn_content_read(path, e);
    nn_array array = nn_idx_parse(path, content.bytes, content.size, e);
    nn_content_free(&content);
    return array;
}
