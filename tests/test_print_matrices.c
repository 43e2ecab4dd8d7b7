/* Linear algebra, random numbers and roots of several unknowns as C: values and derivatives against the machine, and what
 * cannot be computed said in its words. And that every operation there is has a form in C. */
#include "autograd/ops/builtin_impl.h"
#include "nested_programs.h"
#include "printed.h"

#include "autograd/program/program_impl.h"

/* ---- every operation ---- */

static void every_operation_has_a_form(void **unused) {
    static const struct {
        const char *name;
        const ag_operation *const *operation;
    } all[] = {
#define AG_BUILTIN(name, ...) {#name, &ag_builtin_##name},
#include "autograd/ops/builtin.def"
#undef AG_BUILTIN
    };
    (void)unused;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (!(*all[k].operation)->c_form) fail_msg("%s has no form in C", all[k].name);
}

/* ---- linear algebra ---- */

enum { SIDE = 4, OUTPUTS = 16 };

/* Of x: matrices that are far from singular, whose great elements are out of order. */
static ag_var good(ag_tape *t, ag_var x) {
    int64_t n = ag_shape_of(x).dim[ag_shape_of(x).rank - 1];
    return ag_add(x, ag_mul((double)n, ag_flip(ag_eye(t, n), 0)));
}

/* Inputs: A, b, B, a batch of matrices, right sides for them. */
static void algebra(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)context;
    ag_var a = good(t, x[0]), batch = good(t, x[3]), symmetric = ag_add(ag_matmul(a, ag_transpose(a)), ag_eye(t, SIDE)),
           diagonal = ag_add(x[0], ag_mul(3, ag_eye(t, SIDE)));
    int n = 1;
    y[n++] = ag_solve(a, x[1]);
    y[n++] = ag_solve(ag_transpose(a), x[2]);
    y[n++] = ag_solve(ag_flip(batch, 0), x[4]);
    y[n++] = ag_solve_triangular(diagonal, x[1], true);
    y[n++] = ag_solve_triangular(ag_transpose(diagonal), x[2], true);
    y[n++] = ag_solve_triangular(ag_flip(batch, -1), x[4], false);
    y[n++] = ag_inverse(ag_slice(a, 0, -1, AG_END, -1));
    y[n++] = ag_inverse(batch);
    y[n++] = ag_logdet(a);
    y[n++] = ag_logdet(ag_transpose(batch));
    y[n++] = ag_det(ag_flip(a, 1));
    y[n++] = ag_det(ag_div(batch, 4));
    y[n++] = ag_cholesky(symmetric);
    y[n++] = ag_cholesky(ag_add(ag_matmul(batch, ag_transpose(batch)), 0.5));
    y[n++] = ag_det(ag_outer(x[1], x[1])); /* of rank 1 */
    assert_int_equal(n, OUTPUTS);
    y[0] = ag_num(0);
    for (int k = 1; k < n; k++) {
        ag_var flat = ag_reshape(y[k], AG_SHAPE(-1));
        y[0] = ag_add(y[0], ag_mul(0.1, ag_vdot(flat, ag_cos(ag_arange(t, k, 1, ag_count(flat))))));
    }
}

static ag_program *trace_algebra(ag_type type) {
    const ag_port in[] = {{"A", AG_SHAPE(SIDE, SIDE), NULL},
                          {"b", AG_SHAPE(SIDE), NULL},
                          {"B", AG_SHAPE(SIDE, 3), NULL},
                          {"batch", AG_SHAPE(2, 3, 3), NULL},
                          {"right", AG_SHAPE(2, 3, 2), NULL}};
    return ag_program_trace(type, algebra, NULL, in, 5, NULL, OUTPUTS);
}

static void linear_algebra(void **unused) {
    (void)unused;
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_program *p = trace_algebra((ag_type)type), *s = ag_program_select(p, (int[]){0}, 1);
        check("linear algebra", ag_program_gradient(p, NULL, 0));
        check("its Hessian", ag_program_hvp(s, NULL, 0));
        ag_program_free(s);
        ag_program_free(p);
    }
}

/* Determinants of matrices of ranks 0, 1, 2, 3 and 4, with third derivatives. */
static void ranked(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    int rank = *(const int *)context;
    ag_var a = ag_sub(ag_add(x[0], ag_transpose(ag_flip(x[0], 1))), ag_eye(t, SIDE));
    ag_var columns = ag_slice(ag_mul(0.3, a), 1, 0, rank, 1), rows = ag_slice(ag_sin(a), 0, 0, rank, 1);
    y[0] = ag_det(ag_matmul(columns, rows));
}

static void determinants(void **unused) {
    (void)unused;
    const ag_port in = {"A", AG_SHAPE(SIDE, SIDE), NULL};
    for (int rank = 0; rank <= SIDE; rank++) {
        ag_program *p = ag_program_trace(AG_F64, ranked, &rank, &in, 1, NULL, 1), *h = ag_program_hvp(p, NULL, 0);
        check("determinant", ag_program_jvp(h, (int[]){0}, 1));
        ag_program_free(h);
        ag_program_free(p);
    }
}

