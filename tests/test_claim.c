/* A verdict's parts one by one: printed numbers, comparison, diagnosis. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nn/check/claim_impl.h"
#include "nn/check/literal.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- printed numbers ------------------------------------------------------------------------------------------- */

static void numbers_have_the_worth_of_their_last_digit(void **state) {
    static const struct {
        const char *text;
        double value, unit;
    } cases[] = {{"0.34", 0.34, 0.01}, {"-2.988", -2.988, 0.001}, {"3", 3, 0},     {"-2", -2, 0}, {"+.5", 0.5, 0.1},
                 {"60.", 60, 1},       {"1.5e-3", 1.5e-3, 1e-4},  {"1e3", 1000, 0}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *text = cases[i].text;
        double value, unit;
        assert_true(nn_literal_number(&text, &value, &unit));
        assert_true(*text == '\0' && value == cases[i].value && fabs(unit - cases[i].unit) <= 1e-12 * unit);
    }
}

static void what_is_no_number_is_refused(void **state) {
    static const char *const texts[] = {"", "-", ".", "e5", "x", "inf", "nan", "1e999", "0x1p3", "--1"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *text = texts[i];
        double value, unit;
        assert_false(nn_literal_number(&text, &value, &unit));
        assert_ptr_equal(text, texts[i]);
    }
}

static void arrays_are_read(void **state) {
    double value[6], unit[6];
    ag_shape shape;
    (void)state;
    assert_true(nn_literal_array(" 2.5 ", 6, &shape, value, unit));
    assert_true(shape.rank == 0 && value[0] == 2.5);
    assert_true(nn_literal_array("[1, -2.0,3]", 6, &shape, value, unit));
    assert_true(shape.rank == 1 && shape.dim[0] == 3 && value[1] == -2 && unit[1] == 0.1 && unit[2] == 0);
    assert_true(nn_literal_array("[ [1, 2, 3], [4, 5, 6] ]", 6, &shape, value, unit));
    assert_true(shape.rank == 2 && shape.dim[0] == 2 && shape.dim[1] == 3 && value[5] == 6);

    static const char *const wrong[] = {"",
                                        "[",
                                        "[]",
                                        "[1,]",
                                        "[1 2]",
                                        "[1, 2",
                                        "[1] 2",
                                        "[[1], [2, 3]]",
                                        "[[1, 2],]",
                                        "[[1], 2]",
                                        "[1, 2, 3, 4, 5, 6, 7]",
                                        "[[]]",
                                        "1 2"};
    for (size_t i = 0; i < COUNT(wrong); i++) assert_false(nn_literal_array(wrong[i], 6, &shape, value, unit));
}

/* ---- comparison ------------------------------------------------------------------------------------------------ */

static const ag_shape number = {0, {0}}, three = {1, {3}}, square = {2, {3, 3}};

static nn_comparison compare_number(double claimed, double unit, double right) {
    nn_claim c = {.draws = 1, .right_shape = number, .claimed_shape = number, .right = &right, .claimed = &claimed};
    c.unit = unit < 0 ? NULL : &unit;
    return nn_claim_compare(&c);
}

static void printed_numbers_may_be_cut_off_or_rounded(void **state) {
    (void)state;
    assert_true(compare_number(0.34, 0.01, 0.3469).holds);
    assert_true(compare_number(0.35, 0.01, 0.3469).holds);
    assert_true(compare_number(0.34, 0.01, 0.35).holds); /* a whole unit */
    assert_false(compare_number(0.34, 0.01, 0.3501).holds);
    assert_false(compare_number(0.21, 0.01, 0.0211).holds);
    assert_true(compare_number(-2, 0, -2.1 + 0.1).holds);
    assert_false(compare_number(2, 0, 2.00001).holds);
}

static void laws_hold_to_nine_digits(void **state) {
    (void)state;
    assert_true(compare_number(1e-10, -1, 0).holds);
    assert_false(compare_number(1e-8, -1, 0).holds);
    assert_true(compare_number(1e6 + 1e-4, -1, 1e6).holds);
    assert_false(compare_number(1e6 + 1e-2, -1, 1e6).holds);
    assert_false(compare_number(1, -1, -1).holds);
}

static void nan_never_holds(void **state) {
    (void)state;
    assert_false(compare_number(NAN, -1, 1).holds);
    assert_false(compare_number(1, -1, NAN).holds);
    assert_false(compare_number(NAN, -1, NAN).holds);
    assert_false(compare_number(NAN, 0.1, 1).holds);
    assert_true(compare_number(INFINITY, -1, INFINITY).holds);
    assert_false(compare_number(INFINITY, -1, 1).holds);
}

