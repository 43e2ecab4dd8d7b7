/* ag_check_gradient: what its report says of right and wrong functions. */
#include "derivatives.h"

static ag_var smooth(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_mul(ag_softmax(x[0], 1), ag_exp(ag_mul(x[1], x[2])));
}

static ag_var scalar_only(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_mul(ag_sin(x[0]), ag_pow(x[1], 3));
}

/* The derivative is cut in half of the argument: what a forgotten path looks like. */
static ag_var cut(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_add(ag_square(x[0]), ag_detach(ag_mul(x[0], 0.25)));
}

static ag_var kinked(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_relu(x[0]);
}

static ag_var undefined(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_log(x[0]);
}

static ag_var failing(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)n, (void)context;
    return ag_mul(x[0], ag_zeros(t, AG_SHAPE(4, 4)));
}

static ag_var number(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)x, (void)n, (void)context;
    return ag_num(3);
}

static ag_var not_a_function(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_mul(x[0], ++*(int *)context);
}

/* Linear with one coefficient an input and steps of 1: for input k, element e, only one derivative is wrong. */
typedef struct marked {
    int input;
    int64_t element;
} marked;

static ag_var one_wrong(ag_tape *t, const ag_var *x, int n, void *context) {
    const marked *m = context;
    ag_var sum = ag_constant(t, 0);
    for (int k = 0; k < n; k++) {
        sum = ag_add(sum, ag_sum(ag_mul(x[k], k + 2)));
        if (k == m->input) sum = ag_add(sum, ag_detach(ag_at(x[k], m->element)));
    }
    return ag_reshape(sum, AG_SHAPE(1, 1));
}

static const double DATA[6] = {0.5, -1, 2, 0.25, 1.5, -0.75};

static void right_functions(void **unused) {
    (void)unused;
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_tape *t = ag_tape_new((ag_type)type);
        ag_var x[3] = {ag_tensor(t, DATA, AG_SHAPE(2, 3)), ag_input(t, 0.75), ag_tensor(t, DATA, AG_SHAPE(2, 1))};
        ag_stats before = ag_tape_stats(t);
        ag_report r = ag_check_gradient(smooth, NULL, x, 3, 0);
        assert_true(r.holds);
        assert_int_equal(r.status, AG_OK);
        assert_string_equal(r.message, "");
        assert_int_equal(r.checked, 6 * (6 + 1 + 2));
        assert_int_equal(r.wrong, 0);
        assert_true(r.tolerance == (type == AG_F64 ? 1e-6 : 2e-2));
        assert_true(r.worst.error <= r.tolerance);
        assert_true(r.worst.error == fmax(r.worst.error, fmax(r.reverse_forward, r.reverse_difference)));
        assert_true(r.reverse_forward < (type == AG_F64 ? 1e-13 : 1e-5));
        assert_true(r.reverse_difference < (type == AG_F64 ? 1e-9 : 1e-2));
        assert_int_equal(ag_tape_stats(t).slots, before.slots); /* the caller's tape is only read */
        assert_int_equal(ag_tape_status(t), AG_OK);
        ag_var scalars[2] = {ag_num(0.5), ag_num(2)};
        r = ag_check_gradient(scalar_only, NULL, scalars, 2, 1e-9);
        assert_true(r.holds && r.checked == 2 && r.tolerance == 1e-9);
        ag_tape_free(t);
    }
}

static void wrong_functions(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, DATA, AG_SHAPE(6)), zero = ag_input(t, 0), negative = ag_input(t, -1);
    ag_report r = ag_check_gradient(cut, NULL, &x, 1, 0);
    assert_false(r.holds);
    assert_int_equal(r.status, AG_OK);
    assert_int_equal(r.checked, 36);
    assert_int_equal(r.wrong, 6);
    assert_true(fabs(r.worst.difference - r.worst.reverse - 0.25) < 1e-9);
    assert_true(r.worst.reverse == r.worst.forward && r.worst.reverse == 2 * DATA[r.worst.element]);
    assert_int_equal(r.worst.output, r.worst.element);
    assert_true(r.reverse_forward == 0 && r.reverse_difference == r.worst.error);
    assert_true(ag_check_gradient(cut, NULL, &x, 1, 0.3).holds); /* a tolerance that lets it pass */

    r = ag_check_gradient(kinked, NULL, &zero, 1, 0);
    assert_true(!r.holds && r.wrong == 1 && fabs(r.worst.difference - 0.5) < 1e-9);
    r = ag_check_gradient(undefined, NULL, &negative, 1, 0);
    assert_true(!r.holds && r.wrong == 1 && isinf(r.worst.error) && isnan(r.worst.difference));
    ag_tape_free(t);
}

