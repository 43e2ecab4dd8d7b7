/* Triangular solves and factors of any size, from those of small blocks and from products: half of the matrix, what it
 * does to the other half, the other half. LAPACK does the same, but its results depend on how many threads BLAS has. */
#include "matrix_impl.h"

/* Half of n, in whole blocks. */
static int64_t half(int64_t n) { return (n / 2 + AG_FACTOR_BLOCK - 1) / AG_FACTOR_BLOCK * AG_FACTOR_BLOCK; }

static ag_matrix part(ag_type type, ag_matrix x, int64_t row, int64_t column) {
    return (ag_matrix){ag_element(type, x.data, row * x.row + column * x.col), x.row, x.col};
}

/* Rows of x are contiguous, or its columns. */
static bool solve(const ag_call *call, bool upper, bool unit, int64_t n, int64_t k, ag_matrix a, ag_matrix x) {
    if (n <= AG_FACTOR_BLOCK) {
        ag_kernels_for(call->type)->triangle(upper, unit, n, k, &a, &x);
        return true;
    }
    int64_t n1 = half(n), n2 = n - n1;
    ag_matrix first = part(call->type, a, 0, 0), last = part(call->type, a, n1, n1), below = part(call->type, x, n1, 0);
    if (upper)
        return solve(call, upper, unit, n2, k, last, below) &&
               ag_product(call, n1, k, n2, -1, part(call->type, a, 0, n1), below, x, false) &&
               solve(call, upper, unit, n1, k, first, x);
    return solve(call, upper, unit, n1, k, first, x) &&
           ag_product(call, n2, k, n1, -1, part(call->type, a, n1, 0), x, below, false) &&
           solve(call, upper, unit, n2, k, last, below);
}

bool ag_solve_triangle(const ag_call *call, bool upper, bool unit, int64_t n, int64_t k, ag_matrix a, void *x) {
    return n == 0 || k == 0 || solve(call, upper, unit, n, k, a, ag_row_major_matrix(x, k));
}

/* Of an m x n matrix whose columns are contiguous, m >= n. *none: the first column without a pivot. */
static bool lu(const ag_call *call, int64_t m, int64_t n, ag_matrix a, int32_t *pivots, int64_t *none) {
    const ag_kernels *kernels = ag_kernels_for(call->type);
    if (n <= AG_FACTOR_BLOCK) {
        *none = kernels->lu(m, n, a.data, a.col, pivots);
        return true;
    }
    int64_t n1 = half(n), n2 = n - n1, late;
    ag_matrix right = part(call->type, a, 0, n1), below = part(call->type, a, n1, 0),
              rest = part(call->type, a, n1, n1);
    if (!lu(call, m, n1, a, pivots, none)) return false;
    kernels->exchange(n2, right.data, a.col, n1, pivots);
    if (!solve(call, false, true, n1, n2, a, right) ||
        !ag_product(call, m - n1, n2, n1, -1, below, right, rest, false) ||
        !lu(call, m - n1, n2, rest, pivots + n1, &late))
        return false;
    kernels->exchange(n1, below.data, a.col, n2, pivots + n1);
    for (int64_t i = n1; i < n; i++) pivots[i] += (int32_t)n1;
    if (*none < 0 && late >= 0) *none = n1 + late;
    return true;
}

bool ag_factor_lu(const ag_call *call, int64_t n, void *a, int32_t *pivots, int64_t *none) {
    *none = -1;
    return n == 0 || lu(call, n, n, (ag_matrix){a, 1, n}, pivots, none);
}

/* Of the lower triangle of c (n x n): c -= a a^T, for a of k columns. What is above may change, too. */
static bool subtract_square(const ag_call *call, int64_t n, int64_t k, ag_matrix a, ag_matrix c) {
    enum { BLOCK = 96 };
    if (n <= BLOCK) return ag_product(call, n, n, k, -1, a, ag_transposed(a), c, false);
    int64_t n1 = half(n);
    ag_matrix below = part(call->type, a, n1, 0);
    return subtract_square(call, n1, k, a, c) &&
           ag_product(call, n - n1, n1, k, -1, below, ag_transposed(a), part(call->type, c, n1, 0), false) &&
           subtract_square(call, n - n1, k, below, part(call->type, c, n1, n1));
}

static bool cholesky(const ag_call *call, int64_t n, ag_matrix a, int64_t *none) {
    if (n <= AG_FACTOR_BLOCK) {
        *none = ag_kernels_for(call->type)->cholesky(n, a.data, a.row);
        return true;
    }
    int64_t n1 = half(n), n2 = n - n1;
    ag_matrix below = part(call->type, a, n1, 0), rest = part(call->type, a, n1, n1);
    if (!cholesky(call, n1, a, none)) return false;
    if (*none >= 0) return true;
    if (!solve(call, false, false, n1, n2, a, ag_transposed(below)) || !subtract_square(call, n2, n1, below, rest) ||
        !cholesky(call, n2, rest, none))
        return false;
    if (*none >= 0) *none += n1;
    return true;
}

bool ag_factor_cholesky(const ag_call *call, int64_t n, void *a, int64_t *none) {
    *none = -1;
    return n == 0 || cholesky(call, n, ag_row_major_matrix(a, n), none);
}
