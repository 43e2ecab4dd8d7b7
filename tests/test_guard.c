/* Guards: a program that was recorded through a branch on a value runs only where the branch goes the same way; and what
 * select leaves out does not reach a derivative. */
#include "derivatives.h"

/* x < 0 ? -x : log(x) * w, by a branch. */
static void branching(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    if (ag_guard(ag_lt(x[0], 0), "x < 0")) y[0] = ag_neg(x[0]);
    else y[0] = ag_mul(ag_log(x[0]), x[1]);
}

static ag_program *branching_at(double x) {
    double w = 2;
    ag_port in[] = {ag_in("x", (ag_shape){.rank = 0}), ag_in("w", (ag_shape){.rank = 0})};
    in[0].example = &x;
    in[1].example = &w;
    ag_program *p = ag_program_trace(AG_F64, branching, NULL, in, 2, NULL, 1);
    assert_string_equal(ag_program_message(p), "");
    return p;
}

static const char *const not_negative =
    "guard \"x < 0\": -1.5 < 0 is true, and was false when the program was recorded";

/* Runs p with its first input x and all others 1: the status; the first output into *y. */
static ag_status run_at(const ag_program *p, double x, double *y, const char *sentence) {
    double one = 1, out[64][1] = {{0}};
    const double *in[8];
    double *to[64];
    assert_string_equal(ag_program_message(p), "");
    assert_true(ag_program_inputs(p) <= 8 && ag_program_outputs(p) <= 64);
    for (int k = 0; k < ag_program_inputs(p); k++) in[k] = k ? &one : &x;
    for (int k = 0; k < ag_program_outputs(p); k++) to[k] = out[k];
    ag_runner *r = ag_runner_new(p);
    ag_status status = ag_run(r, in, to);
    if (y) *y = out[0][0];
    if (sentence) assert_string_equal(ag_runner_message(r), sentence);
    ag_runner_free(r);
    return status;
}

static void a_branch_that_goes_the_other_way_is_an_error(void **state) {
    (void)state;
    ag_program *p = branching_at(3), *q = branching_at(-3);
    double y;
    assert_int_equal(run_at(p, 2, &y, ""), AG_OK);
    check_numbers("branch", "value", &y, &(double){0.693147180559945309417}, 1, 1e-15);
    assert_int_equal(run_at(p, -1.5, &y, not_negative), AG_ERR_GUARD);
    assert_int_equal(run_at(q, -1.5, &y, ""), AG_OK);
    check_numbers("branch", "value", &y, &(double){1.5}, 1, 0);
    assert_int_equal(run_at(q, 2, &y, "guard \"x < 0\": 2 < 0 is false, and was true when the program was recorded"),
                     AG_ERR_GUARD);
    ag_program_free(p);
    ag_program_free(q);
}

/* Whatever is made of a program keeps its guards, even where nothing else of x is needed. */
static void guards_survive(void **state) {
    (void)state;
    ag_program *p = branching_at(3), *made[16];
    int n = 0;
    made[n++] = ag_program_gradient(p, NULL, 0);
    made[n++] = ag_program_gradient(p, (int[]){1}, 1);
    made[n++] = ag_program_vjp(p, NULL, 0);
    made[n++] = ag_program_forward(p, NULL, 0);
    made[n++] = ag_program_jvp(p, (int[]){1}, 1);
    made[n++] = ag_program_hvp(p, NULL, 0);
    made[n++] = ag_program_jacobian(p, 0, 0);
    made[n++] = ag_program_hessian(p, 1);
    made[n++] = ag_program_select(made[1], (int[]){1}, 1);
    made[n++] = ag_program_select(p, NULL, 0);
    made[n++] = ag_program_gradient(made[0], NULL, 0);
    for (int i = 0; i < n; i++) {
        assert_int_equal(run_at(made[i], 2, NULL, ""), AG_OK);
        assert_int_equal(run_at(made[i], -1.5, NULL, not_negative), AG_ERR_GUARD);
        ag_program_free(made[i]);
    }
    ag_program_free(p);
}

/* ---- rows ---- */

