/* Parameters, layers, losses and steps of gradient descent. */
#include "on_each_tape.h"

#include "nn/nn.h"
#include "nn_memory.h"

/* ---- parameters ------------------------------------------------------------------------------------------------ */

static void expect_error(ag_tape *t, ag_status status, const char *part) {
    if (ag_tape_status(t) != status || strstr(ag_tape_message(t), part) == NULL)
        fail_msg("status %d, \"%s\"; should be %d with \"%s\"", (int)ag_tape_status(t), ag_tape_message(t), (int)status,
                 part);
}

static void parameters_have_names_and_an_order(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    (void)state;
    ag_var scale = nn_parameter(model, "scale", AG_SHAPE(3), NN_ONES);
    nn_dense layer = nn_dense_init(model, "out", 3, 2, (nn_dense_options){.initial = NN_HE_NORMAL});
    ag_var level = nn_parameter(model, "level", (ag_shape){0, {0}}, NN_ONES);
    assert_int_equal(nn_parameter_count(model), 4);
    assert_int_equal(nn_model_size(model), 3 + 6 + 2 + 1);
    assert_ptr_equal(nn_model_tape(model), t);
    static const char *const names[] = {"scale", "out.weight", "out.bias", "level"};
    const ag_var vars[] = {scale, layer.weight, layer.bias, level};
    for (int i = 0; i < 4; i++) {
        ag_var at = nn_parameter_at(model, i), found = nn_parameter_find(model, names[i]);
        assert_string_equal(nn_parameter_name(model, i), names[i]);
        assert_true(at.place == vars[i].place && found.place == vars[i].place);
        assert_false(ag_is_constant(at));
    }
    assert_null(nn_parameter_name(model, 4));
    assert_null(nn_parameter_name(model, -1));
    check_read("ones", scale, (const double[]){1, 1, 1});
    check_read("bias", layer.bias, (const double[]){0, 0});
    assert_true(ag_value(level) == 1);
    check_fine("parameters", t);
    nn_model_free(model);
    ag_tape_free(t);
}

/* More than the first room is for. */
static void a_model_grows(void **state) {
    ag_tape *t = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(t, 1);
    char name[16];
    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "p%d", i);
        nn_parameter(model, name, AG_SHAPE(i % 3 + 1), i % 2 ? NN_ONES : NN_ZEROS);
    }
    assert_int_equal(nn_parameter_count(model), 100);
    assert_string_equal(nn_parameter_name(model, 57), "p57");
    assert_true(ag_value(ag_at(nn_parameter_find(model, "p57"), 0)) == 1);
    check_fine("a large model", t);
    nn_model_free(model);
    ag_tape_free(t);
    assert_int_equal(taken, 0);
}

