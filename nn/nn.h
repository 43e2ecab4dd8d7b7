/* nn: models built on autograd, and whether a gradient that somebody derived by hand is right.
 *
 *   models              parameters, layers, losses, steps of gradient descent
 *   backward functions  your own C against the tape or central differences, and what is wrong with it
 *   closed forms        a catalogue of derivatives derived by hand, and the check of each
 *
 * No call aborts, exits or prints, except to a file that it is given. */
#ifndef NN_H
#define NN_H

#include <autograd/autograd.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define NN_API __attribute__((visibility("default")))
#else
#define NN_API
#endif

/* ---- random inputs of the checks below */

/* What random numbers are drawn from. */
typedef enum nn_distribution {
    NN_NORMAL,   /* normal with mean 0; standard deviation 1; in the check of a closed form 1, 0.1 or 10 in turn */
    NN_POSITIVE, /* 0.1 + |standard normal| */
    NN_SIMPLEX,  /* positive, with sum 1 along the last axis: probabilities */
    NN_ONE_HOT,  /* a single 1 along the last axis, 0 elsewhere: classes */
    NN_BINARY,   /* 0 or 1 */
    NN_UNIT      /* uniform in 0.05 .. 0.95 */
} nn_distribution;

/* ---- closed forms: derivatives derived by hand ----------------------------------------------------------------- */

enum { NN_MAX_ARGUMENTS = 6, NN_MAX_SIZE = 5 };

/* The lengths that the letters in an argument's shape stand for: 1 to NN_MAX_SIZE, drawn anew each time. */
typedef struct nn_sizes {
    int64_t m, n, k;
} nn_sizes;

typedef struct nn_argument {
    const char *name;
    const char *shape; /* a letter of nn_sizes for each dimension: "" a scalar, "n" a vector, "mn" an m x n matrix */
    nn_distribution distribution;
    bool constant; /* the closed form says nothing about the derivative by this argument */
} nn_argument;

/* A function and its derivatives as somebody derived them. The catalogue is an array of these; users may add theirs. */
typedef struct nn_closed_form {
    const char *name;
    const char *formula; /* what is claimed, as text */
    const char *source;  /* where the formula can be found */
    int argument_count;
    nn_argument arguments[NN_MAX_ARGUMENTS];
    /* Records the function of its arguments. */
    ag_var (*function)(const ag_var *x);
    /* Writes the result, row-major, without a tape. It is 0 when this is called. NULL: only derivatives are checked. */
    void (*value)(nn_sizes sizes, const double *const *x, double *y);
    /* Writes the derivatives of the result by each argument that is not constant, without a tape: d[a] has the result's
     * shape followed by the argument's, row-major, and is 0 when this is called; NULL for a constant argument. */
    void (*derivative)(nn_sizes sizes, const double *const *x, double *const *d);
} nn_closed_form;

/* What nn_closed_form_check found. An error is |closed form - tape| / max(1, |tape|), and infinite if either is NaN. */
typedef struct nn_closed_form_report {
    bool holds;       /* every error is at most `tolerance` */
    ag_status status; /* AG_OK unless the check could not be done; then `message` says why */
    char message[256];
    int draws;                    /* random inputs that were tried */
    int64_t compared, wrong;      /* derivatives that were compared, and how many of them were over the tolerance */
    int64_t values, wrong_values; /* the same of values */
    double tolerance;
    struct { /* the greatest error: */
        double error;
        int draw;
        int argument;          /* the derivative by this argument, or -1: the value */
        int64_t output, input; /* of this element of the result by this element of the argument, row-major: */
        double closed, tape;   /* by the closed form, and by the tape */
    } worst;
} nn_closed_form_report;

/* The catalogue: activations, softmax, losses by logits, weights and biases, penalties, layers. */
NN_API const nn_closed_form *nn_closed_forms(int *count);
/* The entry of a name, or NULL. */
NN_API const nn_closed_form *nn_closed_form_find(const char *name);

/* Compares a closed form with the tape's values and reverse sweep at `draws` random inputs of random sizes. The same seed gives
 * the same inputs. Returns report->holds. Errors (report->status): AG_ERR_VALUE for an incomplete form or draws < 1,
 * AG_ERR_SHAPE for an unknown letter in a shape, AG_ERR_MEMORY, and whatever the recorded function runs into. */
NN_API bool nn_closed_form_check(const nn_closed_form *form, int draws, uint64_t seed, nn_closed_form_report *report);

/* Writes the report in a line or two. Returns false if writing failed. */
NN_API bool nn_closed_form_write(const nn_closed_form *form, const nn_closed_form_report *report, FILE *out);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
