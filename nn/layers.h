/* nn/layers: functions with parameters of their own, and activations.
 *
 * A layer is a small struct by value. nn_X_init makes its parameters, whose names are PyTorch's after the layer's own name
 * and a dot, nn_X_apply records it. Options that are zero have their defaults, which are PyTorch's. A layer of one's own is
 * made of the same calls:
 *
 *     typedef struct gate { nn_dense open; ag_var scale; } gate;
 *     gate gate_init(nn_model *model, int64_t width) {
 *         return (gate){nn_dense_init(model, "gate.open", width, width, (nn_dense_options){0}),
 *                       nn_parameter(model, "gate.scale", AG_SHAPE(width), NN_ONES)};
 *     }
 *     ag_var gate_apply(gate g, ag_var x) {
 *         return ag_mul(ag_mul(x, g.scale), ag_sigmoid(nn_dense_apply(g.open, x)));
 *     } */
#ifndef NN_LAYERS_H
#define NN_LAYERS_H

#include <nn/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- dense and embedding ---------------------------------------------------------------------------------------- */

typedef struct nn_dense_options {
    bool no_bias;
    nn_initial
        initial; /* of the weight; the bias is 0 with any but NN_DEFAULT, by which it is within +-1 / sqrt(inputs) */
    double gain;
} nn_dense_options;

/* x W' + b, for each row of x. Without bias, b is the number 0. */
typedef struct nn_dense {
    ag_var weight; /* (outputs, inputs); its name ends in ".weight" */
    ag_var bias;   /* (outputs); ".bias" */
} nn_dense;
/* Errors: as nn_parameter_with. */
NN_API nn_dense nn_dense_init(nn_model *model, const char *name, int64_t inputs, int64_t outputs,
                              nn_dense_options options);
/* x of shape (..., inputs) gives (..., outputs). */
NN_API ag_var nn_dense_apply(nn_dense layer, ag_var x);

/* Rows of a table: words as vectors. */
typedef struct nn_embedding_options {
    nn_initial initial; /* NN_GAUSSIAN */
    double gain;
    bool pad;
    int64_t padding; /* with `pad`: this row stands for padding; it is zero at first and has no derivative */
} nn_embedding_options;
typedef struct nn_embedding {
    ag_var weight; /* (count, width); ".weight" */
    bool pad;
    int64_t padding;
} nn_embedding;
/* Errors: as nn_parameter_with; AG_ERR_VALUE for padding that is no row. */
NN_API nn_embedding nn_embedding_init(nn_model *model, const char *name, int64_t count, int64_t width,
                                      nn_embedding_options options);
/* Indices in 0..count-1, as many as `shape` has, give shape + (width). */
NN_API ag_var nn_embedding_apply(nn_embedding layer, const int64_t *indices, ag_shape shape);
/* The same for indices that are a var, data of a traced program; they give its shape + (width). */
NN_API ag_var nn_embedding_at(nn_embedding layer, ag_var indices);

/* ---- normalising layers: over the last axis, x (..., width) ------------------------------------------------------- */

typedef struct nn_norm_options {
    double epsilon; /* 1e-5; added to the variance or the mean square */
    bool no_bias;
} nn_norm_options;

/* (x - mean) / sqrt(variance + epsilon) weight + bias: Ba, Kiros, Hinton, arXiv:1607.06450. */
typedef struct nn_layer_norm {
    ag_var weight, bias; /* (width); ".weight", 1 at first; ".bias", 0 at first, or the number 0 */
    double epsilon;
} nn_layer_norm;
NN_API nn_layer_norm nn_layer_norm_init(nn_model *model, const char *name, int64_t width, nn_norm_options options);
NN_API ag_var nn_layer_norm_apply(nn_layer_norm layer, ag_var x);

/* x / sqrt(mean x^2 + epsilon) weight: Zhang, Sennrich, arXiv:1910.07467. */
typedef struct nn_rms_norm {
    ag_var weight; /* (width); ".weight", 1 at first */
    double epsilon;
} nn_rms_norm;
NN_API nn_rms_norm nn_rms_norm_init(nn_model *model, const char *name, int64_t width, nn_norm_options options);
NN_API ag_var nn_rms_norm_apply(nn_rms_norm layer, ag_var x);

/* ---- normalising layers of images: x (n, channels, ...) ------------------------------------------------------------ */

typedef struct nn_batch_norm_options {
    double epsilon;     /* 1e-5 */
    double momentum;    /* 0.1: the part of a batch in the running statistics */
    bool cumulative;    /* instead, they are the mean over all batches: PyTorch's momentum=None */
    bool no_statistics; /* there are none, and mean and variance are always the batch's: track_running_stats=False */
    bool no_affine;     /* neither weight nor bias */
} nn_batch_norm_options;