static void the_worst_entry_is_found(void **state) {
    double right[] = {1, 2, 3, 1, 2, 3}, claimed[] = {1, 2, 3, 1, 2.5, 3.25};
    nn_claim c = {.draws = 2, .right_shape = three, .claimed_shape = three, .right = right, .claimed = claimed};
    nn_comparison found = nn_claim_compare(&c);
    (void)state;
    assert_false(found.holds);
    assert_int_equal(found.draw, 1);
    assert_int_equal(found.entry, 1);
    assert_true(found.claimed == 2.5 && found.right == 2 && found.error == 0.5);
}

/* Where all entries are wrong by one factor, rounding does not say which is the worst: the first one is. */
static void the_first_of_those_as_wrong_is_the_worst(void **state) {
    enum { N = 700 };
    double right[2 * N], claimed[2 * N];
    (void)state;
    for (int i = 0; i < 2 * N; i++) {
        right[i] = i < 3 ? 0.5 : 1 + 1.37 * i;
        claimed[i] = -right[i] * (1 + i * 1e-16);
    }
    claimed[3] = -right[3];
    nn_claim claim = {.draws = 2, .right_shape = AG_SHAPE(N), .claimed_shape = AG_SHAPE(N)};
    claim.right = right;
    claim.claimed = claimed;
    nn_comparison c = nn_claim_compare(&claim);
    assert_false(c.holds);
    assert_true(c.draw == 0 && c.entry == 3 && c.error == 2 * right[3]);
    claimed[N + 1] *= 1 + 1e-7; /* more than by rounding */
    c = nn_claim_compare(&claim);
    assert_true(c.draw == 1 && c.entry == 1 && c.claimed == claimed[N + 1]);
}

/* ---- diagnosis ------------------------------------------------------------------------------------------------- */

static const double right3[] = {0.12345, -2.34567, 1.5}, right9[] = {1.25, 2.5, -3.75, 4, 5.5, 6.25, -7, 8.125, 9};
static const double digits3[] = {0.001, 0.001, 0.001};

/* Of a vector of three numbers, a law if `unit` is NULL. */
static nn_diagnosis diagnose3(double a, double b, double c, const double *unit) {
    double claimed[] = {a, b, c};
    nn_claim claim = {.draws = 1, .right_shape = three, .claimed_shape = three, .right = right3, .claimed = claimed};
    claim.unit = unit;
    return nn_claim_diagnose(&claim);
}

static void vectors_are_diagnosed(void **state) {
    (void)state;
    assert_int_equal(diagnose3(0.123, -2.346, 1.5, digits3).kind, NN_NOTHING_WRONG);
    nn_diagnosis d = diagnose3(0.123, -23.457, 1.5, digits3);
    assert_int_equal(d.kind, NN_POWER_OF_TEN);
    assert_true(d.entry == 1 && d.entries == 1 && d.factor == 10);
    d = diagnose3(0.00123, -0.0235, 0.015, digits3);
    assert_int_equal(d.kind, NN_POWER_OF_TEN);
    assert_true(d.entries == 3 && fabs(d.factor - 0.01) < 1e-15);
    d = diagnose3(0.123, -2.346, 1.6, digits3);
    assert_int_equal(d.kind, NN_ENTRIES);
    assert_true(d.entry == 2 && d.entries == 1);
    assert_non_null(strstr(d.detail, "entry 3: claimed 1.6, right 1.5"));
    assert_int_equal(diagnose3(-0.123, 2.346, -1.5, digits3).kind, NN_SIGN);
    d = diagnose3(0.123 / log(10), -2.346 / log(10), 1.5 / log(10), digits3);
    assert_int_equal(d.kind, NN_LOG_BASE);
    d = diagnose3(0.247, -4.691, 3.0, digits3);
    assert_int_equal(d.kind, NN_FACTOR);
    assert_true(d.factor == 2);
    assert_int_equal(diagnose3(0.3, -2.1, 1.7, digits3).kind, NN_UNKNOWN);
    assert_int_equal(diagnose3(NAN, NAN, NAN, digits3).kind, NN_UNKNOWN);
    assert_int_equal(diagnose3(0, 0, 0, NULL).kind, NN_UNKNOWN);
}

