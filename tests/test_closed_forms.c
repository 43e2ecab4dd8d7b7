/* The catalogue of closed forms holds; wrong closed forms are caught, and it is said where they are wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nn/compare.h"
#include "nn/nn.h"
#include "nn_memory.h"

enum { DRAWS = 200 };

static void every_allocation_may_fail(void **state) {
    const nn_closed_form *form = nn_closed_form_find("cross_entropy_batch");
    nn_closed_form_report report = {0};
    (void)state;
    for (int n = 0; !report.holds; n++) {
        allowed = n;
        nn_closed_form_check(form, 3, 1, &report);
        allowed = -1;
        assert_int_equal(taken, 0);
        assert_true(report.holds || (report.status == AG_ERR_MEMORY && strlen(report.message) > 0));
        assert_true(n <= 6); /* two a draw */
    }
}

/* ---- the catalogue --------------------------------------------------------------------------------------------- */

static void every_form_holds(void **state) {
    int count;
    const nn_closed_form *forms = nn_closed_forms(&count);
    (void)state;
    assert_true(count >= 50);
    for (int i = 0; i < count; i++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            nn_closed_form_report report;
            if (!nn_closed_form_check(&forms[i], DRAWS, seed, &report)) {
                nn_closed_form_write(&forms[i], &report, stderr);
                fail_msg("%s does not hold", forms[i].name);
            }
            assert_int_equal(report.status, AG_OK);
            assert_int_equal(report.draws, DRAWS);
            assert_int_equal(report.wrong, 0);
            assert_true(report.compared >= DRAWS);
            assert_true(report.worst.error <= report.tolerance);
        }
}

static void every_form_is_described(void **state) {
    int count;
    const nn_closed_form *forms = nn_closed_forms(&count);
    (void)state;
    for (int i = 0; i < count; i++) {
        assert_true(strlen(forms[i].formula) > 0 && strlen(forms[i].source) > 0);
        assert_ptr_equal(nn_closed_form_find(forms[i].name), &forms[i]); /* so names are unique */
        for (int a = 0; a < forms[i].argument_count; a++) assert_true(strlen(forms[i].arguments[a].name) > 0);
    }
    assert_null(nn_closed_form_find("sigmoidal"));
    assert_null(nn_closed_form_find(NULL));
}

/* Without these the catalogue would not be what it is for. */
static void the_usual_forms_are_there(void **state) {
    static const char *const names[] = {"sigmoid",
                                        "log_sigmoid",
                                        "softplus",
                                        "softsign",
                                        "tanh",
                                        "relu",
                                        "relu6",
                                        "leaky_relu",
                                        "elu",
                                        "selu",
                                        "silu",
                                        "gelu",
                                        "gelu_tanh",
                                        "mish",
                                        "softmax",
                                        "log_softmax",
                                        "logsumexp",
                                        "cross_entropy",
                                        "cross_entropy_labels",
                                        "cross_entropy_probabilities",
                                        "cross_entropy_dense",
                                        "cross_entropy_row",
                                        "cross_entropy_batch",
                                        "softmax_regression",
                                        "bce",
                                        "bce_probability",
                                        "bce_linear",
                                        "bce_batch",
                                        "mse",
                                        "mae",
                                        "linear_regression",
                                        "huber",
                                        "log_cosh",
                                        "hinge",
                                        "squared_hinge",
                                        "poisson",
                                        "gaussian",
                                        "l1",
                                        "l2",
                                        "entropy",
                                        "kl",
                                        "kl_logits",
                                        "kl_gaussian",
                                        "dense",
                                        "dense_row",
                                        "dense_batch",
                                        "layer_norm",
                                        "rms_norm",
                                        "batch_norm",
                                        "attention",
                                        "quadratic",
                                        "bilinear",
                                        "cross_entropy_smoothed",
                                        "cross_entropy_weighted",
                                        "bce_weighted",
                                        "smooth_l1",
                                        "cosine",
                                        "triplet",
                                        "contrastive",
                                        "group_norm",
                                        "rotary",
                                        "lstm_cell",
                                        "gru_cell",
                                        "convolution",
                                        "convolution_strided",
                                        "convolution_grouped",
                                        "convolution_transposed",
                                        "average_pooling",
                                        "max_pooling",
                                        "embedding",
                                        "embedding_padded",
                                        "dropout",
                                        "batch_norm_running",
                                        "attention_masked",
                                        "attention_causal",
                                        "rnn_cell",
                                        "rnn_relu_cell",
                                        "cross_entropy_weighted_mean",
                                        "cross_entropy_ignored",
                                        "nll",
                                        "kl_log_probabilities",
                                        "cosine_embedding"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) assert_non_null(nn_closed_form_find(names[i]));
}