/* (x - mean) / sqrt(variance + epsilon) weight + bias, for each channel: Ioffe, Szegedy, arXiv:1502.03167. In training mean
 * and variance are the batch's, and the running ones are updated at nn_model_commit; else they are the running ones. */
typedef struct nn_batch_norm {
    nn_model *model;
    ag_var weight, bias; /* (channels), or the number 0 */
    /* buffers: ".running_mean", ".running_var", ".num_batches_tracked"; or the number 0 */
    ag_var mean, variance, batches;
    int64_t channels;
    double epsilon, momentum;
    bool cumulative;
} nn_batch_norm;
NN_API nn_batch_norm nn_batch_norm_init(nn_model *model, const char *name, int64_t channels,
                                        nn_batch_norm_options options);
/* Of a batch whose own statistics count, a channel must have more than one number (AG_ERR_SHAPE). */
NN_API ag_var nn_batch_norm_apply(nn_batch_norm layer, ag_var x);

/* The same of each example over groups of channels, without running statistics: Wu, He, arXiv:1803.08494. */
typedef struct nn_group_norm {
    ag_var weight, bias; /* (channels) */
    int64_t groups;
    double epsilon;
} nn_group_norm;
NN_API nn_group_norm nn_group_norm_init(nn_model *model, const char *name, int64_t groups, int64_t channels,
                                        nn_norm_options options);
NN_API ag_var nn_group_norm_apply(nn_group_norm layer, ag_var x);

/* ---- convolution; of pooling there is nothing to keep: ag_max_pool2d & co. ----------------------------------------- */

typedef struct nn_conv_options {
    int64_t stride[2], dilation[2]; /* 1; the first is vertical, the second horizontal, or nothing in one dimension */
    int64_t padding[2];             /* zeros on both sides */
    int64_t output_padding[2];      /* transposed: see ag_conv_transpose2d */
    int64_t groups;                 /* 1 */
    bool no_bias;
    nn_initial initial;
    double gain;
} nn_conv_options;

typedef enum nn_conv_kind { NN_CONV1D, NN_CONV2D, NN_CONV_TRANSPOSE1D, NN_CONV_TRANSPOSE2D } nn_conv_kind;

typedef struct nn_conv {
    nn_conv_kind kind;
    /* ".weight": (filters, channels / groups, rows, columns), transposed (channels, filters / groups, rows, columns), in
     * one dimension without columns; ".bias": (filters). As of dense layers, both are within +-1 / sqrt(in) at first. */
    ag_var weight, bias;
    ag_conv_options options;
} nn_conv;
/* `columns` does not matter in one dimension. Groups divide channels and filters, no option is negative, and output
 * padding is less than the stride, and of transposed ones only (AG_ERR_VALUE). */
NN_API nn_conv nn_conv_init(nn_model *model, nn_conv_kind kind, const char *name, int64_t channels, int64_t filters,
                            int64_t rows, int64_t columns, nn_conv_options options);
/* x of shape (n, channels, height, width), in one dimension (n, channels, length). */
NN_API ag_var nn_conv_apply(nn_conv layer, ag_var x);

/* ---- dropout ------------------------------------------------------------------------------------------------------- */

/* In training each number is 0 with this probability, else divided by 1 - p: Srivastava et al., 2014. What is dropped
 * depends on the model's seed and clock, the layer's name, which no other dropout has, and how often the layer was applied
 * before in the same forward pass: that begins at nn_model_commit and nn_model_discard, and with each batch of an nn_step. */
typedef struct nn_dropout {
    nn_model *model;
    double probability; /* 0 to below 1 */
    uint64_t key;
} nn_dropout;
NN_API nn_dropout nn_dropout_init(nn_model *model, const char *name, double probability);
NN_API ag_var nn_dropout_apply(nn_dropout layer, ag_var x);

/* ---- attention ----------------------------------------------------------------------------------------------------- */

typedef struct nn_attention_options {
    bool no_bias;
    bool causal; /* a position sees itself and those before it */
    bool rotary; /* queries and keys are turned by their position: Su et al., arXiv:2104.09864, halves as pairs */
    double rotary_base; /* 10000 */
    double dropout;     /* of what a position looks at */
    bool gpt_names;     /* "c_attn" and "c_proj" for "in_proj_" and "out_proj" */
    nn_initial initial; /* of weights; NN_DEFAULT: NN_GLOROT_UNIFORM going in, as PyTorch has it */
    double gain;
} nn_attention_options;