static void nothing(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)context;
    ag_var none = ag_zeros(t, AG_SHAPE(0, 0));
    y[0] = ag_add(x[0], ag_logdet(none));
    y[1] = ag_mul(x[0], ag_det(none));
    y[2] = ag_solve(none, ag_zeros(t, AG_SHAPE(0, 2)));
    y[3] = ag_solve(ag_eye(t, 2), ag_zeros(t, AG_SHAPE(2, 0)));
    y[4] = ag_inverse(ag_zeros(t, AG_SHAPE(0, 2, 2)));
}

static void of_no_elements(void **unused) {
    (void)unused;
    check("nothing", ag_program_trace(AG_F64, nothing, NULL, &(ag_port){.name = "x"}, 1, NULL, 5));
}

/* ---- what fails ---- */

enum { SOLVE, TRIANGLE, INVERSE, LOGDET, CHOLESKY, GATHER, SCATTER, LABEL, FAILING };

/* Of a matrix s M, s being an input; with an index s. */
static void failing(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    static const double numbers[] = {4, 1, 2, 1, 5, 3, 2, 3, 6};
    ag_var m = ag_mul(x[0], ag_constant_tensor(t, numbers, AG_SHAPE(3, 3))), b = ag_ones(t, AG_SHAPE(3));
    switch (*(const int *)context) {
    case SOLVE: y[0] = ag_solve(m, b); break;
    case TRIANGLE: y[0] = ag_solve_triangular(m, b, false); break;
    case INVERSE: y[0] = ag_inverse(m); break;
    case LOGDET: y[0] = ag_logdet(m); break;
    case CHOLESKY: y[0] = ag_cholesky(m); break;
    case GATHER: y[0] = ag_gather_at(m, 1, ag_reshape(x[0], AG_SHAPE(1))); break;
    case SCATTER: y[0] = ag_scatter_add_at(ag_index(m, 0, 0), 0, ag_mul(x[0], b), 3); break;
    default: y[0] = ag_cross_entropy_at(m, ag_mul(x[0], b)); break;
    }
    y[0] = ag_sum(y[0]);
}

/* Equal to the machine at every x, and in what it says. */
static void check_at(const char *what, ag_program *p, const double *xs, int n) {
    if (ag_program_status(p) != AG_OK) fail_msg("%s: %s", what, ag_program_message(p));
    print_too(what, p, NULL, true);
    ag_compiled *c =
        have_compiler ? ag_program_compile(p, &(ag_compile_options){.cache = folder, .flags = quick}) : NULL;
    if (c && ag_compiled_status(c) != AG_OK) fail_msg("%s: %s", what, ag_compiled_message(c));
    int failures = 0;
    for (int i = 0; c && i < n; i++) {
        data d = open_data(p);
        ag_store(AG_F64, (void *)(uintptr_t)d.xs[0], 0, xs[i]);
        ag_runner *r = ag_runner_new(p);
        ag_status want = ag_run(r, (const double *const *)(void *)d.xs, (double *const *)(void *)d.ys);
        assert_int_equal(ag_compiled_run(c, (const double *const *)(void *)d.xs, (double *const *)(void *)d.zs), want);
        assert_string_equal(ag_compiled_message(c), want == AG_OK ? "" : ag_runner_message(r));
        if (want == AG_OK) assert_same(what, p, &d);
        failures += want != AG_OK;
        ag_runner_free(r);
        close_data(p, &d);
    }
    if (c) assert_in_range(failures, 1, n - 2);
    ag_compiled_free(c);
    ag_program_free(p);
}

static void failures(void **unused) {
    (void)unused;
    const double at[] = {1.5, 0, 2, NAN, -1, INFINITY};
    for (int which = 0; which < FAILING; which++) {
        ag_program *p = ag_program_trace(AG_F64, failing, &which, &(ag_port){.name = "s"}, 1, NULL, 1);
        check_at("failing", ag_program_gradient(p, NULL, 0), at, which == SOLVE || which == INVERSE ? 5 : 6);
        if (which == SOLVE) check_at("failing rows", ag_program_batch(p, 1, NULL, NULL), at, 5);
        ag_program_free(p);
    }
}

/* What a caller is told, and what the function returns. */
static void comment(void **unused) {
    (void)unused;
    int which = CHOLESKY;
    char *text = NULL;
    size_t size = 0;
    ag_program *p = ag_program_trace(AG_F64, failing, &which, &(ag_port){.name = "s"}, 1, NULL, 1);
    FILE *out = open_memstream(&text, &size);
    ag_printed printed = ag_program_print_c(p, "f", NULL, out);
    fclose(out);
    assert_int_equal(printed.status, AG_OK);
    assert_int_equal(printed.checks, 1);
    assert_non_null(strstr(text, " *   1: cholesky: a matrix that is not positive definite\n"));
    assert_non_null(strstr(text, "\nint f(double s, double *restrict y0"));
    free(text);
    ag_program_free(p);
}

