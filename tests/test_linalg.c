/* Solving, factoring, inverses and determinants: values against their definitions, all derivatives, errors. */
#include "derivatives.h"

static const ag_shape scalar; /* of rank 0 */

/* ---- matrices ---- */

/* n x n matrices, well conditioned: random with a strong diagonal of mixed signs, out of order. */
static ag_var good_matrices(ag_tape *t, ag_shape s) {
    int64_t n = s.dim[s.rank - 1], count = shape_count(s);
    double *x = new_numbers(count);
    uint64_t state = 3;
    for (int64_t i = 0; i < count; i++) {
        int64_t row = i / (n ? n : 1) % (n ? n : 1), column = i % (n ? n : 1);
        x[i] = random_number(&state, -1, 1) / (double)(n + 1);
        if (column == (row + 1) % n) x[i] += row % 2 ? -1.2 : 1.5;
    }
    ag_var r = ag_tensor(t, x, s);
    free(x);
    return r;
}

/* a b for row-major matrices in memory: n x n by n x k, for each of `batch`. */
static double *products(int64_t batch, int64_t n, int64_t k, const double *a, const double *b) {
    double *r = new_numbers(batch * n * k);
    for (int64_t s = 0; s < batch; s++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t p = 0; p < n; p++)
                for (int64_t j = 0; j < k; j++)
                    r[(s * n + i) * k + j] += a[(s * n + i) * n + p] * b[(s * n + p) * k + j];
    return r;
}

static double *values_of(ag_var x) {
    double *r = new_numbers(ag_count(x));
    ag_read(x, r);
    return r;
}

