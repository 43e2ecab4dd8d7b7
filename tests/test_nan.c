/* Where a NaN or an infinity comes from: the words of ag_find_nan and ag_find_infinity. */
#include <math.h>

#include "operations.h"

static void expect_words(ag_tape *t, ag_mark from, const char *want) {
    char text[256];
    bool found = ag_find_nan(t, from, text, sizeof text);
    if (found != (want != NULL) || (want && strcmp(text, want) != 0))
        fail_msg("\"%s\", should be \"%s\"", text, want ? want : "");
}

static void words(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = fresh_tape((ag_type)type);
        ag_var x = ag_tensor(t, (double[]){1, 2, 3, -1, 0, 5}, AG_SHAPE(2, 3)), s = ag_input(t, -4);
        ag_name(x, "x");
        ag_name(s, "rate");
        ag_mark m = ag_tape_mark(t);
        (void)ag_log(ag_square(x));
        expect_words(t, m, NULL);
        (void)ag_exp(ag_log(x));
        expect_words(t, m, "log of shape (2, 3) is nan at (1, 0), of x = -1");
        ag_tape_rewind(t, m);
        (void)ag_mul(2, ag_sqrt(s));
        expect_words(t, m, "sqrt is nan, of rate = -4");
        ag_tape_rewind(t, m);
        (void)ag_pow(ag_transpose(x), 0.5);
        expect_words(t, m, "pow of shape (3, 2) is nan at (0, 1), of x = -1 and 0.5");
        ag_tape_rewind(t, m);
        (void)ag_div(x, 0);
        expect_words(t, m, "div of shape (2, 3) is nan at (1, 1), of x = 0 and 0");
        ag_tape_rewind(t, m);
        ag_var big = ag_tensor(t, (double[]){INFINITY, -INFINITY}, AG_SHAPE(2));
        (void)ag_sum(big);
        expect_words(t, m, "sum is nan, of operands of shapes (2)");
        ag_tape_rewind(t, m);
        (void)ag_sin(ag_tensor(t, (double[]){0, NAN}, AG_SHAPE(2)));
        expect_words(t, m, "an input is nan at (1)");
        ag_tape_rewind(t, m);
        (void)ag_sin(ag_constant_tensor(t, (double[]){0, NAN}, AG_SHAPE(2)));
        expect_words(t, m, "a constant is nan at (1)");
        ag_tape_rewind(t, m);
        ag_set(x, (double[]){1, 2, 3, 4, 5, NAN}); /* from before the mark */
        (void)ag_matmul(ag_ones(t, AG_SHAPE(2)), x);
        expect_words(t, m, "an input x is nan at (1, 2)");
        ag_tape_rewind(t, m);
        (void)ag_add(ag_slice(x, 1, 2, AG_END, 1), 1);
        expect_words(t, m, "an input x is nan at (1, 2)");
        assert_int_equal(ag_tape_status(t), AG_OK);
    }
}

static void nothing_to_find(void **unused) {
    (void)unused;
    char text[8] = "before";
    ag_tape *t = fresh_tape(AG_F64);
    ag_mark m = ag_tape_mark(t);
    assert_false(ag_find_nan(t, m, text, sizeof text));
    assert_string_equal(text, "");
    assert_false(ag_find_nan(NULL, m, text, sizeof text));
    (void)ag_log(ag_input(t, -1));
    ag_mark later = ag_tape_mark(t);
    assert_false(ag_find_nan(t, later, text, sizeof text));
    assert_true(ag_find_nan(t, m, text, sizeof text)); /* cut off */
    assert_string_equal(text, "log is ");
    assert_true(ag_find_nan(t, m, NULL, 0));
    ag_tape_rewind(t, m);
    assert_false(ag_find_nan(t, later, text, sizeof text)); /* stale */
    assert_int_equal(ag_tape_status(t), AG_OK);
}

static void expect_origin(ag_var y, const char *want) {
    char text[256];
    bool found = ag_find_infinity(y, text, sizeof text);
    if (found != (want != NULL) || strcmp(text, want ? want : "") != 0)
        fail_msg("\"%s\", should be \"%s\"", text, want ? want : "");
    assert_int_equal(ag_tape_status(ag_tape_of(y)), AG_OK);
}

static void infinities_on_the_way_to_a_result(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = fresh_tape((ag_type)type);
        ag_var x = ag_tensor(t, (double[]){1, 2, 3, -1, 0, 5}, AG_SHAPE(2, 3)), s = ag_input(t, 0);
        ag_name(x, "x");
        ag_name(s, "rate");
        ag_var inverse = ag_div(1, x), unused_one = ag_div(1, ag_mul(s, 0));
        expect_origin(ag_sum(ag_exp(x)), NULL);
        expect_origin(ag_mean(ag_mul(2, ag_transpose(inverse))),
                      "div of shape (2, 3) is inf at (1, 1), of 1 and x = 0");
        expect_origin(ag_exp(ag_mul(ag_div(-1, s), -1)), "div is -inf, of -1 and rate = 0");
        expect_origin(ag_add(ag_at(inverse, 4), 1), "div of shape (2, 3) is inf at (1, 1), of 1 and x = 0");
        expect_origin(ag_sub(unused_one, unused_one), "div is inf, of 1 and 0; of that, sub is nan, of inf and inf");
        expect_origin(ag_matmul(ag_ones(t, AG_SHAPE(2)), inverse),
                      "div of shape (2, 3) is inf at (1, 1), of 1 and x = 0");
        expect_origin(ag_sum(ag_log(ag_relu(ag_neg(x)))), "log of shape (2, 3) is -inf at (0, 0), of 0");
        ag_var much = ag_tensor(t, (double[]){1, INFINITY}, AG_SHAPE(2));
        expect_origin(ag_sum(much), "an input is inf at (1)");
        ag_var most = ag_full(t, type == AG_F64 ? 1e308 : 3e38, AG_SHAPE(3));
        expect_origin(ag_sum(ag_mul(x, most)),
                      type == AG_F64 ? "mul of shape (2, 3) is inf at (0, 1), of x = 2 and 1e+308"
                                     : "mul of shape (2, 3) is inf at (0, 1), of x = 2 and 3.00000001e+38");
    }
}

