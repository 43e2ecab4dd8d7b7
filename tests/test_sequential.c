/* Layers one after the other, and residual blocks. */
#include "on_each_tape.h"

#include "nn/nn.h"
#include "nn_memory.h"

/* A layer of the user's own. */
typedef struct scale {
    ag_var factor;
} scale;

static ag_var apply_scale(const void *layer, ag_var x) { return ag_mul(x, ((const scale *)layer)->factor); }

static nn_sequential *build(nn_model *model) {
    nn_sequential *net = nn_sequential_new(model, "net");
    nn_sequential_flatten(net);
    nn_sequential_dense(net, 4, 3, (nn_dense_options){0});
    nn_sequential_activation(net, NN_TANH);
    nn_sequential *part = nn_sequential_new(model, nn_sequential_next(net));
    nn_sequential_layer_norm(part, 3, (nn_norm_options){0});
    nn_sequential_dense(part, 3, 3, (nn_dense_options){.no_bias = true});
    nn_sequential_residual(net, part);
    scale own = {nn_parameter(model, "own.factor", AG_SHAPE(3), NN_ONES)};
    nn_sequential_add(net, apply_scale, &own, sizeof own);
    return net;
}

static void the_list_is_its_layers(ag_tape *t) {
    static const char *const names[] = {"net.1.weight", "net.1.bias",     "net.3.0.weight",
                                        "net.3.0.bias", "net.3.1.weight", "own.factor"};
    nn_model *model = nn_model_new(t, 1);
    nn_sequential *net = build(model);
    assert_int_equal(nn_sequential_count(net), 5);
    assert_int_equal(nn_parameter_count(model), 6);
    for (int i = 0; i < 6; i++) assert_string_equal(nn_parameter_name(model, i), names[i]);
    ag_var x = random_tensor(t, AG_SHAPE(2, 2, 2), -1, 1), y = nn_sequential_apply(net, x);

    nn_dense first = {nn_parameter_at(model, 0), nn_parameter_at(model, 1)},
             second = {nn_parameter_at(model, 4), ag_num(0)};
    nn_layer_norm norm = {nn_parameter_at(model, 2), nn_parameter_at(model, 3), 1e-5};
    ag_var hidden = ag_tanh(nn_dense_apply(first, ag_reshape(x, AG_SHAPE(2, 4))));
    ag_var want = ag_add(hidden, nn_dense_apply(second, nn_layer_norm_apply(norm, hidden)));
    double numbers[6];
    ag_read(want, numbers);
    check_read("net", y, numbers);
    nn_model_free(model);
}

static void lists_on_each_tape(void **state) {
    (void)state;
    on_each_tape(the_list_is_its_layers);
    assert_int_equal(taken, 0);
}

/* A dense layer and its activation in one are what they are in two. */
static void activated_layers(ag_tape *t) {
    nn_model *model = nn_model_new(t, 1);
    nn_dense layer = nn_dense_init(model, "l", 5, 7, (nn_dense_options){0});
    ag_var x = random_tensor(t, AG_SHAPE(3, 5), -1, 1);
    for (nn_activation a = NN_IDENTITY; nn_activation_name(a) != NULL; a++) {
        double numbers[21];
        ag_read(nn_activate(a, nn_dense_apply(layer, x)), numbers);
        check_read(nn_activation_name(a), nn_dense_activated(layer, x, a), numbers);
    }
    nn_model_free(model);
}
static void activated_layers_on_each_tape(void **state) {
    (void)state;
    on_each_tape(activated_layers);
    ag_tape *t = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(t, 1);
    nn_dense layer = nn_dense_init(model, "l", 5, 7, (nn_dense_options){0});
    ag_var wrong = random_tensor(t, AG_SHAPE(3, 4), -1, 1);
    check_failure(t, nn_dense_activated(layer, wrong, NN_GELU), AG_ERR_SHAPE,
                  "dense: x has shape (3, 4), its last dimension is not 5 as in the weight, (7, 5)");
    nn_model_free(model);
    ag_tape_free(t);
}

/* A relu before pooling is applied after it, which nobody sees: ties, zeros of both signs, NaN, infinities, edges that are
 * left out or over. */
static void relus_are_pooled_to_the_bit(ag_tape *t) {
    static const ag_pool_options pools[] = {{.kernel = {2, 2}},
                                            {.kernel = {3, 2}, .stride = {1, 2}, .dilation = {1, 2}},
                                            {.kernel = {2, 3}, .ceil_mode = true},
                                            {.kernel = {2, 2}, .padding = {1, 1}}};
    static const double special[] = {NAN, -0.0, 0, INFINITY, -INFINITY, 1, 1, -1};
    enum { SIDE = 9, COUNT = 2 * SIDE * SIDE };
    double data[COUNT], weights[COUNT], grads[2][COUNT], values[2][COUNT];
    uint64_t state = 11;
    for (int i = 0; i < COUNT; i++) {
        data[i] = random_number(&state, -1, 0.7);
        weights[i] = random_number(&state, -1, 1);
        if (i % 5 == 0) data[i] = special[i / 5 % 8];
        if (i % 7 == 0) weights[i] = special[i / 7 % 8];
    }
    for (int k = 0; k < 4; k++) {
        ag_var x = ag_tensor(t, data, AG_SHAPE(1, 2, SIDE, SIDE));
        for (int way = 0; way < 2; way++) {
            nn_model *model = nn_model_new(t, 1);
            nn_sequential *net = nn_sequential_new(model, "net");
            nn_sequential_activation(net, NN_RELU);
            nn_sequential_max_pool2d(net, pools[k]);
            nn_sequential_activation(net, NN_RELU);
            ag_var y = way ? nn_sequential_apply(net, x) : ag_relu(ag_max_pool2d(ag_relu(x), pools[k]));
            ag_var seed = ag_slice(ag_tensor(t, weights, AG_SHAPE(COUNT)), 0, 0, ag_count(y), 1);
            seed = ag_reshape(seed, ag_shape_of(y));
            memset(values[way], 0, sizeof values[way]);
            ag_read(y, values[way]);
            ag_sweep(&y, &seed, 1, AG_RESET);
            ag_read_grad(x, grads[way]);
            nn_model_free(model);
        }
        assert_memory_equal(values[0], values[1], sizeof values[0]);
        for (int i = 0; i < COUNT; i++) assert_true(grads[0][i] == grads[1][i]);
    }
}

