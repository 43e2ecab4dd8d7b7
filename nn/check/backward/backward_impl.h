/* What checking a backward function is made of; in this order:
 *   arrays.c       the arrays that the user's functions get, and calling them
 *   draw.c         inputs and output gradients of each draw
 *   tape.c         the right derivative by the tape,
 *   differences.c  or by central differences
 *   compare.c      each entry: right or wrong
 *   diagnose.c     what is wrong
 *   check.c        all of it; the report */
#ifndef NN_BACKWARD_IMPL_H
#define NN_BACKWARD_IMPL_H

#include "nn/check/claim_impl.h"
#include "nn/nn.h"
#include "nn/random.h"

enum { NN_MAX_SIZES = 3 * (NN_MAX_INPUTS + NN_MAX_OUTPUTS) };

/* A table has a row for each draw and each of its output gradients, one after the other, and in a row the entries of an
 * array. All of it is in `memory`. */
typedef struct nn_backward_check {
    const nn_backward *b;
    nn_backward_report *report;
    nn_random random;
    int draws, seeds, rows; /* seeds: output gradients a draw; rows = draws * seeds */
    int64_t in_count[NN_MAX_INPUTS], out_count[NN_MAX_OUTPUTS], in_total, out_total;
    void *memory;

    /* for the user's functions, of the check's type; NULL: the gradient by a constant input */
    void *inputs[NN_MAX_INPUTS], *outputs[NN_MAX_OUTPUTS];
    void *output_gradients[NN_MAX_OUTPUTS], *input_gradients[NN_MAX_INPUTS];

    /* tables; NULL for constant inputs where it is about gradients */
    double *x[NN_MAX_INPUTS], *y[NN_MAX_OUTPUTS], *g[NN_MAX_OUTPUTS];
    double *claimed[NN_MAX_INPUTS], *right[NN_MAX_INPUTS], *right_y[NN_MAX_OUTPUTS];
    double *again[NN_MAX_INPUTS]; /* claimed for other output gradients, see diagnose.c */
    /* how far a right entry may be off, and, for differences at kinks, between what values it may be */
    double *slack[NN_MAX_INPUTS], *low[NN_MAX_INPUTS], *high[NN_MAX_INPUTS];
    double *slack_y[NN_MAX_OUTPUTS];
    double *work; /* out_total * NN_DIFFERENCE_WORK, for differences */

    nn_named_size sizes[NN_MAX_SIZES];
    char size_names[NN_MAX_SIZES][48];
    int size_count;
} nn_backward_check;

enum { NN_DIFFERENCE_LEVELS = 12, NN_DIFFERENCE_WORK = 2 * NN_DIFFERENCE_LEVELS + 6 };

/* Puts the report into an error state; the first error stays. Returns false. */
bool nn_backward_fail(nn_backward_check *c, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);

/* arrays.c */
bool nn_backward_allocate(nn_backward_check *c);
double nn_array_get(ag_type type, const void *array, int64_t i);
void nn_array_set(ag_type type, void *array, int64_t i, double value);
/* Copies a row of a table into an array, and back. */
void nn_array_load(ag_type type, void *array, const double *values, int64_t count);
void nn_array_store(ag_type type, const void *array, double *values, int64_t count);
/* Calls of the user's functions. False if one wrote beyond an array's end. */
bool nn_call_forward(nn_backward_check *c);
bool nn_call_backward(nn_backward_check *c);
/* Loads the inputs of a row, and false if they are not what is in it any more. */
void nn_load_inputs(nn_backward_check *c, int row);
bool nn_inputs_unchanged(nn_backward_check *c, int row, const char *function);

/* draw.c: fills in x, y and g for the rows of a draw. */
bool nn_backward_draw(nn_backward_check *c, int draw);

/* tape.c, differences.c: fill in right, right_y, slack, low and high for the rows of a draw. */
bool nn_backward_by_tape(nn_backward_check *c, ag_tape *tape, int draw);
bool nn_backward_by_differences(nn_backward_check *c, int draw);

/* compare.c: what the differences between claimed and right amount to, and what is wrong, if anything. */
void nn_backward_judge_input(nn_backward_check *c, int i);
void nn_backward_judge_output(nn_backward_check *c, int o);

/* diagnose.c: fills in kind and detail of a finding that does not hold. `claim` is about input i. */
void nn_backward_diagnose(nn_backward_check *c, int i, const nn_claim *claim, nn_backward_finding *finding);

#endif
