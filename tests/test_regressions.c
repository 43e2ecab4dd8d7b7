/* What was found by fuzzing (fuzz_api.c) and by use, one test each. Some fail only under the sanitizers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <autograd/autograd.h>

#include <limits.h>
#include <math.h>

#define HUGE_DIM (INT64_C(1) << 40)

static void check_status(ag_tape *t, ag_status status) {
    if (ag_tape_status(t) != status)
        fail_msg("status %d (%s), not %d", (int)ag_tape_status(t), ag_tape_message(t), (int)status);
    ag_tape_recover(t);
}

/* Out of bounds: the arrays of operands were laid out by the sum of the two counts. */
static void derivatives_of_a_negative_number_of_vars(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x[3] = {ag_input(t, 2), ag_input(t, 3), ag_input(t, 4)}, y = ag_mul(x[0], x[1]), one = ag_num(1);
    ag_var out[3] = {y, y, y};
    ag_vjp(&y, &one, -1, x, 3, out);
    assert_true(ag_is_inert(out[0]) && ag_is_inert(out[2]));
    check_status(t, AG_ERR_VALUE);
    ag_jvp(&y, 1, x, x, -3, out);
    check_status(t, AG_ERR_VALUE);
    ag_jvp(&y, INT_MIN, x, x, 3, out);
    check_status(t, AG_ERR_VALUE);
    ag_gradient(y, x, -1000, out);
    check_status(t, AG_ERR_VALUE);
    ag_tape_free(t);
}

static ag_var sum_of_first(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)context;
    return n > 0 ? ag_sum(x[0]) : ag_constant(t, 1);
}

/* Out of bounds, likewise. */
static void check_of_a_negative_number_of_inputs(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 2);
    ag_report r = ag_check_gradient(sum_of_first, NULL, &x, -1, 0);
    assert_int_equal(r.status, AG_ERR_VALUE);
    assert_false(r.holds);
    ag_tape_free(t);
}

typedef struct fickle {
    int calls;
    ag_var other;
} fickle;

static ag_var fickle_function(ag_tape *t, const ag_var *x, int n, void *context) {
    fickle *f = context;
    (void)t, (void)n;
    if (ag_tape_of(f->other)) return f->other;
    return f->calls++ < 2 ? x[0] : ag_concat((ag_var[]){x[0], x[0], x[0]}, 3, 0);
}

/* Out of bounds: a function whose result grows from call to call, or that is of another tape. */
static void check_of_a_function_that_changes(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, (double[]){1, 2}, AG_SHAPE(2));
    fickle f = {0, {0}};
    assert_int_equal(ag_check_gradient(fickle_function, &f, &x, 1, 0).status, AG_ERR_SHAPE);
    f.other = x;
    assert_int_equal(ag_check_gradient(fickle_function, &f, &x, 1, 0).status, AG_ERR_TAPE);
    ag_tape_free(t);
}

/* Out of bounds: after the error, an operand on the other tape was given a ninth axis. */
static void outer_of_eight_dims_of_another_tape(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64), *other = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, NULL, AG_SHAPE(2)), y = ag_tensor(other, NULL, AG_SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
    assert_true(ag_is_inert(ag_outer(x, y)));
    check_status(t, AG_ERR_SHAPE);
    check_status(other, AG_OK);
    assert_true(ag_is_inert(ag_vdot(x, y)));
    check_status(t, AG_ERR_SHAPE);
    ag_tape_free(t);
    ag_tape_free(other);
}

/* Overflow of the difference of ranks. */
static void expanding_to_an_impossible_rank(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, NULL, AG_SHAPE(2, 3));
    const int ranks[] = {INT_MIN, -1, 9, INT_MAX};
    for (int i = 0; i < 4; i++) {
        assert_true(ag_is_inert(ag_expand(x, (ag_shape){.rank = ranks[i]})));
        check_status(t, AG_ERR_SHAPE);
        assert_true(ag_is_inert(ag_reshape(x, (ag_shape){.rank = ranks[i]})));
        check_status(t, AG_ERR_SHAPE);
    }
    ag_tape_free(t);
}

/* An inert result and no error, where an operand's own tape was in error. */
static void parts_of_another_tape_in_error(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64), *other = ag_tape_new(AG_F64);
    ag_var parts[2] = {ag_tensor(t, NULL, AG_SHAPE(2)), ag_tensor(other, NULL, AG_SHAPE(2))};
    ag_fail(other, AG_ERR_VALUE, "something else");
    assert_true(ag_is_inert(ag_concat(parts, 2, 0)));
    check_status(t, AG_ERR_TAPE);
    assert_true(ag_is_inert(ag_stack(parts, 2, 0)));
    check_status(t, AG_ERR_TAPE);
    ag_tape_free(t);
    ag_tape_free(other);
}