/* Where formulas as printed in books overflow or cancel: values and derivatives are those of the tape, and finite. */
static void forms_are_stable_far_out(void **state) {
    static const double far[] = {-1e300, -1e4, -745, -40, -1e-300, 1e-300, 20, 40, 710, 1e4, 1e300};
    static const char *const names[] = {"sigmoid", "log_sigmoid", "softplus", "softsign",  "tanh", "relu", "relu6",
                                        "selu",    "silu",        "gelu",     "gelu_tanh", "mish", "bce",  "elu"};
    (void)state;
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++)
        for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
            const nn_closed_form *form = nn_closed_form_find(names[f]);
            double second = 1, value = 0, by_first = 0, by_second = 0;
            const double *x[] = {&far[i], &second};
            double *d[] = {&by_first, form->arguments[1].constant ? NULL : &by_second};
            form->value((nn_sizes){1, 1, 1}, x, &value);
            form->derivative((nn_sizes){1, 1, 1}, x, d);
            ag_tape *t = ag_tape_new(AG_F64);
            ag_var v[] = {ag_input(t, far[i]), ag_input(t, second)}, y = form->function(v);
            ag_backward(y);
            assert_int_equal(ag_tape_status(t), AG_OK);
            if (!isfinite(value) || nn_distance(value, ag_value(y)) > 1e-12)
                fail_msg("%s(%g): %.17g, the tape has %.17g", names[f], far[i], value, ag_value(y));
            if (!isfinite(by_first) || nn_distance(by_first, ag_grad(v[0])) > 1e-12)
                fail_msg("%s'(%g): %.17g, the tape has %.17g", names[f], far[i], by_first, ag_grad(v[0]));
            ag_tape_free(t);
        }
}

static void losses_are_stable_far_out(void **state) {
    static const double z[] = {1000, -1000, 3}, y[] = {0, 1, 0}, hot[] = {1, 0, 0};
    const double *wrong[] = {z, y}, *right[] = {z, hot};
    double value = 0, d0[3] = {0}, *d[] = {d0, NULL};
    const nn_closed_form *form = nn_closed_form_find("cross_entropy");
    (void)state;
    form->value((nn_sizes){1, 1, 3}, wrong, &value);
    assert_true(value == 2000);
    form->derivative((nn_sizes){1, 1, 3}, wrong, d);
    assert_true(d0[0] == 1 && d0[1] == -1 && d0[2] == 0);
    form->value((nn_sizes){1, 1, 3}, right, &value);
    assert_true(value == 0);
}

/* What the catalogue says at the kink is what the tape does there. */
static void relu_has_derivative_0_at_0(void **state) {
    double zero = 0, derivative = 1;
    const double *x[] = {&zero};
    double *d[] = {&derivative};
    nn_closed_form_find("relu")->derivative((nn_sizes){1, 1, 1}, x, d);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var v = ag_input(t, 0);
    (void)state;
    ag_backward(ag_relu(v));
    assert_true(derivative == 0 && ag_grad(v) == 0);
    ag_tape_free(t);
}

static void the_same_seed_gives_the_same_report(void **state) {
    const nn_closed_form *form = nn_closed_form_find("layer_norm");
    nn_closed_form_report first, second;
    (void)state;
    nn_closed_form_check(form, DRAWS, 7, &first);
    nn_closed_form_check(form, DRAWS, 7, &second);
    assert_true(first.worst.error == second.worst.error && first.worst.closed == second.worst.closed);
    assert_int_equal(first.compared, second.compared);
    nn_closed_form_check(form, DRAWS, 8, &second);
    assert_true(first.worst.closed != second.worst.closed);
}

