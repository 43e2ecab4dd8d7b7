/* Batches of square matrices and their LU factors.
 *
 * Columns of A^T are contiguous where A is row-major, so what is factored is A^T = P L U with unit L. Read row-major again, the factors are
 * A = U^T L^T P^T: a lower triangle with the diagonal, a unit upper triangle, and exchanged columns. */
#include "matrix_impl.h"
#include <limits.h>
#include <math.h>

/* ---- batches ---- */

bool ag_check_square(const ag_call *call, const char *what, const ag_view *x) {
    int rank = x->rank;
    if (rank < 2 || x->dim[rank - 1] != x->dim[rank - 2]) {
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: shape %s is not that of square matrices", what, ag_show_view(x).text);
        return false;
    }
    int64_t batch = 1;
    bool possible = x->dim[rank - 1] <= INT_MAX;
    for (int i = 0; i < rank - 2 && possible; i++) possible = ag_multiply_sizes(batch, x->dim[i], &batch);
    if (!possible) {
        ag_fail(call->tape, AG_ERR_SHAPE, "%s: shape %s is more than can be factored (%d)", what, ag_show_view(x).text,
                INT_MAX);
        return false;
    }
    return true;
}

int64_t ag_batch_count(const ag_view *view) {
    int64_t n = 1;
    for (int i = 0; i < view->rank - 2; i++) n *= view->dim[i];
    return n;
}

ag_matrix ag_matrix_of(ag_type type, const ag_array *x, int64_t index) {
    const ag_view *v = x->view;
    int64_t offset = 0;
    for (int i = v->rank - 3; i >= 0; i--) {
        offset += index % v->dim[i] * v->stride[i];
        index /= v->dim[i];
    }
    return (ag_matrix){ag_element(type, x->data, offset), v->stride[v->rank - 2], v->stride[v->rank - 1]};
}

ag_matrix_text ag_show_matrix(const ag_view *view, int64_t index) {
    ag_matrix_text r;
    if (view->rank == 2) snprintf(r.text, sizeof r.text, "shape %s", ag_show_view(view).text);
    else snprintf(r.text, sizeof r.text, "shape %s, matrix %lld", ag_show_view(view).text, (long long)index);
    return r;
}

void ag_pack(ag_type type, void *dst, const ag_array *src) {
    int64_t stride[AG_MAX_RANK];
    ag_row_major(src->view->rank, src->view->dim, stride);
    ag_strided_copy(type, src->view->rank, src->view->dim, dst, stride, src->data, src->view->stride);
}

void ag_add_packed(ag_type type, const ag_array *dst, const void *src) {
    int64_t stride[AG_MAX_RANK];
    ag_row_major(dst->view->rank, dst->view->dim, stride);
    ag_strided_add(type, dst->view->rank, dst->view->dim, dst->data, dst->view->stride, src, stride);
}

/* ---- LU factors ---- */

bool ag_lu_size(const ag_call *call, const char *what, const ag_view *a, size_t *bytes) {
    int64_t n = a->dim[a->rank - 1], rows, factors, pivots;
    if (!ag_multiply_sizes(ag_batch_count(a), n, &rows) || !ag_multiply_sizes(rows, n, &factors) ||
        !ag_multiply_sizes(factors, (int64_t)ag_type_size(call->type), &factors) ||
        !ag_multiply_sizes(rows, (int64_t)sizeof(int32_t), &pivots) || factors > INT64_MAX - pivots) {
        ag_fail(call->tape, AG_ERR_MEMORY, "%s: no memory for the factors of shape %s", what, ag_show_view(a).text);
        return false;
    }
    *bytes = (size_t)(factors + pivots);
    return true;
}

ag_lu ag_lu_at(const ag_call *call, const ag_view *a, void *memory, int64_t index) {
    int64_t n = a->dim[a->rank - 1], batch = ag_batch_count(a);
    int32_t *pivots = ag_element(call->type, memory, batch * n * n);
    return (ag_lu){n, ag_element(call->type, memory, index * n * n), pivots + index * n};
}

