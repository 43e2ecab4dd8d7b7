/* What parameters start from. */
#include "on_each_tape.h"

#include "nn/nn.h"
#include "nn_memory.h"

enum { LONG = 20000 };

typedef struct spread {
    double mean, variance, most; /* most: the greatest absolute value */
} spread;

static spread spread_of(ag_var x) {
    int64_t n = ag_count(x);
    double *numbers = new_numbers(n);
    spread s = {0};
    ag_read(x, numbers);
    for (int64_t i = 0; i < n; i++) s.mean += numbers[i] / (double)n;
    for (int64_t i = 0; i < n; i++) {
        s.variance += (numbers[i] - s.mean) * (numbers[i] - s.mean) / (double)n;
        s.most = fmax(s.most, fabs(numbers[i]));
    }
    free(numbers);
    return s;
}

static spread spread_with(ag_shape shape, nn_initial initial, double gain) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 3);
    spread s = spread_of(nn_parameter_with(model, "w", shape, initial, gain));
    check_fine("initial values", t);
    nn_model_free(model);
    ag_tape_free(t);
    return s;
}

/* Means, deviations and bounds as the papers have them. */
static void initial_values_have_their_spread(void **state) {
    static const struct {
        nn_initial initial;
        double variance_of_in, variance_of_sum; /* deviation^2 = the one / in or the other / (in + out) */
        bool bounded;
    } cases[] = {{NN_DEFAULT, 1.0 / 3, 0, true},
                 {NN_GLOROT_UNIFORM, 0, 2, true},
                 {NN_GLOROT_NORMAL, 0, 2, false},
                 {NN_HE_UNIFORM, 2, 0, true},
                 {NN_HE_NORMAL, 2, 0, false}};
    const ag_shape shapes[] = {AG_SHAPE(300, 100), AG_SHAPE(60, 40, 3, 5), AG_SHAPE(20000)};
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++)
        for (size_t s = 0; s < 3; s++) {
            double n = s == 0 ? 100 * 300 : s == 1 ? 15 * 40 * 60 : 20000, gain = s == 0 ? 0.5 : 1;
            double in = s == 0 ? 100 : s == 1 ? 15 * 40 : 20000, out = s == 0 ? 300 : s == 1 ? 15 * 60 : 20000;
            double want = gain * gain * (cases[k].variance_of_in / in + cases[k].variance_of_sum / (in + out));
            spread got = spread_with(shapes[s], cases[k].initial, gain);
            assert_true(fabs(got.mean) < 5 * sqrt(want / n));
            assert_true(fabs(got.variance / want - 1) < 0.05);
            assert_true((got.most <= sqrt(3 * want)) == cases[k].bounded);
            if (cases[k].bounded) assert_true(got.most > 0.99 * sqrt(3 * want));
        }
}

/* Their spread does not depend on the shape. */
static void plain_distributions_have_their_spread(void **state) {
    (void)state;
    spread uniform = spread_with(AG_SHAPE(100, LONG / 100), NN_UNIFORM, 0.5);
    assert_true(fabs(uniform.variance / (0.25 / 3) - 1) < 0.05 && uniform.most <= 0.5 && uniform.most > 0.49);
    spread normal = spread_with(AG_SHAPE(100, LONG / 100), NN_GAUSSIAN, 0.02);
    assert_true(fabs(normal.variance / 4e-4 - 1) < 0.05 && normal.most > 0.06);
    /* of a normal distribution cut at +-2: 1 - 4 phi(2) / (2 Phi(2) - 1) */
    spread cut = spread_with(AG_SHAPE(LONG), NN_TRUNCATED_GAUSSIAN, 3);
    assert_true(fabs(cut.variance / (9 * 0.7737413035) - 1) < 0.05 && cut.most <= 6 && cut.most > 5.9);
    spread ones = spread_with(AG_SHAPE(LONG), NN_ONES, 0);
    assert_true(ones.variance < 1e-20 && ones.most == 1);
    assert_true(spread_with(AG_SHAPE(LONG), NN_ZEROS, 1).most == 0);
}

/* Rows or columns, whichever are fewer, are orthogonal and have the gain as their length. */
static void orthogonal_matrices_are_orthogonal(void **state) {
    const ag_shape shapes[] = {AG_SHAPE(7, 7), AG_SHAPE(3, 9), AG_SHAPE(9, 3), AG_SHAPE(4, 3, 2, 2), AG_SHAPE(5)};
    (void)state;
    for (size_t k = 0; k < 5; k++) {
        ag_tape *t = ag_tape_new(AG_F64);
        nn_model *model = nn_model_new(t, k);
        ag_var w = nn_parameter_with(model, "w", shapes[k], NN_ORTHOGONAL, 1.5);
        w = ag_reshape(w, shapes[k].rank == 1 ? AG_SHAPE(1, -1) : AG_SHAPE(shapes[k].dim[0], -1));
        ag_shape s = ag_shape_of(w);
        if (s.dim[0] > s.dim[1]) w = ag_transpose(w);
        int64_t n = s.dim[0] < s.dim[1] ? s.dim[0] : s.dim[1];
        double got[64], want[64] = {0};
        ag_read(ag_matmul(w, ag_transpose(w)), got);
        for (int64_t i = 0; i < n; i++) want[i * n + i] = 2.25;
        check_numbers("orthogonal", "product", got, want, n * n, 1e-12);
        nn_model_free(model);
        ag_tape_free(t);
    }
}

