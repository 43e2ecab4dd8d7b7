/* Layers that normalise channels: x of shape (n, channels, ...). */
#include "nn/layers/parts.h"

#include <inttypes.h>
#include <math.h>

/* All axes but the second. */
static ag_axes others(ag_var x) {
    ag_axes axes = {0, {0}};
    for (int i = 0; i < ag_shape_of(x).rank; i++)
        if (i != 1) axes.axis[axes.count++] = i;
    return axes;
}

/* A vector, one number a channel, as it broadcasts to x. */
static ag_var along_channels(ag_var vector, ag_var x) {
    ag_shape shape = ag_shape_of(x);
    for (int i = 0; i < shape.rank; i++) shape.dim[i] = i == 1 ? -1 : 1;
    return ag_reshape(vector, shape);
}

/* x weight + bias, which may be the number 0. */
static ag_var affine(ag_var x, ag_var weight, ag_var bias) {
    if (!ag_is_zero(weight)) x = ag_mul(x, along_channels(weight, x));
    return ag_is_zero(bias) ? x : ag_add(x, along_channels(bias, x));
}

static bool fits(const char *what, int64_t channels, ag_var x) {
    if (ag_tape_of(x) == NULL || ag_is_inert(x)) return false;
    ag_shape shape = ag_shape_of(x);
    if (shape.rank >= 2 && shape.dim[1] == channels) return true;
    ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "%s: x has shape %s, not (n, %" PRId64 ", ...)", what,
            nn_show_shape(shape).text, channels);
    return false;
}

/* ---- over the batch ---------------------------------------------------------------------------------------------- */

/* Others make NaN of what is right, in evaluation without a word. */
static bool check_numbers(nn_model *model, const char *name, const nn_batch_norm *layer) {
    if (!nn_check_epsilon(model, "batch_norm", name, layer->epsilon)) return false;
    if (layer->momentum >= 0 && layer->momentum <= 1) return true;
    ag_fail(nn_model_tape(model), AG_ERR_VALUE, "batch_norm %.80s: a momentum of %g, not 0 to 1",
            name == NULL ? "" : name, layer->momentum);
    return false;
}

nn_batch_norm nn_batch_norm_init(nn_model *model, const char *name, int64_t channels, nn_batch_norm_options options) {
    nn_batch_norm layer = {.model = model,
                           .epsilon = options.epsilon != 0 ? options.epsilon : 1e-5,
                           .momentum = options.momentum != 0 ? options.momentum : 0.1,
                           .cumulative = options.cumulative,
                           .channels = channels};
    const ag_shape shape = AG_SHAPE(channels), scalar = {0, {0}};
    if (model == NULL || !check_numbers(model, name, &layer)) return layer;
    if (!options.no_affine) {
        layer.weight = nn_part(model, name, ".weight", shape, NN_ONES, 1);
        layer.bias = nn_part(model, name, ".bias", shape, NN_ZEROS, 1);
    }
    if (options.no_statistics) return layer;
    layer.mean = nn_part_buffer(model, name, ".running_mean", shape, NN_ZEROS);
    layer.variance = nn_part_buffer(model, name, ".running_var", shape, NN_ONES);
    layer.batches = nn_part_buffer(model, name, ".num_batches_tracked", scalar, NN_ZEROS);
    return layer;
}

/* A running statistic moves towards one of the batch. */
static void update(nn_batch_norm layer, ag_var running, ag_var batch, ag_var momentum) {
    ag_var before = nn_buffer_latest(layer.model, running);
    batch = ag_reshape(batch, AG_SHAPE(-1));
    nn_model_update(layer.model, running, ag_fma(momentum, ag_sub(batch, before), before));
}

static void update_statistics(nn_batch_norm layer, ag_var x) {
    double count = (double)(ag_count(x) / layer.channels);
    ag_var mean = ag_mean_over(x, others(x), true);
    ag_var variance = ag_mean_over(ag_square(ag_sub(x, mean)), others(x), true);
    ag_var batches = ag_add(nn_buffer_latest(layer.model, layer.batches), 1);
    ag_var momentum = layer.cumulative ? ag_div(1, batches) : ag_num(layer.momentum);
    update(layer, layer.mean, mean, momentum);
    update(layer, layer.variance, ag_mul(variance, count / (count - 1)), momentum);
    nn_model_update(layer.model, layer.batches, batches);
}

ag_var nn_batch_norm_apply(nn_batch_norm layer, ag_var x) {
    bool tracks = !ag_is_zero(layer.mean), training = nn_model_training(layer.model);
    if (layer.model == NULL || ag_is_inert(layer.mean) || !fits("batch_norm", layer.channels, x)) return nn_inert(x);
    if (tracks && !training) {
        ag_var scale = ag_div(1, ag_sqrt(ag_add(layer.variance, layer.epsilon)));
        if (!ag_is_zero(layer.weight)) scale = ag_mul(scale, layer.weight);
        return affine(ag_sub(x, along_channels(layer.mean, x)), scale, layer.bias);
    }
    if (ag_count(x) / layer.channels < 2) {
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE,
                "batch_norm: x has shape %s, fewer than two numbers a channel, which have no variance",
                nn_show_shape(ag_shape_of(x)).text);
        return nn_inert(x);
    }
    if (tracks) update_statistics(layer, x);
    return ag_batch_norm(x, layer.weight, layer.bias, layer.epsilon);
}

/* ---- over groups ------------------------------------------------------------------------------------------------- */

nn_group_norm nn_group_norm_init(nn_model *model, const char *name, int64_t groups, int64_t channels,
                                 nn_norm_options options) {
    nn_group_norm layer = {.groups = groups, .epsilon = options.epsilon != 0 ? options.epsilon : 1e-5};
    if (model == NULL || !nn_check_epsilon(model, "group_norm", name, layer.epsilon)) return layer;
    if (groups < 1 || channels % groups != 0) {
        ag_fail(nn_model_tape(model), AG_ERR_VALUE, "group_norm %.80s: %" PRId64 " channels in %" PRId64 " groups",
                name == NULL ? "" : name, channels, groups);
        return layer;
    }
    layer.weight = nn_part(model, name, ".weight", AG_SHAPE(channels), NN_ONES, 1);
    if (!options.no_bias) layer.bias = nn_part(model, name, ".bias", AG_SHAPE(channels), NN_ZEROS, 1);
    return layer;
}

ag_var nn_group_norm_apply(nn_group_norm layer, ag_var x) {
    if (ag_tape_of(layer.weight) == NULL || ag_is_inert(layer.weight) || !fits("group_norm", ag_count(layer.weight), x))
        return nn_inert(x);
    ag_shape shape = ag_shape_of(x);
    ag_var groups = ag_reshape(x, AG_SHAPE(shape.dim[0], layer.groups, -1));
    ag_var standard = ag_layer_norm(groups, 1, ag_num(0), ag_num(0), layer.epsilon);
    return affine(ag_reshape(standard, shape), layer.weight, layer.bias);
}
