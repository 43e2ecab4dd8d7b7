/* What vars of scalars carry with them: their values, where those cannot change, and the numbers of their tapes. */
#include "on_each_tape.h"

#include <autograd/ops/sine_impl.h>
#include <autograd/tape/tape_impl.h>

#include <stdlib.h>

enum { MOST_TAPES = 12870 };

/* ---- values ---- */

/* An input that is set anew counts with its new value, whatever vars of it there are; results keep theirs. */
static void inputs_are_read_anew(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 2), c = ag_constant(t, 3), v = ag_tensor(t, (const double[]){5, 6}, AG_SHAPE(2)),
           e = ag_at(v, 1);
    ag_var before = ag_add(ag_mul(x, c), e);
    ag_set(x, &(double){20});
    ag_set(c, &(double){30});
    *(double *)ag_data(e) = 60;
    ag_var after = ag_add(ag_mul(x, c), e), power = ag_pow(x, 2), sine = ag_sin(x), clipped = ag_clip(x, 0, 25);
    check_number("before", ag_value(before), 12);
    check_number("after", ag_value(after), 660);
    check_number("twice a result", ag_value(ag_add(before, after)), 672);
    check_number("power", ag_value(power), 400);
    check_number("clip", ag_value(clipped), 20);
    assert_true(ag_value(sine) == sin(20));
    ag_backward(ag_mul(after, power));
    check_number("x", ag_grad(x), 30.0 * 400 + 660 * 40);
    ag_tape_free(t);
}

/* Bits of every kind pass through vars: NaN with its payload, -0, the smallest, infinities. */
static void every_value_passes(void **unused) {
    (void)unused;
    const double values[] = {-0.0, 5e-324, INFINITY, -INFINITY, NAN, 1.7976931348623157e308, -2.5};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x = ag_input(t, values[i]), y = ag_mul(x, 1), z = ag_mul(y, y), n = ag_num(values[i]);
        double want = values[i] * 1;
        assert_memory_equal(&(double){ag_value(y)}, &want, sizeof want);
        assert_memory_equal(&y.value, &want, sizeof want);
        want *= want;
        assert_memory_equal(&(double){ag_value(z)}, &want, sizeof want);
        assert_memory_equal(&(double){ag_value(n)}, &values[i], sizeof want);
        ag_tape_free(t);
    }
}

/* ---- partials of sines, to the last place ---- */

static void check_shifted(double x) {
    const long double right[3] = {0, cosl((long double)x), -sinl((long double)x)};
    for (int quarters = 1; quarters <= 2; quarters++) {
        double got = ag_sine_shifted(x, quarters), size = fabs((double)right[quarters]);
        double unit = nextafter(size, INFINITY) - size;
        if (!(fabsl(got - right[quarters]) <= (long double)unit))
            fail_msg("sin(%a + %d pi / 2) is %a, should be %La", x, quarters, got, right[quarters]);
    }
}

static void sines(void **unused) {
    (void)unused;
    srand48(5);
    for (int i = 0; i < 100000; i++) {
        check_shifted((drand48() - 0.5) * (i % 3 == 0 ? 2 : i % 3 == 1 ? 20 : 131072));
        double near = rint((drand48() - 0.5) * 80000) * 1.57079632679489661923; /* a quarter turn, or beside it */
        if (fabs(near) < 65536) check_shifted(i % 2 ? near : nextafter(near, 0));
    }
    const double special[] = {0, -0.0, 5e-324, -1e-308, 65535.99, 65536, -65537, 1e22, 1.7976931348623157e308};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        double x = special[i], cosine = ag_sine_shifted(x, 1), minus = ag_sine_shifted(x, 2);
        assert_true(fabs(cosine - cos(x)) <= 1e-15);
        assert_true(fabs(minus + sin(x)) <= 1e-15);
        assert_true(signbit(minus) == signbit(-sin(x)));
    }
    assert_true(isnan(ag_sine_shifted(INFINITY, 1)) && isnan(ag_sine_shifted(NAN, 2)));
}

/* ---- numbers of tapes ---- */

static void tapes_of_their_own(void **unused) {
    (void)unused;
    ag_tape *a = ag_tape_new(AG_F64), *b = ag_tape_new(AG_F64);
    ag_var x = ag_input(a, 2), y = ag_input(b, 3);
    assert_true(ag_tape_of(x) == a && ag_tape_of(y) == b && ag_tape_of(ag_num(1)) == NULL);
    assert_true(ag_tape_of(ag_mul(x, x)) == a && ag_tape_of(ag_zeros(b, AG_SHAPE(2))) == b);
    assert_true(ag_is_inert(ag_mul(x, y)));
    assert_int_equal(ag_tape_status(a), AG_ERR_TAPE);
    assert_int_equal(ag_tape_status(b), AG_ERR_TAPE);
    ag_tape_free(a);
    ag_tape_free(b);
}

/* A scalar of a tape that was freed: an error in words, beside numbers and beside other tapes. */
static void scalars_of_freed_tapes(void **unused) {
    (void)unused;
    ag_tape *a = ag_tape_new(AG_F64), *b = ag_tape_new(AG_F64);
    ag_var x = ag_input(a, 2), z = ag_mul(x, x), y = ag_input(b, 3);
    ag_tape_free(a);
    const ag_var results[] = {ag_mul(x, x), ag_add(z, 1),    ag_sub(1, z), ag_exp(z),
                              ag_pow(x, 2), ag_fma(x, z, x), ag_neg(x)};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        assert_true(ag_is_inert(results[i]));
        assert_int_equal(ag_tape_status(ag_tape_of(results[i])), AG_ERR_STALE);
        assert_string_equal(ag_tape_message(ag_tape_of(results[i])), "the tape of an operand was freed");
    }
    ag_backward(z);
    assert_true(isnan(ag_value(z)));
    assert_true(ag_is_inert(ag_mul(y, z)));
    assert_int_equal(ag_tape_status(b), AG_ERR_TAPE);
    ag_tape_free(b);
}

/* As many tapes as there are numbers; one more is one in error; when one was freed there is room again. */
static void many_tapes(void **unused) {
    (void)unused;
    ag_tape **tapes = malloc(MOST_TAPES * sizeof *tapes);
    assert_non_null(tapes);
    const ag_options options = {.type = AG_F64, .no_reserve = true};
    for (int i = 0; i < MOST_TAPES; i++) {
        tapes[i] = ag_tape_new_with(&options);
        assert_int_equal(ag_tape_status(tapes[i]), AG_OK);
        assert_int_equal(__builtin_popcount(tapes[i]->number), 8);
    }
    ag_tape *none = ag_tape_new(AG_F64);
    assert_int_equal(ag_tape_status(none), AG_ERR_MEMORY);
    assert_string_equal(ag_tape_message(none), "tape: out of memory when it was made, or 12,870 others were there");
    assert_true(ag_is_inert(ag_input(none, 1)));
    ag_tape_free(tapes[77]);
    tapes[77] = ag_tape_new_with(&options);
    ag_var x = ag_input(tapes[77], 3), y = ag_mul(x, x), other = ag_input(tapes[78], 1);
    ag_backward(y);
    check_number("x", ag_grad(x), 6);
    assert_true(ag_is_inert(ag_mul(y, other)));
    for (int i = 0; i < MOST_TAPES; i++) ag_tape_free(tapes[i]);
    free(tapes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_are_read_anew), cmocka_unit_test(every_value_passes),     cmocka_unit_test(sines),
        cmocka_unit_test(tapes_of_their_own),   cmocka_unit_test(scalars_of_freed_tapes), cmocka_unit_test(many_tapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