static ag_status run_rows(const ag_program *p, int64_t rows, int64_t wrong, char *message, double *sum) {
    double *x = new_numbers(rows), *y = new_numbers(rows), w = 2;
    for (int64_t i = 0; i < rows; i++) x[i] = i == wrong ? -1.5 : 1 + (double)(i % 7);
    ag_column xs[] = {ag_each(x), ag_shared(&w)}, ys[] = {ag_each(y)};
    ag_runner *r = ag_runner_new(p);
    ag_status status = ag_run_rows(r, rows, xs, ys);
    if (message) snprintf(message, 256, "%s", ag_runner_message(r));
    if (sum) *sum = 0;
    for (int64_t i = 0; i < rows && sum; i++) *sum += y[i];
    ag_runner_free(r);
    free(x);
    free(y);
    return status;
}

static void rows_are_checked_each(void **state) {
    (void)state;
    ag_program *p = branching_at(3);
    char message[256], want[256];
    static const int64_t rows[] = {1, 2, 63, 64, 65, 5000, 9000};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double sum;
        assert_int_equal(run_rows(p, rows[i], -1, message, &sum), AG_OK);
        assert_true(isfinite(sum));
        const int64_t wrong[] = {0, rows[i] / 2, rows[i] - 1};
        for (int k = 0; k < 3; k++) {
            assert_int_equal(run_rows(p, rows[i], wrong[k], message, NULL), AG_ERR_GUARD);
            if (rows[i] == 1) snprintf(want, sizeof want, "%s", not_negative);
            else snprintf(want, sizeof want, "row %lld: %s", (long long)wrong[k], not_negative);
            assert_string_equal(message, want);
        }
    }
    ag_program_free(p);
}

/* A guard on elements of tensors, beside an operation without a scalar form: row by row. */
static void tensor_branch(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t;
    y[0] = ag_sum(ag_square(x[0]));
    if (ag_guard(ag_gt(ag_at(x[0], 1), ag_at(x[0], 2)), NULL)) y[0] = ag_mul(y[0], ag_at(x[0], 0));
    if (context)
        y[0] = ag_add(
            y[0], ag_logdet(ag_add(ag_eye(t, 2), ag_outer(ag_slice(x[0], 0, 0, 2, 1), ag_slice(x[0], 0, 0, 2, 1)))));
}

static void tensors_and_rows(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        const double example[3] = {1, 3, 2};
        ag_port in[] = {ag_in("x", AG_SHAPE(3))};
        in[0].example = example;
        ag_program *p = ag_program_trace(AG_F64, tensor_branch, i ? &i : NULL, in, 1, NULL, 1);
        ag_program *g = ag_program_gradient(p, NULL, 0);
        double x[10][3], y[10], d[10][3];
        for (int k = 0; k < 10; k++) x[k][0] = k, x[k][1] = 2, x[k][2] = k == 6 ? 4.5 : 1;
        ag_runner *r = ag_runner_new(g);
        ag_column xs[] = {ag_each(x)}, ys[] = {ag_each(y), ag_each(d)};
        assert_int_equal(ag_run_rows(r, 6, xs, ys), AG_OK);
        assert_int_equal(ag_run_rows(r, 10, xs, ys), AG_ERR_GUARD);
        assert_string_equal(ag_runner_message(r),
                            "row 6: guard: 2 > 4.5 is false, and was true when the program was recorded");
        assert_int_equal(ag_run_rows(r, 6, xs, ys), AG_OK);
        ag_runner_free(r);
        ag_program_free(g);
        ag_program_free(p);
    }
}

/* ---- inside other operations, and on tapes ---- */

static void twice(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const ag_program *p = context;
    ag_program_apply(t, p, x, y);
    y[0] = ag_add(y[0], ag_mul(x[0], 0));
}