static void pooled_relus(void **state) {
    (void)state;
    on_each_tape(relus_are_pooled_to_the_bit);
}

static void misuse_is_an_error(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    (void)state;
    nn_sequential *net = nn_sequential_new(model, "net");
    nn_sequential_residual(net, net);
    assert_string_equal(ag_tape_message(t), "sequential net: a residual block of itself");
    ag_tape_recover(t);
    nn_sequential_add(net, NULL, NULL, 0);
    assert_string_equal(ag_tape_message(t), "sequential net: layer 0 has no function");
    ag_tape_recover(t);
    nn_sequential_max_pool2d(net, (ag_pool_options){.kernel = {2, 2}, .stride = {2, -1}});
    assert_string_equal(ag_tape_message(t), "sequential net: layer 0: the stride 1 is -1");
    ag_tape_recover(t);
    nn_sequential_avg_pool2d(net, (ag_pool_options){.kernel = {2, 0}});
    assert_string_equal(ag_tape_message(t), "sequential net: layer 0: the kernel 1 is 0");
    ag_tape_recover(t);
    nn_sequential_conv(net, NN_CONV2D, 1, 1, 3, 3, (nn_conv_options){.stride = {1, -2}});
    assert_string_equal(ag_tape_message(t), "convolution net.0: the stride 1 is -2, negative");
    ag_tape_recover(t);
    nn_sequential_conv(net, NN_CONV2D, 1, 1, 3, 3, (nn_conv_options){.padding = {-1, 0}});
    assert_string_equal(ag_tape_message(t), "convolution net.0: the padding 0 is -1, negative");
    ag_tape_recover(t);
    nn_sequential_conv(net, NN_CONV2D, 1, 1, 3, 3, (nn_conv_options){.output_padding = {1, 0}});
    assert_string_equal(ag_tape_message(t),
                        "convolution net.0: the output padding 0 is 1, but the convolution is not transposed");
    ag_tape_recover(t);
    nn_sequential_conv(net, NN_CONV_TRANSPOSE1D, 1, 1, 3, 0,
                       (nn_conv_options){.stride = {2, 0}, .output_padding = {2, 0}});
    assert_string_equal(ag_tape_message(t), "convolution net.0: the output padding 0 is 2, not less than the stride");
    ag_tape_recover(t);
    assert_int_equal(nn_parameter_count(model) + nn_sequential_count(net), 0);
    assert_null(nn_sequential_new(model, ""));
    assert_int_equal(ag_tape_status(t), AG_ERR_VALUE);
    nn_model_free(model);
    ag_tape_free(t);

    assert_null(nn_sequential_new(NULL, "net"));
    nn_sequential_dense(NULL, 1, 1, (nn_dense_options){0});
    nn_sequential_activation(NULL, NN_RELU);
    nn_sequential_layer_norm(NULL, 1, (nn_norm_options){0});
    nn_sequential_flatten(NULL);
    nn_sequential_residual(NULL, NULL);
    (void)nn_sequential_apply(NULL, ag_num(0));
    assert_true(nn_sequential_next(NULL) == NULL && nn_sequential_count(NULL) == 0);
}

static void an_empty_batch(ag_tape *t) {
    nn_model *model = nn_model_new(t, 1);
    nn_sequential *net = build(model);
    ag_var y = nn_sequential_apply(net, ag_zeros(t, AG_SHAPE(0, 2, 2)));
    assert_string_equal(ag_tape_message(t), "");
    ag_shape shape = ag_shape_of(y);
    assert_true(shape.rank == 2 && shape.dim[0] == 0 && shape.dim[1] == 3);
    nn_model_free(model);
}

static void empty_batches(void **state) {
    (void)state;
    on_each_tape(an_empty_batch);
}

static void every_allocation_may_fail(void **state) {
    bool done = false;
    (void)state;
    for (int n = 0; !done; n++) {
        ag_tape *t = ag_tape_new(AG_F64);
        allowed = n;
        nn_model *model = nn_model_new(t, 1);
        nn_sequential *net = build(model);
        ag_var y = nn_sequential_apply(net, ag_zeros(t, AG_SHAPE(2, 4)));
        done = ag_tape_status(t) == AG_OK;
        assert_true(done != ag_is_inert(y));
        nn_model_free(model);
        allowed = -1;
        assert_int_equal(taken, 0);
        if (!done) assert_int_equal(ag_tape_status(t), AG_ERR_MEMORY);
        assert_true(n < 100);
        ag_tape_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activated_layers_on_each_tape),
        cmocka_unit_test(lists_on_each_tape),
        cmocka_unit_test(pooled_relus),
        cmocka_unit_test(empty_batches),
        cmocka_unit_test(misuse_is_an_error),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
