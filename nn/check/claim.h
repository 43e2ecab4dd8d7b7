/* A claimed array beside the right one: does the claim hold, and if not, what is wrong with it? */
#ifndef NN_CHECK_CLAIM_H
#define NN_CHECK_CLAIM_H

#include <autograd/autograd.h>

/* A named length that a wrong factor may come from: n examples, K classes. */
struct nn_diagnosis;
typedef struct nn_named_size {
    const char *name;
    int64_t size;
} nn_named_size;

/* How claimed and right compare. An entry is right if it differs
 *   where a tolerance is given: by at most that;
 *   from printed digits:        by at most one unit of the last (people cut off as often as they round), and without a
 *                               decimal point by at most 1e-9 of it (1e-9 from 0);
 *   otherwise:                  by at most 1e-9 max(1, |right|).
 * NaN is never right, and neither is another shape. */
typedef struct nn_comparison {
    bool holds;
    bool same_shape;
    /* the first entry with the greatest error in terms of its tolerance; only if the shape is right: */
    int draw;
    int64_t entry; /* row-major */
    double claimed, right, error, tolerance;
    double ratio; /* error / tolerance, to 28 bits if it is above 2; infinity if one of the two is NaN */
} nn_comparison;

/* Arrays are row-major and belong to the caller. A law is tested at many draws of its variables: then each array
 * holds one draw after the other. */
typedef struct nn_claim {
    int draws; /* 1 unless it is a law */
    ag_shape right_shape, claimed_shape;
    const double *right, *claimed;
    /* For claims made of printed numbers: what one unit of each number's last printed digit is worth, 0 for a number
     * without a decimal point. NULL otherwise. */
    const double *unit;
    double tolerance; /* of every entry; 0: the rule above */

    /* What a diagnosis may use beyond the two arrays; each may be absent. The base is in both alike, as W is in W - eta
     * G: what the whole does not explain may be explained by what is left without it. It has the shape of `right`. */
    const double *base;
    const char *base_name;
    const nn_named_size *sizes;
    int size_count;
    double floor; /* a difference that does not matter among numbers of this size; 0: found from `right` */
    const nn_comparison *worst; /* what nn_claim_compare says, if that is known */
    int64_t greatest;           /* 1 + the first of the greatest right numbers that are finite; 0: found from `right` */
    /* Looks for mistakes that only the caller can see, NN_MISSING_FACTOR to NN_MISSING_TERM; fills in the diagnosis.
     * Called after NN_FACTOR, also if the shapes differ. */
    bool (*search)(void *context, struct nn_diagnosis *diagnosis);
    void *context;
} nn_claim;

nn_comparison nn_claim_compare(const nn_claim *claim);

/* Kinds of mistakes, in the order in which they are looked for: the first that explains every entry of every draw.
 * X(NAME, name) */
#define NN_DIAGNOSES(X)                                                                                                \
    X(NN_NOTHING_WRONG, "holds")                                                                                       \
    X(NN_POWER_OF_TEN, "power-of-ten") /* some entries are the right ones times 10^k */                                \
    X(NN_ENTRIES, "entries")           /* at most a third of several entries are wrong */                              \
    X(NN_SIGN, "sign")                 /* all of it is negated */                                                      \
    X(NN_TRANSPOSE, "transpose")                                                                                       \
    X(NN_LOG_BASE, "log-base")             /* another logarithm was taken */                                           \
    X(NN_FACTOR, "factor")                 /* one factor for all entries, or for all that one term gives */            \
    X(NN_MISSING_FACTOR, "missing-factor") /* another value, entry by entry */                                         \
    X(NN_OTHER_VARIABLE, "other-variable") /* the derivative by something else */                                      \
    X(NN_MISSING_TERM, "missing-term")     /* what one term gives is not there */                                      \
    X(NN_SHAPE, "shape")                                                                                               \
    X(NN_UNKNOWN, "unknown")
typedef enum nn_diagnosis_kind {
#define NN_X_(NAME, name) NAME,
    NN_DIAGNOSES(NN_X_)
#undef NN_X_
} nn_diagnosis_kind;
const char *nn_diagnosis_name(nn_diagnosis_kind kind);

enum { NN_PLACES = 16 };
typedef struct nn_diagnosis {
    nn_diagnosis_kind kind;
    int64_t entry;             /* power-of-ten, entries: the first wrong one, row-major */
    int64_t entries;           /* how many there are, */
    int64_t places[NN_PLACES]; /* and the first of them */
    double factor;             /* power-of-ten, log-base, factor: claimed / right */
    char detail[320];          /* in words */
} nn_diagnosis;

nn_diagnosis nn_claim_diagnose(const nn_claim *claim);

/* Writes an array as it would be typed: "0.34", "[1, 2]", "[[1, 2], [3, 4]]" (deeper: "[...]"), cut off to fit.
 * Numbers get `digits` significant digits. */
void nn_array_text(ag_shape shape, const double *x, int digits, char *text, size_t size);

#endif
