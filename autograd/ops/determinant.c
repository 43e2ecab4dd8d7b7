/* Determinants. d log|det A| = tr(A^-1 dA) (M. Giles, "Collected matrix derivative results ...", 2008, section 2.2.3).
 *
 * det itself is a polynomial, so it has derivatives of every order for singular matrices too. The first is the matrix
 * of cofactors: det(A) A^-T while that can be computed. Otherwise, and for higher orders, A = P diag(s) Q with
 * orthogonal P and Q, where, with R_r = P^T M_r Q^T and summing over tuples i of K distinct indices,
 *
 *     D^K det(A)[M_1, .., M_K] = det(P Q) sum_i (product of s_j, j not in i) det [R_r(i_r, i_c)], r, c = 1..K
 *
 * (expand det(diag(s) + sum t_r R_r) by rows). That form is symmetric and linear in its directions M, so the operation
 * `differential`, its gradient by the last direction, is its own derivative by directions, and by A with one more. */
#include "builtin_impl.h"
#include "matrix_impl.h"
#include "structural_impl.h"
#include <lapack.h>
#include <math.h>

enum { MOST_DIRECTIONS = 12 };

static bool determinant_shape(ag_call *call, const char *what) {
    const ag_view *a = call->in[0].view;
    if (!ag_check_square(call, what, a) || !ag_lu_size(call, what, a, &call->saved_size)) return false;
    call->shape = ag_dims_of(a);
    call->shape.rank -= 2;
    return true;
}

/* to += factor * x, or * x^T, for a row-major n x n matrix x, which is overwritten. */
static void add_scaled(ag_type type, int64_t n, ag_matrix to, double factor, void *x, bool transposed) {
    const int64_t dim[2] = {n, n}, stride[2] = {to.row, to.col}, plain[2] = {n, 1}, flipped[2] = {1, n};
    ag_kernels_for(type)->scale((size_t)(n * n), x, factor, x);
    ag_strided_add(type, 2, dim, to.data, stride, x, transposed ? flipped : plain);
}

/* x[..] as x[.., 1, 1]. */
static ag_var as_matrices(ag_var x) {
    ag_shape s = ag_shape_of(x);
    s.dim[s.rank++] = 1;
    s.dim[s.rank++] = 1;
    return ag_reshape(x, s);
}

static ag_var sum_of_products(ag_var x, ag_var y) { return ag_sum_over(ag_mul(x, y), AG_AXES(-2, -1), false); }

/* ---- logdet ---- */

static bool logdet_shape(ag_call *call) { return determinant_shape(call, "logdet"); }

static bool logdet_forward(const ag_call *call) {
    const ag_view *a = call->in[0].view;
    int64_t batch = ag_batch_count(a);
    if (!ag_lu_factor(call, "logdet", &call->in[0], call->saved)) return false;
    for (int64_t i = 0; i < batch; i++) {
        ag_lu lu = ag_lu_at(call, a, call->saved, i);
        int64_t exponent;
        double mantissa = ag_lu_determinant(call->type, &lu, &exponent);
        ag_store(call->type, call->out.data, i, log(fabs(mantissa)) + (double)exponent * 0.693147180559945309417);
    }
    return true;
}

static bool logdet_adjoint(const ag_call *call) {
    const ag_array *da = &call->in_adjoint[0];
    int64_t n = da->view->dim[da->view->rank - 1], batch = da->data ? ag_batch_count(da->view) : 0;
    void *x = ag_matrix_scratch(call, n, n);
    bool ok = x != NULL;
    for (int64_t i = 0; i < batch && ok; i++) {
        ag_lu lu = ag_lu_at(call, da->view, call->saved, i);
        ok = ag_lu_invert(call, &lu, x);
        if (ok) add_scaled(call->type, n, ag_matrix_of(call->type, da, i), ag_load_adjoint(call, i), x, true);
    }
    ag_scratch_free(call->tape, x);
    return ok;
}

static void logdet_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[0] = ag_mul(as_matrices(w), ag_transpose(ag_inverse(rule->in[0])));
}

static ag_var logdet_tangent(const ag_rule *rule, const ag_var *tangents) {
    if (ag_is_zero(tangents[0])) return tangents[0];
    return sum_of_products(ag_transpose(ag_inverse(rule->in[0])), tangents[0]);
}