/* The infinity is what was there first; the NaN is what an operation makes of it. */
static void infinities_that_become_nan(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = fresh_tape((ag_type)type);
        ag_var x = ag_tensor(t, (double[]){1, 2, INFINITY, 4, 5, 0}, AG_SHAPE(3, 2)), none = {0};
        ag_name(x, "x");
        expect_origin(
            ag_sum(ag_batch_norm(x, none, none, 1e-5)),
            "an input x is inf at (1, 0); of that, normalise of shape (1, 2, 3) is nan at (0, 0, 0), of operands "
            "of shapes (1, 2, 3)");
        ag_var inverse = ag_div(1, ag_slice(x, 1, 1, 2, 1));
        expect_origin(
            ag_sum(ag_layer_norm(ag_mul(ag_transpose(inverse), 3), 1, none, none, 1e-5)),
            "div of shape (3, 1) is inf at (2, 0), of 1 and 0; of that, normalise of shape (1, 3) is nan at (0, 0), "
            "of operands of shapes (1, 3)");
        expect_origin(ag_sum(ag_mul(x, 0)),
                      "an input x is inf at (1, 0); of that, mul of shape (3, 2) is nan at (1, 0), of x = inf and 0");
        ag_var masked = ag_select(ag_lt(x, 2), -INFINITY, x); /* -inf at (0, 0) */
        expect_origin(ag_sum(masked), "an input x is inf at (1, 0); of that, sum is nan, of operands of shapes (3, 2)");
    }
}

/* Scores that a mask makes -inf, and a loss and gradients that are finite, or that are not for another reason. */
static void masks_are_no_infinities(void **unused) {
    (void)unused;
    ag_tape *t = fresh_tape(AG_F64);
    ag_var q = ag_tensor(t, (double[]){1, 2, 3, 4}, AG_SHAPE(2, 2)), s = ag_input(t, 0);
    ag_var mask = ag_constant_tensor(t, (double[]){0, -INFINITY, 0, 0}, AG_SHAPE(2, 2));
    ag_var p = ag_softmax(ag_add(ag_matmul(q, ag_transpose(q)), mask), 1);
    ag_var seen = ag_sum(ag_square(ag_matmul(p, q)));
    expect_origin(seen, NULL);
    expect_origin(ag_add(seen, ag_div(1, s)), "div is inf, of 1 and 0");
    expect_origin(ag_add(seen, ag_sqrt(s)), "the derivative of sqrt is inf, of 0");
}

static void derivatives_have_the_name_of_their_operation(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = fresh_tape((ag_type)type);
        ag_var x = ag_tensor(t, (double[]){1, 2, 3, 4, 0, 5}, AG_SHAPE(2, 3)), s = ag_input(t, 0);
        ag_name(x, "x");
        ag_var y = ag_sum(ag_add(ag_add(ag_square(x), ag_sqrt(x)), ag_sin(x)));
        expect_origin(y, "the derivative of sqrt of shape (2, 3) is inf at (1, 1), of x = 0");
        y = ag_add(ag_add(ag_sum(x), ag_pow(ag_at(x, 4), 0.5)), ag_sqrt(ag_at(x, 0)));
        expect_origin(y, "the derivative of pow is inf, of 0 and 0.5");
        /* infinite and opposite: a NaN where they are added */
        ag_var once = ag_sqrt(s);
        y = ag_sub(once, ag_mul(2, ag_sqrt(s)));
        expect_origin(y, "the derivative of sqrt is inf, of 0");
        /* an infinity that becomes a NaN further down */
        ag_var root = ag_sqrt(ag_sub(ag_mul(s, 3), ag_mul(s, 4)));
        expect_origin(ag_mul(root, 2), "the derivative of sqrt is inf, of 0");
        ag_var v = ag_tensor(t, (double[]){0, 1}, AG_SHAPE(2));
        expect_origin(ag_prod(ag_sqrt(v)), "the derivative of sqrt of shape (2) is inf at (0), of 0");
        double most = type == AG_F64 ? 1e308 : 3e38;
        ag_var m = ag_matmul(ag_full(t, most, AG_SHAPE(1, 2)), ag_mul(ag_reshape(v, AG_SHAPE(2, 1)), 1e-10));
        expect_origin(ag_mul(ag_sum(m), 10), "the derivative of matmul by operand 2 of shape (2, 1) is inf at (0, 0), "
                                             "of operands of shapes (1, 2), (2, 1)");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(nothing_to_find),
        cmocka_unit_test(infinities_on_the_way_to_a_result),
        cmocka_unit_test(infinities_that_become_nan),
        cmocka_unit_test(masks_are_no_infinities),
        cmocka_unit_test(derivatives_have_the_name_of_their_operation),
    };
    return cmocka_run_group_tests(tests, NULL, free_tapes);
}