static void bad_parameters_are_errors(void **state) {
    static const struct {
        const char *name;
        ag_shape shape;
        nn_initial initial;
        ag_status status;
        const char *part;
    } cases[] = {
        {NULL, {1, {2}}, NN_ZEROS, AG_ERR_VALUE, "no name"},
        {"", {1, {2}}, NN_ZEROS, AG_ERR_VALUE, "no name"},
        {"w", {1, {2}}, NN_ZEROS, AG_ERR_VALUE, "\"w\" is taken"},
        {"v", {2, {3, 0}}, NN_ZEROS, AG_ERR_SHAPE, "dimension 2 is 0"},
        {"v", {2, {-1, 2}}, NN_ZEROS, AG_ERR_SHAPE, "dimension 1 is -1"},
        {"v", {2, {INT64_MAX / 4, 8}}, NN_ZEROS, AG_ERR_SHAPE, "dimension"},
        {"v", {9, {1}}, NN_ZEROS, AG_ERR_SHAPE, "rank 9"},
        {"v", {-1, {1}}, NN_ZEROS, AG_ERR_SHAPE, "rank -1"},
        {"v", {1, {2}}, (nn_initial)77, AG_ERR_VALUE, "kind 77"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        nn_model *model = nn_model_new(t, 1);
        nn_parameter(model, "w", AG_SHAPE(2), NN_ONES);
        ag_var bad = nn_parameter(model, cases[i].name, cases[i].shape, cases[i].initial);
        expect_error(t, cases[i].status, cases[i].part);
        assert_true(ag_is_inert(bad));
        assert_true(ag_is_inert(nn_parameter(model, "fine", AG_SHAPE(2), NN_ONES))); /* errors stick */
        assert_int_equal(nn_parameter_count(model), 1);
        nn_model_free(model);
        ag_tape_free(t);
    }
}

static void unknown_parameters_are_errors(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    (void)state;
    nn_parameter(model, "w", AG_SHAPE(2), NN_ONES);
    assert_true(ag_is_inert(nn_parameter_find(model, "W")));
    expect_error(t, AG_ERR_VALUE, "\"W\"");
    ag_tape_recover(t);
    nn_parameter_find(model, NULL);
    expect_error(t, AG_ERR_VALUE, "none with the name");
    ag_tape_recover(t);
    assert_true(ag_is_inert(nn_parameter_at(model, 1)));
    expect_error(t, AG_ERR_VALUE, "number 1 of 1");
    ag_tape_recover(t);
    nn_dense_init(model, NULL, 2, 2, (nn_dense_options){.initial = NN_ZEROS});
    expect_error(t, AG_ERR_VALUE, "no name");
    nn_model_free(model);
    ag_tape_free(t);
}

/* A model that could not be made: everything takes it. */
static void no_model_is_no_crash(void **state) {
    (void)state;
    assert_null(nn_model_new(NULL, 1));
    nn_model_free(NULL);
    nn_sgd_step(NULL, 0.1);
    (void)nn_parameter(NULL, "w", AG_SHAPE(2), NN_ONES);
    (void)nn_parameter_at(NULL, 0);
    (void)nn_parameter_find(NULL, "w");
    (void)nn_dense_init(NULL, "d", 2, 2, (nn_dense_options){.initial = NN_ONES});
    assert_null(nn_model_tape(NULL));
    assert_null(nn_parameter_name(NULL, 0));
    assert_true(nn_parameter_count(NULL) == 0 && nn_model_size(NULL) == 0);
}

/* ---- layers ---------------------------------------------------------------------------------------------------- */

/* x: rows of the input, weight, bias; the activation in the context */
static ag_var dense_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return nn_activate(*(const nn_activation *)context, nn_dense_apply((nn_dense){x[1], x[2]}, x[0]));
}

static void dense_and_activations_have_right_derivatives(void **state) {
    nn_activation activation;
    (void)state;
    for (int a = 0; nn_activation_name((nn_activation)a) != NULL; a++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x[] = {random_tensor(t, AG_SHAPE(4, 3), -2, 2), random_tensor(t, AG_SHAPE(5, 3), -2, 2),
                      random_tensor(t, AG_SHAPE(5), -1, 1)};
        activation = (nn_activation)a;
        ag_report report = ag_check_gradient(dense_function, &activation, x, 3, 0);
        if (!report.holds) {
            ag_report_write(&report, stderr);
            fail_msg("dense with %s", nn_activation_name(activation));
        }
        ag_tape_free(t);
    }
    activation = NN_TANH;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[] = {random_tensor(t, AG_SHAPE(4, 3), -2, 2), random_tensor(t, AG_SHAPE(5, 3), -2, 2),
                  random_tensor(t, AG_SHAPE(5), -1, 1)};
    check_derivatives("dense", dense_function, &activation, x, 3);
    ag_tape_free(t);
}