static bool logdet_c_form(const ag_c_form *f) { return ag_c_determinant(f, true); }

static const ag_operation logdet = {
    .name = "logdet",
    .shape = logdet_shape,
    .forward = logdet_forward,
    .adjoint = logdet_adjoint,
    .tangent = logdet_tangent,
    .record = logdet_record,
    .c_form = logdet_c_form,
    .strided = true,
};
const ag_operation *const ag_builtin_logdet = &logdet;

ag_var ag_logdet(ag_var a) { return ag_apply(&logdet, &a, 1, NULL, 0); }

/* ---- the K-th differential of det, in doubles ---- */

typedef struct form {
    int64_t n;
    double *s, *p, *q;              /* A = P diag(s) Q, row-major */
    double sign;                    /* det(P Q), 1 or -1; NaN if A is not finite */
    double *rotated;                /* R_r: directions, n * n each */
    double *result, *work, *pivots; /* n * n, n * n, n */
    int count;                      /* how many of the directions are used, */
    int chosen[MOST_DIRECTIONS];    /* and which */
    int64_t tuple[MOST_DIRECTIONS + 1];
} form;

/* ag_call for work in doubles. */
static ag_call in_doubles(const ag_call *call) {
    ag_call wide = *call;
    wide.type = AG_F64;
    return wide;
}

/* Memory for `directions` of them; freed with ag_scratch_free(.., form.p). */
static bool open_form(const ag_call *call, int64_t n, int directions, form *f) {
    ag_call wide = in_doubles(call);
    if (directions > MOST_DIRECTIONS) {
        ag_fail(call->tape, AG_ERR_UNSUPPORTED, "det: derivatives beyond order %d", MOST_DIRECTIONS + 1);
        return false;
    }
    double *memory = ag_matrix_scratch(&wide, n * (4 + directions) + 2, n);
    if (!memory) return false;
    *f = (form){.n = n,
                .p = memory,
                .q = memory + n * n,
                .result = memory + 2 * n * n,
                .work = memory + 3 * n * n,
                .rotated = memory + 4 * n * n,
                .s = memory + (4 + directions) * n * n};
    f->pivots = f->s + n;
    return true;
}

/* Reads a matrix of the tape's type; false if an element is not finite. */
static bool widen(ag_type type, int64_t n, ag_matrix x, double *out) {
    bool finite = true;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            out[i * n + j] = ag_load(type, x.data, i * x.row + j * x.col);
            finite = finite && isfinite(out[i * n + j]);
        }
    return finite;
}

/* LAPACK takes the row-major A for A^T = U S V^T; U and V^T, read row-major, are U^T and V, and A = V S U^T. */
static bool decompose(const ag_call *call, ag_matrix a, form *f) {
    ag_call wide = in_doubles(call);
    lapack_int n = (lapack_int)f->n, info = 0, query = -1;
    double size;
    f->sign = NAN;
    if (!widen(call->type, f->n, a, f->work)) return true;
    LAPACK_dgesvd("A", "A", &n, &n, f->work, &n, f->s, f->q, &n, f->p, &n, &size, &query, &info);
    lapack_int length = info == 0 && size > 5 * (double)n ? (lapack_int)size : 5 * n;
    double *work = ag_matrix_scratch(&wide, length, 1);
    if (!work) return false;
    LAPACK_dgesvd("A", "A", &n, &n, f->work, &n, f->s, f->q, &n, f->p, &n, work, &length, &info);
    ag_scratch_free(call->tape, work);
    if (info != 0) return true;
    if (!ag_product(&wide, n, n, n, 1, ag_row_major_matrix(f->p, n), ag_row_major_matrix(f->q, n),
                    ag_row_major_matrix(f->work, n), true))
        return false;
    ag_lu lu = {n, f->work, (int32_t *)(void *)f->pivots};
    int64_t exponent, none;
    if (!ag_factor_lu(&wide, f->n, f->work, lu.pivots, &none)) return false;
    f->sign = copysign(1, ag_lu_determinant(AG_F64, &lu, &exponent));
    return true;
}

static double *direction(const form *f, int r) { return f->rotated + r * f->n * f->n; }

