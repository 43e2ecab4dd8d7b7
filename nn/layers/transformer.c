/* The transformer block of GPT-2. */
#include "nn/layers/parts.h"
#include "nn/memory.h"

static nn_layer_norm norm_init(nn_model *model, const char *name, const char *suffix, int64_t width,
                               const nn_block_options *options) {
    nn_layer_norm layer = {ag_num(0), ag_num(0), 0};
    char *full = nn_join_names(model, name, suffix);
    if (full != NULL)
        layer = nn_layer_norm_init(model, full, width, (nn_norm_options){.no_bias = options->rms || options->no_bias});
    nn_release(full);
    return layer;
}

static nn_dense dense_init(nn_model *model, const char *name, const char *suffix, int64_t inputs, int64_t outputs,
                           const nn_block_options *options) {
    nn_dense layer = {ag_num(0), ag_num(0)};
    char *full = nn_join_names(model, name, suffix);
    if (full != NULL)
        layer = nn_dense_init(model, full, inputs, outputs,
                              (nn_dense_options){options->no_bias, options->initial, options->gain});
    nn_release(full);
    return layer;
}

nn_block nn_block_init(nn_model *model, const char *name, int64_t width, int64_t heads, nn_block_options options) {
    nn_block layer;
    memset(&layer, 0, sizeof layer);
    layer.activation = options.activation == NN_IDENTITY ? NN_GELU : options.activation;
    layer.rms = options.rms;
    int64_t hidden = options.hidden != 0 ? options.hidden : 4 * width;
    layer.norm1 = norm_init(model, name, ".ln_1", width, &options);
    char *attention = nn_join_names(model, name, ".attn");
    if (attention != NULL)
        layer.attention = nn_attention_init(model, attention, width, heads,
                                            (nn_attention_options){.no_bias = options.no_bias,
                                                                   .causal = !options.bidirectional,
                                                                   .rotary = options.rotary,
                                                                   .rotary_base = options.rotary_base,
                                                                   .dropout = options.dropout,
                                                                   .gpt_names = true,
                                                                   .initial = options.initial,
                                                                   .gain = options.gain});
    nn_release(attention);
    layer.dropout1 = nn_part_dropout(model, name, ".attn.resid_dropout", options.dropout);
    layer.dropout2 = nn_part_dropout(model, name, ".mlp.dropout", options.dropout);
    layer.norm2 = norm_init(model, name, ".ln_2", width, &options);
    layer.expand = dense_init(model, name, ".mlp.c_fc", width, hidden, &options);
    layer.contract = dense_init(model, name, ".mlp.c_proj", hidden, width, &options);
    return layer;
}

static ag_var normalise(const nn_block *layer, nn_layer_norm norm, ag_var x) {
    return layer->rms ? nn_rms_norm_apply((nn_rms_norm){norm.weight, norm.epsilon}, x) : nn_layer_norm_apply(norm, x);
}

ag_var nn_block_apply(const nn_block *layer, ag_var x, ag_var keep) {
    if (layer == NULL) {
        ag_fail(ag_tape_of(x), AG_ERR_VALUE, "block: the layer is NULL");
        return nn_inert(x);
    }
    bool drops = nn_drops(layer->dropout1);
    ag_var none = ag_num(0), seen = normalise(layer, layer->norm1, x);
    seen = nn_attention_added(layer->attention, seen, keep, drops ? none : x);
    x = drops ? ag_add(x, nn_dropout_apply(layer->dropout1, seen)) : seen;
    ag_var hidden =
        nn_dense_activated(layer->expand, normalise(layer, layer->norm2, x), (nn_activation)layer->activation);
    drops = nn_drops(layer->dropout2);
    hidden = nn_dense_added(layer->contract, hidden, drops ? none : x);
    return drops ? ag_add(x, nn_dropout_apply(layer->dropout2, hidden)) : hidden;
}