/* Where a zero pivot was found; -1 if there is none but NaN, which is then made everything's value
 * (which pivots were chosen beside NaN is chance). */
static int64_t zero_pivot(ag_type type, const ag_lu *lu) {
    bool nan = false;
    for (int64_t i = 0; i < lu->n * lu->n && !nan; i++) nan = isnan(ag_load(type, lu->factors, i));
    if (nan) {
        for (int64_t i = 0; i < lu->n * lu->n; i++) ag_store(type, lu->factors, i, NAN);
        for (int64_t i = 0; i < lu->n; i++) lu->pivots[i] = (int32_t)i + 1;
        return -1;
    }
    int64_t p = 0;
    while (p < lu->n - 1 && ag_load(type, lu->factors, p * (lu->n + 1)) != 0) p++;
    return p;
}

bool ag_lu_factor(const ag_call *call, const char *what, const ag_array *a, void *memory) {
    int64_t batch = ag_batch_count(a->view);
    ag_pack(call->type, memory, a);
    for (int64_t i = 0; i < batch; i++) {
        ag_lu lu = ag_lu_at(call, a->view, memory, i);
        int64_t none;
        if (!ag_factor_lu(call, lu.n, lu.factors, lu.pivots, &none)) return false;
        int64_t pivot = none >= 0 ? zero_pivot(call->type, &lu) : -1;
        if (pivot < 0 || !what) continue;
        ag_fail(call->tape, AG_ERR_SINGULAR, "%s: %s: singular matrix, pivot %lld is %g", what,
                ag_show_matrix(a->view, i).text, (long long)pivot, ag_load(call->type, lu.factors, pivot * (lu.n + 1)));
        return false;
    }
    return true;
}

static void exchange_rows(ag_type type, int64_t columns, char *x, char *y) {
    char block[512];
    size_t left = x == y ? 0 : (size_t)columns * ag_type_size(type);
    while (left > 0) {
        size_t n = left < sizeof block ? left : sizeof block;
        memcpy(block, x, n);
        memcpy(x, y, n);
        memcpy(y, block, n);
        x += n;
        y += n;
        left -= n;
    }
}

/* Row i changes places with row pivots[i] - 1, for all i: upwards for P^T x, downwards for P x. */
static void exchange(ag_type type, const ag_lu *lu, bool upwards, int64_t k, void *x) {
    for (int64_t t = 0; t < lu->n; t++) {
        int64_t i = upwards ? t : lu->n - 1 - t;
        exchange_rows(type, k, ag_element(type, x, i * k), ag_element(type, x, (lu->pivots[i] - 1) * k));
    }
}

bool ag_lu_solve(const ag_call *call, const ag_lu *lu, bool transposed, int64_t k, void *x) {
    ag_matrix a = ag_row_major_matrix(lu->factors, lu->n);
    if (transposed) {
        exchange(call->type, lu, true, k, x);
        return ag_solve_triangle(call, false, true, lu->n, k, ag_transposed(a), x) &&
               ag_solve_triangle(call, true, false, lu->n, k, ag_transposed(a), x);
    }
    if (!ag_solve_triangle(call, false, false, lu->n, k, a, x) || !ag_solve_triangle(call, true, true, lu->n, k, a, x))
        return false;
    exchange(call->type, lu, false, k, x);
    return true;
}

bool ag_lu_invert(const ag_call *call, const ag_lu *lu, void *out) {
    memset(out, 0, (size_t)(lu->n * lu->n) * ag_type_size(call->type));
    for (int64_t i = 0; i < lu->n; i++) ag_store(call->type, out, i * (lu->n + 1), 1);
    return ag_lu_solve(call, lu, false, lu->n, out);
}

double ag_lu_determinant(ag_type type, const ag_lu *lu, int64_t *exponent) {
    double mantissa = 1;
    *exponent = 0;
    for (int64_t i = 0; i < lu->n; i++) {
        int e = 0;
        mantissa = frexp(mantissa * ag_load(type, lu->factors, i * (lu->n + 1)), &e);
        if (lu->pivots[i] != i + 1) mantissa = -mantissa;
        *exponent += e;
    }
    return mantissa;
}
