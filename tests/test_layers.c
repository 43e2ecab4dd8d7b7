/* Layers against PyTorch: values, derivatives, names and layouts of parameters. */
#include "torch_reference.h"

#include "nn_memory.h"

/* A layer called "l", made and applied; x are its inputs. */
typedef struct layer_case {
    const char *name;
    const char *inputs[4];
    ag_var (*apply)(nn_model *model, const char *name, const ag_var *x);
} layer_case;

static ag_var constant(nn_model *model, const char *of, const char *name) {
    return reference_constant(nn_model_tape(model), of, name);
}

static int variant; /* 1: embedding by a var, recurrent layers as scans */

/* ---- dense, embedding, norms ------------------------------------------------------------------------------------- */

static ag_var dense(nn_model *model, const char *name, const ag_var *x) {
    bool plain = strstr(name, "plain") != NULL;
    nn_dense layer = nn_dense_init(model, "l", 4, 3, (nn_dense_options){.no_bias = plain});
    load_parameters(name, model);
    return nn_dense_apply(layer, x[0]);
}

static ag_var embedding(nn_model *model, const char *name, const ag_var *x) {
    bool pad = strstr(name, "padded") != NULL;
    nn_embedding layer = nn_embedding_init(model, "l", 5, 3, (nn_embedding_options){.pad = pad, .padding = 2});
    const reference_array *a = reference(name, "indices");
    int64_t indices[6];
    (void)x;
    load_parameters(name, model);
    for (int i = 0; i < 6; i++) indices[i] = (int64_t)a->data[i];
    if (variant == 1) return nn_embedding_at(layer, constant(model, name, "indices"));
    return nn_embedding_apply(layer, indices, a->shape);
}

static ag_var layer_norm(nn_model *model, const char *name, const ag_var *x) {
    double epsilon = strstr(name, "epsilon") != NULL ? 0.1 : 0;
    nn_layer_norm layer = nn_layer_norm_init(model, "l", 5, (nn_norm_options){.epsilon = epsilon});
    load_parameters(name, model);
    return nn_layer_norm_apply(layer, x[0]);
}

