/* Scaled dot-product attention of several heads. */
#include "nn/layers/parts.h"

#include <inttypes.h>
#include <math.h>

nn_attention nn_attention_init(nn_model *model, const char *name, int64_t width, int64_t heads,
                               nn_attention_options options) {
    nn_attention layer = {.heads = heads, .causal = options.causal};
    if (options.rotary) layer.rotary_base = options.rotary_base != 0 ? options.rotary_base : 10000;
    if (model == NULL) return layer;
    if (heads < 1 || width % heads != 0 || (options.rotary && width / heads % 2 != 0)) {
        ag_fail(nn_model_tape(model), AG_ERR_VALUE, "attention %.80s: %" PRId64 " heads of a width of %" PRId64 "%s",
                name == NULL ? "" : name, heads, width, options.rotary ? ", rotary" : "");
        return layer;
    }
    if (options.rotary && !(layer.rotary_base > 0 && layer.rotary_base < INFINITY)) {
        ag_fail(nn_model_tape(model), AG_ERR_VALUE, "attention %.80s: a rotary base of %g, not above 0",
                name == NULL ? "" : name, layer.rotary_base);
        return layer;
    }
    layer.dropout = nn_part_dropout(model, name, ".dropout", options.dropout);
    nn_initial out = options.initial, in = out == NN_DEFAULT && !options.gpt_names ? NN_GLOROT_UNIFORM : out;
    const char *const *names =
        options.gpt_names
            ? (const char *const[]){".c_attn.weight", ".c_attn.bias", ".c_proj.weight", ".c_proj.bias"}
            : (const char *const[]){".in_proj_weight", ".in_proj_bias", ".out_proj.weight", ".out_proj.bias"};
    layer.in.weight = nn_part(model, name, names[0], AG_SHAPE(3 * width, width), in, options.gain);
    if (!options.no_bias) layer.in.bias = nn_part(model, name, names[1], AG_SHAPE(3 * width), NN_ZEROS, 1);
    layer.out.weight = nn_part(model, name, names[2], AG_SHAPE(width, width), out, options.gain);
    if (!options.no_bias) layer.out.bias = nn_part(model, name, names[3], AG_SHAPE(width), NN_ZEROS, 1);
    return layer;
}

/* x (batch, positions, heads * width of one) as (batch, positions, heads, width of one): a view. */
static ag_var split_heads(ag_var x, int64_t heads) {
    ag_shape s = ag_shape_of(x);
    return ag_reshape(x, AG_SHAPE(s.dim[0], s.dim[1], heads, s.dim[2] / heads));
}

/* Element i of the first half and of the second are a pair, turned by position * base^(-2 i / width). */
static ag_var rotate(ag_var x, double base) {
    ag_shape s = ag_shape_of(x);
    int64_t half = s.dim[3] / 2;
    ag_var speeds = ag_exp(ag_arange(ag_tape_of(x), 0, -log(base) / (double)half, half));
    ag_var angles = ag_unsqueeze(ag_outer(ag_arange(ag_tape_of(x), 0, 1, s.dim[1]), speeds), 1);
    ag_var cosine = ag_cos(angles), sine = ag_sin(angles);
    ag_var a = ag_slice(x, 3, 0, half, 1), b = ag_slice(x, 3, half, AG_END, 1);
    ag_var turned[] = {ag_fnma(b, sine, ag_mul(a, cosine)), ag_fma(a, sine, ag_mul(b, cosine))};
    return ag_concat(turned, 2, 3);
}

/* Scores (batch, heads, queries, keys) with -infinity where a query must not look. */
static ag_var mask(nn_attention layer, ag_var scores, ag_var keep) {
    ag_shape s = ag_shape_of(scores);
    if (layer.causal) {
        ag_var future = ag_triu(ag_full(ag_tape_of(scores), -INFINITY, AG_SHAPE(s.dim[2], s.dim[3])), 1);
        scores = ag_add(scores, future);
    }
    if (ag_is_zero(keep)) return scores;
    return ag_select(ag_reshape(keep, AG_SHAPE(s.dim[0], 1, 1, s.dim[3])), scores, -INFINITY);
}