static void dense_takes_any_rows(ag_tape *t) {
    nn_model *model = nn_model_new(t, 1);
    nn_dense layer = nn_dense_init(model, "layer", 2, 3, (nn_dense_options){.initial = NN_ZEROS});
    ag_set(layer.weight, (const double[]){1, 4, 2, 5, 3, 6});
    ag_set(layer.bias, (const double[]){10, 20, 30});
    const double x[] = {1, 0, 0, 1, 1, 1, 2, 2}, y[] = {11, 22, 33, 14, 25, 36, 15, 27, 39, 20, 34, 48};
    ag_var vector = ag_tensor(t, x, AG_SHAPE(2)), matrix = ag_tensor(t, x, AG_SHAPE(4, 2)),
           block = ag_tensor(t, x, AG_SHAPE(2, 2, 2));
    check_values("a vector", nn_dense_apply(layer, vector), AG_SHAPE(3), y, 0);
    check_values("rows", nn_dense_apply(layer, matrix), AG_SHAPE(4, 3), y, 0);
    check_values("rows of rows", nn_dense_apply(layer, block), AG_SHAPE(2, 2, 3), y, 0);
    nn_dense plain = nn_dense_init(model, "plain", 2, 3, (nn_dense_options){.no_bias = true, .initial = NN_ONES});
    assert_true(ag_is_zero(plain.bias));
    assert_int_equal(nn_parameter_count(model), 3);
    check_values("no bias", nn_dense_apply(plain, vector), AG_SHAPE(3), (const double[]){1, 1, 1}, 0);
    nn_model_free(model);
}

static void dense_on_each_tape(void **state) {
    (void)state;
    on_each_tape(dense_takes_any_rows);
}

static void dense_refuses_other_widths(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    nn_dense layer = nn_dense_init(model, "layer", 2, 3, (nn_dense_options){0});
    (void)state;
    assert_true(ag_is_inert(nn_dense_apply(layer, ag_zeros(t, AG_SHAPE(4, 3)))));
    expect_error(t, AG_ERR_SHAPE, "dense: x has shape (4, 3), its last dimension is not 2 as in the weight, (3, 2)");
    ag_tape_recover(t);
    nn_dense_apply(layer, ag_input(t, 1));
    expect_error(t, AG_ERR_SHAPE, "shape ()");
    nn_model_free(model);
    ag_tape_free(t);
}

/* An activation is the closed form of its name, with a = 0.01 for leaky_relu and 1 for elu. */
static void activations_are_the_closed_forms(void **state) {
    static const double at[] = {-3, -0.5, 0.25, 2};
    (void)state;
    for (int a = 0; nn_activation_name((nn_activation)a) != NULL; a++) {
        const char *name = nn_activation_name((nn_activation)a);
        const nn_closed_form *form = nn_closed_form_find(name);
        nn_activation found = NN_MISH;
        assert_true(nn_activation_find(name, &found));
        assert_int_equal(found, a);
        assert_true((form == NULL) == (a == NN_IDENTITY));
        for (int i = 0; i < 4; i++) {
            ag_tape *t = ag_tape_new(AG_F64);
            ag_var x = ag_input(t, at[i]), y = nn_activate((nn_activation)a, x);
            double parameter = a == NN_ELU ? 1 : 0.01, value = at[i], d0 = 1, d1 = 0, *d[] = {&d0, &d1};
            const double *in[] = {&at[i], &parameter};
            if (form != NULL) {
                value = 0;
                form->value((nn_sizes){1, 1, 1}, in, &value);
                form->derivative((nn_sizes){1, 1, 1}, in, d);
            }
            ag_backward(y);
            check_number(name, ag_value(y), value);
            check_number(name, ag_grad(x), d0);
            ag_tape_free(t);
        }
    }
}

static void unknown_activations_are_errors(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_activation found = NN_RELU;
    (void)state;
    assert_true(ag_is_inert(nn_activate((nn_activation)99, ag_input(t, 1))));
    expect_error(t, AG_ERR_VALUE, "no activation 99");
    assert_true(isnan(ag_value(nn_activate((nn_activation)99, ag_num(1)))));
    assert_null(nn_activation_name((nn_activation)99));
    assert_false(nn_activation_find("swish", &found));
    assert_false(nn_activation_find(NULL, &found));
    assert_int_equal(found, NN_RELU);
    ag_tape_free(t);
}

/* ---- losses ---------------------------------------------------------------------------------------------------- */