/* By the first row's cofactors. */
static double naive_det(int n, const double *a) {
    double sum = 0, rest[36];
    if (n == 0) return 1;
    for (int c = 0; c < n; c++) {
        for (int i = 1, k = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                if (j != c) rest[k++] = a[i * n + j];
        sum += (c % 2 ? -a[c] : a[c]) * naive_det(n - 1, rest);
    }
    return sum;
}

static int64_t batch_of(ag_shape s) {
    int64_t n = 1;
    for (int i = 0; i < s.rank - 2; i++) n *= s.dim[i];
    return n;
}

/* Ways to look at a matrix that LAPACK has to be told of. */
enum { PLAIN, TRANSPOSED, FLIPPED, SECOND, VIEWS };
static ag_var as_view(int kind, ag_var x) {
    if (kind == TRANSPOSED) return ag_transpose(x);
    if (kind == FLIPPED) return ag_flip(ag_flip(x, -1), -2);
    if (kind != SECOND) return x;
    for (int i = 1; i <= 2; i++) { /* every second element of a larger tensor */
        ag_shape wide = ag_shape_of(x), pair = wide;
        pair.dim[pair.rank++] = 2;
        for (int k = pair.rank - 1; k > pair.rank - i; k--) pair.dim[k] = pair.dim[k - 1];
        pair.dim[pair.rank - i] = 2;
        wide.dim[wide.rank - i] *= 2;
        ag_var both = ag_stack((const ag_var[]){x, x}, 2, pair.rank - i);
        x = ag_slice(ag_reshape(both, wide), -i, 0, AG_END, 2);
    }
    return x;
}

/* ---- values ---- */

static const double tolerance_of[2] = {1e-12, 2e-5};

static void check_matrix_values(ag_type type, ag_shape s, int view) {
    ag_tape *t = ag_tape_new(type);
    ag_var a = as_view(view, good_matrices(t, s));
    int64_t n = s.dim[s.rank - 1], batch = batch_of(s);
    double *va = values_of(a), tolerance = tolerance_of[type];

    for (int64_t k = 0; k <= 4; k += 2) { /* 0: vectors */
        ag_shape right = s;
        if (k == 0) right.rank--;
        else right.dim[right.rank - 1] = k;
        ag_var b = random_tensor(t, right, -1, 1);
        double *vb = values_of(b), *x = values_of(ag_solve(a, b)), *ax = products(batch, n, k ? k : 1, va, x);
        check_fine("solve", t);
        check_numbers("solve", "A x", ax, vb, ag_count(b), tolerance);
        free(vb);
        free(x);
        free(ax);
    }
    double *inverse = values_of(ag_inverse(a)), *one = products(batch, n, n, va, inverse);
    for (int64_t i = 0; i < batch * n; i++) one[i * n + i % n] -= 1;
    for (int64_t i = 0; i < batch * n * n; i++) assert_true(fabs(one[i]) <= tolerance);
    check_fine("inverse", t);

    ag_var det = ag_det(a), logdet = ag_logdet(a);
    double *vd = values_of(det), *vl = values_of(logdet);
    assert_int_equal(ag_shape_of(det).rank, s.rank - 2);
    for (int64_t i = 0; i < batch; i++) {
        if (n <= 6) assert_true(number_error(vd[i], naive_det((int)n, va + i * n * n)) <= tolerance);
        assert_true(number_error(vl[i], log(fabs(vd[i]))) <= 10 * tolerance);
    }
    check_fine("det", t);
    free(va);
    free(inverse);
    free(one);
    free(vd);
    free(vl);
    ag_tape_free(t);
}

static void test_matrices(void **state) {
    (void)state;
    for (ag_type type = AG_F64; type <= AG_F32; type++)
        for (int view = 0; view < VIEWS; view++) {
            for (int64_t n = 1; n <= 9; n++) check_matrix_values(type, AG_SHAPE(n, n), view);
            check_matrix_values(type, AG_SHAPE(90, 90), view);
            check_matrix_values(type, AG_SHAPE(3, 4, 4), view);
            check_matrix_values(type, AG_SHAPE(2, 3, 2, 2), view);
            check_matrix_values(type, AG_SHAPE(0, 3, 3), view);
        }
    check_matrix_values(AG_F64, AG_SHAPE(0, 0), PLAIN);
    check_matrix_values(AG_F64, AG_SHAPE(2, 0, 0), PLAIN);
}

static void check_triangle(ag_type type, ag_shape s, bool upper, int view) {
    ag_tape *t = ag_tape_new(type);
    int64_t n = s.dim[s.rank - 1], batch = batch_of(s);
    ag_var full = random_tensor(t, s, -0.5, 0.5), a = as_view(view, ag_add(full, ag_eye(t, n)));
    ag_var triangle = upper ? ag_triu(a, 0) : ag_tril(a, 0);
    /* What is in the other triangle does not matter. */
    ag_var other = upper ? ag_tril(a, -1) : ag_triu(a, 1);
    a = as_view(view, ag_select(ag_eq(other, 0.0), triangle, NAN));
    triangle = as_view(view, triangle);
    if (view == TRANSPOSED) upper = !upper;
    if (view == FLIPPED) upper = !upper;
    double *va = values_of(triangle);
    for (int64_t k = 0; k <= 4; k += 2) {
        ag_shape right = s;
        if (k == 0) right.rank--;
        else right.dim[right.rank - 1] = k;
        ag_var b = random_tensor(t, right, -1, 1);
        double *vb = values_of(b), *x = values_of(ag_solve_triangular(a, b, upper));
        double *ax = products(batch, n, k ? k : 1, va, x);
        check_fine("solve_triangular", t);
        check_numbers("solve_triangular", "A x", ax, vb, ag_count(b), 100 * tolerance_of[type]);
        free(vb);
        free(x);
        free(ax);
    }
    free(va);
    ag_tape_free(t);
}

static void check_cholesky(ag_type type, ag_shape s, int view) {
    ag_tape *t = ag_tape_new(type);
    int64_t n = s.dim[s.rank - 1], batch = batch_of(s);
    ag_var half = random_tensor(t, s, -1, 1);
    ag_var a = as_view(view, ag_add(ag_matmul(half, ag_transpose(half)), ag_eye(t, n)));
    ag_var l = ag_cholesky(ag_add(ag_tril(a, 0), ag_mul(ag_triu(ag_ones(t, s), 1), 99.0)));
    check_fine("cholesky", t);
    double *vl = values_of(l), *vt = values_of(ag_contiguous(ag_transpose(l))), *ll = products(batch, n, n, vl, vt);
    double *va = values_of(a);
    check_numbers("cholesky", "L L^T", ll, va, batch * n * n, 100 * tolerance_of[type]);
    for (int64_t i = 0; i < batch * n * n; i++)
        if (i % n > i / n % n) assert_true(vl[i] == 0);
    free(vl);
    free(vt);
    free(ll);
    free(va);
    ag_tape_free(t);
}

static void test_triangles(void **state) {
    (void)state;
    for (ag_type type = AG_F64; type <= AG_F32; type++)
        for (int view = 0; view < VIEWS; view++) {
            for (int64_t n = 1; n <= 12; n++) {
                check_triangle(type, AG_SHAPE(n, n), false, view);
                check_triangle(type, AG_SHAPE(n, n), true, view);
                check_cholesky(type, AG_SHAPE(n, n), view);
            }
            check_triangle(type, AG_SHAPE(3, 4, 4), false, view);
            check_triangle(type, AG_SHAPE(2, 2, 3, 3), true, view);
            check_triangle(type, AG_SHAPE(0, 2, 2), true, view);
            check_cholesky(type, AG_SHAPE(3, 4, 4), view);
            check_cholesky(type, AG_SHAPE(80, 80), view);
        }
    check_triangle(AG_F64, AG_SHAPE(0, 0), true, PLAIN);
    check_cholesky(AG_F64, AG_SHAPE(0, 0), PLAIN);
    check_cholesky(AG_F64, AG_SHAPE(0, 2, 2), PLAIN);
}

/* Neither overflow nor underflow on the way to a determinant that can be represented, or to its logarithm. */
static void test_extreme_determinants(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var d = ag_tensor(t, (const double[]){1e200, 0, 0, 0, 0, 1e200, 0, 0, 0, 0, 1e-200, 0, 0, 0, 0, 2e-200},
                         AG_SHAPE(4, 4));
    check_values("det", ag_det(d), scalar, (const double[]){2}, 1e-13);
    ag_var tiny = ag_mul(ag_eye(t, 3), 1e-200);
    check_values("det", ag_det(tiny), scalar, (const double[]){0}, 0);
    check_values("logdet", ag_logdet(tiny), scalar, (const double[]){3 * log(1e-200)}, 1e-13);
    ag_var x = ag_tensor(t, (const double[]){1e-200, 0, 0, 1e-200}, AG_SHAPE(2, 2)), g;
    ag_var y = ag_det(x);
    ag_backward(y);
    double got[4];
    ag_read_grad(x, got);
    check_numbers("det", "adjoint", got, (const double[]){1e-200, 0, 0, 1e-200}, 4, 0);
    assert_true(fabs(got[0] / 1e-200 - 1) < 1e-12 && fabs(got[3] / 1e-200 - 1) < 1e-12);
    ag_gradient(y, &x, 1, &g);
    ag_read(g, got);
    assert_true(fabs(got[0] / 1e-200 - 1) < 1e-12 && fabs(got[3] / 1e-200 - 1) < 1e-12);
    ag_tape_free(t);
}

/* ---- derivatives ---- */

typedef struct job {
    int view;
    bool upper;
} job;

static ag_var f_solve(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_solve(as_view(((job *)context)->view, x[0]), x[1]);
}
static ag_var f_triangular(ag_tape *t, const ag_var *x, int n, void *context) {
    const job *j = context;
    (void)t, (void)n;
    return ag_solve_triangular(as_view(j->view, x[0]), x[1], j->upper);
}
static ag_var f_inverse(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_inverse(as_view(((job *)context)->view, x[0]));
}
static ag_var f_logdet(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_logdet(as_view(((job *)context)->view, x[0]));
}
static ag_var f_det(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n;
    return ag_det(as_view(((job *)context)->view, x[0]));
}
/* Of a symmetric matrix made from any; what is not symmetric is not seen by differences. */
static ag_var f_cholesky(ag_tape *t, const ag_var *x, int n, void *context) {
    ag_var half = as_view(((job *)context)->view, x[0]);
    int64_t size = ag_shape_of(x[0]).dim[ag_shape_of(x[0]).rank - 1];
    (void)n;
    return ag_cholesky(ag_add(ag_add(half, ag_transpose(half)), ag_mul(ag_eye(t, size), 6.0)));
}

static void test_derivatives(void **state) {
    (void)state;
    const ag_shape shapes[] = {AG_SHAPE(1, 1), AG_SHAPE(3, 3), AG_SHAPE(2, 2, 2)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int view = 0; view < VIEWS; view++) {
            ag_tape *t = ag_tape_new(AG_F64);
            ag_shape s = shapes[i], vector = s, matrix = s;
            vector.rank--;
            matrix.dim[matrix.rank - 1] = 2;
            job j = {view, false};
            ag_var a = good_matrices(t, s),
                   shifted = ag_add(random_tensor(t, s, -0.4, 0.4), ag_eye(t, s.dim[s.rank - 1]));
            ag_var with_vector[2] = {a, random_tensor(t, vector, -1, 1)};
            ag_var with_matrix[2] = {a, random_tensor(t, matrix, -1, 1)};
            check_derivatives("solve, vector", f_solve, &j, with_vector, 2);
            check_derivatives("solve, matrix", f_solve, &j, with_matrix, 2);
            check_derivatives("inverse", f_inverse, &j, &a, 1);
            check_derivatives("logdet", f_logdet, &j, &a, 1);
            check_derivatives("det", f_det, &j, &a, 1);
            check_derivatives("cholesky", f_cholesky, &j, &shifted, 1);
            with_vector[0] = with_matrix[0] = shifted;
            for (int upper = 0; upper < 2; upper++) {
                j.upper = upper;
                check_derivatives("solve_triangular, vector", f_triangular, &j, with_vector, 2);
                check_derivatives("solve_triangular, matrix", f_triangular, &j, with_matrix, 2);
            }
            ag_tape_free(t);
        }
}

static ag_var f_cholesky_alone(ag_tape *t, const ag_var *x, int n, void *context) {
    (void)t, (void)n, (void)context;
    return ag_cholesky(x[0]);
}

/* Derivatives of the factor of a matrix that is an input itself: symmetric, and the same by every route. */
static void test_cholesky_is_symmetric(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var a = ag_tensor(t, (const double[]){4, 1, -1, 1, 3, 0.5, -1, 0.5, 5}, AG_SHAPE(3, 3));
    routes_case c = routes_case_new("cholesky of an input", f_cholesky_alone, NULL, &a, 1);
    routes r = check_routes(&c);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < i; j++) assert_true(fabs(r.gradient[i * 3 + j] - r.gradient[j * 3 + i]) < 1e-14);
    routes_free(&r);
    routes_case_free(&c);
    ag_tape_free(t);
}

