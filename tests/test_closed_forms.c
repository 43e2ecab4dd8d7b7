/* The catalogue of closed forms holds; wrong closed forms are caught, and it is said where they are wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "nn/compare.h"
#include "nn/memory.h"
#include "nn/nn.h"

enum { DRAWS = 200 };

/* ---- memory that runs out: this program's own nn/memory, which the linker takes instead of the library's ------- */

static int allowed = -1; /* allocations that still succeed; -1: all */
static int taken;        /* allocations that were not released yet */

void *nn_allocate(size_t count, size_t size) {
    if (allowed == 0) return NULL;
    allowed -= allowed > 0;
    void *memory = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    taken += memory != NULL;
    return memory;
}

void nn_release(void *memory) {
    taken -= memory != NULL;
    free(memory);
}

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
    assert_true(count >= 30);
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
}

/* Without these the catalogue would not be what it is for. */
static void the_usual_forms_are_there(void **state) {
    static const char *const names[] = {"sigmoid",
                                        "softplus",
                                        "relu",
                                        "tanh",
                                        "softmax",
                                        "cross_entropy",
                                        "cross_entropy_dense",
                                        "cross_entropy_row",
                                        "cross_entropy_batch",
                                        "bce",
                                        "bce_linear",
                                        "bce_batch",
                                        "mse",
                                        "l2"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) assert_non_null(nn_closed_form_find(names[i]));
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

/* ---- wrong closed forms: the right derivative of f(x, y) = sum(x^2 y), then spoilt ----------------------------- */

static ag_var record(const ag_var *x) { return ag_sum(ag_mul(ag_square(x[0]), x[1])); }

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

static nn_closed_form form_with(void (*derivative)(nn_sizes, const double *const *, double *const *)) {
    return (nn_closed_form){
        "test", "f = sum(x^2 y)", "this file", 2, {{"x", "n", NN_NORMAL, false}, {"y", "n", NN_POSITIVE, false}},
        record, derivative};
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
    assert_true(nn_error(-1, 1) == 2);
    assert_true(nn_error(3e6, 2e6) == 0.5);
    assert_true(nn_error(0.25, 0) == 0.25);
    assert_true(isinf(nn_error(NAN, 1)) && isinf(nn_error(1, NAN)) && isinf(nn_error(NAN, NAN)));
    assert_true(isinf(nn_error(1, INFINITY)) && isinf(nn_error(INFINITY, -INFINITY)));
    assert_true(nn_error(INFINITY, INFINITY) == 0);
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