static const int64_t three_labels[] = {2, 0, 1};

static ag_var labels_loss(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return nn_softmax_cross_entropy(x[0], three_labels, 3);
}
static ag_var soft_loss(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return nn_softmax_cross_entropy_soft(x[0], ag_softmax(x[1], 1));
}
static ag_var bce_loss(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return nn_bce_logits(x[0], ag_sigmoid(x[1]));
}
static ag_var mse_loss(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return nn_mse(x[0], x[1]);
}
static ag_var l2_loss(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)context;
    return nn_l2(x, n);
}

static void losses_have_right_derivatives(void **state) {
    static const struct {
        const char *name;
        ag_function f;
    } losses[] = {{"softmax_cross_entropy", labels_loss},
                  {"softmax_cross_entropy_soft", soft_loss},
                  {"bce_logits", bce_loss},
                  {"mse", mse_loss},
                  {"l2", l2_loss}};
    (void)state;
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x[] = {random_tensor(t, AG_SHAPE(3, 4), -2, 2), random_tensor(t, AG_SHAPE(3, 4), -2, 2)};
        check_derivatives(losses[i].name, losses[i].f, NULL, x, i == 0 ? 1 : 2);
        ag_tape_free(t);
    }
}

static void losses_are_means_over_examples(ag_tape *t) {
    const double z[] = {0, log(3), 0, 0}, y[] = {0, 1, 1, 0}, p[] = {0.5, 0.5, 1, 0};
    const int64_t labels[] = {1, 0};
    ag_var logits = ag_tensor(t, z, AG_SHAPE(2, 2)), targets = ag_constant_tensor(t, y, AG_SHAPE(2, 2)),
           soft = ag_constant_tensor(t, p, AG_SHAPE(2, 2));
    double tolerance = ag_tape_type(t) == AG_F32 ? 1e-6 : 1e-14, l = log(3);
    const double want[] = {(log(4.0 / 3) + log(2)) / 2,
                           (log(4) - l / 2 + log(2)) / 2,
                           (3 * log(2) + log(4.0 / 3)) / 4,
                           ((l - 1) * (l - 1) + 1) / 4,
                           l * l,
                           l * l / 4,
                           0};
    const ag_var got[] = {nn_softmax_cross_entropy(logits, labels, 2),
                          nn_softmax_cross_entropy_soft(logits, soft),
                          nn_bce_logits(logits, targets),
                          nn_mse(logits, targets),
                          nn_l2(&logits, 1),
                          nn_mse(logits, ag_num(0)), /* a number stands for all targets */
                          ag_constant(t, ag_value(nn_l2(NULL, 0)))};
    for (int i = 0; i < 7; i++)
        if (!(fabs(ag_value(got[i]) - want[i]) < tolerance))
            fail_msg("loss %d is %.17g, should be %.17g", i, ag_value(got[i]), want[i]);
}

static void losses_on_each_tape(void **state) {
    (void)state;
    on_each_tape(losses_are_means_over_examples);
}