/* Scaled dot-product attention of several heads: Vaswani et al., arXiv:1706.03762, section 3.2. */
typedef struct nn_attention {
    nn_dense in;  /* (3 width, width): queries, keys, values; ".in_proj_weight", ".in_proj_bias" */
    nn_dense out; /* (width, width); ".out_proj.weight", ".out_proj.bias" */
    int64_t heads;
    bool causal;
    double rotary_base; /* 0: no rotation */
    nn_dropout dropout;
} nn_attention;
/* `heads` divides the width (AG_ERR_VALUE), with rotary positions into even parts. */
NN_API nn_attention nn_attention_init(nn_model *model, const char *name, int64_t width, int64_t heads,
                                      nn_attention_options options);
/* x of shape (batch, positions, width) gives the same shape. `keep`, of shape (batch, positions), is 0 where a position is
 * padding that none may look at; the number 0: there is no padding. A position that can look at nothing gets zeros. */
NN_API ag_var nn_attention_apply(nn_attention layer, ag_var x, ag_var keep);
/* Queries from x, keys and values from `memory` of shape (batch, others, width); `keep` of shape (batch, others). */
NN_API ag_var nn_attention_apply_to(nn_attention layer, ag_var x, ag_var memory, ag_var keep);

/* ---- transformer block, as in GPT-2: each part is normalised before, and added ------------------------------------- */

typedef struct nn_block_options {
    bool no_bias;
    bool rms;           /* RMS norm for layer norm */
    bool bidirectional; /* not causal */
    bool rotary;
    double rotary_base;
    int64_t hidden; /* 4 width */
    int activation; /* an nn_activation; NN_IDENTITY stands for NN_GELU */
    double dropout; /* of attention and of what is added */
    nn_initial initial;
    double gain;
} nn_block_options;
typedef struct nn_block {
    nn_layer_norm norm1, norm2; /* ".ln_1", ".ln_2"; with `rms` without bias */
    nn_attention attention;     /* ".attn.c_attn", ".attn.c_proj" */
    nn_dense expand, contract;  /* ".mlp.c_fc", ".mlp.c_proj" */
    nn_dropout dropout1, dropout2;
    int activation;
    bool rms;
} nn_block;
NN_API nn_block nn_block_init(nn_model *model, const char *name, int64_t width, int64_t heads,
                              nn_block_options options);
/* x + attention(norm1(x)) =: y; y + contract(activation(expand(norm2(y)))); x and `keep` as for attention. */
NN_API ag_var nn_block_apply(const nn_block *layer, ag_var x, ag_var keep);

/* ---- recurrent layers ---------------------------------------------------------------------------------------------- */

typedef enum nn_cell {
    NN_RNN,      /* h = tanh(W x + b + V h + c) */
    NN_RNN_RELU, /* relu for tanh */
    NN_GRU,      /* Cho et al., arXiv:1406.1078, as PyTorch has it: the reset gate after the product */
    NN_LSTM      /* Hochreiter, Schmidhuber, 1997, with forget gates */
} nn_cell;

enum { NN_MAX_RECURRENT_LAYERS = 8 };

typedef struct nn_recurrent_options {
    int layers; /* 1; each takes the results of the one before */
    bool bidirectional;
    bool no_bias;
    bool batch_first; /* x and results are (batch, steps, ...) */
    double dropout;   /* of what goes from one layer to the next */
    /* An LSTM is one operation (ag_lstm). Of other cells up to this many steps (0: 256) are recorded one by one; more are a
     * scan, whose program and memory do not grow with the operations of a step. -1: always a scan. */
    int64_t unroll;
} nn_recurrent_options;

/* One layer in one direction; gates of the LSTM in the order input, forget, cell, output, of the GRU reset, update, new. */
typedef struct nn_recurrent_part {
    ag_var weight_ih, weight_hh; /* (gates hidden, inputs), (gates hidden, hidden); ".weight_ih_l0", ... "_reverse" */
    ag_var bias_ih, bias_hh;     /* (gates hidden), or the number 0 */
} nn_recurrent_part;

typedef struct nn_recurrent {
    nn_model *model;
    nn_cell cell;
    int64_t inputs, hidden;
    nn_recurrent_options options;
    nn_recurrent_part parts[2 * NN_MAX_RECURRENT_LAYERS]; /* layer after layer, in both directions */
    nn_dropout dropouts[NN_MAX_RECURRENT_LAYERS];         /* after each layer but the last */
} nn_recurrent;

/* The state of all layers and directions: (layers directions, batch, hidden). The number 0: zeros. */
typedef struct nn_recurrent_state {
    ag_var h;
    ag_var c; /* of an LSTM */
} nn_recurrent_state;

/* All parameters are uniform within +-1 / sqrt(hidden) at first. */
NN_API nn_recurrent nn_recurrent_init(nn_model *model, nn_cell cell, const char *name, int64_t inputs, int64_t hidden,
                                      nn_recurrent_options options);
