/* Operations that take indices and labels as tensors: the same values and derivatives as with those of C, in programs that
 * are run with others than they were traced with; errors, also of a run. */
#include "operation_suite.h"

static const double TOKENS[] = {2, 0, 2, 1, 0, 2}, LABELS[] = {1, -1, 0, 2};

/* ---- values: against the operations that take C's integers ---- */

static void values(void **unused) {
    (void)unused;
    for (int type = 0; type < 2; type++) {
        ag_tape *t = ag_tape_new(type ? AG_F32 : AG_F64);
        ag_var x = random_tensor(t, AG_SHAPE(3, 4, 3), -1, 1), tokens = ag_constant_tensor(t, TOKENS, AG_SHAPE(2, 3));
        const int64_t flat[] = {2, 0, 2, 1, 0, 2};
        for (int axis = 0; axis < 3; axis += 2) {
            ag_var got = ag_gather_at(x, axis - 3, tokens), want = ag_gather(x, axis, flat, 6);
            ag_shape shape = axis ? AG_SHAPE(3, 4, 2, 3) : AG_SHAPE(2, 3, 4, 3);
            double *w = new_numbers(72);
            ag_read(want, w);
            check_values("gather_at", got, shape, w, 0);
            ag_read(ag_scatter_add(want, axis, flat, 5), w);
            shape = AG_SHAPE(3, 4, 3);
            shape.dim[axis] = 5;
            check_values("scatter_add_at", ag_scatter_add_at(got, axis, tokens, 5), shape, w, 0);
            free(w);
        }
        ag_var one = ag_constant(t, 1);
        double row[12];
        ag_read(ag_index(x, 0, 1), row);
        check_values("one index", ag_gather_at(x, 0, one), AG_SHAPE(4, 3), row, 0);
        check_values("scattered by one", ag_scatter_add_at(ag_at(x, 3), 0, one, 3), AG_SHAPE(3),
                     (double[]){0, row[0] * 0 + ag_value(ag_at(x, 3)), 0}, 0);
        check_values("number", ag_gather_at(x, 0, ag_num(1)), AG_SHAPE(4, 3), row, 0);
        ag_var none = ag_zeros(t, AG_SHAPE(0, 2));
        check_values("no indices", ag_gather_at(x, 1, none), AG_SHAPE(3, 0, 2, 3), NULL, 0);
        check_values("nothing to add", ag_scatter_add_at(ag_gather_at(ag_index(x, 0, 0), 0, none), 0, none, 1),
                     AG_SHAPE(1, 3), (double[]){0, 0, 0}, 0);

        ag_var logits = random_tensor(t, AG_SHAPE(2, 2, 3), -2, 2),
               labels = ag_constant_tensor(t, LABELS, AG_SHAPE(2, 2));
        const int64_t known[] = {1, 0, 0, 2};
        double want[4], grads[12], got[12];
        ag_var right = ag_cross_entropy(logits, known), loss = ag_cross_entropy_at(logits, labels);
        ag_read(right, want);
        ag_backward(ag_sum(right));
        ag_read_grad(logits, grads);
        want[1] = 0;
        for (int j = 0; j < 3; j++) grads[3 + j] = 0;
        check_values("cross_entropy_at", loss, AG_SHAPE(2, 2), want, 0);
        ag_backward(ag_sum(loss));
        ag_read_grad(logits, got);
        check_numbers("cross_entropy_at", "swept", got, grads, 12, 0);
        check_fine("values", t);
        ag_tape_free(t);
    }
}

/* ---- derivatives: the indices are constants, or inputs that have none ---- */

