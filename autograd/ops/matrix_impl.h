/* Matrices inside tensors: products of strided matrices, triangular solves and LU factors, for the operations of linear
 * algebra, on views as they are. */
#ifndef AG_MATRIX_IMPL_H
#define AG_MATRIX_IMPL_H

#include "ops_impl.h"

static inline ag_matrix ag_row_major_matrix(void *data, int64_t columns) { return (ag_matrix){data, columns, 1}; }
static inline ag_matrix ag_transposed(ag_matrix x) { return (ag_matrix){x.data, x.col, x.row}; }

/* Scratch for rows x columns elements, not NULL for none of them; freed by ag_scratch_free. NULL: error, no memory. */
void *ag_matrix_scratch(const ag_call *call, int64_t rows, int64_t columns);

/* c = alpha a b (store) or c += alpha a b, where a is m x k, b is k x n and c overlaps neither. Where c's strides make
 * several elements one, their sum is added to it (such a c cannot be stored to). Ordinary arithmetic: 0 * inf is NaN.
 * False, and the tape in error, if there is no memory for a copy. */
bool ag_product(const ag_call *call, int64_t m, int64_t n, int64_t k, double alpha, ag_matrix a, ag_matrix b,
                ag_matrix c, bool store);

/* c = a b + row + rows (each NULL or what has rows of n contiguous elements), for a row-major c; and then what `then` says,
 * if it is not NULL. */
bool ag_product_plus(const ag_call *call, int64_t m, int64_t n, int64_t k, ag_matrix a, ag_matrix b, void *c, void *row,
                     void *rows, const ag_then *then);

/* ---- factor.c: false if there is no memory ---- */

/* x := a^-1 x for a triangular n x n matrix a, of which only that triangle is read, and a row-major n x k matrix x. A 0
 * on the diagonal gives infinities. */
bool ag_solve_triangle(const ag_call *call, bool upper, bool unit, int64_t n, int64_t k, ag_matrix a, void *x);

/* a = P L U in place, with unit L, for a matrix whose columns are contiguous: row i of P^T a was exchanged with row
 * pivots[i] - 1, in order. *none is the first i for which U(i, i) is 0, or -1. */
bool ag_factor_lu(const ag_call *call, int64_t n, void *a, int32_t *pivots, int64_t *none);
/* a = L L^T in place of the lower triangle of a row-major matrix; above it is anything. *none is the first i whose pivot,
 * which a(i, i) then is, is not > 0, or -1. */
bool ag_factor_cholesky(const ag_call *call, int64_t n, void *a, int64_t *none);

/* ---- matrices in the last two axes, batches in the others ---- */

/* False and a sentence if x is not a batch of square matrices that can be factored. */
bool ag_check_square(const ag_call *call, const char *what, const ag_view *x);
/* How many matrices a view holds, and number `index` of them. */
int64_t ag_batch_count(const ag_view *view);
ag_matrix ag_matrix_of(ag_type type, const ag_array *x, int64_t index);
/* "shape (5, 3, 3), matrix 4": which matrix of a view is meant, for messages. */
typedef struct ag_matrix_text {
    char text[AG_MAX_RANK * 22 + 40];
} ag_matrix_text;
ag_matrix_text ag_show_matrix(const ag_view *view, int64_t index);
/* The view's elements, row-major, into dst; and back: the view's elements += src. */
void ag_pack(ag_type type, void *dst, const ag_array *src);
void ag_add_packed(ag_type type, const ag_array *dst, const void *src);

/* ---- LU factors ---- */

/* Of a batch of n x n matrices, in bytes that `ag_lu_size` counts: all the factors, then all the pivots. */
typedef struct ag_lu {
    int64_t n;
    void *factors;
    int32_t *pivots;
} ag_lu;
bool ag_lu_size(const ag_call *call, const char *what, const ag_view *a, size_t *bytes);
/* Matrix `index` of the factors of a batch like a's in `memory`. */
ag_lu ag_lu_at(const ag_call *call, const ag_view *a, void *memory, int64_t index);
/* Factors all matrices of a into memory. A singular matrix is an error; with `what` NULL it is not, and leaves a 0 on
 * the diagonal of its factors. NaN is no error. */
bool ag_lu_factor(const ag_call *call, const char *what, const ag_array *a, void *memory);
/* x := A^-1 x, or A^-T x; x is n x k, row-major. */
bool ag_lu_solve(const ag_call *call, const ag_lu *lu, bool transposed, int64_t k, void *x);
/* out := A^-1, row-major. */
bool ag_lu_invert(const ag_call *call, const ag_lu *lu, void *out);
/* det A = mantissa * 2^exponent, so that it neither overflows nor underflows on the way. */
double ag_lu_determinant(ag_type type, const ag_lu *lu, int64_t *exponent);

/* ---- matrix_c_form.c: the operations as C ---- */
bool ag_c_solve(const ag_c_form *f);
bool ag_c_solve_triangular(const ag_c_form *f, bool upper);
bool ag_c_inverse(const ag_c_form *f);
bool ag_c_determinant(const ag_c_form *f, bool logarithm);
bool ag_c_det_differential(const ag_c_form *f);
bool ag_c_cholesky(const ag_c_form *f);

#endif
