/* Where a NaN comes from: the words of ag_find_nan. */
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(words), cmocka_unit_test(nothing_to_find)};
    return cmocka_run_group_tests(tests, NULL, free_tapes);
}