/* det is a polynomial: its derivatives exist where the matrix is singular, of any rank. */
static void test_singular_det(void **state) {
    (void)state;
    static const double rank2[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, rank1[9] = {1, 2, 3, 2, 4, 6, -1, -2, -3},
                        rank0[9] = {0};
    static const double exact[9] = {1, 0, 0, 0, 2, 0, 0, 0, 0};
    static const double four[16] = {1, 2, 0, 1, 0, 1, 1, 0, 1, 3, 1, 1, 2, 0, 1, 1}, swap[4] = {0, 1, 0, 0};
    static const double two[18] = {2, 1, 0, 1, 3, 1, 0, 1, 1, 1, 2, 3, 4, 5, 6, 5, 7, 9};
    const struct {
        const double *x;
        ag_shape shape;
    } all[] = {{rank2, AG_SHAPE(3, 3)}, {rank1, AG_SHAPE(3, 3)}, {rank0, AG_SHAPE(3, 3)},  {exact, AG_SHAPE(3, 3)},
               {four, AG_SHAPE(4, 4)},  {swap, AG_SHAPE(2, 2)},  {two, AG_SHAPE(2, 3, 3)}, {rank0, AG_SHAPE(1, 1)}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int view = 0; view < VIEWS; view++) {
            job j = {view, false};
            ag_tape *t = ag_tape_new(AG_F64);
            ag_var a = ag_tensor(t, all[i].x, all[i].shape);
            check_derivatives("det, singular", f_det, &j, &a, 1);
            ag_tape_free(t);
        }
}

/* The third derivative along a direction M is 6 times the coefficient of h^3 in det(A + h M). */
static void check_third_order(const char *label, int n, const double *a, const double *m) {
    const ag_shape s = AG_SHAPE(n, n);
    double f[5], shifted[16];
    for (int k = 0; k < 5; k++) { /* exact for polynomials up to degree 4: differences at -2 .. 2 */
        for (int i = 0; i < n * n; i++) shifted[i] = a[i] + (k - 2) * m[i];
        f[k] = naive_det(n, shifted);
    }
    double want = (f[4] - 2 * f[3] + 2 * f[1] - f[0]) / 2;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, a, s), v = ag_constant_tensor(t, m, s), d1, d2, d3, g;
    ag_var y = ag_det(x);
    ag_jvp(&y, 1, &x, &v, 1, &d1);
    ag_jvp(&d1, 1, &x, &v, 1, &d2);
    ag_jvp(&d2, 1, &x, &v, 1, &d3);
    check_values(label, d3, scalar, &want, 1e-9);
    ag_gradient(d2, &x, 1, &g);
    check_values(label, ag_vdot(g, v), scalar, &want, 1e-9);
    ag_backward(d2);
    double *adjoint = new_numbers(n * n), sum = 0;
    ag_read_grad(x, adjoint);
    for (int i = 0; i < n * n; i++) sum += adjoint[i] * m[i];
    check_numbers(label, "adjoint", &sum, &want, 1, 1e-9);
    ag_gradient(y, &x, 1, &g);
    ag_gradient(ag_vdot(g, v), &x, 1, &g);
    ag_gradient(ag_vdot(g, v), &x, 1, &g);
    check_values(label, ag_vdot(g, v), scalar, &want, 1e-9);
    check_fine(label, t);
    free(adjoint);
    ag_tape_free(t);
}