/* A law is exact: what is only nearly a factor is none. */
static void laws_are_diagnosed_exactly(void **state) {
    (void)state;
    nn_diagnosis d = diagnose3(right3[0] / 3, right3[1] / 3, right3[2] / 3, NULL);
    assert_int_equal(d.kind, NN_FACTOR);
    assert_non_null(strstr(d.detail, "1/3"));
    assert_int_equal(diagnose3(right3[0] / 3, right3[1] / 3, right3[2] / 3.01, NULL).kind, NN_UNKNOWN);
    d = diagnose3(right3[0] * 1.2345, right3[1] * 1.2345, right3[2] * 1.2345, NULL);
    assert_int_equal(d.kind, NN_FACTOR);
    assert_true(fabs(d.factor - 1.2345) < 1e-12);
    assert_int_equal(diagnose3(-right3[0], -right3[1], -right3[2] * 1.0001, NULL).kind, NN_UNKNOWN);
}

/* A single number is any factor times the right one, so only plain factors count; it has no other entries either. */
static void single_numbers_are_diagnosed(void **state) {
    double right = 0.35667, unit = 0.01, claimed = 0.15;
    nn_claim c = {.draws = 1, .right_shape = number, .claimed_shape = number, .right = &right, .claimed = &claimed};
    (void)state;
    c.unit = &unit;
    nn_diagnosis d = nn_claim_diagnose(&c);
    assert_int_equal(d.kind, NN_LOG_BASE);
    assert_non_null(strstr(d.detail, "base-10"));
    claimed = 0.71;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_FACTOR);
    claimed = -0.36;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_SIGN);
    claimed = 3.57;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_POWER_OF_TEN);
    claimed = 0.44;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_UNKNOWN);
}

static void matrices_are_diagnosed(void **state) {
    double claimed[9];
    nn_claim c = {.draws = 1, .right_shape = square, .claimed_shape = square, .right = right9, .claimed = claimed};
    (void)state;
    for (int i = 0; i < 9; i++) claimed[i] = right9[i % 3 * 3 + i / 3];
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_TRANSPOSE);

    memcpy(claimed, right9, sizeof claimed);
    claimed[1] = claimed[4] = claimed[8] = 7.5;
    nn_diagnosis d = nn_claim_diagnose(&c);
    assert_int_equal(d.kind, NN_ENTRIES);
    assert_true(d.entries == 3 && d.entry == 1);
    assert_non_null(strstr(d.detail, "entry (1, 2): claimed 7.5, right 2.5"));
    claimed[0] = 7.5;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_UNKNOWN); /* four of nine are more than a third */
}

static void shapes_are_diagnosed(void **state) {
    static const ag_shape wide = {2, {2, 3}}, tall = {2, {3, 2}}, row = {2, {1, 3}};
    static const double right[] = {1, 2, 3, 4, 5, 6}, transposed[] = {1, 4, 2, 5, 3, 6};
    nn_claim c = {.draws = 1, .right_shape = wide, .claimed_shape = tall, .right = right, .claimed = transposed};
    (void)state;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_TRANSPOSE);
    c.claimed = right;
    nn_diagnosis d = nn_claim_diagnose(&c);
    assert_int_equal(d.kind, NN_SHAPE);
    assert_string_equal(d.detail, "claimed is 3 x 2, right is 2 x 3");
    c.claimed_shape = three; /* a row is not a vector */
    c.right_shape = row;
    d = nn_claim_diagnose(&c);
    assert_int_equal(d.kind, NN_SHAPE);
    assert_string_equal(d.detail, "claimed is a vector of length 3, right is 1 x 3");
    c.claimed_shape = row; /* but a row is what v' is */
    c.right_shape = three;
    d = nn_claim_diagnose(&c);
    assert_int_equal(d.kind, NN_TRANSPOSE);
    assert_string_equal(d.detail, "it is the transpose of the right one (claimed 1 x 3, right a vector of length 3)");
    c.claimed = transposed;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_SHAPE);
}

/* What the caller looks for comes behind factor and before shape. */
static bool finds(void *context, nn_diagnosis *d) {
    if (!*(bool *)context) return false;
    d->kind = NN_MISSING_FACTOR;
    return true;
}

static void the_caller_may_look_too(void **state) {
    bool found = true;
    double claimed[] = {7, 8, -9};
    nn_claim c = {.draws = 1, .right_shape = three, .claimed_shape = three, .right = right3, .claimed = claimed};
    (void)state;
    c.search = finds;
    c.context = &found;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_MISSING_FACTOR);
    found = false;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_UNKNOWN);
    found = true;
    for (int i = 0; i < 3; i++) claimed[i] = 2 * right3[i];
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_FACTOR);
}

