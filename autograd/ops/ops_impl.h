/* What an operation is: the table of elementwise operations, the kernels, and iteration over strided tensors.
 * Structural operations (reductions, products, ...) are ag_operation structs, one file a family, made with the same
 * public interface as a user's own operations. */
#ifndef AG_OPS_IMPL_H
#define AG_OPS_IMPL_H

#include "attention_impl.h"
#include "convolve_impl.h"
#include "pool_impl.h"
#include <autograd/autograd.h>

/* ---- the table of elementwise operations ---- */

enum {
    AG_COMMUTES = 1,
    AG_FLAT = 2,
    AG_LINEAR_X = 4,
    AG_LINEAR_Y = 8,
    AG_LINEAR_Z = 16,
    AG_LINEAR_XY = 32,
    AG_LINEAR_YZ = 64,
    AG_STRICT = 128,
    AG_CHEAP = 256
};

typedef struct ag_op_info {
    const char *enumerator, *name, *form, *edge;
    int arity;
    unsigned traits;
    struct {
        double lo, hi;
    } range[3]; /* inside the domain, for tests */
    double (*value)(double x, double y, double z);
    float (*value_f32)(float x, float y, float z);
    /* p[k]: partial by operand k; r is the value. */
    void (*partials)(double x, double y, double z, double r, double p[3]);
    void (*partials_f32)(float x, float y, float z, float r, float p[3]);
} ag_op_info;

extern const ag_op_info ag_op_table[AG_OPCODES];

/* Special functions that the C library lacks; f64, used for both precisions. Source: DLMF 5.11, 5.15, 5.5, 25.11. */
double ag_special_lgamma(double x);
double ag_special_digamma(double x);
double ag_special_polygamma(double n, double x); /* n = 0, 1, ... 150; NaN otherwise */

/* ---- kernels: contiguous loops, compiled for several instruction sets, one table each ---- */

/* r[i] = value(x[i], y[i], z[i]); operands that the operation does not have are NULL. r may be an operand. */
typedef void ag_value_kernel(size_t n, void *r, const void *x, const void *y, const void *z);
/* acc[i] += chain(w[i], p(x[i], y[i], z[i], r[i])), p the partial by one operand: for adjoints w is the result's
 * adjoint and acc the operand's; for tangents w is the operand's tangent and acc the result's. acc overlaps nothing. */
typedef void ag_partial_kernel(size_t n, void *acc, const void *w, const void *x, const void *y, const void *z,
                               const void *r);

/* Straight-line code: work[to] = op(work[x], work[y], work[z]); places of operands that an operation lacks are any. */
typedef struct ag_straight {
    uint32_t op, to, x, y, z;
} ag_straight;
/* Beside the table's operations: a copy; x * y + z and z - x * y, fused where the machine can, and the same with the chain of x
 * and y; chain. Of single numbers, chains are products that are tested afterwards, which is faster (a zero may have another
 * sign).
 *
 * Only of rows: x + y, x * y, x * y + z where y, or z in the last, is one number; sums and shifts, in blocks of as many
 * numbers as row z begins with, an int64_t: x is added up to row `to`, AG_SUMS of its type of which some stay 0; x * y is
 * computed and added up as the sum says that comes next and is skipped; x, x * y and x * y + z are shifted as row y says, an
 * ag_row_shift, where the last two have those rows in a shift that comes next and is skipped. */
enum {
    AG_STRAIGHT_COPY = AG_OPCODES,
    AG_STRAIGHT_FMA,
    AG_STRAIGHT_FNMA,
    AG_STRAIGHT_CHAIN_FMA,
    AG_STRAIGHT_CHAIN_FNMA,
    AG_STRAIGHT_CHAIN,
    AG_STRAIGHT_ADD_1,
    AG_STRAIGHT_MUL_1,
    AG_STRAIGHT_FMA_1,
    AG_STRAIGHT_MUL_ADD_1,
    AG_STRAIGHT_SUM,
    AG_STRAIGHT_MUL_SUM,
    AG_STRAIGHT_SHIFT,
    AG_STRAIGHT_SHIFT_MUL,
    AG_STRAIGHT_SHIFT_FMA
};
#define AG_SUMS(type) (64 / ag_type_size(type))
enum { AG_LANES = 64, AG_HALF_LANES = 32, AG_FEW_LANES = 16, AG_LONG_ROW = 1024 }; /* a long row: bytes */
#define AG_LONG_LANES(type) ((int64_t)AG_LONG_ROW / (int64_t)ag_type_size(type))