/* ---- the catalogue's forms, spoilt one argument at a time ------------------------------------------------------ */

static struct {
    const nn_closed_form *form;
    int argument;
} spoilt;

/* The derivative by that argument is missing. */
static void missing_argument(nn_sizes s, const double *const *x, double *const *d) {
    static double aside[4096];
    double *to[NN_MAX_ARGUMENTS];
    memset(aside, 0, sizeof aside);
    for (int a = 0; a < spoilt.form->argument_count; a++) to[a] = a == spoilt.argument ? aside : d[a];
    spoilt.form->derivative(s, x, to);
}

/* Its first entry is off, and only a little. */
static void first_entry_off(nn_sizes s, const double *const *x, double *const *d) {
    spoilt.form->derivative(s, x, d);
    d[spoilt.argument][0] += 1e-6 * fmax(1, fabs(d[spoilt.argument][0]));
}

static void expect_caught(void (*derivative)(nn_sizes, const double *const *, double *const *)) {
    nn_closed_form form = *spoilt.form;
    nn_closed_form_report report;
    form.derivative = derivative;
    assert_false(nn_closed_form_check(&form, DRAWS, 1, &report));
    assert_int_equal(report.status, AG_OK);
    assert_int_equal(report.wrong_values, 0);
    if (report.wrong == 0 || report.worst.argument != spoilt.argument)
        fail_msg("%s: a wrong derivative by %s is not noticed", form.name, form.arguments[spoilt.argument].name);
}

static void every_derivative_matters(void **state) {
    int count;
    const nn_closed_form *forms = nn_closed_forms(&count);
    (void)state;
    for (int i = 0; i < count; i++)
        for (int a = 0; a < forms[i].argument_count; a++) {
            if (forms[i].arguments[a].constant) continue;
            spoilt.form = &forms[i];
            spoilt.argument = a;
            expect_caught(missing_argument);
            expect_caught(first_entry_off);
        }
}

/* ---- shapes ---------------------------------------------------------------------------------------------------- */

/* y = 3 x, for x of shape (2, 3n) */
static ag_var record_shaped(const ag_var *x) {
    ag_shape shape = ag_shape_of(x[0]);
    assert_int_equal(shape.rank, 2);
    assert_int_equal(shape.dim[0], 2);
    assert_int_equal(shape.dim[1] % 3, 0);
    return ag_mul(3, ag_sum(x[0]));
}

static void shaped_value(nn_sizes s, const double *const *x, double *y) {
    for (int64_t i = 0; i < 6 * s.n; i++) *y += 3 * x[0][i];
}

static void shaped_derivative(nn_sizes s, const double *const *x, double *const *d) {
    (void)x;
    for (int64_t i = 0; i < 6 * s.n; i++) d[0][i] = 3;
}

static void shapes_have_lengths_and_factors(void **state) {
    nn_closed_form form = {"shaped",      "f = 3 sum(x)", "this file",      1, {{"x", "23n", NN_NORMAL, false}},
                           record_shaped, shaped_value,   shaped_derivative};
    nn_closed_form_report report;
    (void)state;
    assert_true(nn_closed_form_check(&form, DRAWS, 1, &report));
    static const char *const wrong[] = {"0", "0n", "2q", "n0", "23456", "mnkmn", "2 n", "-n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        form.arguments[0].shape = wrong[i];
        assert_false(nn_closed_form_check(&form, 1, 1, &report));
        assert_int_equal(report.status, AG_ERR_SHAPE);
    }
}

/* ---- wrong closed forms: the right derivative of f(x, y) = sum(x^2 y), then spoilt ----------------------------- */

static ag_var record(const ag_var *x) { return ag_sum(ag_mul(ag_square(x[0]), x[1])); }

static void right_value(nn_sizes s, const double *const *x, double *y) {
    for (int64_t i = 0; i < s.n; i++) *y += x[0][i] * x[0][i] * x[1][i];
}

