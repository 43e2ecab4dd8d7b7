/* Rows of a table. */
#include "nn/layers/parts.h"

nn_embedding nn_embedding_init(nn_model *model, const char *name, int64_t count, int64_t width,
                               nn_embedding_options options) {
    nn_initial initial = options.initial == NN_DEFAULT ? NN_GAUSSIAN : options.initial;
    return (nn_embedding){nn_part(model, name, ".weight", AG_SHAPE(count, width), initial, options.gain)};
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
    return ag_reshape(ag_gather(layer.weight, 0, indices, count), rows_shape(layer.weight, shape));
}

ag_var nn_embedding_at(nn_embedding layer, ag_var indices) { return ag_gather_at(layer.weight, 0, indices); }