/* x of shape (steps, batch, inputs) gives (steps, batch, directions hidden). *end, unless it is NULL, is the state after
 * the last step. */
NN_API ag_var nn_recurrent_apply(const nn_recurrent *layer, ag_var x, nn_recurrent_state start,
                                 nn_recurrent_state *end);

/* ---- activations --------------------------------------------------------------------------------------------------- */

/* Activations by name or number, for models that are put together at run time; where it is known, call ag_relu & co.
 * X(NAME, name, function of x) */
#define NN_ACTIVATIONS(X)                                                                                              \
    X(IDENTITY, identity, x)                                                                                           \
    X(SIGMOID, sigmoid, ag_sigmoid(x))                                                                                 \
    X(LOG_SIGMOID, log_sigmoid, ag_log_sigmoid(x))                                                                     \
    X(TANH, tanh, ag_tanh(x))                                                                                          \
    X(RELU, relu, ag_relu(x))                                                                                          \
    X(LEAKY_RELU, leaky_relu, ag_leaky_relu(x, 0.01))                                                                  \
    X(ELU, elu, ag_elu(x, 1))                                                                                          \
    X(SOFTPLUS, softplus, ag_softplus(x))                                                                              \
    X(SILU, silu, ag_silu(x))                                                                                          \
    X(GELU, gelu, ag_gelu(x))                                                                                          \
    X(GELU_TANH, gelu_tanh, ag_gelu_tanh(x))                                                                           \
    X(MISH, mish, ag_mish(x))
typedef enum nn_activation {
#define NN_X_(NAME, name, function) NN_##NAME,
    NN_ACTIVATIONS(NN_X_)
#undef NN_X_
} nn_activation;
NN_API ag_var nn_activate(nn_activation activation, ag_var x);   /* AG_ERR_VALUE for an unknown one */
NN_API const char *nn_activation_name(nn_activation activation); /* NULL for an unknown one */
NN_API bool nn_activation_find(const char *name, nn_activation *activation);
/* nn_activate(activation, nn_dense_apply(layer, x)), fused where the engine can: fewer passes over memory, and less of it. */
NN_API ag_var nn_dense_activated(nn_dense layer, ag_var x, nn_activation activation);

/* ---- layers one after the other ------------------------------------------------------------------------------------ */

/* A layer as data: any struct and the function that records it. */
typedef ag_var (*nn_apply)(const void *layer, ag_var x);

/* A list of layers. Its parameters are named by numbers, as in PyTorch's Sequential: "net.0.weight". It belongs to its model
 * and is freed with it. One that could not be made is NULL, and every function takes it.
 *
 *     nn_sequential *net = nn_sequential_new(model, "net");
 *     nn_sequential_dense(net, 784, 256, (nn_dense_options){0});
 *     nn_sequential_activation(net, NN_RELU);
 *     nn_sequential_dense(net, 256, 10, (nn_dense_options){0});
 *     ag_var logits = nn_sequential_apply(net, x); */
typedef struct nn_sequential nn_sequential;
NN_API nn_sequential *nn_sequential_new(nn_model *model, const char *name);
NN_API ag_var nn_sequential_apply(const nn_sequential *net, ag_var x);
NN_API int nn_sequential_count(const nn_sequential *net);
/* The next layer's name, for its parameters: "net.2". NULL, with the tape in error, where there is no memory. */
NN_API const char *nn_sequential_next(nn_sequential *net);
/* Appends a layer of any kind: `size` bytes of it are copied. */
NN_API void nn_sequential_add(nn_sequential *net, nn_apply apply, const void *layer, size_t size);
NN_API void nn_sequential_activation(nn_sequential *net, nn_activation activation);
NN_API void nn_sequential_dense(nn_sequential *net, int64_t inputs, int64_t outputs, nn_dense_options options);
NN_API void nn_sequential_layer_norm(nn_sequential *net, int64_t width, nn_norm_options options);
NN_API void nn_sequential_batch_norm(nn_sequential *net, int64_t channels, nn_batch_norm_options options);
NN_API void nn_sequential_conv(nn_sequential *net, nn_conv_kind kind, int64_t channels, int64_t filters, int64_t rows,
                               int64_t columns, nn_conv_options options);
NN_API void nn_sequential_max_pool2d(nn_sequential *net, ag_pool_options options);
NN_API void nn_sequential_avg_pool2d(nn_sequential *net, ag_pool_options options);
NN_API void nn_sequential_dropout(nn_sequential *net, double probability);
/* x of shape (n, ...) becomes (n, all others). */
NN_API void nn_sequential_flatten(nn_sequential *net);
/* A residual block: x + part(x). The part is a list of its own, called nn_sequential_next(net), and must not be `net`. */
NN_API void nn_sequential_residual(nn_sequential *net, const nn_sequential *part);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