/* A shift of a long row, block after block. Numbers go `by` places to the back and blocks from the first to the last, or
 * to the front and from the last to the first, if `by` is below 0; it is no more than AG_LANES. A block that is not full is
 * that of the last elements. */
typedef struct ag_row_shift {
    int64_t by;
    char padding[56];
    char carry[AG_LANES * sizeof(double)]; /* what this block takes from the one before: as many as `by` says */
} ag_row_shift;

/* Element (i, j) is data[i * row + j * col]; strides have any sign and may be 0. */
typedef struct ag_matrix {
    void *data;
    int64_t row, col;
} ag_matrix;

/* What is done to some rows of a product while the cache still has them, by the thread that computed them: `rows` rows of
 * contiguous `columns`, the first one at c and each `row` numbers after the one before. */
typedef struct ag_then {
    void (*run)(const void *context, void *c, int64_t rows, int64_t columns, int64_t row);
    const void *context;
} ag_then;

/* What is added to a product: a row to each of its rows, and a matrix, whose rows are contiguous; data may be NULL. And
 * what comes then, or NULL. */
typedef struct ag_addend {
    const void *row;
    ag_matrix rows;
    const ag_then *then;
} ag_addend;

/* The adjoint of normalised rows: x, the results' adjoints w, and what goes to whom; NULL where there is none. */
typedef struct ag_norm_rows {
    size_t rows, n;
    const void *x, *w, *weight;
    const double *saved; /* mean and scale of each row */
    bool centred, add;   /* to dx; to the others in any case */
    void *dx, *dweight, *dbias;
} ag_norm_rows;

enum { AG_SMALL_PRODUCT = 768, AG_FACTOR_BLOCK = 16, AG_RANDOM_BLOCK = 64 };