static void right_derivative(nn_sizes s, const double *const *x, double *const *d) {
    for (int64_t i = 0; i < s.n; i++) {
        d[0][i] = 2 * x[0][i] * x[1][i];
        d[1][i] = x[0][i] * x[0][i];
    }
}

static void wrong_sign(nn_sizes s, const double *const *x, double *const *d) {
    right_derivative(s, x, d);
    for (int64_t i = 0; i < s.n; i++) d[0][i] = -d[0][i];
}

static void wrong_factor(nn_sizes s, const double *const *x, double *const *d) {
    right_derivative(s, x, d);
    for (int64_t i = 0; i < s.n; i++) d[1][i] *= 2;
}

/* Only the last of five entries, and only a little. */
static void wrong_entry(nn_sizes s, const double *const *x, double *const *d) {
    right_derivative(s, x, d);
    if (s.n == NN_MAX_SIZE) d[1][NN_MAX_SIZE - 1] += 1e-6 * fmax(1, fabs(d[1][NN_MAX_SIZE - 1]));
}

static void not_a_number(nn_sizes s, const double *const *x, double *const *d) {
    right_derivative(s, x, d);
    d[0][0] = NAN;
}

static void wrong_value(nn_sizes s, const double *const *x, double *y) {
    right_value(s, x, y);
    *y *= 2;
}

static nn_closed_form form_with(void (*derivative)(nn_sizes, const double *const *, double *const *)) {
    return (nn_closed_form){
        "test", "f = sum(x^2 y)", "this file", 2, {{"x", "n", NN_NORMAL, false}, {"y", "n", NN_POSITIVE, false}},
        record, right_value,      derivative};
}

static void wrong_forms_are_caught(void **state) {
    static const struct {
        void (*derivative)(nn_sizes, const double *const *, double *const *);
        int argument;
    } cases[] = {{wrong_sign, 0}, {wrong_factor, 1}, {wrong_entry, 1}, {not_a_number, 0}};
    (void)state;
    nn_closed_form form = form_with(right_derivative);
    nn_closed_form_report report;
    assert_true(nn_closed_form_check(&form, DRAWS, 1, &report));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        form = form_with(cases[i].derivative);
        assert_false(nn_closed_form_check(&form, DRAWS, 1, &report));
        assert_int_equal(report.status, AG_OK);
        assert_false(report.holds);
        assert_true(report.wrong > 0 && report.wrong < report.compared);
        assert_int_equal(report.worst.argument, cases[i].argument);
        assert_true(report.worst.error > report.tolerance);
    }
}

/* The report tells a wrong value from a wrong derivative. */
static void values_are_checked_too(void **state) {
    nn_closed_form form = form_with(right_derivative);
    nn_closed_form_report report;
    (void)state;
    assert_true(nn_closed_form_check(&form, DRAWS, 1, &report));
    assert_int_equal(report.values, DRAWS);
    form.value = wrong_value;
    assert_false(nn_closed_form_check(&form, DRAWS, 1, &report));
    assert_int_equal(report.status, AG_OK);
    assert_int_equal(report.wrong, 0);
    assert_int_equal(report.wrong_values, DRAWS);
    assert_int_equal(report.worst.argument, -1);
    assert_true(fabs(report.worst.closed / report.worst.tape - 2) < 1e-12); /* sums differ between instruction sets */

    form.value = NULL;
    assert_true(nn_closed_form_check(&form, DRAWS, 1, &report));
    assert_int_equal(report.values, 0);
}

static void expect_text(const nn_closed_form *form, const char *first, const char *second) {
    nn_closed_form_report report;
    char text[1024] = "";
    FILE *out = tmpfile();
    assert_non_null(out);
    nn_closed_form_check(form, 3, 1, &report);
    assert_true(nn_closed_form_write(form, &report, out));
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = '\0';
    fclose(out);
    if (strstr(text, first) == NULL || strstr(text, second) == NULL)
        fail_msg("\"%s\" and \"%s\" are not in:\n%s", first, second, text);
}