/* R_r = P^T M Q^T */
static bool rotate(const ag_call *call, form *f, int r, ag_matrix m) {
    ag_call wide = in_doubles(call);
    ag_matrix p = ag_row_major_matrix(f->p, f->n), q = ag_row_major_matrix(f->q, f->n);
    ag_matrix x = ag_row_major_matrix(f->work, f->n), y = ag_row_major_matrix(direction(f, r), f->n);
    widen(call->type, f->n, m, y.data);
    return ag_product(&wide, f->n, f->n, f->n, 1, ag_transposed(p), y, x, true) &&
           ag_product(&wide, f->n, f->n, f->n, 1, x, ag_transposed(q), y, true);
}

/* Determinant of the rows from `row` on of [R_r(i_r, i_c)], for a set of columns c. */
static double minor(const form *f, int row, unsigned columns) {
    if (row == f->count) return 1;
    const double *r = direction(f, f->chosen[row]) + f->tuple[row] * f->n;
    double sum = 0, sign = 1;
    for (int c = 0; c <= f->count; c++) {
        if (!(columns >> c & 1)) continue;
        sum += sign * r[f->tuple[c]] * minor(f, row + 1, columns & ~(1u << c));
        sign = -sign;
    }
    return sum;
}

static bool in_tuple(const form *f, int length, int64_t i) {
    for (int k = 0; k < length; k++)
        if (f->tuple[k] == i) return true;
    return false;
}

/* The gradient by the last direction of one term of the sum. */
static void add_term(form *f) {
    double mantissa = 1;
    int exponent = 0, last = f->count;
    for (int64_t i = 0; i < f->n; i++) {
        int e = 0;
        if (in_tuple(f, last + 1, i)) continue;
        mantissa = frexp(mantissa * f->s[i], &e);
        exponent += e;
    }
    double product = ldexp(mantissa, exponent);
    if (product == 0) return;
    for (int c = 0; c <= last; c++) {
        double cofactor = minor(f, 0, ((2u << last) - 1) & ~(1u << c));
        f->result[f->tuple[last] * f->n + f->tuple[c]] += (last + c) % 2 ? -product * cofactor : product * cofactor;
    }
}

static void add_terms(form *f, int depth) {
    for (int64_t i = 0; i < f->n; i++) {
        if (in_tuple(f, depth, i)) continue;
        f->tuple[depth] = i;
        if (depth == f->count) add_term(f);
        else add_terms(f, depth + 1);
    }
}

/* f->result := the gradient by the last direction of D^(count + 1) det(A)[chosen.., last]. */
static bool evaluate(const ag_call *call, form *f) {
    ag_call wide = in_doubles(call);
    int64_t n = f->n;
    memset(f->result, 0, (size_t)(n * n) * sizeof *f->result);
    if (isnan(f->sign)) {
        for (int64_t i = 0; i < n * n; i++) f->result[i] = NAN;
        return true;
    }
    add_terms(f, 0);
    ag_matrix d = ag_row_major_matrix(f->result, n), x = ag_row_major_matrix(f->work, n);
    return ag_product(&wide, n, n, n, f->sign, ag_row_major_matrix(f->p, n), d, x, true) &&
           ag_product(&wide, n, n, n, 1, x, ag_row_major_matrix(f->q, n), d, true);
}

/* ---- cofactors ---- */

static double value_of(ag_type type, const ag_lu *lu) {
    const int64_t most = 99999; /* beyond any exponent */
    int64_t exponent;
    double mantissa = ag_lu_determinant(type, lu, &exponent);
    return ldexp(mantissa, (int)(exponent > most ? most : exponent < -most ? -most : exponent));
}

/* out := the matrix of cofactors of matrix `index` of the first operand, row-major. */
static bool cofactors(const ag_call *call, const ag_lu *lu, int64_t index, void *out) {
    int64_t n = lu->n;
    double det = value_of(call->type, lu);
    bool finite = isnormal(det);
    if (finite) {
        if (!ag_lu_invert(call, lu, out)) return false;
        ag_kernels_for(call->type)->scale((size_t)(n * n), out, det, out);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j <= i; j++) {
                double x = ag_load(call->type, out, i * n + j), y = ag_load(call->type, out, j * n + i);
                ag_store(call->type, out, i * n + j, y);
                ag_store(call->type, out, j * n + i, x);
                finite = finite && isfinite(x) && isfinite(y);
            }
    }
    if (finite) return true;
    form f;
    if (!open_form(call, n, 0, &f)) return false;
    bool ok = decompose(call, ag_matrix_of(call->type, &call->in[0], index), &f) && evaluate(call, &f);
    for (int64_t i = 0; i < n * n && ok; i++) ag_store(call->type, out, i, f.result[i]);
    ag_scratch_free(call->tape, f.p);
    return ok;
}