typedef struct ag_kernels {
    const char *isa;
    bool fuses; /* products that are added are rounded once */
    ag_value_kernel *value[AG_OPCODES];
    ag_partial_kernel *partial[AG_OPCODES][3]; /* NULL where the operation has no such operand or it is always 0 */
    /* y[i] = value(x[i]), slope[i] = its derivative; y may be x. NULL where one after the other costs no more. */
    void (*with_slope[AG_OPCODES])(size_t n, void *y, void *slope, const void *x);
    /* rows: sums are pairwise over blocks, with a fixed order that does not depend on alignment */
    double (*sum)(size_t n, const void *x);
    double (*dot)(size_t n, const void *x, const void *y);
    double (*max)(size_t n, const void *x); /* NaN if any is NaN; -inf for n = 0 */
    double (*min)(size_t n, const void *x);
    bool (*any_nan)(size_t rows, void *const *row, size_t n); /* among n numbers of each row */
    /* out[i] = the same of row i, for short rows of n > 0 elements, one after the other */
    void (*sum_rows)(size_t rows, size_t n, void *out, const void *x);
    void (*max_rows)(size_t rows, size_t n, void *out, const void *x);
    void (*min_rows)(size_t rows, size_t n, void *out, const void *x);
    void (*add_to)(size_t n, void *acc, const void *x);                /* acc += x */
    void (*add_scaled)(size_t n, void *acc, double a, const void *x);  /* acc += a x */
    void (*add_value)(size_t n, void *acc, double a);                  /* acc += a */
    void (*scale)(size_t n, void *r, double a, const void *x);         /* r = a x */
    double (*exp_shifted)(size_t n, void *r, const void *x, double m); /* r = exp(x - m); returns its sum */
    void (*fill)(size_t n, void *r, double a);                         /* r = a */
    void (*spread)(size_t rows, size_t n, void *r, const void *x);     /* r[i * n + j] = x[i] for i < rows, j < n */
    /* acc[j] += sum of x[i * stride + j] over i < rows, for j < n */
    void (*add_rows)(size_t n, void *acc, size_t rows, int64_t stride, const void *x);
    /* r[j * r_stride + i] = x[i * x_stride + j] for i < rows, j < columns, or += it; no overlap */
    /* Number j of row index[i] of x, which has rows of `columns`, to r[j * r_stride + i]. */
    void (*gather)(size_t rows, size_t columns, void *r, int64_t r_stride, const void *x, const int64_t *index);
    /* Copies n numbers past the cache, to where nobody will look soon; for others to see after an atomic fence. */
    void (*stream)(size_t n, void *r, const void *x);
    void (*transpose)(size_t rows, size_t columns, void *r, int64_t r_stride, const void *x, int64_t x_stride,
                      bool add);
    /* Runs straight-line code on numbers, and on AG_LANES numbers at a time: lane l of place i is work[i * AG_LANES + l]. */
    void (*straight)(const ag_straight *code, size_t count, void *work);
    void (*straight_lanes)(const ag_straight *code, size_t count, void *work);
    /* The same where place i is the AG_LANES numbers from work[i] on. */
    void (*straight_rows)(const ag_straight *code, size_t count, void *const *work);
    void (*straight_half_rows)(const ag_straight *code, size_t count, void *const *work);  /* AG_HALF_LANES */
    void (*straight_short_rows)(const ag_straight *code, size_t count, void *const *work); /* AG_FEW_LANES */
    void (*straight_long_rows)(const ag_straight *code, size_t count, void *const *work);  /* AG_LONG_LANES */
    /* c = alpha a b or c += alpha a b, of sizes m x k and k x n with m n k up to about AG_SMALL_PRODUCT */
    void (*product)(int64_t m, int64_t n, int64_t k, double alpha, const ag_matrix *a, const ag_matrix *b,
                    const ag_matrix *c, bool store);
    /* convolutions: a panel's rows are packed `panel_rows` of the result at a time, its columns in vectors of `lanes` */
    int panel_rows, lanes;
    void (*lay_out)(const ag_layout *l, void *planes, const void *image);
    void (*pack_panel)(const ag_panel *p, void *to, const void *planes);
    /* tile (+)= a b, a of k rows of panel_rows numbers, b of k rows of `vectors` vectors */
    void (*panel)(int64_t vectors, int64_t k, const void *a, const void *b, const ag_panel_tile *tile);
    /* the same without packing, k as p says */
    void (*direct_panel)(int64_t vectors, const ag_panel_vectors *p, const void *a, const void *planes,
                         const ag_panel_tile *tile);
    /* row r of c += the sum of (what tap r meets) * (row of b) over results */
    void (*add_taps)(const ag_tap_block *p, void *c, const void *b);
    /* vector r * DOT_TAPS + q of sums += row r * tap q, vector by vector */
    void (*add_dots)(const ag_dots *d, void *sums);
    /* pooling of a plane; those that spread add */
    void (*max_pool)(const ag_pool_plane *p, void *result, const void *plane, const void *values);
    void (*max_spread)(const ag_pool_plane *p, void *to, const void *plane, const void *adjoints);
    void (*mean_pool)(const ag_pool_plane *p, void *result, const void *plane);
    void (*mean_spread)(const ag_pool_plane *p, void *to, const void *adjoints);
    /* normalised rows: see norm_loops.inc */
    void (*norm_sums)(size_t n, const void *w, const void *x, double mean, const void *g, double *out);
    void (*norm_apply)(size_t n, void *y, const void *x, double mean, double scale, double shift, const void *g,
                       const void *b);
    void (*norm_back)(size_t n, void *to, const void *w, const void *x, double mean, double scale, double first,
                      double second, const void *g, bool add);
    /* of `rows` rows, each by itself: mean and scale of each go to `saved`; y may be NULL */
    void (*norm_rows)(size_t rows, size_t n, void *y, const void *x, double epsilon, bool centred, const void *g,
                      const void *b, double *saved);
    void (*norm_rows_back)(const ag_norm_rows *p);
    /* c = alpha a b + plus (NULL: none) of any sizes but 0, rows of c contiguous; in so many bytes of `room` */
    size_t (*panel_room)(int64_t m, int64_t n, int64_t k, const ag_matrix *a, const ag_matrix *b);
    void (*panel_product)(int64_t m, int64_t n, int64_t k, double alpha, const ag_matrix *a, const ag_matrix *b,
                          const ag_matrix *c, const ag_addend *plus, void *room);
    /* c = a b + plus likewise, where b (k x n) was packed, into k * (n rounded up to lanes) numbers: for many products of
     * few rows by one matrix. Each row is what it would be alone. */
    void (*pack_columns)(int64_t k, int64_t n, void *packed, const void *b, int64_t row, int64_t column);
    void (*product_packed)(int64_t m, int64_t n, int64_t k, const ag_matrix *a, const void *packed, const ag_matrix *c,
                           const ag_addend *plus);
    /* y = alpha a x or y += alpha a x, of m x k; rows of a are contiguous or its columns, and x is; y goes by steps */
    void (*matrix_vector)(int64_t m, int64_t k, double alpha, const ag_matrix *a, const void *x, void *y, int64_t step,
                          bool store);
    /* blocks of factor.c, of n <= AG_FACTOR_BLOCK: x := a^-1 x, where rows of x are contiguous or its columns */
    void (*triangle)(bool upper, bool unit, int64_t n, int64_t k, const ag_matrix *a, const ag_matrix *x);
    /* row i of contiguous columns changes places with row pivots[i] - 1, for i = 0..n-1 */
    void (*exchange)(int64_t columns, void *x, int64_t column, int64_t n, const int32_t *pivots);
    /* factors in place; the first pivot that is 0, or not positive, or -1. Columns are contiguous (m x n), or rows */
    int64_t (*lu)(int64_t m, int64_t n, void *a, int64_t column, int32_t *pivots);
    int64_t (*cholesky)(int64_t n, void *a, int64_t row);
    /* cells of an LSTM: see lstm_loops.inc */
    void (*lstm)(size_t rows, size_t n, void *gates, const void *before, void *after, void *h);
    void (*lstm_back)(size_t rows, size_t n, const void *acts, const void *before, const void *after, const void *w_h,
                      const void *w_c, const void *h, void *c, void *gates);
    /* attention of one head, and its adjoint, in so many bytes; false: with care, please (attention_rows.c) */
    size_t (*attend_room)(const ag_attend *p, bool back);
    bool (*attend)(const ag_attend *p, void *room);
    bool (*attend_back)(const ag_attend *p, void *room);
    /* AG_RANDOM_BLOCK random words for each block from `block` on */
    void (*random_bits)(uint64_t key, uint64_t clock, uint64_t block, size_t blocks, uint32_t *out);
    /* r = (or +=) scale x, but 0 where bits < threshold; r may be x */
    void (*keep)(size_t n, void *r, const void *x, const uint32_t *bits, uint32_t threshold, double scale, bool add);
} ag_kernels;

