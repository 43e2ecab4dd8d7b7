/* Convolution. */
#include "nn/layers/parts.h"

#include <inttypes.h>
#include <math.h>

static bool is_transposed(nn_conv_kind kind) { return kind == NN_CONV_TRANSPOSE1D || kind == NN_CONV_TRANSPOSE2D; }

static bool is_plane(nn_conv_kind kind) { return kind == NN_CONV2D || kind == NN_CONV_TRANSPOSE2D; }

/* What a layer cannot be applied with, whatever the images are. */
static bool check_options(nn_model *model, nn_conv_kind kind, const char *name, const nn_conv_options *o) {
    for (int i = 0; i < (is_plane(kind) ? 2 : 1); i++) {
        int64_t stride = o->stride[i] != 0 ? o->stride[i] : 1;
        const struct {
            const char *what;
            int64_t value, most;
        } all[] = {{"stride", o->stride[i], INT64_MAX},
                   {"padding", o->padding[i], INT64_MAX},
                   {"dilation", o->dilation[i], INT64_MAX},
                   {"output padding", o->output_padding[i], is_transposed(kind) ? stride - 1 : 0}};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            if (all[k].value >= 0 && all[k].value <= all[k].most) continue;
            const char *why = all[k].value < 0      ? "negative"
                              : is_transposed(kind) ? "not less than the stride"
                                                    : "but the convolution is not transposed";
            ag_fail(nn_model_tape(model), AG_ERR_VALUE, "convolution %.80s: the %s %d is %" PRId64 ", %s",
                    name == NULL ? "" : name, all[k].what, i, all[k].value, why);
            return false;
        }
    }
    return true;
}

nn_conv nn_conv_init(nn_model *model, nn_conv_kind kind, const char *name, int64_t channels, int64_t filters,
                     int64_t rows, int64_t columns, nn_conv_options options) {
    nn_conv layer = {.kind = kind};
    int64_t groups = options.groups != 0 ? options.groups : 1;
    if (model == NULL) return layer;
    if (kind < NN_CONV1D || kind > NN_CONV_TRANSPOSE2D || groups < 1 || channels % groups != 0 ||
        filters % groups != 0) {
        ag_fail(nn_model_tape(model), AG_ERR_VALUE,
                "convolution %.80s: %" PRId64 " channels, %" PRId64 " filters in %" PRId64 " groups, kind %d",
                name == NULL ? "" : name, channels, filters, groups, (int)kind);
        return layer;
    }
    if (!check_options(model, kind, name, &options)) return layer;
    for (int i = 0; i < 2; i++) {
        layer.options.stride[i] = options.stride[i];
        layer.options.padding[i] = options.padding[i];
        layer.options.dilation[i] = options.dilation[i];
        layer.options.output_padding[i] = options.output_padding[i];
    }
    layer.options.groups = groups;
    bool plane = is_plane(kind), transposed = is_transposed(kind);
    ag_shape shape =
        AG_SHAPE(transposed ? channels : filters, (transposed ? filters : channels) / groups, rows, columns);
    if (!plane) shape.rank = 3;
    double in = (double)shape.dim[1] * (double)rows * (plane ? (double)columns : 1), limit = in > 0 ? 1 / sqrt(in) : 1;
    bool zeros = options.initial != NN_DEFAULT;
    layer.weight = nn_part(model, name, ".weight", shape, options.initial, options.gain);
    if (!options.no_bias)
        layer.bias = nn_part(model, name, ".bias", AG_SHAPE(filters), zeros ? NN_ZEROS : NN_UNIFORM, limit);
    return layer;
}

ag_var nn_conv_apply(nn_conv layer, ag_var x) {
    layer.options.bias = layer.bias;
    switch (layer.kind) {
    case NN_CONV1D: return ag_conv1d(x, layer.weight, layer.options);
    case NN_CONV2D: return ag_conv2d(x, layer.weight, layer.options);
    case NN_CONV_TRANSPOSE1D: return ag_conv_transpose1d(x, layer.weight, layer.options);
    case NN_CONV_TRANSPOSE2D: return ag_conv_transpose2d(x, layer.weight, layer.options);
    }
    return nn_inert(x);
}
