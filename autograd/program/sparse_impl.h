/* Sparse derivatives: which entries a Jacobian or Hessian has, and which of its rows or columns can be computed at once. */
#ifndef AG_SPARSE_IMPL_H
#define AG_SPARSE_IMPL_H

#include "program_impl.h"

/* Room for n more elements, not yet counted; NULL if there is none. */
static inline void *ag_list_room(ag_memory *memory, ag_list *list, size_t size, uint64_t n) {
    uint64_t need = (list->count + n) * size;
    if (need > list->range.size && !ag_range_grow(memory, &list->range, need, SIZE_MAX)) return NULL;
    return list->range.base + list->count * size;
}

/* ---- index_sets.c: sets of the numbers 0..n-1 ---- */

/* Sets have numbers: 0 is the empty one, 1 + i is {i}, the others are made by ag_sets_union. They never change, and equal
 * ones that are kept as lists are one. A set is a sorted list; of a large one that only grows at its end all stages are
 * parts of one list; and when `budget` elements are used up, large unions are kept as the pair of what they unite. So
 * memory stays within the budget and a constant for each union. */
typedef struct ag_sets {
    ag_memory *memory;
    uint32_t n;
    uint64_t budget;
    ag_list sets, elements, arrays; /* of small sets the elements; of large ones an array each */
    ag_list merged;                 /* work space */
    uint32_t *table;                /* open addressing: 1 + number in `sets`; 0 is free */
    uint64_t table_size;
    struct ag_united *recent; /* unions by their operands */
    uint32_t *mark, *seen;    /* of each number and set, the last walk that met it */
    uint64_t seen_count;
    uint32_t walk;
    ag_list stack;
    bool failed; /* out of memory; everything is the empty set from then on */
} ag_sets;

bool ag_sets_open(ag_sets *s, ag_memory *memory, uint32_t n, uint64_t budget);
void ag_sets_close(ag_sets *s);
uint32_t ag_sets_union(ag_sets *s, uint32_t a, uint32_t b);
/* The number of elements; 0 where it is not known yet. */
uint32_t ag_sets_count(const ag_sets *s, uint32_t set);
/* Appends the elements of a set, sorted, as int32_t. No unions may be made after the first list. */
bool ag_sets_list(ag_sets *s, uint32_t set, ag_list *to);

/* ---- dependence.c ---- */

/* A sparse matrix' entries by rows: those of row i are index[start[i] .. start[i + 1] - 1], sorted. */
typedef struct ag_entries {
    int32_t rows, columns, count;
    int32_t *start, *index;
} ag_entries;

bool ag_entries_open(ag_memory *memory, ag_entries *e, int64_t rows, int64_t columns, uint64_t count);
void ag_entries_close(ag_memory *memory, ag_entries *e);
bool ag_entries_transpose(ag_memory *memory, const ag_entries *e, ag_entries *out);

/* Row i has the elements of the input that element i of the output may depend on: for no values of the inputs does the
 * output have another partial that is not 0. */
ag_status ag_program_dependence(const ag_program *p, int output, int input, ag_memory *memory, ag_entries *out);

/* ---- colouring.c ---- */

/* Colours 0, 1, ... for columns, -1 for those without an entry in a row that counts (skip[i] is 0; NULL: all count). No
 * two columns of one colour meet in such a row. Gives up, with *colours = limit, when it would take that many. */
bool ag_colour_columns(ag_memory *memory, const ag_entries *by_row, const ag_entries *by_column, const uint8_t *skip,
                       int32_t limit, int32_t *colour, int32_t *colours);
/* Colours for the columns of a symmetric matrix, -1 for empty ones: in its product with the sums of each colour's columns,
 * every entry (i, j) stands by itself in row i, or (j, i) does in row j. */
bool ag_colour_hessian(ag_memory *memory, const ag_entries *e, int32_t *colour, int32_t *colours);

/* Colours by which a matrix is computed: of columns, of rows, or of both. */
typedef struct ag_colouring {
    int32_t *row, *column; /* -1: none */
    int32_t rows, columns; /* how many */
    bool rows_first;       /* an entry is read from its row's product where the row has a colour, else its column's */
} ag_colouring;

bool ag_colour_jacobian(ag_memory *memory, const ag_entries *by_row, ag_colouring *c);

#endif