/* Overflow of the product of some of the dims, and loops over the others: for ever. */
static void empty_tensors_of_huge_shapes(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    const int64_t big = INT64_C(1) << 62;
    ag_var x = ag_tensor(t, NULL, AG_SHAPE(0, 3));
    assert_true(ag_is_inert(ag_zeros(t, AG_SHAPE(0, big, big))));
    check_status(t, AG_ERR_SHAPE);
    assert_true(ag_is_inert(ag_reshape(x, AG_SHAPE(big, 0, big))));
    check_status(t, AG_ERR_SHAPE);
    assert_true(ag_is_inert(ag_expand(x, AG_SHAPE(big, big, 0, 3))));
    check_status(t, AG_ERR_SHAPE);
    ag_var e = ag_tensor(t, NULL, AG_SHAPE(HUGE_DIM, 0, 2));
    ag_var y[] = {ag_softmax(e, 1),
                  ag_log_softmax(e, 2),
                  ag_cumsum(e, 0),
                  ag_tile(e, 1, 3),
                  ag_tril(e, 0),
                  ag_matmul(e, ag_ones(t, AG_SHAPE(2, 3))),
                  ag_exp(ag_permute(e, AG_AXES(2, 0, 1)))};
    for (size_t i = 0; i < sizeof y / sizeof *y; i++) {
        check_status(t, AG_OK);
        assert_int_equal(ag_count(y[i]), 0);
        ag_backward(ag_sum(y[i]));
        ag_var s = ag_sum(y[i]), g;
        ag_gradient(s, &e, 1, &g);
        assert_int_equal(ag_count(g), 0);
    }
    check_status(t, AG_OK);
    ag_tape_free(t);
}

/* Arithmetic on a null pointer: there was no tensor yet. */
static void sweep_without_tensors(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 3), y = ag_mul(x, x), one = ag_num(1);
    ag_backward(y);
    ag_sweep(&y, &one, 1, AG_ACCUMULATE);
    assert_true(ag_grad(x) == 12);
    ag_tape_free(t);
}

/* inf - inf: x y was subtracted from max(x, 0). */
static void cross_entropy_of_infinite_logits(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    const double x[4] = {HUGE_VAL, HUGE_VAL, -HUGE_VAL, -HUGE_VAL}, y[4] = {1, 0, 0, 1};
    const double loss[4] = {0, HUGE_VAL, 0, HUGE_VAL}, slope[4] = {0, 1, 0, -1};
    ag_var logits = ag_tensor(t, x, AG_SHAPE(4)), all = ag_bce_logits(logits, ag_constant_tensor(t, y, AG_SHAPE(4)));
    ag_backward(ag_sum(all));
    for (int i = 0; i < 4; i++) {
        assert_true(ag_value(ag_at(all, i)) == loss[i] && ag_grad(ag_at(logits, i)) == slope[i]);
        assert_true(ag_value(ag_bce_logits(ag_input(t, x[i]), y[i])) == loss[i]);
    }
    ag_tape_free(t);
}

/* A mark in every turn of a loop grew the tape in every turn. */
static void marking_in_a_loop(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 3);
    uint64_t bytes = 0;
    for (int i = 0; i < 1000; i++) {
        ag_mark mark = ag_tape_mark(t);
        (void)ag_sin(x);
        ag_tape_rewind(t, mark);
        if (i == 0) bytes = ag_tape_stats(t).instruction_bytes;
        assert_int_equal(ag_tape_stats(t).instruction_bytes, bytes);
    }
    check_status(t, AG_OK);
    ag_tape_free(t);
}

/* A name given between two marks of one place went with the first of them. */
static void naming_between_marks(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 3);
    (void)ag_tape_mark(t);
    ag_name(x, "two\nlines");
    ag_mark mark = ag_tape_mark(t);
    (void)ag_sin(x);
    ag_tape_rewind(t, mark);
    char text[4096] = "";
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_true(ag_dot(t, out));
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = '\0';
    fclose(out);
    assert_non_null(strstr(text, "two lines")); /* and its line break did not join the words */
    ag_tape_free(t);
}

static void add_reshaped_product(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    (void)t, (void)context;
    ag_var product = ag_mul(ag_reshape(xs[0], AG_SHAPE(6, 4)), ag_reshape(xs[1], AG_SHAPE(6, 1)));
    ys[0] = ag_add(xs[0], ag_reshape(product, AG_SHAPE(2, 3, 4)));
}

/* A program took a product in as x * y + z although z had another shape, so that y was broadcast wrongly. */
static void adding_a_product_of_another_shape(void **unused) {
    const ag_port in[] = {ag_in("x", AG_SHAPE(2, 3, 4)), ag_in("y", AG_SHAPE(6))};
    double x[24], y[6], z[24];
    (void)unused;
    for (int i = 0; i < 24; i++) x[i] = i + 1;
    for (int i = 0; i < 6; i++) y[i] = i + 2;
    ag_program *p = ag_program_trace(AG_F64, add_reshaped_product, NULL, in, 2, NULL, 1);
    ag_runner *r = ag_runner_new(p);
    assert_int_equal(ag_run(r, (const double *const[]){x, y}, (double *const[]){z}), AG_OK);
    for (int i = 0; i < 24; i++) assert_true(z[i] == x[i] + x[i] * y[i / 4]);
    ag_runner_free(r);
    ag_program_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derivatives_of_a_negative_number_of_vars),
        cmocka_unit_test(check_of_a_negative_number_of_inputs),
        cmocka_unit_test(check_of_a_function_that_changes),
        cmocka_unit_test(outer_of_eight_dims_of_another_tape),
        cmocka_unit_test(expanding_to_an_impossible_rank),
        cmocka_unit_test(parts_of_another_tape_in_error),
        cmocka_unit_test(empty_tensors_of_huge_shapes),
        cmocka_unit_test(sweep_without_tensors),
        cmocka_unit_test(cross_entropy_of_infinite_logits),
        cmocka_unit_test(marking_in_a_loop),
        cmocka_unit_test(naming_between_marks),
        cmocka_unit_test(adding_a_product_of_another_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
