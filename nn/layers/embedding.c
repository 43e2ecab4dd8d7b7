/* Rows of a table. */
#include "nn/layers/parts.h"

#include <inttypes.h>
#include <string.h>

static void clear_padding(nn_embedding *layer, const char *name) {
    ag_var weight = layer->weight;
    if (ag_tape_of(weight) == NULL || ag_is_inert(weight)) return;
    ag_shape shape = ag_shape_of(weight);
    if (layer->padding < 0 || layer->padding >= shape.dim[0]) {
        ag_fail(ag_tape_of(weight), AG_ERR_VALUE, "embedding %.80s: row %" PRId64 " of %" PRId64 " is to be padding",
                name, layer->padding, shape.dim[0]);
        layer->weight = nn_inert(weight);
        return;
    }
    size_t bytes = (size_t)shape.dim[1] * (ag_tape_type(ag_tape_of(weight)) == AG_F64 ? sizeof(double) : sizeof(float));
    memset((char *)ag_data(weight) + (size_t)layer->padding * bytes, 0, bytes);
}

nn_embedding nn_embedding_init(nn_model *model, const char *name, int64_t count, int64_t width,
                               nn_embedding_options options) {
    nn_initial initial = options.initial == NN_DEFAULT ? NN_GAUSSIAN : options.initial;
    nn_embedding layer = {.pad = options.pad, .padding = options.padding};
    layer.weight = nn_part(model, name, ".weight", AG_SHAPE(count, width), initial, options.gain);
    if (layer.pad) clear_padding(&layer, name);
    return layer;
}

/* Where `padded` is not 0, rows (of its shape, and one axis more) are without derivative. */
static ag_var stop_padding(ag_var rows, ag_var padded) {
    return ag_select(ag_unsqueeze(padded, -1), ag_detach(rows), rows);
}

/* 1 where an index is the padding. */
static ag_var find_padding(nn_embedding layer, const int64_t *indices, int64_t count) {
    ag_var padded = ag_zeros(ag_tape_of(layer.weight), AG_SHAPE(count));
    void *to = ag_data(padded);
    for (int64_t i = 0; to != NULL && i < count; i++) {
        if (ag_tape_type(ag_tape_of(padded)) == AG_F64) ((double *)to)[i] = indices[i] == layer.padding;
        else ((float *)to)[i] = indices[i] == layer.padding;
    }
    return padded;
}

/* shape + (width of the table) */
static ag_shape rows_shape(ag_var weight, ag_shape shape) {
    ag_shape table = ag_shape_of(weight);
    shape.dim[shape.rank++] = table.dim[1];
    return shape;
}

ag_var nn_embedding_apply(nn_embedding layer, const int64_t *indices, ag_shape shape) {
    int64_t count = 1;
    if (ag_tape_of(layer.weight) == NULL || ag_is_inert(layer.weight)) return layer.weight;
    for (int i = 0; i < shape.rank && i < AG_MAX_RANK; i++) count *= shape.dim[i] < 0 ? 0 : shape.dim[i];
    if (shape.rank < 0 || shape.rank >= AG_MAX_RANK) {
        ag_fail(ag_tape_of(layer.weight), AG_ERR_SHAPE, "embedding: indices of rank %d, not 0 to %d", shape.rank,
                AG_MAX_RANK - 1);
        return nn_inert(layer.weight);
    }
    ag_var rows = ag_gather(layer.weight, 0, indices, count);
    if (layer.pad && !ag_is_inert(rows)) rows = stop_padding(rows, find_padding(layer, indices, count));
    return ag_reshape(rows, rows_shape(layer.weight, shape));
}

ag_var nn_embedding_at(nn_embedding layer, ag_var indices) {
    ag_var rows = ag_gather_at(layer.weight, 0, indices);
    return layer.pad && !ag_is_inert(rows) ? stop_padding(rows, ag_eq(indices, (double)layer.padding)) : rows;
}