/* ---- random numbers ---- */

static void drawing(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)context;
    y[0] = ag_random_uniform(t, AG_SHAPE(70), 5, x[1]);
    y[1] = ag_random_normal(t, AG_SHAPE(300), UINT64_MAX - 3, x[1]);
    y[2] = ag_random_normal(t, AG_SHAPE(3, 400), 7, ag_num(2));
    y[3] = ag_random_uniform(t, AG_SHAPE(1), 1, ag_num(0.5));
    y[4] = ag_dropout(x[0], 0.3, 11, x[1]);
    y[5] = ag_dropout(ag_transpose(ag_mul(x[0], 2)), 0.5, 12, x[1]);
    y[6] = ag_sum(ag_square(ag_dropout(ag_transpose(x[0]), 0.9, 13, x[1])));
}

static void random_numbers(void **unused) {
    (void)unused;
    const ag_port in[] = {{"x", AG_SHAPE(13, 17), NULL}, {"clock", {.rank = 0}, NULL}};
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_program *p = ag_program_trace((ag_type)type, drawing, NULL, in, 2, NULL, 7),
                   *s = ag_program_select(p, (int[]){6}, 1);
        check("gradient of dropout", ag_program_gradient(s, (int[]){0}, 1));
        check("random numbers", p);
        ag_program_free(s);
    }
}

/* ---- operands that are not row-major ---- */

static void strided(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var across = ag_transpose(x[0]), labels = ag_floor(ag_flip(ag_slice(x[0], 0, 0, 1, 1), 1));
    y[0] = ag_cross_entropy_at(across, ag_reshape(labels, AG_SHAPE(-1)));
    y[1] = ag_gather_at(across, 0, ag_flip(ag_floor(x[0]), 0));
    y[2] = ag_softmax(across, -1);
    y[3] = ag_conv2d(ag_reshape(x[0], AG_SHAPE(1, 1, 4, 5)),
                     ag_transpose(ag_reshape(ag_slice(x[0], 0, 0, 2, 1), AG_SHAPE(1, 1, 5, 2))), (ag_conv_options){0});
    y[4] = ag_layer_norm(across, 1, ag_num(0), ag_num(0), 1e-5);
}

static void not_row_major(void **unused) {
    (void)unused;
    ag_program *p = ag_program_trace(AG_F64, strided, NULL, &(ag_port){"x", AG_SHAPE(4, 5), NULL}, 1, NULL, 5);
    check("strided", ag_program_vjp(p, NULL, 0));
    ag_program_free(p);
}

/* ---- roots of several unknowns ---- */

/* x + 0.1 exp(W x) = b */
static void residual(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sub(ag_add(x[0], ag_mul(0.1, ag_exp(ag_matmul(x[1], x[0])))), x[2]);
}

static void root_of_three(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var in[] = {ag_zeros(t, AG_SHAPE(3)), x[0], x[1]};
    y[0] = ag_vdot(ag_root(t, context, in, NULL), x[1]);
}

static void fixed_point_of_three(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    ag_var in[] = {ag_zeros(t, AG_SHAPE(3)), ag_mul(0.1, x[0]), x[1]};
    y[0] = ag_vdot(ag_fixed_point(t, context, in, NULL), x[1]);
}

static void contract(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_add(ag_mul(0.2, ag_sin(ag_matmul(x[1], x[0]))), x[2]);
}

static void roots(void **unused) {
    (void)unused;
    const ag_port in[] = {{"x", AG_SHAPE(3), NULL}, {"W", AG_SHAPE(3, 3), NULL}, {"b", AG_SHAPE(3), NULL}};
    for (int type = AG_F64; type <= AG_F32; type++)
        for (int fixed = 0; fixed < 2; fixed++) {
            ag_program *f = ag_program_trace((ag_type)type, fixed ? contract : residual, NULL, in, 3, NULL, 1);
            ag_program *p =
                ag_program_trace((ag_type)type, fixed ? fixed_point_of_three : root_of_three, f, in + 1, 2, NULL, 1);
            check("a root", ag_program_gradient(p, NULL, 0));
            if (type == AG_F64) check("its Hessian", ag_program_hvp(p, NULL, 0));
            ag_program_free(p);
            ag_program_free(f);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_has_a_form),
        cmocka_unit_test(linear_algebra),
        cmocka_unit_test(determinants),
        cmocka_unit_test(of_no_elements),
        cmocka_unit_test(failures),
        cmocka_unit_test(comment),
        cmocka_unit_test(random_numbers),
        cmocka_unit_test(not_row_major),
        cmocka_unit_test(roots),
        cmocka_unit_test(clean),
    };
    return cmocka_run_group_tests(tests, open_printed, close_folder);
}
