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
        cmocka_unit_test(lists_on_each_tape),
        cmocka_unit_test(misuse_is_an_error),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
