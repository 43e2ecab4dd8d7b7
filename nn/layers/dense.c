/* The dense layer. */
#include "nn/layers/parts.h"

#include <inttypes.h>
#include <math.h>

nn_dense nn_dense_init(nn_model *model, const char *name, int64_t inputs, int64_t outputs, nn_dense_options options) {
    nn_dense layer = {ag_num(0), ag_num(0)};
    layer.weight = nn_part(model, name, ".weight", AG_SHAPE(outputs, inputs), options.initial, options.gain);
    if (options.no_bias) return layer;
    bool zeros = options.initial != NN_DEFAULT;
    double limit = inputs > 0 ? 1 / sqrt((double)inputs) : 1;
    layer.bias = nn_part(model, name, ".bias", AG_SHAPE(outputs), zeros ? NN_ZEROS : NN_UNIFORM, limit);
    return layer;
}

ag_var nn_dense_apply(nn_dense layer, ag_var x) { return nn_dense_added(layer, x, ag_num(0)); }

static bool fits(nn_dense layer, ag_var x) {
    ag_shape shape = ag_shape_of(x), weight = ag_shape_of(layer.weight);
    if (ag_tape_of(x) == NULL || ag_is_inert(x) || ag_is_inert(layer.weight)) return true;
    if (weight.rank != 2) {
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "dense: the weight has shape %s, not (outputs, inputs)",
                nn_show_shape(weight).text);
        return false;
    }
    if (shape.rank == 0 || shape.dim[shape.rank - 1] != weight.dim[1]) {
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE,
                "dense: x has shape %s, its last dimension is not %" PRId64 " as in the weight, %s",
                nn_show_shape(shape).text, weight.dim[1], nn_show_shape(weight).text);
        return false;
    }
    return true;
}

ag_var nn_dense_added(nn_dense layer, ag_var x, ag_var residual) {
    return fits(layer, x) ? ag_linear(x, layer.weight, layer.bias, residual) : nn_inert(x);
}

ag_var nn_dense_activated(nn_dense layer, ag_var x, nn_activation activation) {
    static const struct {
        nn_activation activation;
        ag_opcode f;
    } fused[] = {{NN_RELU, AG_RELU}, {NN_TANH, AG_TANH}, {NN_SIGMOID, AG_SIGMOID},    {NN_SILU, AG_SILU},
                 {NN_GELU, AG_GELU}, {NN_MISH, AG_MISH}, {NN_GELU_TANH, AG_GELU_TANH}};
    for (size_t i = 0; i < sizeof fused / sizeof *fused; i++)
        if (fused[i].activation == activation)
            return fits(layer, x) ? ag_linear_activated(x, layer.weight, layer.bias, fused[i].f) : nn_inert(x);
    return nn_activate(activation, nn_dense_apply(layer, x));
}