/* ---- differential(A, M_1, .., M_k): the gradient of D^k det(A)[M_1, .., M_k] by A ---- */

static bool differential_shape(ag_call *call) {
    const ag_view *a = call->in[0].view;
    call->shape = ag_dims_of(a);
    return ag_check_square(call, "det", a);
}

static bool cofactors_of_all(const ag_call *call) {
    const ag_view *a = call->in[0].view;
    int64_t batch = ag_batch_count(a);
    size_t bytes;
    if (!ag_lu_size(call, "det", a, &bytes)) return false;
    void *factors = ag_scratch(call->tape, bytes + 1);
    bool ok = factors && ag_lu_factor(call, NULL, &call->in[0], factors);
    for (int64_t i = 0; i < batch && ok; i++) {
        ag_lu lu = ag_lu_at(call, a, factors, i);
        ok = cofactors(call, &lu, i, ag_element(call->type, call->out.data, i * lu.n * lu.n));
    }
    ag_scratch_free(call->tape, factors);
    return ok;
}

static bool differential_forward(const ag_call *call) {
    const ag_view *a = call->in[0].view;
    int64_t n = a->dim[a->rank - 1], batch = n == 0 ? 0 : ag_batch_count(a);
    int directions = call->n - 1;
    form f;
    if (batch == 0) return true;
    if (directions == 0) return cofactors_of_all(call);
    if (!open_form(call, n, directions, &f)) return false;
    bool ok = true;
    for (int64_t i = 0; i < batch && ok; i++) {
        ok = decompose(call, ag_matrix_of(call->type, &call->in[0], i), &f);
        for (int r = 0; r < directions && ok; r++) {
            ok = rotate(call, &f, r, ag_matrix_of(call->type, &call->in[r + 1], i));
            f.chosen[r] = r;
        }
        f.count = directions;
        ok = ok && evaluate(call, &f);
        for (int64_t e = 0; e < n * n && ok; e++) ag_store(call->type, call->out.data, i * n * n + e, f.result[e]);
    }
    ag_scratch_free(call->tape, f.p);
    return ok;
}

/* The adjoint of operand k (0: A) from the result's, which is direction number `directions` of the form. */
static bool add_differential(const ag_call *call, form *f, int directions, int k, ag_matrix to) {
    f->count = 0;
    for (int r = 0; r <= directions; r++)
        if (r + 1 != k) f->chosen[f->count++] = r;
    if (!evaluate(call, f)) return false;
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < f->n; j++) {
            int64_t at = i * to.row + j * to.col;
            ag_store(call->type, to.data, at, ag_load(call->type, to.data, at) + f->result[i * f->n + j]);
        }
    return true;
}

static bool differential_adjoint(const ag_call *call) {
    const ag_view *a = call->in[0].view;
    int64_t n = a->dim[a->rank - 1], batch = n == 0 ? 0 : ag_batch_count(a);
    int directions = call->n - 1;
    form f;
    if (batch == 0) return true;
    if (!open_form(call, n, directions + 1, &f)) return false;
    bool ok = true;
    for (int64_t i = 0; i < batch && ok; i++) {
        ok = decompose(call, ag_matrix_of(call->type, &call->in[0], i), &f);
        for (int r = 0; r < directions && ok; r++)
            ok = rotate(call, &f, r, ag_matrix_of(call->type, &call->in[r + 1], i));
        ok = ok && rotate(call, &f, directions, ag_matrix_of(call->type, &call->out_adjoint, i));
        for (int k = 0; k < call->n && ok; k++)
            if (call->in_adjoint[k].data)
                ok = add_differential(call, &f, directions, k, ag_matrix_of(call->type, &call->in_adjoint[k], i));
    }
    ag_scratch_free(call->tape, f.p);
    return ok;
}

static ag_var differential_of(const ag_var *operands, int n);

