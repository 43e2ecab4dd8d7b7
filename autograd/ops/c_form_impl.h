/* What operations use to write themselves as loops of C. Loops are named i, i1, ... by the axis that they run over. */
#ifndef AG_C_FORM_IMPL_H
#define AG_C_FORM_IMPL_H

#include "reduce_impl.h"

/* Defined by the printer: makes sure that ad_NAME is there; a table `at` of numbers (at least one). */
void ag_c_use(const ag_c_form *f, ag_opcode op);
void ag_c_table(const ag_c_form *f, const int64_t *numbers, int64_t count);
/* The function ad_NAME of routines.inc. */
void ag_c_need(const ag_c_form *f, const char *name);

typedef struct ag_c_text {
    char text[320];
} ag_c_text;

/* The number of a check, which the function returns where it fails: a statement "return NUMBER;" of an operation that
 * ag_c_form_checks. The next `count` numbers of the work array. */
int ag_c_check(const ag_c_form *f, const char *sentence);
ag_c_text ag_c_work(const ag_c_form *f, int64_t count);

const char *ag_c_loop(int axis);
/* "i * 12 + i1 + 5": the offset of the element at the loops' indices, of axes 0..rank-1 */
ag_c_text ag_c_index(int rank, const int64_t *dim, const int64_t *stride, int64_t offset);
ag_c_text ag_c_index_of(const ag_view *view);
/* Opens a loop over an axis; closes n. */
void ag_c_open(const ag_c_form *f, int axis, int64_t count);
void ag_c_open_all(const ag_c_form *f, const int64_t *dim, int rank);
void ag_c_close(const ag_c_form *f, int n);

/* Whether the operation is one that may fail in C: a singular matrix, an index out of bounds. */
bool ag_c_form_checks(const ag_operation *operation);

/* Whether a product of these sizes is worth a call of BLAS, if there is one. */
bool ag_c_is_for_blas(const ag_c_form *f, int64_t rows, int64_t columns, int64_t inner);
/* Declares `sum`, of operand 0 at a times operand 1 at b for i7 below size; of adjacent elements in parts, which compilers add
 * up side by side, and then what is left. */
void ag_c_sum_of_products(const ag_c_form *f, const char *a, const char *b, int64_t size, bool adjacent);

/* The parts of a reduction of operand 0: loops over kept axes, then `ag_c_reduced` loops over the others. */
int ag_c_kept(const ag_c_form *f); /* how many loops it opened */
int ag_c_reduced(const ag_c_form *f);
ag_c_text ag_c_result_index(const ag_c_form *f);
/* Declares `most`, the greatest (or least) element, NaN if one is. */
void ag_c_most(const ag_c_form *f, ag_opcode op);

#endif