static double first_number(uint64_t seed, const char *name, const char *before, ag_type type) {
    ag_tape *t = ag_tape_new(type);
    nn_model *model = nn_model_new(t, seed);
    if (before != NULL) nn_parameter(model, before, AG_SHAPE(7), NN_HE_NORMAL);
    double x = ag_value(ag_at(nn_parameter(model, name, AG_SHAPE(2, 2), NN_HE_NORMAL), 0));
    nn_model_free(model);
    ag_tape_free(t);
    return x;
}

/* A new layer leaves the others as they were. */
static void initial_values_depend_on_seed_and_name(void **state) {
    (void)state;
    double x = first_number(1, "a", NULL, AG_F64);
    assert_true(x == first_number(1, "a", NULL, AG_F64));
    assert_true(x == first_number(1, "a", "another", AG_F64));
    assert_true((double)(float)x == first_number(1, "a", NULL, AG_F32));
    assert_true(x != first_number(1, "b", NULL, AG_F64));
    assert_true(x != first_number(2, "a", NULL, AG_F64));
}

/* The dense layer's are PyTorch's: within +-1 / sqrt(inputs), weight and bias. */
static void a_dense_layer_starts_as_in_pytorch(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    (void)state;
    nn_dense layer = nn_dense_init(model, "layer", 400, 300, (nn_dense_options){0});
    spread weight = spread_of(layer.weight), bias = spread_of(layer.bias);
    assert_true(weight.most <= 0.05 && weight.most > 0.0499);
    assert_true(bias.most <= 0.05 && bias.most > 0.049);
    layer = nn_dense_init(model, "other", 400, 300, (nn_dense_options){.initial = NN_HE_NORMAL, .gain = 2});
    assert_true(fabs(spread_of(layer.weight).variance / (4 * 2 / 400.0) - 1) < 0.05);
    assert_true(spread_of(layer.bias).most == 0);
    nn_model_free(model);
    ag_tape_free(t);
}

static void new_initial_values_can_be_asked_for(void **state) {
    ag_tape *t = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(t, 1);
    (void)state;
    ag_var w = nn_parameter(model, "w", AG_SHAPE(2, 3), NN_HE_NORMAL), b = nn_buffer(model, "b", AG_SHAPE(2), NN_ONES);
    double first[6], again[6];
    ag_read(w, first);
    nn_initialise(model, "w", NN_ONES, 0.5);
    check_read("w", w, (const double[]){0.5, 0.5, 0.5, 0.5, 0.5, 0.5});
    nn_initialise(model, "w", NN_HE_NORMAL, 0);
    ag_read(w, again);
    assert_memory_equal(first, again, sizeof first);
    nn_initialise(model, "b", NN_ZEROS, 1);
    check_read("b", b, (const double[]){0, 0});
    check_fine("initialise", t);
    nn_initialise(model, "c", NN_ZEROS, 1);
    assert_string_equal(ag_tape_message(t), "initialise: there is no \"c\"");
    ag_tape_recover(t);
    nn_initialise(model, "w", NN_INITIALS, 1);
    assert_non_null(strstr(ag_tape_message(t), "no initial values of kind"));
    ag_tape_recover(t);
    nn_initialise(model, "w", NN_ONES, NAN);
    assert_non_null(strstr(ag_tape_message(t), "the gain is nan"));
    nn_initialise(NULL, "w", NN_ONES, 1);
    nn_model_free(model);
    ag_tape_free(t);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    bool done = false;
    for (int n = 0; !done; n++) {
        ag_tape *t = ag_tape_new(AG_F64);
        allowed = n;
        nn_model *model = nn_model_new(t, 1);
        nn_parameter(model, "w", AG_SHAPE(2, 3), NN_ORTHOGONAL);
        nn_buffer(model, "b", AG_SHAPE(2, 3), NN_ONES);
        nn_initialise(model, "w", NN_ORTHOGONAL, 2);
        done = ag_tape_status(t) == AG_OK;
        nn_model_free(model);
        allowed = -1;
        assert_int_equal(taken, 0);
        if (!done && ag_tape_status(t) != AG_ERR_MEMORY) fail_msg("%s", ag_tape_message(t));
        assert_true(n < 40);
        ag_tape_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(initial_values_have_their_spread),   cmocka_unit_test(plain_distributions_have_their_spread),
        cmocka_unit_test(orthogonal_matrices_are_orthogonal), cmocka_unit_test(initial_values_depend_on_seed_and_name),
        cmocka_unit_test(a_dense_layer_starts_as_in_pytorch), cmocka_unit_test(new_initial_values_can_be_asked_for),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
