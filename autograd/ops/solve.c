/* Linear systems and inverses. Source of the derivatives: M. Giles, "Collected matrix derivative results for forward
 * and reverse mode algorithmic differentiation" (2008), sections 2.2 and 2.3.
 *
 * The right side has one axis less than A (a vector for each matrix) or as many (a matrix); its batch axes are A's. */
#include "builtin_impl.h"
#include "matrix_impl.h"
#include "structural_impl.h"

/* ---- shapes ---- */

static bool refuse(const ag_call *call, const char *what, int64_t n, int64_t m) {
    ag_fail(call->tape, AG_ERR_SHAPE, "%s: shapes %s and %s do not fit: %lld is not %lld", what,
            ag_show_view(call->in[0].view).text, ag_show_view(call->in[1].view).text, (long long)n, (long long)m);
    return false;
}

/* The result has the shape of the right side, whose axes but the last of a matrix are those of A's columns. */
static bool system_shape(ag_call *call, const char *what) {
    const ag_view *a = call->in[0].view, *b = call->in[1].view;
    if (!ag_check_square(call, what, a)) return false;
    if (b->rank != a->rank && b->rank != a->rank - 1) {
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: shapes %s and %s do not fit: the right side needs %d or %d axes", what,
                ag_show_view(a).text, ag_show_view(b).text, a->rank - 1, a->rank);
        return false;
    }
    for (int i = 0; i < a->rank - 1; i++)
        if (a->dim[i] != b->dim[i]) return refuse(call, what, a->dim[i], b->dim[i]);
    call->shape = ag_dims_of(b);
    return true;
}

/* Columns of the right side. */
static int64_t columns(const ag_call *call) {
    const ag_view *a = call->in[0].view, *b = call->in[1].view;
    return b->rank == a->rank ? b->dim[b->rank - 1] : 1;
}

/* x[.., n] as [.., n, 1] if it is the vector of a system with that A. */
static ag_var as_columns(ag_var x, ag_var a) {
    ag_shape s = ag_shape_of(x);
    if (s.rank == ag_shape_of(a).rank) return x;
    s.dim[s.rank++] = 1;
    return ag_reshape(x, s);
}

/* -g x^T: what the adjoint g of the right side means for A. */
static ag_var outer(const ag_rule *rule, ag_var g) {
    ag_var a = rule->in[0];
    return ag_neg(ag_matmul(as_columns(g, a), ag_transpose(as_columns(rule->out, a))));
}

/* A dX, without the columns' axis for vectors. */
static ag_var times(const ag_rule *rule, ag_var da) {
    return ag_reshape(ag_matmul(da, as_columns(rule->out, rule->in[0])), ag_shape_of(rule->out));
}

/* ---- solve: X = A^-1 B;  dB = A^-T dX,  dA = -dB X^T ---- */

static bool solve_shape(ag_call *call) {
    return system_shape(call, "solve") && ag_lu_size(call, "solve", call->in[0].view, &call->saved_size);
}

/* For each matrix of the batch, x := A^-1 x or A^-T x. */
static bool solve_all(const ag_call *call, bool transposed, void *x) {
    const ag_view *a = call->in[0].view;
    int64_t k = columns(call), batch = ag_batch_count(a);
    for (int64_t i = 0; i < batch; i++) {
        ag_lu lu = ag_lu_at(call, a, call->saved, i);
        if (!ag_lu_solve(call, &lu, transposed, k, ag_element(call->type, x, i * lu.n * k))) return false;
    }
    return true;
}

static bool solve_forward(const ag_call *call) {
    if (!ag_lu_factor(call, "solve", &call->in[0], call->saved)) return false;
    ag_pack(call->type, call->out.data, &call->in[1]);
    return solve_all(call, false, call->out.data);
}

static bool solve_adjoint(const ag_call *call) {
    const ag_array *da = &call->in_adjoint[0], *db = &call->in_adjoint[1];
    int64_t k = columns(call);
    void *g = ag_matrix_scratch(call, call->out.view->count, 1);
    if (!g) return false;
    ag_pack(call->type, g, &call->out_adjoint);
    bool ok = solve_all(call, true, g);
    if (ok && db->data) ag_add_packed(call->type, db, g);
    int64_t n = da->view->dim[da->view->rank - 1], batch = da->data ? ag_batch_count(da->view) : 0;
    for (int64_t i = 0; i < batch && ok; i++) {
        ag_matrix gi = ag_row_major_matrix(ag_element(call->type, g, i * n * k), k);
        ag_matrix xi = ag_row_major_matrix(ag_element(call->type, call->out.data, i * n * k), k);
        ok = ag_product(call, n, n, k, -1, gi, ag_transposed(xi), ag_matrix_of(call->type, da, i), false);
    }
    ag_scratch_free(call->tape, g);
    return ok;
}