/* W - eta G with a wrong G: what is left without W tells. */
static void what_both_sides_have_is_set_apart(void **state) {
    static const double base[] = {10, 20, 30};
    double claimed[3], right[3];
    nn_claim c = {.draws = 1, .right_shape = three, .claimed_shape = three, .right = right, .claimed = claimed};
    (void)state;
    c.base = base;
    c.base_name = "W";
    for (int i = 0; i < 3; i++) {
        right[i] = base[i] + right3[i];
        claimed[i] = base[i] - right3[i];
    }
    nn_diagnosis d = nn_claim_diagnose(&c);
    assert_int_equal(d.kind, NN_SIGN);
    assert_non_null(strstr(d.detail, "apart from W"));
}

static void factors_are_named_after_lengths(void **state) {
    nn_named_size n = {"n", 17};
    double claimed[3];
    nn_claim c = {.draws = 1, .right_shape = three, .claimed_shape = three, .right = right3, .claimed = claimed};
    (void)state;
    c.sizes = &n;
    c.size_count = 1;
    for (int i = 0; i < 3; i++) claimed[i] = right3[i] / 17;
    nn_diagnosis d = nn_claim_diagnose(&c);
    assert_int_equal(d.kind, NN_FACTOR);
    assert_non_null(strstr(d.detail, "1/17 times the right one, which is 1/n"));
}

static void a_tolerance_takes_the_place_of_the_rule(void **state) {
    double right = 2, claimed = 2.4;
    nn_claim c = {.draws = 1, .right_shape = number, .claimed_shape = number, .right = &right, .claimed = &claimed};
    (void)state;
    assert_false(nn_claim_compare(&c).holds);
    c.tolerance = 0.5;
    assert_true(nn_claim_compare(&c).holds);
    c.tolerance = 0.3;
    assert_false(nn_claim_compare(&c).holds);
}

/* A diagnosis has to fit at every draw. */
static void every_draw_counts(void **state) {
    double right[] = {1, 2, 3, 4, 5, 6}, claimed[] = {-1, -2, -3, -4, -5, -6};
    nn_claim c = {.draws = 2, .right_shape = three, .claimed_shape = three, .right = right, .claimed = claimed};
    (void)state;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_SIGN);
    claimed[5] = 6;
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_UNKNOWN);
}

/* What the first draw leaves of what may explain all. */
static void the_first_draw_says_what_may_be(void **state) {
    enum { N = 300 };
    static double right[N], claimed[N];
    static const ag_shape shape = {2, {20, 15}}, turned = {2, {15, 20}};
    nn_claim c = {.draws = 1, .right_shape = shape, .claimed_shape = shape, .right = right, .claimed = claimed};
    (void)state;
    for (int i = 0; i < N; i++) right[i] = 0.3 * (i % 7) - 0.71 + 0.01 * i;
    for (int i = 0; i < N; i++) claimed[i] = -0.7 * right[i];
    nn_guess guess = nn_claim_guess(&c);
    assert_true(guess.kind == NN_IS_MULTIPLE && fabs(guess.factor + 0.7) < 1e-12 && nn_guess_fits(&guess, &c));
    claimed[290] += 2e-9; /* it may be one, if other draws have greater numbers; but that is not seen here */
    assert_int_equal(nn_claim_guess(&c).kind, NN_IS_ANYTHING);
    assert_false(nn_guess_fits(&guess, &c));
    claimed[290] += 1e-6;
    assert_int_equal(nn_claim_guess(&c).kind, NN_IS_NOTHING);
    c.tolerance = 0.1;
    assert_int_equal(nn_claim_guess(&c).kind, NN_IS_ANYTHING);
    c.tolerance = 0;
    memcpy(claimed, right, sizeof right);
    for (int i = 0; i < 100; i++) claimed[3 * i] += i;
    assert_int_equal(nn_claim_guess(&c).kind, NN_IS_ANYTHING); /* entries */
    for (int i = 0; i < N; i++) claimed[i % 15 * 20 + i / 15] = right[i];
    assert_int_equal(nn_claim_guess(&c).kind, NN_IS_NOTHING);
    c.claimed_shape = turned;
    guess = nn_claim_guess(&c);
    assert_true(guess.kind == NN_IS_TRANSPOSE && nn_guess_fits(&guess, &c));
    claimed[77] += 1e-6;
    assert_int_equal(nn_claim_guess(&c).kind, NN_IS_NOTHING);
    assert_false(nn_guess_fits(&guess, &c));
    c.right_shape = c.claimed_shape = number;
    assert_int_equal(nn_claim_guess(&c).kind, NN_IS_ANYTHING);
}