/* operands of the rule, with w in the place of operand k; k = n appends it. */
static ag_var with_direction(const ag_rule *rule, int k, ag_var w) {
    ag_var operands[MOST_DIRECTIONS + 2];
    int n = rule->n < MOST_DIRECTIONS + 1 ? rule->n : MOST_DIRECTIONS + 1;
    memcpy(operands, rule->in, (size_t)n * sizeof *operands);
    operands[k] = w;
    return differential_of(operands, k == n ? n + 1 : n);
}

static void differential_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    for (int k = 0; k < rule->n; k++)
        if (rule->wanted[k]) contributions[k] = with_direction(rule, k == 0 ? rule->n : k, w);
}

static ag_var differential_tangent(const ag_rule *rule, const ag_var *tangents) {
    ag_var sum = ag_num(0);
    for (int k = 0; k < rule->n; k++) {
        if (ag_is_zero(tangents[k])) continue;
        ag_var term = with_direction(rule, k == 0 ? rule->n : k, tangents[k]);
        sum = ag_is_zero(sum) ? term : ag_add(sum, term);
    }
    return sum;
}

/* All operands have the first one's shape. */
static bool differential_valid(const ag_call *call) {
    const ag_view *a = call->in[0].view;
    if (call->params_size || call->n > MOST_DIRECTIONS + 1) return false;
    for (int k = 1; k < call->n; k++) {
        const ag_view *m = call->in[k].view;
        if (m->rank != a->rank || memcmp(m->dim, a->dim, (size_t)a->rank * sizeof *a->dim) != 0) return false;
    }
    return true;
}

static const ag_operation differential = {
    .name = "det_differential",
    .shape = differential_shape,
    .forward = differential_forward,
    .adjoint = differential_adjoint,
    .tangent = differential_tangent,
    .record = differential_record,
    .c_form = ag_c_det_differential,
    .strided = true,
    .valid = differential_valid,
};
const ag_operation *const ag_builtin_det_differential = &differential;

static ag_var differential_of(const ag_var *operands, int n) { return ag_apply(&differential, operands, n, NULL, 0); }

/* ---- det ---- */

static bool det_shape(ag_call *call) { return determinant_shape(call, "det"); }

static bool det_forward(const ag_call *call) {
    const ag_view *a = call->in[0].view;
    int64_t batch = ag_batch_count(a);
    if (!ag_lu_factor(call, NULL, &call->in[0], call->saved)) return false;
    for (int64_t i = 0; i < batch; i++) {
        ag_lu lu = ag_lu_at(call, a, call->saved, i);
        ag_store(call->type, call->out.data, i, value_of(call->type, &lu));
    }
    return true;
}

static bool det_adjoint(const ag_call *call) {
    const ag_array *da = &call->in_adjoint[0];
    int64_t n = da->view->dim[da->view->rank - 1], batch = da->data ? ag_batch_count(da->view) : 0;
    void *x = ag_matrix_scratch(call, n, n);
    bool ok = x != NULL;
    for (int64_t i = 0; i < batch && ok; i++) {
        ag_lu lu = ag_lu_at(call, da->view, call->saved, i);
        ok = lu.n == 0 || cofactors(call, &lu, i, x);
        if (ok) add_scaled(call->type, n, ag_matrix_of(call->type, da, i), ag_load_adjoint(call, i), x, false);
    }
    ag_scratch_free(call->tape, x);
    return ok;
}

static void det_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    contributions[0] = ag_mul(as_matrices(w), differential_of(rule->in, 1));
}

static ag_var det_tangent(const ag_rule *rule, const ag_var *tangents) {
    if (ag_is_zero(tangents[0])) return tangents[0];
    return sum_of_products(differential_of(rule->in, 1), tangents[0]);
}

static bool det_c_form(const ag_c_form *f) { return ag_c_determinant(f, false); }

static const ag_operation det = {
    .name = "det",
    .shape = det_shape,
    .forward = det_forward,
    .adjoint = det_adjoint,
    .tangent = det_tangent,
    .record = det_record,
    .c_form = det_c_form,
    .strided = true,
};
const ag_operation *const ag_builtin_det = &det;

ag_var ag_det(ag_var a) { return ag_apply(&det, &a, 1, NULL, 0); }
