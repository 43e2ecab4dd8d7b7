/* What comparing and diagnosing a claim share. */
#ifndef NN_CHECK_CLAIM_IMPL_H
#define NN_CHECK_CLAIM_IMPL_H

#include "nn/check/claim.h"
#include "nn/shapes.h"

#include <math.h>

int64_t nn_shape_count(ag_shape shape);

/* Of element i of all draws, without what both sides have in common. */
static inline double nn_right_at(const nn_claim *claim, int64_t i) {
    return claim->right[i] - (claim->base == NULL ? 0 : claim->base[i]);
}
static inline double nn_claimed_at(const nn_claim *claim, int64_t i) {
    return claim->claimed[i] - (claim->base == NULL ? 0 : claim->base[i]);
}

/* Of element i of all draws. */
double nn_claim_tolerance(const nn_claim *claim, int64_t i);
bool nn_claim_entry_holds(const nn_claim *claim, int64_t i);

/* Is each of NN_BLOCK numbers x no further from c y than `fixed` or, if that is more, `relative` |c y|? False also where a
 * difference is not finite. */
enum { NN_BLOCK = 256 };
bool nn_block_is_near(const double *x, const double *y, double c, double fixed, double relative);

/* False only if every entry is less far off than `ratio` times its tolerance: sooner known than by comparing. */
bool nn_claim_may_exceed(const nn_claim *claim, double ratio);

/* The first of the greatest right numbers, without what is in the base, that are finite; -1 if there is none. */
int64_t nn_claim_greatest(const nn_claim *claim);

/* 1e-9 of the greatest right number, but of 1 if that is more than 1, or if all are 0: for nn_claim.floor. */
double nn_claim_floor(const nn_claim *claim);

/* Is x the target, or no further from it than the slack? Infinity is near nothing but itself. */
static inline bool nn_is_within(double x, double target, double slack) {
    return x == target || (isfinite(target) && fabs(x - target) <= slack);
}

/* How far claimed element i may be from `target` in a diagnosis: printed rounding, among numbers of that size, goes
 * through. */
double nn_claim_slack(const nn_claim *claim, int64_t i, double target, double size);

/* Has the claimed side the shape of the right one transposed? A vector's transpose is a row. */
bool nn_is_turned(const nn_claim *claim);

/* What all draws of a wrong law may have in common, by its first one. */
typedef enum nn_guess_kind {
    NN_IS_ANYTHING, /* more has to be looked at than a draw */
    NN_IS_NOTHING,  /* no mistake that is seen without the caller's help */
    NN_IS_MULTIPLE,
    NN_IS_TRANSPOSE
} nn_guess_kind;
typedef struct nn_guess {
    nn_guess_kind kind;
    double factor; /* NN_IS_MULTIPLE */
    double slack;  /* of small numbers */
} nn_guess;
/* The claim is one draw, which is wrong, and may have a base. */
nn_guess nn_claim_guess(const nn_claim *claim);
/* Is it as guessed at this draw, too? */
bool nn_guess_fits(const nn_guess *guess, const nn_claim *claim);
/* If all draws are as guessed: is this, which was found at the first one, what is found by all of them? */
bool nn_guess_confirms(const nn_guess *guess, const nn_diagnosis *diagnosis);

/* A factor that means something, near c, that fits: its value and how to call it, "1/4, which is 1/n". */
bool nn_known_factor(const nn_claim *claim, double c, bool (*fits)(const void *context, double c), const void *context,
                     double *known, char *words, size_t size);

/* Appends to a text in a buffer of `size` bytes; what does not fit is cut off. */
void nn_text_add(char *text, size_t size, const char *format, ...) AG_FORMAT_(3, 4);
double nn_plain(double x); /* as it is printed: no -0, no -nan */
/* How many digits, `least` or more, show x well enough to see what it differs by. */
int nn_digits_for(double x, double difference, int least);
void nn_shape_phrase(ag_shape shape, char *text, size_t size); /* "a number", "a vector of length 3", "2 x 3" */

#endif