static void solve_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var g = ag_solve(ag_transpose(rule->in[0]), w);
    if (rule->wanted[0]) contributions[0] = outer(rule, g);
    if (rule->wanted[1]) contributions[1] = g;
}

/* dX = A^-1 (dB - dA X) */
static ag_var solve_tangent(const ag_rule *rule, const ag_var *tangents) {
    ag_var right = tangents[1];
    if (!ag_is_zero(tangents[0])) right = ag_sub(right, times(rule, tangents[0]));
    return ag_is_zero(right) ? right : ag_solve(rule->in[0], right);
}

static const ag_operation solve = {
    .name = "solve",
    .shape = solve_shape,
    .forward = solve_forward,
    .adjoint = solve_adjoint,
    .tangent = solve_tangent,
    .record = solve_record,
    .c_form = ag_c_solve,
    .strided = true,
};
const ag_operation *const ag_builtin_solve = &solve;

ag_var ag_solve(ag_var a, ag_var b) { return ag_apply(&solve, (const ag_var[]){a, b}, 2, NULL, 0); }

/* ---- solve_triangular: the same for a triangle; dA is the triangle of -dB X^T ---- */

typedef struct triangle {
    bool upper;
} triangle;

static bool is_upper(const void *params) { return ((const triangle *)params)->upper; }

static bool solve_triangular_shape(ag_call *call) { return system_shape(call, "solve_triangular"); }

static bool solve_triangular_forward(const ag_call *call) {
    const ag_array *a = &call->in[0];
    int64_t n = a->view->dim[a->view->rank - 1], k = columns(call), batch = ag_batch_count(a->view);
    ag_pack(call->type, call->out.data, &call->in[1]);
    for (int64_t i = 0; i < batch; i++) {
        ag_matrix m = ag_matrix_of(call->type, a, i);
        for (int64_t p = 0; p < n; p++) {
            if (ag_load(call->type, m.data, p * (m.row + m.col)) != 0) continue;
            ag_fail(call->tape, AG_ERR_SINGULAR, "solve_triangular: %s: singular matrix, pivot %lld is 0",
                    ag_show_matrix(a->view, i).text, (long long)p);
            return false;
        }
        if (!ag_solve_triangle(call, is_upper(call->params), false, n, k, m,
                               ag_element(call->type, call->out.data, i * n * k)))
            return false;
    }
    return true;
}

/* The other triangle of a row-major matrix becomes 0. */
static void keep_triangle(ag_type type, bool upper, int64_t n, void *x) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = upper ? 0 : i + 1; j < (upper ? i : n); j++) ag_store(type, x, i * n + j, 0);
}

static bool solve_triangular_adjoint(const ag_call *call) {
    const ag_array *a = &call->in[0], *da = &call->in_adjoint[0], *db = &call->in_adjoint[1];
    bool upper = is_upper(call->params);
    int64_t n = a->view->dim[a->view->rank - 1], k = columns(call), batch = ag_batch_count(a->view);
    const int64_t dim[2] = {n, n}, packed[2] = {n, 1};
    void *g = ag_matrix_scratch(call, call->out.view->count, 1);
    void *s = ag_matrix_scratch(call, n, n);
    bool ok = g && s;
    if (ok) ag_pack(call->type, g, &call->out_adjoint);
    for (int64_t i = 0; i < batch && ok; i++) {
        ag_matrix gi = ag_row_major_matrix(ag_element(call->type, g, i * n * k), k);
        ag_matrix xi = ag_row_major_matrix(ag_element(call->type, call->out.data, i * n * k), k);
        ok = ag_solve_triangle(call, !upper, false, n, k, ag_transposed(ag_matrix_of(call->type, a, i)), gi.data);
        if (!ok || !da->data) continue;
        ok = ag_product(call, n, n, k, -1, gi, ag_transposed(xi), ag_row_major_matrix(s, n), true);
        keep_triangle(call->type, upper, n, s);
        ag_matrix to = ag_matrix_of(call->type, da, i);
        if (ok) ag_strided_add(call->type, 2, dim, to.data, (const int64_t[]){to.row, to.col}, s, packed);
    }
    if (ok && db->data) ag_add_packed(call->type, db, g);
    ag_scratch_free(call->tape, g);
    ag_scratch_free(call->tape, s);
    return ok;
}