static ag_var rms_norm(nn_model *model, const char *name, const ag_var *x) {
    nn_rms_norm layer = nn_rms_norm_init(model, "l", 5, (nn_norm_options){0});
    load_parameters(name, model);
    return nn_rms_norm_apply(layer, x[0]);
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

static ag_var attention(nn_model *model, const char *name, const ag_var *x) {
    bool both = strstr(name, "both") != NULL;
    nn_attention_options o = {.no_bias = strstr(name, "plain") != NULL,
                              .causal = both || strstr(name, "causal") != NULL};
    nn_attention layer = nn_attention_init(model, "l", 6, 3, o);
    load_parameters(name, model);
    return nn_attention_apply(layer, x[0],
                              both || strstr(name, "padded") != NULL ? constant(model, name, "keep") : ag_num(0));
}

static ag_var attention_to(nn_model *model, const char *name, const ag_var *x) {
    nn_attention layer = nn_attention_init(model, "l", 6, 3, (nn_attention_options){0});
    load_parameters(name, model);
    return nn_attention_apply_to(layer, x[0], x[1], constant(model, name, "keep"));
}

static ag_var block(nn_model *model, const char *name, const ag_var *x) {
    nn_block_options other = {.no_bias = true,
                              .rms = true,
                              .bidirectional = true,
                              .rotary = true,
                              .rotary_base = 100,
                              .hidden = 5,
                              .activation = NN_RELU};
    nn_block layer = nn_block_init(model, "l", 4, 2, strstr(name, "other") != NULL ? other : (nn_block_options){0});
    load_parameters(name, model);
    return nn_block_apply(&layer, x[0], ag_num(0));
}

/* ---- convolution, norms of images -------------------------------------------------------------------------------- */

static ag_var conv(nn_model *model, const char *name, const ag_var *x) {
    nn_conv layer;
    if (strcmp(name, "conv1d") == 0)
        layer = nn_conv_init(model, NN_CONV1D, "l", 4, 6, 3, 0,
                             (nn_conv_options){.stride = {2}, .padding = {1}, .dilation = {2}, .groups = 2});
    else if (strcmp(name, "conv2d") == 0) layer = nn_conv_init(model, NN_CONV2D, "l", 2, 3, 2, 3, (nn_conv_options){0});
    else if (strcmp(name, "conv2d_other") == 0)
        layer = nn_conv_init(
            model, NN_CONV2D, "l", 4, 2, 3, 2,
            (nn_conv_options){.stride = {2, 1}, .padding = {2, 1}, .dilation = {1, 2}, .groups = 2, .no_bias = true});
    else if (strcmp(name, "conv_transpose1d") == 0)
        layer = nn_conv_init(model, NN_CONV_TRANSPOSE1D, "l", 2, 3, 3, 0,
                             (nn_conv_options){.stride = {2}, .padding = {1}, .output_padding = {1}});
    else
        layer =
            nn_conv_init(model, NN_CONV_TRANSPOSE2D, "l", 4, 2, 2, 3, (nn_conv_options){.stride = {2, 1}, .groups = 2});
    load_parameters(name, model);
    return nn_conv_apply(layer, x[0]);
}

static ag_var batch_norm(nn_model *model, const char *name, const ag_var *x) {
    nn_batch_norm_options plain = {.epsilon = 0.01, .momentum = 0.3, .no_affine = true}, none = {0};
    bool is_plain = strcmp(name, "batch_norm_plain") == 0, evaluates = strstr(name, "eval") != NULL;
    none.cumulative = strstr(name, "cumulative") != NULL;
    none.no_statistics = strstr(name, "alone") != NULL;
    none.no_affine = none.no_statistics && evaluates;
    nn_batch_norm layer = nn_batch_norm_init(model, "l", is_plain ? 3 : 2, is_plain ? plain : none);
    load_parameters(name, model);
    ag_var y = nn_batch_norm_apply(layer, x[0]);
    if (none.cumulative) y = ag_add(y, nn_batch_norm_apply(layer, x[1]));
    if (strcmp(name, "batch_norm_twice") == 0) y = nn_batch_norm_apply(layer, y);
    nn_model_commit(model);
    if (!evaluates) return y;
    nn_model_train(model, false);
    return nn_batch_norm_apply(layer, x[1]);
}

static ag_var group_norm(nn_model *model, const char *name, const ag_var *x) {
    nn_group_norm layer = nn_group_norm_init(model, "l", 2, 4, (nn_norm_options){0});
    load_parameters(name, model);
    return nn_group_norm_apply(layer, x[0]);
}

/* ---- recurrent layers -------------------------------------------------------------------------------------------- */

static nn_cell cell_of(const char *name) {
    if (strstr(name, "lstm") != NULL) return NN_LSTM;
    if (strstr(name, "gru") != NULL) return NN_GRU;
    return strstr(name, "relu") != NULL ? NN_RNN_RELU : NN_RNN;
}

static ag_var recurrent(nn_model *model, const char *name, const ag_var *x) {
    bool plain = strstr(name, "plain") != NULL;
    nn_recurrent_options o = {.no_bias = plain, .batch_first = plain, .unroll = variant == 0 ? 0 : -1};
    nn_recurrent layer = nn_recurrent_init(model, cell_of(name), "l", plain ? 2 : 4, 3, o);
    load_parameters(name, model);
    return nn_recurrent_apply(&layer, x[0], (nn_recurrent_state){{0}, {0}}, NULL);
}

/* Two layers in both directions; the results and the last state, one after the other. */
static ag_var deep(nn_model *model, const char *name, const ag_var *x) {
    nn_recurrent_options o = {.layers = 2, .bidirectional = true, .unroll = variant == 0 ? 0 : -1};
    nn_recurrent layer = nn_recurrent_init(model, cell_of(name), "l", 3, 2, o);
    bool lstm = cell_of(name) == NN_LSTM;
    nn_recurrent_state start = {x[1], lstm ? x[2] : ag_num(0)}, end;
    load_parameters(name, model);
    ag_var y = nn_recurrent_apply(&layer, x[0], start, &end);
    if (ag_tape_status(nn_model_tape(model)) == AG_OK) assert_true(ag_is_zero(end.c) != lstm);
    ag_var all[] = {ag_reshape(y, AG_SHAPE(-1)), ag_reshape(end.h, AG_SHAPE(-1)), ag_num(0)};
    if (lstm) all[2] = ag_reshape(end.c, AG_SHAPE(-1));
    return ag_concat(all, lstm ? 3 : 2, 0);
}

/* Of a batch of nothing come results of nothing, and derivatives of 0. */
static void empty_batches(void **state) {
    (void)state;
    for (int k = 0; k < 16; k++) {
        bool first = k & 8;
        nn_cell cell = (nn_cell)(k & 3);
        nn_recurrent_options o = {.layers = 2, .bidirectional = true, .unroll = k & 4 ? -1 : 0, .batch_first = first};
        ag_tape *t = ag_tape_new(k & 1 ? AG_F32 : AG_F64);
        nn_model *model = nn_model_new(t, 1);
        nn_recurrent layer = nn_recurrent_init(model, cell, "l", 3, 2, o);
        nn_recurrent_state end;
        ag_var x = ag_zeros(t, first ? AG_SHAPE(0, 5, 3) : AG_SHAPE(5, 0, 3)), gradient;
        ag_shape y = ag_shape_of(nn_recurrent_apply(&layer, x, (nn_recurrent_state){{0}, {0}}, &end));
        ag_shape h = ag_shape_of(end.h);
        assert_string_equal(ag_tape_message(t), "");
        assert_true(y.rank == 3 && y.dim[first] == 5 && y.dim[!first] == 0 && y.dim[2] == 4);
        assert_true(h.rank == 3 && h.dim[0] == 4 && h.dim[1] == 0 && h.dim[2] == 2);
        ag_var loss = ag_sum(end.h), weight = nn_parameter_at(model, 0);
        ag_gradient(loss, &weight, 1, &gradient);
        ag_backward(loss);
        assert_string_equal(ag_tape_message(t), "");
        assert_true(ag_value(ag_sum(gradient)) == 0 && ag_grad(ag_at(weight, 0)) == 0);
        nn_model_free(model);
        ag_tape_free(t);
    }
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static const layer_case cases[] = {
    {"dense", {"x"}, dense},
    {"dense_plain", {"x"}, dense},
    {"embedding", {NULL}, embedding},
    {"embedding_padded", {NULL}, embedding},
    {"layer_norm", {"x"}, layer_norm},
    {"layer_norm_epsilon", {"x"}, layer_norm},
    {"rms_norm", {"x"}, rms_norm},
    {"attention", {"x"}, attention},
    {"attention_plain", {"x"}, attention},
    {"attention_causal", {"x"}, attention},
    {"attention_padded", {"x"}, attention},
    {"attention_both", {"x"}, attention},
    {"attention_to", {"x", "memory"}, attention_to},
    {"block", {"x"}, block},
    {"block_other", {"x"}, block},
    {"conv1d", {"x"}, conv},
    {"conv2d", {"x"}, conv},
    {"conv2d_other", {"x"}, conv},
    {"conv_transpose1d", {"x"}, conv},
    {"conv_transpose2d", {"x"}, conv},
    {"batch_norm", {"x"}, batch_norm},
    {"batch_norm_plain", {"x"}, batch_norm},
    {"batch_norm_eval", {"x", "y"}, batch_norm},
    {"batch_norm_twice", {"x"}, batch_norm},
    {"batch_norm_cumulative", {"x", "y"}, batch_norm},
    {"batch_norm_alone", {"x"}, batch_norm},
    {"batch_norm_alone_eval", {"x", "y"}, batch_norm},
    {"group_norm", {"x"}, group_norm},
    {"rnn", {"x"}, recurrent},
    {"rnn_relu", {"x"}, recurrent},
    {"gru", {"x"}, recurrent},
    {"lstm", {"x"}, recurrent},
    {"rnn_plain", {"x"}, recurrent},
    {"rnn_relu_plain", {"x"}, recurrent},
    {"gru_plain", {"x"}, recurrent},
    {"lstm_plain", {"x"}, recurrent},
    {"rnn_deep", {"x", "h"}, deep},
    {"rnn_relu_deep", {"x", "h"}, deep},
    {"gru_deep", {"x", "h"}, deep},
    {"lstm_deep", {"x", "h", "c"}, deep},
};
enum { CASES = (int)(sizeof cases / sizeof cases[0]) };

static int variants_of(const layer_case *c) {
    return c->apply == recurrent || c->apply == deep || c->apply == embedding ? 2 : 1;
}

static void check_case(ag_tape *t, const layer_case *c) {
    nn_model *model = nn_model_new(t, 1);
    ag_var x[4];
    for (int i = 0; c->inputs[i] != NULL; i++) x[i] = reference_input(t, c->name, c->inputs[i]);
    sweep_reference(c->name, c->apply(model, c->name, x));
    for (int i = 0; c->inputs[i] != NULL; i++) check_gradient(c->name, c->inputs[i], x[i]);
    check_parameter_gradients(c->name, model);
    check_buffers(c->name, model);
    nn_model_free(model);
}

static void agree_with_pytorch(ag_tape *t) {
    for (int i = 0; i < CASES; i++)
        for (variant = 0; variant < variants_of(&cases[i]); variant++) check_case(t, &cases[i]);
    variant = 0;
}

static void layers_agree_with_pytorch(void **state) {
    (void)state;
    on_each_tape(agree_with_pytorch);
    assert_int_equal(taken, 0);
}

/* ---- what PyTorch's numbers do not show ---------------------------------------------------------------------------- */

static void padding_is_zero_at_first(ag_tape *t) {
    nn_model *model = nn_model_new(t, 1);
    double with[6], without[6];
    nn_embedding plain = nn_embedding_init(model, "e", 3, 2, (nn_embedding_options){0});
    ag_read(plain.weight, without);
    nn_model *other = nn_model_new(t, 1);
    nn_embedding padded = nn_embedding_init(other, "e", 3, 2, (nn_embedding_options){.pad = true, .padding = 1});
    ag_read(padded.weight, with);
    assert_true(with[2] == 0 && with[3] == 0);
    without[2] = without[3] = 0;
    assert_memory_equal(with, without, sizeof with); /* the other rows are as without */
    nn_model_free(model);
    nn_model_free(other);
}

static void padding_on_each_tape(void **state) {
    (void)state;
    on_each_tape(padding_is_zero_at_first);
}

/* ---- derivatives of any order ------------------------------------------------------------------------------------ */

/* The layer as a function of its inputs alone. */
static ag_var recorded(ag_tape *t, const ag_var *x, int n, void *context) {
    const layer_case *c = context;
    nn_model *model = nn_model_new(t, 1);
    ag_var y = c->apply(model, c->name, x);
    (void)n;
    nn_model_free(model);
    return y;
}

static void layers_have_derivatives_of_any_order(void **state) {
    static const char *const names[] = {"layer_norm",  "rms_norm", "attention_both", "attention_to",
                                        "block_other", "gru",      "lstm",           "rnn"};
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        for (int i = 0; i < CASES; i++) {
            layer_case c = cases[i];
            if (strcmp(c.name, names[k]) != 0) continue;
            ag_tape *t = ag_tape_new(AG_F64);
            ag_var x[4];
            int n = 0;
            for (; c.inputs[n] != NULL; n++) x[n] = reference_input(t, c.name, c.inputs[n]);
            check_derivatives(c.name, recorded, &c, x, n);
            ag_tape_free(t);
        }
}

/* ---- misuse ------------------------------------------------------------------------------------------------------ */

static ag_var misuse(ag_tape *t, nn_model *m, int i) {
    ag_var x = ag_zeros(t, AG_SHAPE(2, 3, 4)), none = ag_num(0);
    nn_recurrent_state zero = {none, none}, state = {ag_zeros(t, AG_SHAPE(1, 2, 5)), none};
    nn_recurrent_options deep_options = {.layers = 9}, no_options = {0};
    nn_attention a = i >= 5 && i <= 8 ? nn_attention_init(m, "a", 4, 2, (nn_attention_options){0}) : (nn_attention){0};
    nn_recurrent r = i >= 11 && i <= 13 ? nn_recurrent_init(m, NN_LSTM, "r", 4, 3, no_options) : (nn_recurrent){0};
    switch (i) {
    case 0:
        return nn_embedding_apply(nn_embedding_init(m, "e", 3, 2, (nn_embedding_options){0}), (int64_t[]){3},
                                  AG_SHAPE(1));
    case 1:
        return nn_embedding_apply(nn_embedding_init(m, "e", 3, 2, (nn_embedding_options){0}), (int64_t[]){0},
                                  (ag_shape){8, {1}});
    case 2: return nn_layer_norm_apply(nn_layer_norm_init(m, "n", 5, (nn_norm_options){0}), x);
    case 3: return nn_rms_norm_apply(nn_rms_norm_init(m, "n", 5, (nn_norm_options){0}), ag_input(t, 1));
    case 4: return nn_attention_init(m, "a", 4, 3, (nn_attention_options){0}).in.weight;
    case 5: return nn_attention_apply(a, ag_zeros(t, AG_SHAPE(3, 4)), none);
    case 6: return nn_attention_apply(a, x, ag_ones(t, AG_SHAPE(3, 2)));
    case 7: return nn_attention_apply_to(a, x, ag_zeros(t, AG_SHAPE(3, 3, 4)), none);
    case 8: return nn_attention_apply_to(a, x, ag_zeros(t, AG_SHAPE(2, 5, 4)), ag_ones(t, AG_SHAPE(2, 3)));
    case 9: return nn_attention_init(m, "a", 6, 2, (nn_attention_options){.rotary = true}).in.weight;
    case 10: return nn_recurrent_init(m, NN_GRU, "r", 4, 3, deep_options).parts[0].weight_ih;
    case 11: return nn_recurrent_apply(&r, ag_zeros(t, AG_SHAPE(2, 4)), zero, NULL);
    case 12: return nn_recurrent_apply(&r, ag_zeros(t, AG_SHAPE(5, 2, 3)), zero, NULL);
    case 13: return nn_recurrent_apply(&r, ag_zeros(t, AG_SHAPE(5, 2, 4)), state, NULL);
    case 14: return nn_recurrent_init(m, (nn_cell)9, "q", 4, 3, no_options).parts[0].weight_ih;
    case 15: return nn_recurrent_init(m, NN_RNN, "q", 4, 0, no_options).parts[0].weight_ih;
    case 16: return nn_conv_init(m, NN_CONV2D, "c", 3, 4, 2, 2, (nn_conv_options){.groups = 2}).weight;
    case 17: return nn_conv_apply(nn_conv_init(m, NN_CONV2D, "c", 3, 4, 2, 2, (nn_conv_options){0}), x);
    case 18: return nn_batch_norm_apply(nn_batch_norm_init(m, "b", 2, (nn_batch_norm_options){0}), x);
    case 19:
        return nn_batch_norm_apply(nn_batch_norm_init(m, "b", 2, (nn_batch_norm_options){0}),
                                   ag_zeros(t, AG_SHAPE(1, 2)));
    case 20: return nn_group_norm_init(m, "g", 2, 3, (nn_norm_options){0}).weight;
    case 21: return nn_group_norm_apply(nn_group_norm_init(m, "g", 2, 4, (nn_norm_options){0}), x);
    case 22: return nn_dropout_init(m, "d", 1), none;
    case 23: return nn_dropout_init(m, NULL, 0.5), none;
    case 24:
        return nn_embedding_at(nn_embedding_init(m, "e", 3, 2, (nn_embedding_options){0}),
                               ag_full(t, 0.5, AG_SHAPE(2)));
    case 25: return nn_embedding_init(m, "e", 3, 2, (nn_embedding_options){.pad = true, .padding = 3}).weight;
    case 26: {
        nn_recurrent first = nn_recurrent_init(m, NN_GRU, "r", 4, 3, (nn_recurrent_options){.batch_first = true});
        return nn_recurrent_apply(&first, ag_zeros(t, AG_SHAPE(2, 5, 3)), zero, NULL);
    }
    case 27: {
        nn_recurrent long_ago = nn_recurrent_init(m, NN_GRU, "r", 4, 3, no_options);
        return nn_recurrent_apply(&long_ago, ag_zeros(t, AG_SHAPE(0, 2, 4)), zero, NULL);
    }
    case 28:
        return nn_batch_norm_apply(nn_batch_norm_init(m, "b", 2, (nn_batch_norm_options){0}),
                                   ag_zeros(t, AG_SHAPE(0, 2)));
    case 29:
        return nn_attention_init(m, "a", 8, 2, (nn_attention_options){.rotary = true, .rotary_base = -1}).in.weight;
    case 30: return nn_batch_norm_init(m, "b", 2, (nn_batch_norm_options){.epsilon = -1}).weight;
    case 31: return nn_batch_norm_init(m, "b", 2, (nn_batch_norm_options){.momentum = 7}).weight;
    case 32: return nn_layer_norm_init(m, "l", 2, (nn_norm_options){.epsilon = -1}).weight;
    case 33: return nn_layer_norm_init(m, "l", 2, (nn_norm_options){.epsilon = INFINITY}).weight;
    case 34: return nn_rms_norm_init(m, "r", 2, (nn_norm_options){.epsilon = -1e-5}).weight;
    case 35: return nn_rms_norm_init(m, "r", 2, (nn_norm_options){.epsilon = NAN}).weight;
    case 36: return nn_group_norm_init(m, "g", 2, 4, (nn_norm_options){.epsilon = -1}).weight;
    default: return nn_block_init(m, NULL, 4, 2, (nn_block_options){0}).expand.weight;
    }
}

static void misuse_is_an_error(void **state) {
    static const char *const parts[] = {
        "index 3 at position 0 is outside axis 0, of length 3",
        "embedding: indices of rank 8, not 0 to 7",
        "layer_norm: x has shape (2, 3, 4), its last dimension is not 5",
        "rms_norm: x has shape (), its last dimension is not 5",
        "attention a: 3 heads of a width of 4",
        "attention: x has shape (3, 4), not (batch, positions, 4)",
        "attention: `keep` has shape (3, 2), not (2, 3)",
        "attention: memory has shape (3, 3, 4), not (batch of x, positions, 4)",
        "attention: `keep` has shape (2, 3), not (2, 5)",
        "attention a: 2 heads of a width of 6, rotary",
        "recurrent r: 9 layers, not 1 to 8",
        "recurrent: x has shape (2, 4), not (steps, batch, 4)",
        "recurrent: x has shape (5, 2, 3), not (steps, batch, 4)",
        "recurrent: the state's h has shape (1, 2, 5), not (1, 2, 3)",
        "recurrent q: there is no cell 9",
        "recurrent q: a hidden size of 0",
        "convolution c: 3 channels, 4 filters in 2 groups, kind 1",
        "(2, 3, 4)",
        "batch_norm: x has shape (2, 3, 4), not (n, 2, ...)",
        "batch_norm: x has shape (1, 2), fewer than two numbers a channel, which have no variance",
        "group_norm g: 3 channels in 2 groups",
        "group_norm: x has shape (2, 3, 4), not (n, 4, ...)",
        "dropout d: a probability of 1, not 0 to below 1",
        "dropout: no name",
        "gather_at",
        "embedding e: row 3 of 3 is to be padding",
        "recurrent: x has shape (2, 5, 3), not (batch, steps, 4)",
        "recurrent: x has shape (0, 2, 4), of 0 steps, not 1 to 2147483647",
        "batch_norm: x has shape (0, 2), fewer than two numbers a channel",
        "attention a: a rotary base of -1, not above 0",
        "batch_norm b: an epsilon of -1, not above 0",
        "batch_norm b: a momentum of 7, not 0 to 1",
        "layer_norm l: an epsilon of -1, not above 0",
        "layer_norm l: an epsilon of inf, not a finite number",
        "rms_norm r: an epsilon of -1e-05, not above 0",
        "rms_norm r: an epsilon of nan, not a finite number",
        "group_norm g: an epsilon of -1, not above 0",
        "a layer has no name (its part is called .ln_1)",
    };
    (void)state;
    for (int i = 0; i < (int)(sizeof parts / sizeof parts[0]); i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        nn_model *model = nn_model_new(t, 1);
        ag_var result = misuse(t, model, i);
        assert_true(ag_is_inert(result) || ag_is_zero(result));
        if (strstr(ag_tape_message(t), parts[i]) == NULL)
            fail_msg("\"%s\", should be \"%s\"", ag_tape_message(t), parts[i]);
        nn_model_free(model);
        ag_tape_free(t);
    }
}

/* ---- dropout ----------------------------------------------------------------------------------------------------- */

static void check_dropout(ag_tape *t) {
    nn_model *model = nn_model_new(t, 1);
    nn_dropout a = nn_dropout_init(model, "a", 0.25), b = nn_dropout_init(model, "b", 0.25);
    ag_var x = ag_tensor(t, NULL, AG_SHAPE(40, 50));
    ag_var one = ag_add(x, 1), y = nn_dropout_apply(a, one), again = nn_dropout_apply(a, one),
           other = nn_dropout_apply(b, one);
    double first[2000], second[2000], third[2000], kept = 0;
    ag_read(y, first);
    ag_read(again, second);
    ag_read(other, third);
    assert_memory_not_equal(first, second, sizeof first); /* each application drops others */
    assert_memory_not_equal(first, third, sizeof first);
    assert_memory_not_equal(second, third, sizeof first);
    nn_model_discard(model); /* the same step once more */
    ag_read(nn_dropout_apply(a, one), third);
    assert_memory_equal(first, third, sizeof first);
    ag_read(nn_dropout_apply(a, one), third);
    assert_memory_equal(second, third, sizeof first);
    for (int i = 0; i < 2000; i++) {
        assert_true(first[i] == 0 || fabs(first[i] - 1 / 0.75) < 1e-6);
        kept += first[i] != 0;
    }
    assert_true(fabs(kept / 2000 - 0.75) < 5 * sqrt(0.25 * 0.75 / 2000));
    ag_backward(ag_sum(y));
    ag_read_grad(x, second);
    assert_memory_equal(first, second, sizeof first);
    nn_model_commit(model); /* another step, other numbers */
    ag_read(nn_dropout_apply(a, one), second);
    assert_memory_not_equal(first, second, sizeof first);
    nn_model_train(model, false);
    assert_true(nn_dropout_apply(a, one).place == one.place);
    nn_model_free(model);
}

static void dropout_drops(void **state) {
    (void)state;
    on_each_tape(check_dropout);
}

/* Layers that have dropout inside: none in evaluation, some in training. */
static void dropout_inside_layers(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    (void)state;
    ag_var x = random_tensor(t, AG_SHAPE(3, 4, 4), -1, 1), none = ag_num(0);
    nn_recurrent_state zero = {none, none};
    nn_block block1 = nn_block_init(model, "h", 4, 2, (nn_block_options){.dropout = 0.5});
    nn_recurrent lstm =
        nn_recurrent_init(model, NN_LSTM, "l", 4, 3, (nn_recurrent_options){.layers = 2, .dropout = 0.5});
    double numbers[2][2][48];
    for (int training = 0; training < 2; training++) {
        nn_model_train(model, training == 1);
        for (int step = 0; step < 2; step++) {
            ag_read(nn_block_apply(&block1, x, none), numbers[0][step]);
            ag_read(nn_recurrent_apply(&lstm, x, zero, NULL), numbers[1][step]);
            nn_model_commit(model);
        }
        for (int k = 0; k < 2; k++)
            assert_true((memcmp(numbers[k][0], numbers[k][1], 36 * sizeof(double)) != 0) == (training == 1));
    }
    check_fine("dropout", t);
    nn_model_free(model);
    ag_tape_free(t);
}

/* A model that could not be made, and vars that are inert, give nothing and no crash. */
static void no_model_is_no_crash(void **state) {
    ag_var one = ag_num(1), none = ag_num(0);
    nn_recurrent_state zero = {none, none}, end;
    (void)state;
    nn_embedding e = nn_embedding_init(NULL, "e", 2, 2, (nn_embedding_options){0});
    (void)nn_embedding_apply(e, (int64_t[]){0}, AG_SHAPE(1));
    (void)nn_layer_norm_apply(nn_layer_norm_init(NULL, "n", 2, (nn_norm_options){0}), one);
    (void)nn_rms_norm_apply(nn_rms_norm_init(NULL, "n", 2, (nn_norm_options){0}), one);
    nn_attention a = nn_attention_init(NULL, "a", 4, 2, (nn_attention_options){0});
    (void)nn_attention_apply(a, one, none);
    (void)nn_attention_apply_to(a, one, one, none);
    nn_block b = nn_block_init(NULL, "b", 4, 2, (nn_block_options){0});
    (void)nn_block_apply(&b, one, none);
    (void)nn_conv_apply(nn_conv_init(NULL, NN_CONV2D, "c", 1, 1, 1, 1, (nn_conv_options){0}), one);
    (void)nn_batch_norm_apply(nn_batch_norm_init(NULL, "b", 2, (nn_batch_norm_options){0}), one);
    (void)nn_group_norm_apply(nn_group_norm_init(NULL, "g", 1, 2, (nn_norm_options){0}), one);
    (void)nn_dropout_apply(nn_dropout_init(NULL, "d", 0.5), one);
    nn_recurrent r = nn_recurrent_init(NULL, NN_LSTM, "r", 4, 3, (nn_recurrent_options){0});
    (void)nn_recurrent_apply(&r, one, zero, &end);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static bool permit(void *context, size_t bytes) {
    int *left = context;
    (void)bytes;
    return --*left >= 0;
}

/* The tape's memory, or nn's, ends at each request in turn. */
static void starve(const layer_case *c, bool of_tape) {
    bool done = false;
    for (int n = 0; !done; n++) {
        int left = of_tape ? n : INT32_MAX;
        ag_tape *t = ag_tape_new_with(&(ag_options){.permit = permit, .context = &left, .no_reserve = true});
        ag_var x[4];
        for (int i = 0; c->inputs[i] != NULL; i++) x[i] = reference_input(t, c->name, c->inputs[i]);
        if (!of_tape) allowed = n;
        nn_model *model = nn_model_new(t, 1);
        ag_var y = c->apply(model, c->name, x);
        if (!ag_is_zero(y)) ag_backward(ag_sum(y));
        nn_model_free(model);
        allowed = -1;
        assert_int_equal(taken, 0);
        done = of_tape ? left >= 0 : ag_tape_status(t) == AG_OK;
        if (done) check_fine(c->name, t);
        else if (ag_tape_status(t) != AG_OK) assert_int_equal(ag_tape_status(t), AG_ERR_MEMORY);
        assert_true(n < 3000);
        ag_tape_free(t);
    }
}

static void memory_may_run_out(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++)
        for (variant = 0; variant < variants_of(&cases[i]); variant++) {
            starve(&cases[i], false);
            starve(&cases[i], true);
        }
    variant = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_agree_with_pytorch),
        cmocka_unit_test(padding_on_each_tape),
        cmocka_unit_test(layers_have_derivatives_of_any_order),
        cmocka_unit_test(empty_batches),
        cmocka_unit_test(dropout_drops),
        cmocka_unit_test(dropout_inside_layers),
        cmocka_unit_test(misuse_is_an_error),
        cmocka_unit_test(no_model_is_no_crash),
        cmocka_unit_test(memory_may_run_out),
    };
    read_references(TORCH_FOLDER "/layers.ref");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free_references();
    return failed;
}