static void in_operations_and_on_tapes(void **state) {
    (void)state;
    ag_program *p = branching_at(3), *batch = ag_program_batch(p, 3, (ag_along[]){AG_EACH, AG_SHARED}, NULL);
    double x[3] = {1, -1.5, 2}, w = 2, y[3];
    ag_runner *r = ag_runner_new(batch);
    assert_int_equal(ag_run(r, (const double *[]){x, &w}, (double *[]){y}), AG_ERR_GUARD);
    assert_string_equal(ag_runner_message(r),
                        "map: row 1: guard \"x < 0\": -1.5 < 0 is true, and was false when the program was recorded");
    ag_runner_free(r);
    ag_program_free(batch);
    ag_port in[] = {ag_in("x", (ag_shape){.rank = 0}), ag_in("w", (ag_shape){.rank = 0})};
    ag_program *q = ag_program_trace(AG_F64, twice, p, in, 2, NULL, 1), *g = ag_program_gradient(q, NULL, 0);
    assert_int_equal(run_at(g, 2, NULL, ""), AG_OK);
    assert_int_equal(run_at(g, -1.5, NULL, NULL), AG_ERR_GUARD);
    ag_program_free(g);
    ag_program_free(q);

    ag_tape *t = ag_tape_new(AG_F64);
    ag_var in_tape[2] = {ag_input(t, -1.5), ag_input(t, 2)}, out;
    assert_true(ag_guard(ag_lt(in_tape[0], 0), NULL)); /* just the bool */
    assert_false(ag_guard(ag_num(0), NULL));
    check_fine("a guard on a tape", t);
    ag_program_call(t, p, in_tape, &out); /* but a program keeps its guards */
    check_failure(t, out, AG_ERR_GUARD, not_negative);
    (void)ag_guard(ag_tensor(t, NULL, AG_SHAPE(2)), NULL);
    check_failure(t, ag_guard(ag_num(1), NULL) ? out : out, AG_ERR_SHAPE,
                  "guard: the condition has shape (2); it has to be a scalar");
    ag_tape_free(t);

    ag_program *blind = ag_program_trace(AG_F64, branching, NULL, in, 2, NULL, 1);
    assert_int_equal(ag_program_status(blind), AG_ERR_VALUE);
    assert_string_equal(ag_program_message(blind),
                        "guard x < 0: a branch on a value needs an example for every input of the program");
    ag_program_free(blind);
    ag_program_free(p);
}

/* The program that has the guard is run for nothing but that. */
static void for_its_guard(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    const ag_program *p = ((const ag_program *const *)context)[0];
    ag_var unused[1], rows[2] = {ag_unsqueeze(x[0], 0), ag_unsqueeze(x[1], 0)};
    int how = ((const ag_program *const *)context)[1] != NULL;
    if (how) ag_map(t, p, 1, rows, NULL, NULL, unused);
    else ag_program_apply(t, p, x, unused);
    y[0] = ag_mul(x[0], x[1]);
}

static void guards_of_results_that_are_not_used(void **state) {
    (void)state;
    ag_program *p = branching_at(3);
    ag_port in[] = {ag_in("x", (ag_shape){.rank = 0}), ag_in("w", (ag_shape){.rank = 0})};
    for (int how = 0; how < 2; how++) {
        const ag_program *context[2] = {p, how ? p : NULL};
        ag_program *q = ag_program_trace(AG_F64, for_its_guard, context, in, 2, NULL, 1);
        ag_program *g = ag_program_gradient(q, NULL, 0), *s = ag_program_select(g, (const int[]){1}, 1);
        const ag_program *all[] = {q, g, s};
        for (int k = 0; k < 3; k++) {
            assert_int_equal(run_at(all[k], 2, NULL, ""), AG_OK);
            assert_int_equal(run_at(all[k], -1.5, NULL, NULL), AG_ERR_GUARD);
        }
        ag_program_free(s);
        ag_program_free(g);
        ag_program_free(q);
    }
    ag_program_free(p);
}

/* ---- select: what is not taken has no say, whatever it is there ---- */

static void selecting(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var positive = ag_gt(x[0], 0);
    ag_var a = ag_select(positive, ag_mul(ag_log(x[0]), x[1]), ag_mul(x[0], x[1]));
    ag_var pole = ag_div(x[1], ag_sub(x[0], x[0])), huge = ag_exp(ag_mul(x[0], -1000));
    ag_var b = ag_select(positive, ag_sqrt(x[0]), ag_select(ag_lt(x[0], -1e9), ag_add(pole, huge), 0));
    y[0] = ag_add(a, b);
}

