/* Cholesky factors: A = L L^T. Sources of the derivatives: M. Giles, "Collected matrix derivative results ..." (2008);
 * I. Murray, "Differentiation of the Cholesky decomposition" (arXiv:1602.07527), equations 8 and 10:
 *
 *     dL = L phi(L^-1 dA L^-T)        dA = 1/2 (S + S^T),  S = L^-T phi(L^T dL) L^-1
 *
 * where phi keeps the lower triangle and halves the diagonal. Values are read from A's lower triangle, but for
 * derivatives A is a symmetric matrix: a tangent is made symmetric, 1/2 (dA + dA^T), and the adjoint is symmetric. So a
 * central difference has to move A(i, j) and A(j, i) together. */
#include "builtin_impl.h"
#include "matrix_impl.h"
#include "structural_impl.h"

static bool cholesky_shape(ag_call *call) {
    const ag_view *a = call->in[0].view;
    if (!ag_check_square(call, "cholesky", a)) return false;
    call->shape = ag_dims_of(a);
    return true;
}

/* Entries above the diagonal of a row-major matrix become 0. */
static void keep_lower(ag_type type, int64_t n, void *x) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++) ag_store(type, x, i * n + j, 0);
}

static bool factor(const ag_call *call, int64_t index) {
    const ag_view *a = call->in[0].view;
    int64_t n = a->dim[a->rank - 1], p;
    void *x = ag_element(call->type, call->out.data, index * n * n);
    if (!ag_factor_cholesky(call, n, x, &p)) return false;
    if (p >= 0) {
        ag_fail(call->tape, AG_ERR_SINGULAR, "cholesky: %s: not positive definite, pivot %lld is %g",
                ag_show_matrix(a, index).text, (long long)p, ag_load(call->type, x, p * (n + 1)));
        return false;
    }
    keep_lower(call->type, n, x);
    return true;
}

static bool cholesky_forward(const ag_call *call) {
    const ag_view *a = call->in[0].view;
    int64_t batch = a->dim[a->rank - 1] == 0 ? 0 : ag_batch_count(a);
    ag_pack(call->type, call->out.data, &call->in[0]);
    for (int64_t i = 0; i < batch; i++)
        if (!factor(call, i)) return false;
    return true;
}

static void halve_diagonal(ag_type type, int64_t n, void *x) {
    for (int64_t i = 0; i < n; i++) ag_store(type, x, i * (n + 1), 0.5 * ag_load(type, x, i * (n + 1)));
}

/* s := S; t is scratch of the same size. */
static bool pull_back(const ag_call *call, int64_t n, ag_matrix l, ag_matrix dl, void *s, void *t) {
    ag_type type = call->type;
    const int64_t dim[2] = {n, n}, packed[2] = {n, 1}, flipped[2] = {1, n}, from[2] = {dl.row, dl.col};
    ag_strided_copy(type, 2, dim, t, packed, dl.data, from);
    keep_lower(type, n, t); /* L's upper triangle is constant */
    if (!ag_product(call, n, n, n, 1, ag_transposed(l), ag_row_major_matrix(t, n), ag_row_major_matrix(s, n), true))
        return false;
    keep_lower(type, n, s);
    halve_diagonal(type, n, s);
    if (!ag_solve_triangle(call, true, false, n, n, ag_transposed(l), s)) return false;
    ag_strided_copy(type, 2, dim, t, packed, s, flipped);
    if (!ag_solve_triangle(call, true, false, n, n, ag_transposed(l), t)) return false;
    ag_strided_copy(type, 2, dim, s, packed, t, flipped);
    return true;
}

static bool cholesky_adjoint(const ag_call *call) {
    const ag_array *da = &call->in_adjoint[0];
    ag_type type = call->type;
    int64_t n = da->view->dim[da->view->rank - 1], batch = da->data && n > 0 ? ag_batch_count(da->view) : 0;
    const int64_t dim[2] = {n, n}, packed[2] = {n, 1}, flipped[2] = {1, n};
    void *s = ag_matrix_scratch(call, n, n), *t = ag_matrix_scratch(call, n, n);
    bool ok = s && t;
    for (int64_t i = 0; i < batch && ok; i++) {
        ag_matrix to = ag_matrix_of(type, da, i);
        ok = pull_back(call, n, ag_matrix_of(type, &call->out, i), ag_matrix_of(type, &call->out_adjoint, i), s, t);
        if (!ok) break;
        ag_kernels_for(type)->scale((size_t)(n * n), s, 0.5, s);
        const int64_t stride[2] = {to.row, to.col};
        ag_strided_add(type, 2, dim, to.data, stride, s, packed);
        ag_strided_add(type, 2, dim, to.data, stride, s, flipped);
    }
    ag_scratch_free(call->tape, s);
    ag_scratch_free(call->tape, t);
    return ok;
}

/* ---- recorded derivatives ---- */

static ag_var phi(ag_var x) { return ag_mul(0.5, ag_add(ag_tril(x, 0), ag_tril(x, -1))); }
static ag_var symmetric(ag_var x) { return ag_mul(0.5, ag_add(x, ag_transpose(x))); }

static void cholesky_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var l_t = ag_transpose(rule->out);
    ag_var s = ag_solve_triangular(l_t, phi(ag_matmul(l_t, ag_tril(w, 0))), true);
    contributions[0] = symmetric(ag_solve_triangular(l_t, ag_transpose(s), true)); /* L^-T s^T is S^T */
}

static ag_var cholesky_tangent(const ag_rule *rule, const ag_var *tangents) {
    ag_var l = rule->out;
    if (ag_is_zero(tangents[0])) return tangents[0];
    ag_var half = ag_solve_triangular(l, symmetric(tangents[0]), false);
    return ag_matmul(l, phi(ag_solve_triangular(l, ag_transpose(half), false)));
}

static const ag_operation cholesky = {
    .name = "cholesky",
    .shape = cholesky_shape,
    .forward = cholesky_forward,
    .adjoint = cholesky_adjoint,
    .tangent = cholesky_tangent,
    .record = cholesky_record,
    .c_form = ag_c_cholesky,
    .strided = true,
};
const ag_operation *const ag_builtin_cholesky = &cholesky;

ag_var ag_cholesky(ag_var a) { return ag_apply(&cholesky, &a, 1, NULL, 0); }
