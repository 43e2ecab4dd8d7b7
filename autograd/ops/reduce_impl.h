/* What the reductions share: axes, shapes, and walking over an operand in blocks that kernels can work on.
 *
 * A reduction takes `count` elements to each result. Its operand is (outer, count, inner): results are (outer, inner),
 * and the elements of one of them are `inner` apart. A block is some adjacent results of one `outer`, with all their
 * elements. Kernels want long rows, so where `inner` is small a block takes several positions of the reduced axis at
 * once: they are adjacent in memory. */
#ifndef AG_REDUCE_IMPL_H
#define AG_REDUCE_IMPL_H

#include "structural_impl.h"

/* AG_BLOCK: elements that a block has at once; buffers of this size stand on the stack. Rows are short up to
 * AG_SHORT_ROW elements; AG_SHORT_ROWS elements of them are transposed at a time. */
enum { AG_BLOCK = 512, AG_SHORT_ROW = 48, AG_SHORT_ROWS = 1024 };
typedef double ag_buffer[AG_BLOCK]; /* for numbers of either type */

/* The parameters of a reduction. */
typedef struct ag_reduction {
    uint32_t mask; /* bit i: axis i is reduced */
    uint32_t keep; /* reduced axes stay, with length 1 */
} ag_reduction;

/* Whether an operation takes reduced axes anywhere, or side by side only. */
enum { AG_ANY_AXES, AG_ADJACENT_AXES };

/* Applies a reduction; where its reduced axes have to be adjacent and are not, to a permuted view. In two steps: axes
 * as bits (false, with the tape in error, if they are not some different axes of the shape), then the rest. */
ag_var ag_reduce(const ag_operation *operation, int where, ag_var x, ag_axes axes, bool keep);
bool ag_reduce_axes(ag_tape *tape, const char *what, ag_axes axes, ag_shape shape, uint32_t *mask);
ag_var ag_reduce_masked(const ag_operation *operation, int where, ag_var x, uint32_t mask, bool keep);

/* The shape rule. */
bool ag_reduce_shape(ag_call *call);
/* The same, but an error of operation `what` if there is nothing to reduce. */
bool ag_reduce_shape_nonempty(ag_call *call, const char *what);

/* Whether a call's parameters are an ag_reduction of its first operand, of axes as `where` says. */
bool ag_reduce_valid(const ag_call *call, int where);
bool ag_reduce_valid_any(const ag_call *call);
bool ag_reduce_valid_adjacent(const ag_call *call);

/* w, in the shape of a reduction's result, with the reduced axes as axes of length 1: it broadcasts to the operand. */
ag_var ag_reduce_align(ag_var w, ag_shape operand, const ag_reduction *p);
/* The sum over the reduced axes, in the shape of the result. */
ag_var ag_reduce_sum(ag_var x, const ag_reduction *p);

/* The lengths of an operand with adjacent reduced axes. */
typedef struct ag_extent {
    int64_t outer, count, inner;
} ag_extent;
ag_extent ag_reduce_extent(const int64_t *dim, int rank, uint32_t mask);

/* Whether the rows that become one result each are many and short: then the extent of them. */
bool ag_reduces_short_rows(const ag_call *call, ag_extent *e);
/* Of those, as many from `row` on as a buffer holds. */
static inline int64_t ag_rows_at_once(ag_extent e, int64_t row) {
    int64_t most = AG_BLOCK / e.count;
    return e.outer - row < most ? e.outer - row : most;
}

typedef struct ag_block {
    const ag_call *call;
    const ag_kernels *kernels;
    ag_type type;
    int64_t count, stride; /* elements of a result, and from one to the next */
    int64_t width;         /* results, adjacent */
    int64_t copies;        /* positions of the reduced axis taken at once; more than 1 only if width == stride */
    int64_t x, y;          /* the first element in the operand, the first result */
} ag_block;

/* The element of the result that element i of the operand goes to. */
int64_t ag_reduce_target(const ag_elements *e, int64_t i);
/* Folds the elements of each result by an operation; `empty` is what nothing gives. */
void ag_reduce_scalars(const ag_elements *e, ag_opcode op, double empty);

/* Of each row (the elements that go to one result): its greatest element m, a finite shift for exponentials (m, or 0 if m
 * is infinite or NaN), the exponentials exp(x - shift) and their sum. Where m is +inf the exponentials are 1 for the
 * elements that are, 0 for the others. */
typedef struct ag_exps {
    ag_var *most, *shift, *sum, *exps;
    int64_t rows, count;
} ag_exps;
bool ag_exps_open(const ag_elements *e, ag_exps *x); /* false, with the tape in error, if there is no memory */
void ag_exps_close(const ag_elements *e, ag_exps *x);

/* Of `rows` short rows of `count` elements, for kernels: the greatest of each, exp(x - that), and their sums. Where the
 * greatest is not finite the exponentials are not right yet. */
void ag_exps_of_rows(ag_type type, int64_t rows, int64_t count, const void *x, void *most, void *exps, void *sums);

/* What blocks are made for. */
enum {
    AG_FORWARD = 0,
    AG_ADJOINT = 1,
    /* The result has the operand's shape, not the reduced one. Its adjoint does not read the operand and heeds
     * call->fresh, which may be set where the caller did not. */
    AG_WHOLE = 2,
};
/* Calls `each` for all blocks in order; stops at the first false, which it returns. Many short rows are first
 * transposed into buffers: b->call then has those in place of the operand, its adjoint and a whole result. */
bool ag_reduce_blocks(const ag_call *call, unsigned what, bool (*each)(const ag_block *b));

/* Elements in the piece that begins at position i of the reduced axis: up to `copies` positions. */
static inline size_t ag_piece(const ag_block *b, int64_t i) {
    int64_t positions = b->count - i < b->copies ? b->count - i : b->copies;
    return (size_t)(positions * b->width);
}
static inline void *ag_piece_of(const ag_block *b, void *operand, int64_t i) {
    return ag_element(b->type, operand, b->x + i * b->stride);
}

/* A buffer's first `width` numbers, repeated to fill a whole piece. */
void ag_repeat(const ag_block *b, void *buffer);
/* The block's results, or their adjoints, repeated. */
void ag_repeat_results(const ag_block *b, const void *results, void *buffer);
/* Brings the `copies` of partial results down to one, pairwise, by a binary operation. */
void ag_fold_copies(const ag_block *b, ag_opcode op, int64_t copies, void *buffer);
/* buffer[0..width-1] = the elements of each result, joined by a binary operation (of equal copies, in a fixed order).
 * There is at least one. */
void ag_fold(const ag_block *b, ag_opcode op, void *buffer);

#endif