static ag_var keep(const ag_rule *rule, ag_var x) { return is_upper(rule->params) ? ag_triu(x, 0) : ag_tril(x, 0); }

static void solve_triangular_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var g = ag_solve_triangular(ag_transpose(rule->in[0]), w, !is_upper(rule->params));
    if (rule->wanted[0]) contributions[0] = keep(rule, outer(rule, g));
    if (rule->wanted[1]) contributions[1] = g;
}

static ag_var solve_triangular_tangent(const ag_rule *rule, const ag_var *tangents) {
    ag_var right = tangents[1];
    if (!ag_is_zero(tangents[0])) right = ag_sub(right, times(rule, keep(rule, tangents[0])));
    return ag_is_zero(right) ? right : ag_solve_triangular(rule->in[0], right, is_upper(rule->params));
}

static bool solve_triangular_valid(const ag_call *call) {
    return call->params_size == sizeof(triangle) && *(const uint8_t *)call->params <= 1;
}

static bool solve_triangular_c_form(const ag_c_form *f) { return ag_c_solve_triangular(f, is_upper(f->params)); }

static const ag_operation solve_triangular = {
    .name = "solve_triangular",
    .shape = solve_triangular_shape,
    .forward = solve_triangular_forward,
    .adjoint = solve_triangular_adjoint,
    .tangent = solve_triangular_tangent,
    .record = solve_triangular_record,
    .c_form = solve_triangular_c_form,
    .strided = true,
    .valid = solve_triangular_valid,
};
const ag_operation *const ag_builtin_solve_triangular = &solve_triangular;

ag_var ag_solve_triangular(ag_var a, ag_var b, bool upper) {
    triangle params = {upper};
    return ag_apply(&solve_triangular, (const ag_var[]){a, b}, 2, &params, sizeof params);
}

/* ---- inverse: X = A^-1;  dA = -X^T dX X^T ---- */

static bool inverse_shape(ag_call *call) {
    const ag_view *a = call->in[0].view;
    if (!ag_check_square(call, "inverse", a)) return false;
    call->shape = ag_dims_of(a);
    return true;
}

static bool inverse_forward(const ag_call *call) {
    const ag_view *a = call->in[0].view;
    int64_t n = a->dim[a->rank - 1], batch = ag_batch_count(a);
    size_t bytes;
    if (!ag_lu_size(call, "inverse", a, &bytes)) return false;
    void *factors = ag_scratch(call->tape, bytes + 1);
    bool ok = factors && ag_lu_factor(call, "inverse", &call->in[0], factors);
    for (int64_t i = 0; i < batch && ok; i++) {
        ag_lu lu = ag_lu_at(call, a, factors, i);
        ok = ag_lu_invert(call, &lu, ag_element(call->type, call->out.data, i * n * n));
    }
    ag_scratch_free(call->tape, factors);
    return ok;
}

static bool inverse_adjoint(const ag_call *call) {
    const ag_array *da = &call->in_adjoint[0];
    int64_t n = da->view->dim[da->view->rank - 1], batch = da->data ? ag_batch_count(da->view) : 0;
    void *memory = ag_matrix_scratch(call, n, n);
    ag_matrix s = ag_row_major_matrix(memory, n);
    bool ok = memory != NULL;
    for (int64_t i = 0; i < batch && ok; i++) {
        ag_matrix x = ag_transposed(ag_matrix_of(call->type, &call->out, i));
        ag_matrix w = ag_matrix_of(call->type, &call->out_adjoint, i);
        ok = ag_product(call, n, n, n, 1, x, w, s, true) &&
             ag_product(call, n, n, n, -1, s, x, ag_matrix_of(call->type, da, i), false);
    }
    ag_scratch_free(call->tape, memory);
    return ok;
}

static void inverse_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    ag_var x = ag_transpose(rule->out);
    contributions[0] = ag_neg(ag_matmul(ag_matmul(x, w), x));
}

static ag_var inverse_tangent(const ag_rule *rule, const ag_var *tangents) {
    if (ag_is_zero(tangents[0])) return tangents[0];
    return ag_neg(ag_matmul(ag_matmul(rule->out, tangents[0]), rule->out));
}

static const ag_operation inverse = {
    .name = "inverse",
    .shape = inverse_shape,
    .forward = inverse_forward,
    .adjoint = inverse_adjoint,
    .tangent = inverse_tangent,
    .record = inverse_record,
    .c_form = ag_c_inverse,
    .strided = true,
};
const ag_operation *const ag_builtin_inverse = &inverse;

ag_var ag_inverse(ag_var a) { return ag_apply(&inverse, &a, 1, NULL, 0); }