static void untaken_branches_do_not_poison(void **state) {
    (void)state;
    ag_port in[] = {ag_in("x", (ag_shape){.rank = 0}), ag_in("w", (ag_shape){.rank = 0})};
    ag_program *p = ag_program_trace(AG_F64, selecting, NULL, in, 2, NULL, 1);
    ag_program *made[] = {ag_program_gradient(p, NULL, 0), ag_program_jvp(p, NULL, 0), ag_program_hvp(p, NULL, 0),
                          ag_program_hessian(p, 0)};
    ag_program *again = ag_program_gradient(made[0], NULL, 0);
    const double at[] = {-2, 0, 2};
    for (size_t m = 0; m < 5; m++) {
        const ag_program *q = m < 4 ? made[m] : again;
        for (int k = 0; k < 3; k++) {
            double row[130][1], one[130][1], out[8][130];
            ag_column xs[4], ys[8];
            for (int i = 0; i < 130; i++) row[i][0] = at[(k + i) % 3], one[i][0] = 1;
            for (int i = 0; i < ag_program_inputs(q); i++) xs[i] = ag_each(i ? one : row);
            for (int i = 0; i < ag_program_outputs(q); i++) ys[i] = ag_each(out[i]);
            ag_runner *r = ag_runner_new(q);
            assert_int_equal(ag_run_rows(r, 130, xs, ys), AG_OK);
            for (int i = 0; i < ag_program_outputs(q); i++) {
                double *to[8], single[8];
                const double *from[4];
                for (int j = 0; j < 8; j++) to[j] = &single[j];
                for (int j = 0; j < 4; j++) from[j] = j ? one[0] : row[0];
                for (int j = 0; j < 130; j++)
                    if (!isfinite(out[i][j])) fail_msg("program %zu, output %d at %g: %g", m, i, row[j][0], out[i][j]);
                assert_int_equal(ag_run(r, from, to), AG_OK);
                check_numbers("select", "one and many", &single[i], &out[i][0], 1, 1e-14);
            }
            ag_runner_free(r);
        }
    }
    /* at x = -2: y = x w, so dy/dx = w = 1 and dy/dw = x; at 2: w log x + sqrt x */
    double x = -2, w = 1, y, dx, dw;
    ag_runner *r = ag_runner_new(made[0]);
    assert_int_equal(ag_run(r, (const double *[]){&x, &w}, (double *[]){&y, &dx, &dw}), AG_OK);
    check_numbers("select", "gradient", (double[]){y, dx, dw}, (double[]){-2, 1, -2}, 3, 1e-15);
    x = 2;
    assert_int_equal(ag_run(r, (const double *[]){&x, &w}, (double *[]){&y, &dx, &dw}), AG_OK);
    check_numbers("select", "gradient", (double[]){y, dx, dw},
                  (double[]){log(2.0) + sqrt(2.0), 0.5 + 0.5 / sqrt(2.0), log(2.0)}, 3, 1e-15);
    ag_runner_free(r);
    for (size_t m = 0; m < 4; m++) ag_program_free(made[m]);
    ag_program_free(again);
    ag_program_free(p);
}

/* ---- what is compared, and differences of two products, are rounded as on a tape ---- */

static void singular(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var d = ag_sub(ag_mul(x[0], x[1]), ag_mul(x[2], x[3])), c = ag_sub(ag_mul(x[0], x[1]), x[4]);
    y[0] = ag_sqrt(d);
    if (ag_guard(ag_eq(c, 0), "c == 0")) y[0] = ag_add(y[0], c);
}

static void exact_differences(void **unused) {
    (void)unused;
    uint64_t state = 5;
    for (int i = 0; i < 200; i++) {
        double a = random_number(&state, -3, 3), b = random_number(&state, -3, 3), c = a * b, y = 1;
        const double *const xs[] = {&a, &b, &b, &a, &c};
        ag_port in[5];
        for (int k = 0; k < 5; k++) in[k] = (ag_port){NULL, {0}, xs[k]};
        ag_program *p = ag_program_trace(AG_F64, singular, NULL, in, 5, NULL, 1);
        ag_runner *r = ag_runner_new(p);
        assert_int_equal(ag_run(r, xs, (double *[]){&y}), AG_OK);
        assert_true(y == 0);
        ag_column columns[5], out = ag_each(&y);
        for (int k = 0; k < 5; k++) columns[k] = ag_each(xs[k]);
        y = 1;
        assert_int_equal(ag_run_rows(r, 1, columns, &out), AG_OK);
        assert_true(y == 0);
        ag_runner_free(r);
        ag_program_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_branch_that_goes_the_other_way_is_an_error),
        cmocka_unit_test(guards_survive),
        cmocka_unit_test(rows_are_checked_each),
        cmocka_unit_test(tensors_and_rows),
        cmocka_unit_test(in_operations_and_on_tapes),
        cmocka_unit_test(guards_of_results_that_are_not_used),
        cmocka_unit_test(untaken_branches_do_not_poison),
        cmocka_unit_test(exact_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