static ag_var gather_at(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)n;
    ag_var tokens = ag_constant_tensor(t, TOKENS, AG_SHAPE(2, 3));
    return ag_square(ag_gather_at(ag_transpose(ag_sin(x[0])), *(const int *)context, tokens));
}
static ag_var scatter_at(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)n, (void)context;
    ag_var tokens = ag_constant_tensor(t, TOKENS, AG_SHAPE(3));
    return ag_exp(ag_scatter_add_at(ag_square(x[0]), -1, tokens, 4));
}
static ag_var cross_entropy_at(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)n, (void)context;
    return ag_square(ag_cross_entropy_at(ag_square(x[0]), ag_constant_tensor(t, LABELS + 1, AG_SHAPE(3))));
}
static ag_var one_loss(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)n, (void)context;
    return ag_cross_entropy_at(ag_reshape(x[0], AG_SHAPE(-1)), ag_constant(t, 4));
}
/* the indices come from what has a derivative, which is 0 there */
static ag_var chosen(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    ag_var places = ag_floor(ag_add(ag_mul(x[0], 0.4), 1.0));
    return ag_add(ag_gather_at(x[0], 0, places), ag_unsqueeze(ag_cross_entropy_at(x[0], ag_index(places, 1, 0)), -1));
}

static void derivatives(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = random_tensor(t, AG_SHAPE(3, 3), -1, 1);
    for (int axis = 0; axis < 2; axis++) check_operation("gather_at", gather_at, &axis, &x, 1);
    check_operation("scatter_add_at", scatter_at, NULL, &x, 1);
    check_operation("cross_entropy_at", cross_entropy_at, NULL, &x, 1);
    check_derivatives("cross_entropy_at of one row", one_loss, NULL, &x, 1);
    check_printed("cross_entropy_at of one row", one_loss, NULL, &x, 1);
    check_derivatives("indices with a derivative of 0", chosen, NULL, &x, 1);
    ag_tape_free(t);
}

/* ---- programs ---- */

/* loss and gradient of a bag of tokens */
static void step(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var logits = ag_sum_over(ag_gather_at(x[0], 0, x[1]), AG_AXES(1), false);
    y[0] = ag_sum(ag_cross_entropy_at(logits, x[2]));
    ag_gradient(y[0], x, 1, y + 1);
}

static void run_with_other_data(void **unused) {
    (void)unused;
    enum { WORDS = 4, CLASSES = 3, BATCH = 2, LENGTH = 3 };
    ag_port in[] = {{"table", AG_SHAPE(WORDS, CLASSES), NULL},
                    {"tokens", AG_SHAPE(BATCH, LENGTH), NULL},
                    {"labels", AG_SHAPE(BATCH), NULL}};
    ag_program *p = ag_program_trace(AG_F64, step, NULL, in, 3, NULL, 2);
    program_fine("step", "trace", p);
    ag_runner *r = ag_runner_new(p);
    double table[WORDS * CLASSES], loss, grad[WORDS * CLASSES];
    uint64_t state = 3;
    for (int i = 0; i < WORDS * CLASSES; i++) table[i] = random_number(&state, -1, 1);
    for (int k = 0; k < 5; k++) {
        double tokens[BATCH * LENGTH], labels[BATCH];
        for (int i = 0; i < BATCH * LENGTH; i++) tokens[i] = floor(random_number(&state, 0, WORDS));
        for (int i = 0; i < BATCH; i++) labels[i] = floor(random_number(&state, -1, CLASSES));
        assert_int_equal(ag_run(r, (const double *[]){table, tokens, labels}, (double *[]){&loss, grad}), AG_OK);
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x[] = {ag_tensor(t, table, in[0].shape), ag_constant_tensor(t, tokens, in[1].shape),
                      ag_constant_tensor(t, labels, in[2].shape)},
               y[2];
        step(t, x, y, NULL);
        check_values("loss", y[0], (ag_shape){0}, &loss, 1e-14);
        check_values("gradient", y[1], in[0].shape, grad, 1e-14);
        ag_tape_free(t);
    }
    const double bad[] = {0, 1, 2, 3, 4, 0}, fine[] = {0, 0, 0, 0, 0, 0}, half[] = {0.5, 0};
    assert_int_equal(ag_run(r, (const double *[]){table, bad, fine}, (double *[]){&loss, grad}), AG_ERR_VALUE);
    assert_string_equal(ag_runner_message(r), "gather_at: index 4 at position 4 is no integer in 0..3, axis 0");
    assert_int_equal(ag_run(r, (const double *[]){table, fine, half}, (double *[]){&loss, grad}), AG_ERR_VALUE);
    assert_non_null(strstr(ag_runner_message(r), "label 0.5 of row 0"));
    assert_int_equal(ag_run(r, (const double *[]){table, fine, fine}, (double *[]){&loss, grad}), AG_OK);
    ag_runner_free(r);
    ag_program_free(p);
}