/* The best kernels for this machine (AG_ISA in the environment names a lesser one, for tests: base, v3, v4). */
const ag_kernels *ag_kernels_for(ag_type type);

/* ---- strided tensors ---- */

/* dst += src over `rank` dims, strides in elements; either may have strides of 0 (a dst stride of 0 sums, in blocks and
 * in a fixed order) or negative ones. dst and src do not overlap. */
void ag_strided_add(ag_type type, int rank, const int64_t *dim, void *dst, const int64_t *dst_stride, const void *src,
                    const int64_t *src_stride);
/* dst = src, likewise; dst has no stride of 0. */
void ag_strided_copy(ag_type type, int rank, const int64_t *dim, void *dst, const int64_t *dst_stride, const void *src,
                     const int64_t *src_stride);

static inline size_t ag_type_size(ag_type type) { return type == AG_F64 ? sizeof(double) : sizeof(float); }
/* Asks for memory that will be needed soon. Where there is none, it does no harm. */
static inline void ag_ask(const void *from, int64_t bytes, bool writes) {
#if defined(__GNUC__)
    for (const char *at = from, *end = at + bytes; at < end; at += 64)
        writes ? __builtin_prefetch(at, 1) : __builtin_prefetch(at);
#else
    (void)from, (void)bytes, (void)writes;
#endif
}
static inline void *ag_element(ag_type type, void *data, int64_t offset) {
    return (char *)data + offset * (int64_t)ag_type_size(type);
}
static inline double ag_load(ag_type type, const void *data, int64_t i) {
    return type == AG_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}