static void test_third_order(void **state) {
    (void)state;
    static const double singular3[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, m3[9] = {1, -1, 0.5, 0.25, 2, 1, -1, 1, 1.5};
    static const double regular4[16] = {2, 1, 0, 1, 0, 3, 1, 0, 1, 0, 2, 1, 1, 1, 0, 2};
    static const double singular4[16] = {1, 2, 0, 1, 0, 1, 1, 0, 1, 3, 1, 1, 2, 0, 1, 1}, zero[16] = {0};
    static const double m4[16] = {1, 0.5, -1, 0, 2, 1, 0.5, 1, -1, 0, 1, 0.5, 0.25, 1, 1, -2}, m2[4] = {1, 2, 3, 4};
    check_third_order("det, 2 x 2", 2, regular4, m2);
    check_third_order("det, 3 x 3", 3, singular3, m3);
    check_third_order("det, zero", 3, zero, m3);
    check_third_order("det, 4 x 4", 4, regular4, m4);
    check_third_order("det, singular 4 x 4", 4, singular4, m4);
}

/* The gradient of a larger one by LU against that by singular values, which is used where LU cannot be. */
static void test_large_det(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    enum { N = 12 };
    ag_var x = good_matrices(t, AG_SHAPE(N, N)), g, gg, y = ag_det(x);
    ag_gradient(y, &x, 1, &g);
    double *got = values_of(g), *inverse = values_of(ag_inverse(x)), want[N * N];
    for (int i = 0; i < N * N; i++) want[i] = ag_value(y) * inverse[i % N * N + i / N];
    check_numbers("det", "gradient", got, want, N * N, 1e-11);
    /* d/dx sum(det x^-T) by the formula for regular matrices */
    ag_gradient(ag_sum(g), &x, 1, &gg);
    ag_var by_formula = ag_sum(ag_mul(y, ag_inverse(x))), want_gg;
    ag_gradient(by_formula, &x, 1, &want_gg);
    double *second = values_of(gg), *want_second = values_of(want_gg);
    check_fine("det", t);
    check_numbers("det", "second derivative", second, want_second, N * N, 1e-10);
    free(got);
    free(inverse);
    free(second);
    free(want_second);
    ag_tape_free(t);
}

/* ---- errors ---- */

static void test_shape_errors(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var wide = ag_ones(t, AG_SHAPE(2, 3)), v = ag_ones(t, AG_SHAPE(3)), a = ag_eye(t, 3),
           batch = ag_ones(t, AG_SHAPE(2, 3, 3));
    check_failure(t, ag_inverse(wide), AG_ERR_SHAPE, "inverse: shape (2, 3) is not that of square matrices");
    check_failure(t, ag_cholesky(wide), AG_ERR_SHAPE, "cholesky: shape (2, 3) is not that of square matrices");
    check_failure(t, ag_logdet(v), AG_ERR_SHAPE, "logdet: shape (3) is not that of square matrices");
    check_failure(t, ag_det(wide), AG_ERR_SHAPE, "det: shape (2, 3) is not that of square matrices");
    check_failure(t, ag_solve(wide, v), AG_ERR_SHAPE, "solve: shape (2, 3) is not that of square matrices");
    check_failure(t, ag_solve(a, ag_ones(t, AG_SHAPE(4, 2))), AG_ERR_SHAPE,
                  "solve: shapes (3, 3) and (4, 2) do not fit: 3 is not 4");
    check_failure(t, ag_solve_triangular(a, ag_ones(t, AG_SHAPE(4)), true), AG_ERR_SHAPE,
                  "solve_triangular: shapes (3, 3) and (4) do not fit: 3 is not 4");
    check_failure(t, ag_solve(batch, v), AG_ERR_SHAPE,
                  "solve: shapes (2, 3, 3) and (3) do not fit: the right side needs 2 or 3 axes");
    check_failure(t, ag_solve(batch, a), AG_ERR_SHAPE, "solve: shapes (2, 3, 3) and (3, 3) do not fit: 2 is not 3");
    ag_tape_free(t);
}

static void test_singular(void **state) {
    (void)state;
    for (ag_type type = AG_F64; type <= AG_F32; type++) {
        ag_tape *t = ag_tape_new(type);
        ag_var v = ag_ones(t, AG_SHAPE(2)), zero = ag_zeros(t, AG_SHAPE(2, 2));
        ag_var a = ag_tensor(t, (const double[]){1, 2, 2, 4}, AG_SHAPE(2, 2));
        ag_var second = ag_stack((const ag_var[]){ag_eye(t, 2), a}, 2, 0);
        ag_var d = ag_tensor(t, (const double[]){1, 2, 3, 0}, AG_SHAPE(2, 2));
        check_failure(t, ag_solve(zero, v), AG_ERR_SINGULAR, "solve: shape (2, 2): singular matrix, pivot 0 is 0");
        check_failure(t, ag_inverse(second), AG_ERR_SINGULAR,
                      "inverse: shape (2, 2, 2), matrix 1: singular matrix, pivot 1 is 0");
        check_failure(t, ag_logdet(a), AG_ERR_SINGULAR, "logdet: shape (2, 2): singular matrix, pivot 1 is 0");
        check_failure(t, ag_solve_triangular(d, v, true), AG_ERR_SINGULAR,
                      "solve_triangular: shape (2, 2): singular matrix, pivot 1 is 0");
        check_failure(t, ag_cholesky(a), AG_ERR_SINGULAR,
                      "cholesky: shape (2, 2): not positive definite, pivot 1 is 0");
        check_failure(t, ag_cholesky(ag_mul(-3, ag_eye(t, 2))), AG_ERR_SINGULAR,
                      "cholesky: shape (2, 2): not positive definite, pivot 0 is -3");
        check_values("det", ag_det(second), AG_SHAPE(2), (const double[]){1, 0}, 0);
        ag_tape_free(t);
    }
}

/* The failing pivot of a larger matrix, where LAPACK works by blocks. */
static void test_late_pivot(void **state) {
    (void)state;
    for (int64_t n = 5; n <= 320; n *= 4) {
        ag_tape *t = ag_tape_new(AG_F64);
        double *x = new_numbers(n * n);
        char sentence[200];
        for (int64_t i = 0; i < n; i++) x[i * n + i] = i == n - 2 ? -7 : 1;
        snprintf(sentence, sizeof sentence, "cholesky: shape (%lld, %lld): not positive definite, pivot %lld is -7",
                 (long long)n, (long long)n, (long long)n - 2);
        check_failure(t, ag_cholesky(ag_tensor(t, x, AG_SHAPE(n, n))), AG_ERR_SINGULAR, sentence);
        x[(n - 2) * (n + 1)] = 0;
        snprintf(sentence, sizeof sentence, "inverse: shape (%lld, %lld): singular matrix, pivot %lld is 0",
                 (long long)n, (long long)n, (long long)n - 2);
        check_failure(t, ag_inverse(ag_tensor(t, x, AG_SHAPE(n, n))), AG_ERR_SINGULAR, sentence);
        ag_tape_free(t);
        free(x);
    }
}

/* NaN ends as NaN or as an error, never in a loop without end or a number. */
static void test_nan(void **state) {
    (void)state;
    for (ag_type type = AG_F64; type <= AG_F32; type++)
        for (int64_t n = 1; n <= 80; n += n < 5 ? 1 : 15)
            for (int place = 0; place < 3; place++) {
                ag_tape *t = ag_tape_new(type);
                double *x = new_numbers(n * n);
                for (int64_t i = 0; i < n; i++) x[i * n + i] = 2;
                x[place == 0 ? 0 : place == 1 ? n * n - 1 : (n - 1) * n] = NAN;
                ag_var a = ag_tensor(t, x, AG_SHAPE(n, n)), b = ag_ones(t, AG_SHAPE(n)), g;
                ag_var all[] = {ag_sum(ag_solve(a, b)), ag_sum(ag_inverse(a)), ag_logdet(a), ag_det(a),
                                ag_sum(ag_solve_triangular(a, b, false))};
                for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
                    if (ag_tape_status(t) == AG_OK) assert_true(isnan(ag_value(all[k])));
                    ag_gradient(all[k], &a, 1, &g);
                    ag_backward(all[k]);
                }
                check_fine("nan", t);
                ag_var l = ag_cholesky(a);
                assert_true(ag_tape_status(t) == AG_ERR_SINGULAR && ag_is_inert(l));
                ag_tape_free(t);
                free(x);
            }
}