/* ---- errors ---- */

static void errors(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64), *other = ag_tape_new(AG_F64);
    ag_var x = counting_tensor(t, AG_SHAPE(2, 5)), v = ag_constant_tensor(t, (double[]){0, 5}, AG_SHAPE(2));
    ag_var nan = ag_constant(t, NAN), minus = ag_constant(t, -1), half = ag_constant(t, 0.5);
    ag_var deep = ag_zeros(t, AG_SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
    check_failure(t, ag_gather_at(x, 1, v), AG_ERR_VALUE,
                  "gather_at: index 5 at position 1 is no integer in 0..4, axis 1");
    check_failure(t, ag_gather_at(x, 0, nan), AG_ERR_VALUE,
                  "gather_at: index nan at position 0 is no integer in 0..1, axis 0");
    check_failure(t, ag_gather_at(x, 0, minus), AG_ERR_VALUE,
                  "gather_at: index -1 at position 0 is no integer in 0..1, axis 0");
    check_failure(t, ag_gather_at(x, 0, half), AG_ERR_VALUE,
                  "gather_at: index 0.5 at position 0 is no integer in 0..1, axis 0");
    check_failure(t, ag_gather_at(x, 2, v), AG_ERR_SHAPE,
                  "gather_at: axis 2 of a tensor of shape (2, 5), which has 2 axes");
    check_failure(
        t, ag_gather_at(x, 0, deep), AG_ERR_SHAPE,
        "gather_at: indices of shape (1, 1, 1, 1, 1, 1, 1, 1) for an axis of shape (2, 5) make more than 8 axes");
    check_failure(t, ag_scatter_add_at(x, 0, v, 5), AG_ERR_VALUE,
                  "scatter_add_at: index 5 at position 1 is no integer in 0..4, axis 0");
    check_failure(t, ag_scatter_add_at(x, 1, v, 6), AG_ERR_SHAPE,
                  "scatter_add_at: indices of shape (2) are not the axes of shape (2, 5) from 1 on");
    check_failure(t, ag_scatter_add_at(x, 3, v, 6), AG_ERR_SHAPE,
                  "scatter_add_at: indices of shape (2) are not the axes of shape (2, 5) from 3 on");
    check_failure(t, ag_scatter_add_at(x, -3, v, 6), AG_ERR_SHAPE, "scatter_add_at: axis -3 of shape (2, 5)");
    check_failure(t, ag_scatter_add_at(x, 0, v, -6), AG_ERR_VALUE, "scatter_add_at: indices into length -6");
    check_failure(t, ag_cross_entropy_at(x, v), AG_ERR_VALUE,
                  "cross_entropy_at: label 5 of row 1 is not one of 5 classes (0..4), nor an integer below 0");
    check_failure(t, ag_cross_entropy_at(x, half), AG_ERR_SHAPE,
                  "cross_entropy_at: labels of shape () for losses of shape (2)");
    check_failure(t, ag_cross_entropy_at(half, half), AG_ERR_SHAPE,
                  "cross_entropy_at: logits are a scalar, not one for each class");
    assert_true(ag_is_inert(ag_gather_at(ag_num(1), 0, ag_num(0))) &&
                ag_is_inert(ag_scatter_add_at(ag_num(1), 0, ag_num(0), 1)));
    assert_true(ag_is_inert(ag_gather_at(x, 0, ag_input(other, 0))));
    assert_int_equal(ag_tape_status(t), AG_ERR_TAPE);
    ag_tape_recover(t);
    /* an index that was changed after it was used */
    ag_var y = ag_gather_at(x, 0, half);
    ag_tape_recover(t);
    ag_set(half, (double[]){1});
    y = ag_sum(ag_gather_at(x, 0, half));
    ag_set(half, (double[]){7});
    ag_backward(y);
    assert_int_equal(ag_tape_status(t), AG_ERR_VALUE);
    ag_tape_free(t);
    ag_tape_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(run_with_other_data),
        cmocka_unit_test(errors),
        cmocka_unit_test(derivatives),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