/* The same where weights are dropped, which the operation does not do. */
static ag_var attend_by_parts(nn_attention layer, ag_var q, ag_var k, ag_var v, ag_var keep) {
    ag_axes order = AG_AXES(0, 2, 1, 3);
    q = ag_mul(ag_permute(q, order), 1 / sqrt((double)ag_shape_of(q).dim[3]));
    ag_var weights = ag_softmax(mask(layer, ag_matmul(q, ag_transpose(ag_permute(k, order))), keep), 3);
    return ag_permute(ag_matmul(nn_dropout_apply(layer.dropout, weights), ag_permute(v, order)), order);
}

/* q, k, v of shape (batch, positions, width), maybe views. */
static ag_var attend(nn_attention layer, ag_var q, ag_var k, ag_var v, ag_var keep, ag_var residual) {
    ag_shape shape = ag_shape_of(q);
    q = split_heads(q, layer.heads);
    k = split_heads(k, layer.heads);
    v = split_heads(v, layer.heads);
    if (layer.rotary_base != 0) {
        q = rotate(q, layer.rotary_base);
        k = rotate(k, layer.rotary_base);
    }
    ag_var heads = nn_drops(layer.dropout)
                       ? attend_by_parts(layer, q, k, v, keep)
                       : ag_attention(q, k, v, (ag_attention_options){.causal = layer.causal, .keep = keep});
    return nn_dense_added(layer.out, ag_reshape(heads, shape), residual);
}

static bool fits(nn_attention layer, const char *what, ag_var x, int64_t batch) {
    if (ag_tape_of(x) == NULL || ag_is_inert(x) || ag_is_inert(layer.in.weight)) return false;
    ag_shape s = ag_shape_of(x), weight = ag_shape_of(layer.in.weight);
    if (s.rank == 3 && (batch < 0 || s.dim[0] == batch) && s.dim[2] == weight.dim[1]) return true;
    ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "attention: %s has shape %s, not (%s, positions, %" PRId64 ")", what,
            nn_show_shape(s).text, batch < 0 ? "batch" : "batch of x", weight.dim[1]);
    return false;
}

static bool fits_keep(ag_var keep, ag_var keys) {
    if (ag_is_zero(keep)) return true;
    ag_shape s = ag_shape_of(keep), k = ag_shape_of(keys);
    k.rank = 2;
    if (nn_same_shape(s, k)) return true;
    ag_fail(ag_tape_of(keys), AG_ERR_SHAPE, "attention: `keep` has shape %s, not %s", nn_show_shape(s).text,
            nn_show_shape(k).text);
    return false;
}

/* Part i of n of the last axis. */
static ag_var part_of(ag_var x, int64_t width, int64_t i) { return ag_slice(x, -1, i * width, (i + 1) * width, 1); }

ag_var nn_attention_apply(nn_attention layer, ag_var x, ag_var keep) {
    return nn_attention_added(layer, x, keep, ag_num(0));
}

ag_var nn_attention_added(nn_attention layer, ag_var x, ag_var keep, ag_var residual) {
    if (!fits(layer, "x", x, -1) || !fits_keep(keep, x)) return nn_inert(x);
    int64_t width = ag_shape_of(x).dim[2];
    ag_var all = nn_dense_apply(layer.in, x);
    return attend(layer, part_of(all, width, 0), part_of(all, width, 1), part_of(all, width, 2), keep, residual);
}

/* Rows `from`.. `to` of a dense layer. */
static nn_dense rows(nn_dense layer, int64_t from, int64_t to) {
    nn_dense part = {ag_slice(layer.weight, 0, from, to, 1), layer.bias};
    if (!ag_is_zero(layer.bias)) part.bias = ag_slice(layer.bias, 0, from, to, 1);
    return part;
}

ag_var nn_attention_apply_to(nn_attention layer, ag_var x, ag_var memory, ag_var keep) {
    if (!fits(layer, "x", x, -1)) return nn_inert(x);
    ag_shape s = ag_shape_of(x);
    int64_t width = s.dim[2];
    if (!fits(layer, "memory", memory, s.dim[0]) || !fits_keep(keep, memory)) return nn_inert(x);
    ag_var q = nn_dense_apply(rows(layer.in, 0, width), x),
           both = nn_dense_apply(rows(layer.in, width, 3 * width), memory);
    return attend(layer, q, part_of(both, width, 0), part_of(both, width, 1), keep, ag_num(0));
}