/* (n, 1) beside (n) would broadcast to n x n without a word. */
static void losses_refuse_other_shapes(void **state) {
    (void)state;
    for (int i = 0; i < 6; i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var column = ag_zeros(t, AG_SHAPE(4, 1)), vector = ag_zeros(t, AG_SHAPE(4)), z = ag_zeros(t, AG_SHAPE(3, 2));
        ag_var loss = i == 0   ? nn_mse(column, vector)
                      : i == 1 ? nn_bce_logits(vector, column)
                      : i == 2 ? nn_softmax_cross_entropy(z, three_labels, 2)
                      : i == 3 ? nn_softmax_cross_entropy(vector, three_labels, 3)
                      : i == 4 ? nn_softmax_cross_entropy(z, NULL, 3)
                               : nn_softmax_cross_entropy_soft(z, column);
        static const char *const parts[] = {
            "(4, 1), targets (4)", "(4), targets (4, 1)", "(2, classes)", "(3, classes)", "labels", "probabilities"};
        assert_true(ag_is_inert(loss));
        expect_error(t, i == 4 ? AG_ERR_VALUE : AG_ERR_SHAPE, parts[i]);
        ag_tape_free(t);
    }
    ag_tape *t = ag_tape_new(AG_F64); /* long shapes have room */
    ag_shape huge = {8, {0, INT64_MAX / 2, 1, 1, 1, 1, 1, 1}};
    nn_mse(ag_zeros(t, huge), ag_zeros(t, AG_SHAPE(1, 1, 1, 1, 1, 1, 1, 1)));
    assert_true(ag_tape_status(t) != AG_OK && strlen(ag_tape_message(t)) > 0);
    ag_tape_free(t);
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

static void a_step_is_minus_rate_times_gradient(ag_tape *t) {
    nn_model *model = nn_model_new(t, 1);
    ag_var w = nn_parameter(model, "w", AG_SHAPE(3), NN_ZEROS),
           b = nn_parameter(model, "b", (ag_shape){0, {0}}, NN_ONES),
           apart = nn_parameter(model, "apart", AG_SHAPE(2), NN_ONES);
    ag_set(w, (const double[]){1, 2, -4});
    nn_sgd_step(model, 0.25); /* nothing was swept */
    check_read("w before", w, (const double[]){1, 2, -4});
    ag_mark mark = ag_tape_mark(t);
    for (int step = 0; step < 2; step++) { /* of sum(w^2) + 3 b: gradients 2 w and 3 */
        ag_backward(ag_add(ag_sum(ag_square(w)), ag_mul(3, b)));
        nn_sgd_step(model, 0.25);
        ag_tape_rewind(t, mark);
    }
    check_read("w", w, (const double[]){0.25, 0.5, -1});
    check_number("b", ag_value(b), 1 - 2 * 0.75);
    check_read("apart", apart, (const double[]){1, 1});

    ag_var one = ag_num(1); /* a batch in two parts */
    for (int part = 0; part < 2; part++) {
        ag_var y = ag_mul(b, part + 1);
        ag_sweep(&y, &one, 1, part == 0 ? AG_RESET : AG_ACCUMULATE);
    }
    nn_sgd_step(model, 0.5);
    check_number("b after two parts", ag_value(b), -0.5 - 1.5);
    nn_model_free(model);
}

static void steps_on_each_tape(void **state) {
    (void)state;
    on_each_tape(a_step_is_minus_rate_times_gradient);
}

static void bad_steps_are_errors(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    ag_mark mark = ag_tape_mark(t);
    nn_model *model = nn_model_new(t, 1);
    ag_var w = nn_parameter(model, "w", AG_SHAPE(2), NN_ONES);
    (void)state;
    nn_sgd_step(model, NAN);
    expect_error(t, AG_ERR_VALUE, "rate");
    ag_backward(ag_sum(w));
    nn_sgd_step(model, 1); /* errors stick */
    ag_tape_recover(t);
    check_read("w", w, (const double[]){1, 1});
    ag_tape_rewind(t, mark); /* the parameters go, too */
    nn_sgd_step(model, 1);
    expect_error(t, AG_ERR_STALE, "");
    nn_model_free(model);
    ag_tape_free(t);
}

/* ---- training -------------------------------------------------------------------------------------------------- */

/* Three clouds of points in the plane, 30 points each. */
static void make_clouds(double *points, int64_t *labels) {
    static const double centres[3][2] = {{2, 0}, {-1, 1.7}, {-1, -1.7}};
    uint64_t state = 5;
    for (int i = 0; i < 90; i++) {
        labels[i] = i % 3;
        for (int j = 0; j < 2; j++) points[2 * i + j] = centres[i % 3][j] + random_number(&state, -1, 1);
    }
}

/* Two layers on the clouds. Returns the last loss. */
static double train(ag_tape *t, nn_activation activation, int steps) {
    double points[180];
    int64_t labels[90];
    make_clouds(points, labels);
    nn_model *model = nn_model_new(t, 1);
    nn_dense hidden = nn_dense_init(model, "hidden", 2, 8, (nn_dense_options){.initial = NN_HE_NORMAL}),
             output = nn_dense_init(model, "output", 8, 3, (nn_dense_options){.initial = NN_GLOROT_UNIFORM});
    ag_var x = ag_constant_tensor(t, points, AG_SHAPE(90, 2));
    ag_mark mark = ag_tape_mark(t);
    double last = NAN;
    for (int i = 0; i < steps && ag_tape_status(t) == AG_OK; i++) {
        ag_var logits = nn_dense_apply(output, nn_activate(activation, nn_dense_apply(hidden, x)));
        ag_var loss = nn_softmax_cross_entropy(logits, labels, 90);
        ag_backward(loss);
        last = ag_value(loss);
        nn_sgd_step(model, 0.5);
        ag_tape_rewind(t, mark);
    }
    nn_model_free(model);
    return last;
}

static void training_converges(void **state) {
    static const nn_activation activations[] = {NN_RELU, NN_TANH, NN_GELU, NN_SILU};
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++)
        for (int a = 0; a < 4; a++) {
            ag_tape *t = ag_tape_new((ag_type)type);
            double first = train(t, activations[a], 1), last;
            ag_tape_clear(t);
            last = train(t, activations[a], 300);
            check_fine("training", t);
            if (!(last < 0.05 && last < first / 10)) fail_msg("the loss went from %g to %g", first, last);
            ag_tape_free(t);
        }
    assert_int_equal(taken, 0);
}