static void reports_say_what_is_wrong(void **state) {
    nn_closed_form form = form_with(right_derivative);
    (void)state;
    expect_text(&form, "holds  test", "3 draws");
    form.value = wrong_value;
    expect_text(&form, "WRONG  test", "value of result 1");
    form = form_with(wrong_sign);
    expect_text(&form, "WRONG  test", "derivative of result 1 by element");
    form.arguments[0].shape = "q";
    expect_text(&form, "failed test", "\"q\"");
}

static void the_worst_entry_is_reported(void **state) {
    nn_closed_form form = form_with(wrong_entry);
    nn_closed_form_report report;
    (void)state;
    nn_closed_form_check(&form, DRAWS, 1, &report);
    assert_int_equal(report.worst.output, 0);
    assert_int_equal(report.worst.input, NN_MAX_SIZE - 1);
    double excess = report.worst.closed - report.worst.tape;
    assert_true(fabs(excess / fmax(1, report.worst.tape) - 1e-6) < 1e-9);

    form = form_with(not_a_number);
    nn_closed_form_check(&form, DRAWS, 1, &report);
    assert_true(isnan(report.worst.closed) && isinf(report.worst.error));
    assert_int_equal(report.wrong, DRAWS);
}

static void errors_are_signed_and_relative_to_large_numbers(void **state) {
    (void)state;
    assert_true(nn_distance(-1, 1) == 2);
    assert_true(nn_distance(3e6, 2e6) == 0.5);
    assert_true(nn_distance(0.25, 0) == 0.25);
    assert_true(isinf(nn_distance(NAN, 1)) && isinf(nn_distance(1, NAN)) && isinf(nn_distance(NAN, NAN)));
    assert_true(isinf(nn_distance(1, INFINITY)) && isinf(nn_distance(INFINITY, -INFINITY)));
    assert_true(nn_distance(INFINITY, INFINITY) == 0);
}

/* ---- misuse ---------------------------------------------------------------------------------------------------- */

static ag_var record_mismatch(const ag_var *x) { return ag_sum(ag_mul(ag_reshape(x[0], AG_SHAPE(7)), x[1])); }

static void expect_status(const nn_closed_form *form, int draws, ag_status status) {
    nn_closed_form_report report;
    assert_false(nn_closed_form_check(form, draws, 1, &report));
    assert_int_equal(report.status, status);
    assert_true(strlen(report.message) > 0);
}

static void misuse_is_reported(void **state) {
    nn_closed_form form = form_with(right_derivative);
    (void)state;
    expect_status(&form, 0, AG_ERR_VALUE);
    expect_status(NULL, 1, AG_ERR_VALUE);
    form.function = NULL;
    expect_status(&form, 1, AG_ERR_VALUE);
    form = form_with(NULL);
    expect_status(&form, 1, AG_ERR_VALUE);
    form = form_with(right_derivative);
    form.argument_count = NN_MAX_ARGUMENTS + 1;
    expect_status(&form, 1, AG_ERR_VALUE);
    form = form_with(right_derivative);
    form.arguments[1].shape = "q";
    expect_status(&form, 1, AG_ERR_SHAPE);
    form = form_with(right_derivative);
    form.arguments[0].constant = form.arguments[1].constant = true;
    expect_status(&form, 1, AG_ERR_VALUE);
    form = form_with(right_derivative);
    form.function = record_mismatch;
    expect_status(&form, 1, AG_ERR_SHAPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_holds),
        cmocka_unit_test(every_form_is_described),
        cmocka_unit_test(the_usual_forms_are_there),
        cmocka_unit_test(every_derivative_matters),
        cmocka_unit_test(shapes_have_lengths_and_factors),
        cmocka_unit_test(forms_are_stable_far_out),
        cmocka_unit_test(losses_are_stable_far_out),
        cmocka_unit_test(values_are_checked_too),
        cmocka_unit_test(reports_say_what_is_wrong),
        cmocka_unit_test(relu_has_derivative_0_at_0),
        cmocka_unit_test(the_same_seed_gives_the_same_report),
        cmocka_unit_test(wrong_forms_are_caught),
        cmocka_unit_test(the_worst_entry_is_reported),
        cmocka_unit_test(errors_are_signed_and_relative_to_large_numbers),
        cmocka_unit_test(misuse_is_reported),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