static inline void ag_store(ag_type type, void *data, int64_t i, double value) {
    if (type == AG_F64) ((double *)data)[i] = value;
    else ((float *)data)[i] = (float)value;
}

/* Strides of a row-major tensor of this shape. */
void ag_row_major(int rank, const int64_t *dim, int64_t *stride);
/* axis in -rank..rank-1 to 0..rank-1; puts the tape in error and returns -1 otherwise. `what` names the operation. */
int ag_check_axis(ag_tape *tape, const char *what, int axis, ag_shape shape);
/* Whether x can be an operand; if not, its tape is in error. Numbers are usable. `what` names the operation. */
bool ag_usable(ag_var x, const char *what);
/* The same for one of several operands on tape t. */
bool ag_usable_on(ag_tape *t, ag_var x, const char *what);
/* Whether a pointer that is required was given; else an error: "WHAT: WHICH is NULL". */
bool ag_given(ag_tape *t, const char *what, const char *which, const void *pointer);
/* Its rank for an operation that is about to check it: of a var that is not usable, anything in 0..AG_MAX_RANK. */
int ag_rank_unchecked(ag_var x);
/* "(2, 3)": a shape for messages. */
typedef struct ag_shape_text {
    char text[AG_MAX_RANK * 22 + 4];
} ag_shape_text;
ag_shape_text ag_show_shape(ag_shape shape);
ag_shape_text ag_show_view(const ag_view *view);
/* n * m into *out; false on overflow of int64_t or a negative operand. */
bool ag_multiply_sizes(int64_t n, int64_t m, int64_t *out);
/* The number of elements of a shape. False if its rank is not possible, a dim is negative, or the product of the dims
 * overflows, those that are 0 left out: so neither strides nor the product of some of the dims can. */
bool ag_shape_count(ag_shape shape, int64_t *count);

/* Memory for the length of one call (work arrays, indices); counts against the tape's budget and fails with
 * AG_ERR_MEMORY and NULL. Freed with ag_scratch_free. */
void *ag_scratch(ag_tape *tape, size_t bytes);
void ag_scratch_free(ag_tape *tape, void *memory);

/* Whether an operation sums up all elements of an operand of this rank. */
bool ag_is_total_sum(const ag_operation *operation, const void *params, int rank);

/* Where a part of a tensor is: offset and strides in elements. */
typedef struct ag_placement {
    int64_t offset;
    int64_t stride[AG_MAX_RANK];
} ag_placement;
/* If an operation puts each operand at a place of its own and nothing else remains: where; NULL otherwise. */
const ag_placement *ag_placements_of(const ag_operation *operation, const void *params);
/* Where an assembly puts each operand; others may be added there. NULL for other operations. */
const ag_placement *ag_parts_of(const ag_operation *operation, const void *params);

/* A view of a contiguous var, by offset and strides in elements. */
ag_var ag_view_of(ag_var x, int64_t offset, ag_shape shape, const int64_t *stride);
/* Whether x is the transposed view of a contiguous matrix. */
bool ag_is_column_major(ag_var x);

/* A tensor recorded by a linear rearrangement: zeros of `shape`, to which operand k is added at the view
 * (offset[k], stride[k][..]) in elements of the result, in the operand's own shape; views may overlap. Its adjoint is a
 * view of the result's adjoint. Concatenation, padding, tiling, contiguous copies and the adjoints of all views are this. */
ag_var ag_assemble(ag_tape *tape, ag_shape shape, const ag_var *parts, const ag_placement *where, int n);

#endif