static void training_repeats(void **state) {
    double last[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        ag_tape *t = ag_tape_new(AG_F32);
        last[i] = train(t, NN_RELU, 20);
        ag_tape_free(t);
    }
    assert_true(last[0] == last[1]);
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static void every_allocation_may_fail(void **state) {
    (void)state;
    bool done = false;
    for (int n = 0; !done; n++) {
        ag_tape *t = ag_tape_new(AG_F64);
        allowed = n;
        done = isfinite(train(t, NN_RELU, 2));
        allowed = -1;
        assert_int_equal(taken, 0);
        if (done) check_fine("training", t);
        else expect_error(t, AG_ERR_MEMORY, "out of memory");
        assert_true(n < 40);
        ag_tape_free(t);
    }
}

static bool permit(void *context, size_t bytes) {
    int *left = context;
    (void)bytes;
    return --*left >= 0;
}

/* The tape's own, too. */
static void every_request_of_the_tape_may_be_refused(void **state) {
    (void)state;
    bool done = false;
    for (int n = 0; !done; n++) {
        int left = n;
        ag_tape *t = ag_tape_new_with(&(ag_options){.permit = permit, .context = &left, .no_reserve = true});
        train(t, NN_TANH, 2);
        done = left >= 0;
        if (!done && ag_tape_status(t) != AG_OK) expect_error(t, AG_ERR_MEMORY, "memory");
        if (done) check_fine("training", t);
        assert_int_equal(taken, 0);
        assert_true(n < 2000);
        ag_tape_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_have_names_and_an_order),
        cmocka_unit_test(a_model_grows),
        cmocka_unit_test(bad_parameters_are_errors),
        cmocka_unit_test(unknown_parameters_are_errors),
        cmocka_unit_test(no_model_is_no_crash),
        cmocka_unit_test(dense_and_activations_have_right_derivatives),
        cmocka_unit_test(dense_on_each_tape),
        cmocka_unit_test(dense_refuses_other_widths),
        cmocka_unit_test(activations_are_the_closed_forms),
        cmocka_unit_test(unknown_activations_are_errors),
        cmocka_unit_test(losses_have_right_derivatives),
        cmocka_unit_test(losses_on_each_tape),
        cmocka_unit_test(losses_refuse_other_shapes),
        cmocka_unit_test(steps_on_each_tape),
        cmocka_unit_test(bad_steps_are_errors),
        cmocka_unit_test(training_converges),
        cmocka_unit_test(training_repeats),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_request_of_the_tape_may_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