static ag_var large_beside_its_changes(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_sum(ag_exp(x[0]));
}

static ag_var wrong_and_large(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_add(1e6, ag_mul(3, ag_mul(x[0], ag_detach(x[0]))));
}

/* Where rounding is all that differences see, they do not call a derivative wrong; where it is not, they do. */
static void noise_is_not_held_against_a_derivative(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, (double[]){30, -30, 5}, AG_SHAPE(3)), y = ag_input(t, 2);
    ag_report r = ag_check_gradient(large_beside_its_changes, NULL, &x, 1, 0);
    assert_true(r.holds && r.checked == 3 && r.unsure >= 1);
    check_written(&r, (const char *[]){"are too noisy to tell", NULL});
    r = ag_check_gradient(wrong_and_large, NULL, &y, 1, 0);
    assert_true(!r.holds && r.wrong == 1 && r.unsure == 0);
    ag_tape_free(t);
}

static void the_worst_is_named(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[3] = {ag_tensor(t, DATA, AG_SHAPE(2, 3)), ag_input(t, 0.75), ag_tensor(t, DATA, AG_SHAPE(4))};
    const marked marks[] = {{0, 0}, {0, 4}, {1, 0}, {2, 3}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        marked m = marks[i];
        ag_report r = ag_check_gradient(one_wrong, &m, x, 3, 0);
        assert_false(r.holds);
        assert_int_equal(r.checked, 11);
        assert_int_equal(r.wrong, 1);
        assert_int_equal(r.worst.input, m.input);
        assert_int_equal(r.worst.element, m.element);
        assert_int_equal(r.worst.output, 0);
        assert_true(r.worst.reverse == m.input + 2 && fabs(r.worst.difference - m.input - 3) < 1e-8);
    }
    ag_tape_free(t);
}

static void what_cannot_be_checked(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, DATA, AG_SHAPE(6)), none = ag_slice(x, 0, 0, 0, 1), in = ag_input(t, 2);
    ag_report r = ag_check_gradient(failing, NULL, &x, 1, 0);
    assert_false(r.holds);
    assert_int_equal(r.status, AG_ERR_SHAPE);
    assert_true(strlen(r.message) > 0 && r.checked == 0);
    assert_int_equal(ag_tape_status(t), AG_OK);
    r = ag_check_gradient(number, NULL, &in, 1, 0);
    assert_true(r.holds && r.checked == 1 && r.worst.reverse == 0);
    r = ag_check_gradient(kinked, NULL, &none, 1, 0);
    assert_true(r.holds && r.checked == 0);
    r = ag_check_gradient(number, NULL, NULL, 0, 0);
    assert_true(r.holds && r.checked == 0);
    int calls = 0;
    r = ag_check_gradient(not_a_function, &calls, &in, 1, 0); /* differs on every call */
    assert_false(r.holds);
    ag_mark mark = ag_tape_mark(t);
    ag_var stale = ag_mul(in, in);
    ag_tape_rewind(t, mark);
    r = ag_check_gradient(kinked, NULL, &stale, 1, 0);
    assert_false(r.holds);
    assert_int_equal(r.status, AG_ERR_STALE);
    ag_tape_free(t);
}

/* What the report prints. */
static void written_reports(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[3] = {ag_tensor(t, DATA, AG_SHAPE(2, 3)), ag_input(t, 0.75), ag_tensor(t, DATA, AG_SHAPE(2, 1))};
    ag_report r = ag_check_gradient(smooth, NULL, x, 3, 0);
    check_written(&r, (const char *[]){"holds", "54", "1e-06", NULL});
    r = ag_check_gradient(cut, NULL, x, 1, 0);
    check_written(&r,
                  (const char *[]){"WRONG", "36", "6 differ", "reverse", "forward", "differences", "input 0", NULL});
    r = ag_check_gradient(failing, NULL, x, 1, 0);
    check_written(&r, (const char *[]){"not checked", "shapes do not fit", "mul", "(4, 4)", NULL});
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_functions),
        cmocka_unit_test(wrong_functions),
        cmocka_unit_test(noise_is_not_held_against_a_derivative),
        cmocka_unit_test(the_worst_is_named),
        cmocka_unit_test(what_cannot_be_checked),
        cmocka_unit_test(written_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
