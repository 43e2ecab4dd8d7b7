/* Layers that normalise the last axis. */
#include "nn/layers/parts.h"

#include <inttypes.h>

static double epsilon_of(nn_norm_options options) { return options.epsilon != 0 ? options.epsilon : 1e-5; }

/* Whether the last axis of x is as long as the weight. */
static bool fits(const char *what, ag_var weight, ag_var x) {
    if (ag_tape_of(x) == NULL || ag_is_inert(x) || ag_is_inert(weight)) return false;
    ag_shape shape = ag_shape_of(x);
    if (shape.rank > 0 && shape.dim[shape.rank - 1] == ag_count(weight)) return true;
    ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "%s: x has shape %s, its last dimension is not %" PRId64, what,
            nn_show_shape(shape).text, ag_count(weight));
    return false;
}

nn_layer_norm nn_layer_norm_init(nn_model *model, const char *name, int64_t width, nn_norm_options options) {
    nn_layer_norm layer = {ag_num(0), ag_num(0), epsilon_of(options)};
    if (!nn_check_epsilon(model, "layer_norm", name, layer.epsilon)) return layer;
    layer.weight = nn_part(model, name, ".weight", AG_SHAPE(width), NN_ONES, 1);
    if (!options.no_bias) layer.bias = nn_part(model, name, ".bias", AG_SHAPE(width), NN_ZEROS, 1);
    return layer;
}

ag_var nn_layer_norm_apply(nn_layer_norm layer, ag_var x) {
    if (!fits("layer_norm", layer.weight, x)) return nn_inert(x);
    return ag_layer_norm(x, 1, layer.weight, layer.bias, layer.epsilon);
}

nn_rms_norm nn_rms_norm_init(nn_model *model, const char *name, int64_t width, nn_norm_options options) {
    nn_rms_norm layer = {ag_num(0), epsilon_of(options)};
    if (!nn_check_epsilon(model, "rms_norm", name, layer.epsilon)) return layer;
    layer.weight = nn_part(model, name, ".weight", AG_SHAPE(width), NN_ONES, 1);
    return layer;
}

ag_var nn_rms_norm_apply(nn_rms_norm layer, ag_var x) {
    if (!fits("rms_norm", layer.weight, x)) return nn_inert(x);
    return ag_rms_norm(x, 1, layer.weight, layer.epsilon);
}