/* ---- running out of memory ---- */

static bool permit_some(void *context, size_t bytes) {
    (void)bytes;
    return (*(int *)context)-- > 0;
}

static void test_memory(void **state) {
    (void)state;
    for (int permitted = 0; permitted < 2000; permitted++) {
        int left = permitted;
        ag_options options = {.type = AG_F64, .permit = permit_some, .context = &left};
        ag_tape *t = ag_tape_new_with(&options);
        ag_var a = ag_tensor(t, (const double[]){4, 1, -1, 1, 3, 0.5, -1, 0.5, 5}, AG_SHAPE(3, 3)),
               b = ag_ones(t, AG_SHAPE(3, 2));
        ag_var singular = ag_mul(a, ag_tensor(t, (const double[]){1, 1, 0}, AG_SHAPE(3)));
        ag_var y = ag_sum(ag_solve(ag_flip(a, 0), b)), g;
        y = ag_add(y, ag_sum(ag_solve_triangular(ag_flip(ag_flip(a, 0), 1), b, true)));
        y = ag_add(y, ag_sum(ag_inverse(a)));
        y = ag_add(y, ag_sum(ag_cholesky(a)));
        y = ag_add(y, ag_add(ag_logdet(a), ag_add(ag_det(a), ag_det(singular))));
        ag_backward(y);
        ag_gradient(y, &a, 1, &g);
        ag_backward(ag_sum(ag_square(g)));
        ag_status status = ag_tape_status(t);
        if (status != AG_OK && status != AG_ERR_MEMORY) fail_msg("%s", ag_tape_message(t));
        ag_tape_free(t);
        if (status == AG_OK) return;
    }
    fail_msg("out of memory with 2000 allocations permitted");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_triangles),
        cmocka_unit_test(test_extreme_determinants),
        cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_cholesky_is_symmetric),
        cmocka_unit_test(test_singular_det),
        cmocka_unit_test(test_third_order),
        cmocka_unit_test(test_large_det),
        cmocka_unit_test(test_shape_errors),
        cmocka_unit_test(test_singular),
        cmocka_unit_test(test_late_pivot),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