/* What is found at the first draw is what all give only if it is what all were seen to have in common. */
static void a_guess_confirms_what_it_says(void **state) {
    static const struct {
        nn_guess guess;
        nn_diagnosis_kind kind;
        double factor;
        bool confirmed;
    } cases[] = {
        {{.kind = NN_IS_NOTHING}, NN_UNKNOWN, 0, true},
        {{.kind = NN_IS_NOTHING}, NN_SHAPE, 0, true},
        {{.kind = NN_IS_NOTHING}, NN_MISSING_TERM, 0, true},
        {{.kind = NN_IS_NOTHING}, NN_FACTOR, 2, true}, /* of a term */
        {{.kind = NN_IS_NOTHING}, NN_SIGN, 0, false},
        {{.kind = NN_IS_NOTHING}, NN_ENTRIES, 0, false},
        {{.kind = NN_IS_MULTIPLE, .factor = -1}, NN_MISSING_TERM, 0, false},
        {{.kind = NN_IS_TRANSPOSE}, NN_TRANSPOSE, 0, true},
        {{.kind = NN_IS_TRANSPOSE}, NN_SIGN, 0, false},
        {{.kind = NN_IS_MULTIPLE, .factor = -1}, NN_SIGN, 0, true},
        {{.kind = NN_IS_MULTIPLE, .factor = 1.5}, NN_SIGN, 0, false},
        {{.kind = NN_IS_MULTIPLE, .factor = 1.5}, NN_FACTOR, 1.5, true},
        {{.kind = NN_IS_MULTIPLE, .factor = 1.5}, NN_FACTOR, 1.5001, false},
        {{.kind = NN_IS_MULTIPLE, .factor = 1.5}, NN_UNKNOWN, 0, false},
        {{.kind = NN_IS_MULTIPLE, .factor = 10}, NN_POWER_OF_TEN, 10, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        nn_diagnosis d = {.kind = cases[i].kind, .factor = cases[i].factor};
        assert_int_equal(nn_guess_confirms(&cases[i].guess, &d), cases[i].confirmed);
    }
}

/* So many numbers that all threads look at them: one that does not fit, wherever it is, counts. */
static void every_one_of_many_numbers_counts(void **state) {
    enum { N = 600001 };
    static double right[N], claimed[N];
    static const int64_t places[] = {0, 1, 16383, 16384, 300007, N - 1};
    nn_claim c = {.draws = N, .right_shape = number, .claimed_shape = number, .right = right, .claimed = claimed};
    (void)state;
    for (int64_t i = 0; i < N; i++) claimed[i] = 1.5 * (right[i] = (double)(i % 1009) - 500.5);
    assert_int_equal(nn_claim_diagnose(&c).kind, NN_FACTOR);
    for (size_t i = 0; i < COUNT(places); i++) {
        double *x = &claimed[places[i]], was = *x;
        *x += 1e-3;
        assert_int_equal(nn_claim_diagnose(&c).kind, NN_UNKNOWN);
        *x = was;
    }
}

static void arrays_are_written(void **state) {
    char text[64];
    (void)state;
    nn_array_text(number, right3, 3, text, sizeof text);
    assert_string_equal(text, "0.123");
    nn_array_text(three, right3, 3, text, sizeof text);
    assert_string_equal(text, "[0.123, -2.35, 1.5]");
    nn_array_text((ag_shape){2, {2, 2}}, right9, 3, text, sizeof text);
    assert_string_equal(text, "[[1.25, 2.5], [-3.75, 4]]");
    nn_array_text(three, right3, 3, text, 8); /* cut off */
    assert_string_equal(text, "[0.123,");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_the_worth_of_their_last_digit),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(arrays_are_read),
        cmocka_unit_test(printed_numbers_may_be_cut_off_or_rounded),
        cmocka_unit_test(laws_hold_to_nine_digits),
        cmocka_unit_test(nan_never_holds),
        cmocka_unit_test(the_worst_entry_is_found),
        cmocka_unit_test(the_first_of_those_as_wrong_is_the_worst),
        cmocka_unit_test(vectors_are_diagnosed),
        cmocka_unit_test(laws_are_diagnosed_exactly),
        cmocka_unit_test(single_numbers_are_diagnosed),
        cmocka_unit_test(matrices_are_diagnosed),
        cmocka_unit_test(shapes_are_diagnosed),
        cmocka_unit_test(the_caller_may_look_too),
        cmocka_unit_test(what_both_sides_have_is_set_apart),
        cmocka_unit_test(factors_are_named_after_lengths),
        cmocka_unit_test(a_tolerance_takes_the_place_of_the_rule),
        cmocka_unit_test(every_draw_counts),
        cmocka_unit_test(the_first_draw_says_what_may_be),
        cmocka_unit_test(a_guess_confirms_what_it_says),
        cmocka_unit_test(every_one_of_many_numbers_counts),
        cmocka_unit_test(arrays_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
